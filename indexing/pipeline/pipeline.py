"""The indexing path as one Haystack pipeline: convert → tokenise → encode → write, each in a thread of its own."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any

from haystack import Pipeline

from indexing.pipeline.batching import PartStream
from indexing.pipeline.components import IndexWriterComponent, PassageEncoder, PassageSource, PassageTokenizer
from indexing.pipeline.in_flight import InFlightVectors
from indexing.pipeline.parts import Changes
from indexing.pipeline.stages import Stages
from search_app.observability import silence_snapshots
from search_app.protocols import Encoder, IndexWriter, PassageStore


def indexing_pipeline(
    parts: PartStream, encoder: Encoder, writer: IndexWriter, *, earlier: PassageStore | None = None
) -> Pipeline:
    """Vectors are taken over from the index that is written, and from an `earlier` one of the same encoder."""
    silence_snapshots()
    ahead, lock = InFlightVectors(), Lock()
    pipeline = Pipeline()
    pipeline.add_component("read", PassageSource(parts))
    pipeline.add_component("tokenise", PassageTokenizer(encoder, writer, ahead, lock, earlier=earlier))
    pipeline.add_component("encode", PassageEncoder(encoder, ahead))
    pipeline.add_component("write", IndexWriterComponent(writer, ahead, lock))
    pipeline.connect("read.parts", "tokenise.parts")
    pipeline.connect("tokenise.batch", "encode.batch")
    pipeline.connect("encode.changes", "write.changes")
    return pipeline


def overlapping(pipeline: Pipeline, characters: int) -> Stages[Changes]:
    """Runs the pipeline over its source, so many characters at a time: its components work on batches in a row."""
    first, *others = _in_order(pipeline)
    source = pipeline.get_component(first)
    stream: PartStream = source.stream  # type: ignore[attr-defined]
    return Stages(
        first,
        lambda: None if stream.exhausted else source.run(characters=characters),
        [(name, _step(pipeline.get_component(name))) for name in others],
        result=lambda value: value["changes"],
        stop=stream.stop,
        waited=lambda: stream.waited,
    )


def _in_order(pipeline: Pipeline) -> list[str]:
    """From the component that nothing comes into to the one that nothing goes out of."""
    graph = pipeline.graph
    [name] = [name for name in graph if not graph.in_degree(name)]
    names = [name]
    while following := list(graph.successors(names[-1])):
        names += following
    return names


def _step(component: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Its inputs are named as the outputs of the one before."""
    return lambda values: dict(component.run(**values))
