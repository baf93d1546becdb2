"""The indexing path as one Haystack pipeline: convert → split → embed → write."""

from __future__ import annotations

from collections.abc import Callable

from haystack import Pipeline
from haystack.core.errors import PipelineRuntimeError

from indexing.batching import PartStream
from indexing.components import FileConverter, IndexWriterComponent, PassageEmbedder, PassageSplitter
from indexing.parts import Changes
from indexing.splitter import Splitter
from search_app.observability import hush_snapshots
from search_app.protocols import Encoder, IndexWriter, PassageStore


def indexing_pipeline(
    parts: PartStream, splitter: Splitter, encoder: Encoder, writer: IndexWriter, *, earlier: PassageStore | None = None
) -> Pipeline:
    """Vectors are taken over from the index that is written, and from an `earlier` one of the same encoder."""
    hush_snapshots()
    pipeline = Pipeline()
    pipeline.add_component("convert", FileConverter(parts))
    pipeline.add_component("split", PassageSplitter(splitter))
    pipeline.add_component("embed", PassageEmbedder(encoder, writer, earlier=earlier))
    pipeline.add_component("write", IndexWriterComponent(writer))
    pipeline.connect("convert.parts", "split.parts")
    pipeline.connect("split.parts", "embed.parts")
    pipeline.connect("embed.changes", "write.changes")
    return pipeline


def batches(pipeline: Pipeline) -> Callable[[int], Changes]:
    """Runs the pipeline over the next so many characters; a component's error comes out as it was raised."""

    def run(characters: int) -> Changes:
        try:
            result = pipeline.run({"convert": {"characters": characters}})
        except PipelineRuntimeError as error:
            raise error.__cause__ or error from None
        changes = result["write"]["changes"]
        assert isinstance(changes, Changes)
        return changes

    return run
