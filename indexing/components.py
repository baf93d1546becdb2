"""Haystack components of the indexing path: thin adapters around collaborators built elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from haystack import component
from numpy.typing import NDArray

from indexing.batching import PartStream
from indexing.parts import Changes, Parts, SplitPart, SplitParts
from indexing.splitter import Splitter
from search_app.manifest import encoded_text, vector_key
from search_app.protocols import Encoder, EncoderStamp, FileChange, IndexWriter, PassageStore
from search_app.types import PassageBatch


@component
class FileConverter:
    """Takes the next documents out of the files, or of an index."""

    def __init__(self, parts: PartStream) -> None:
        self._parts = parts

    @component.output_types(parts=Parts)
    def run(self, characters: int) -> dict[str, Parts]:
        return {"parts": self._parts.take(characters)}


@component
class PassageSplitter:
    """Documents to passages."""

    def __init__(self, splitter: Splitter) -> None:
        self._splitter = splitter

    @component.output_types(parts=SplitParts)
    def run(self, parts: Parts) -> dict[str, SplitParts]:
        found = iter(self._splitter.split([piece for part in parts.items for piece in part.pieces]))
        split = (
            SplitPart(part, tuple(passage for _ in part.pieces for passage in next(found))) for part in parts.items
        )
        return {"parts": SplitParts(tuple(split))}


@component
class PassageEmbedder:
    """Passages to vectors; only texts that neither the writer nor `earlier` has a vector of go through the encoder.

    `earlier` must be an index of the same encoder.
    """

    def __init__(self, encoder: Encoder, writer: IndexWriter, *, earlier: PassageStore | None = None) -> None:
        self._encoder = encoder
        self._writer = writer
        self._earlier = earlier

    @component.output_types(changes=Changes)
    def run(self, parts: SplitParts) -> dict[str, Changes]:
        stamp = self._encoder.stamp
        passages = [passage for split in parts.items for passage in split.passages]
        texts = list(map(encoded_text, passages))
        keys = [vector_key(text, stamp) for text in texts]
        known = self._writer.known_vectors(list(dict.fromkeys(keys)))
        if self._earlier is not None:
            new = [passage.id for passage, key in zip(passages, keys, strict=True) if key not in known]
            known |= _vectors_of(self._earlier, new, stamp)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if missing:
            known |= dict(zip(missing, self._encoder.encode_passages(list(missing.values())), strict=True))
        matrix = np.array([known[key] for key in keys], dtype=np.float32).reshape(len(keys), stamp.dim)
        changes = []
        row = 0
        for split in parts.items:
            part, rows = split.part, slice(row, row + len(split.passages))
            batch = PassageBatch(split.passages, matrix[rows])
            changes.append(FileChange(part.record, part.documents, batch, first=part.first, last=part.last))
            row = rows.stop
        return {"changes": Changes(tuple(changes), len(missing))}


def _vectors_of(store: PassageStore, ids: Sequence[str], stamp: EncoderStamp) -> dict[str, NDArray[np.float32]]:
    """By key; a passage of the same id may have another title, and so another key than was asked for."""
    return {
        vector_key(encoded_text(passage), stamp): vector
        for batch in (store.passages(ids=ids, vectors=True) if ids else ())
        for passage, vector in zip(batch.passages, batch.embeddings, strict=True)
        if not np.isnan(vector).any()
    }


@component
class IndexWriterComponent:
    """Writes what it is given, and hands on what the store would not take."""

    def __init__(self, writer: IndexWriter) -> None:
        self._writer = writer

    @component.output_types(changes=Changes)
    def run(self, changes: Changes) -> dict[str, Changes]:
        rejected = self._writer.write(changes.items) if changes.items else []
        return {"changes": replace(changes, rejected=tuple(rejected))}
