"""Haystack components of the indexing path: thin adapters around collaborators built elsewhere.

Each may run in a thread of its own, one batch behind the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from threading import Lock

import numpy as np
from haystack import component
from numpy.typing import NDArray

from indexing.pipeline.batching import PartStream
from indexing.pipeline.in_flight import InFlightVectors
from indexing.pipeline.parts import Changes, SplitParts, TokenizedParts
from search_app.manifest import encoded_text, vector_key
from search_app.protocols import Encoder, EncoderStamp, FileChange, IndexWriter, PassageStore
from search_app.types import PassageBatch

_FIRST_SHARE = 1 / 8


@component
class PassageSource:
    """Takes the next documents with their passages out of the converted files, or out of an index.

    The first batches are smaller, each double the one before: what comes next need not wait for a whole one.
    """

    def __init__(self, parts: PartStream) -> None:
        self.stream = parts
        self._share = _FIRST_SHARE

    @component.output_types(parts=SplitParts)
    def run(self, characters: int) -> dict[str, SplitParts]:
        wanted = int(characters * self._share)
        self._share = min(1.0, 2 * self._share)
        return {"parts": self.stream.take(wanted)}


@component
class PassageTokenizer:
    """Passages to tokens; only texts that neither the writer nor `earlier` nor a batch ahead has a vector of.

    `earlier` must be an index of the same encoder.
    """

    def __init__(
        self,
        encoder: Encoder,
        writer: IndexWriter,
        ahead: InFlightVectors,
        lock: Lock,
        *,
        earlier: PassageStore | None = None,
    ) -> None:
        self._encoder = encoder
        self._writer = writer
        self._ahead = ahead
        self._lock = lock
        self._earlier = earlier

    @component.output_types(batch=TokenizedParts)
    def run(self, parts: SplitParts) -> dict[str, TokenizedParts]:
        stamp = self._encoder.stamp
        passages = [passage for part in parts.items for passage in part.passages]
        texts = list(map(encoded_text, passages))
        keys = [vector_key(text, stamp) for text in texts]
        missing = dict(zip(keys, texts, strict=True))
        awaited = self._ahead.claim(missing)  # before the writer is asked: what is written meanwhile it then knows
        for key in awaited:
            del missing[key]
        with self._lock:
            known = self._writer.known_vectors(list(missing))
        if self._earlier is not None:
            new = [item.id for item, key in zip(passages, keys, strict=True) if key in missing and key not in known]
            known |= _vectors_of(self._earlier, new, stamp)
        for key in known.keys() & missing.keys():
            del missing[key]
        self._ahead.announce(missing)
        tokenized = self._encoder.tokenize_passages(list(missing.values())) if missing else None
        return {"batch": TokenizedParts(parts, tuple(keys), known, tuple(missing), awaited, tokenized)}


def _vectors_of(store: PassageStore, ids: Sequence[str], stamp: EncoderStamp) -> dict[str, NDArray[np.float32]]:
    """By key; a passage of the same id may have another title, and so another key than was asked for."""
    return {
        vector_key(encoded_text(passage), stamp): vector
        for batch in (store.passages(ids=ids, vectors=True) if ids else ())
        for passage, vector in zip(batch.passages, batch.embeddings, strict=True)
        if not np.isnan(vector).any()
    }


@component
class PassageEncoder:
    """Tokens to vectors, and with the known ones to what is written."""

    def __init__(self, encoder: Encoder, ahead: InFlightVectors) -> None:
        self._encoder = encoder
        self._ahead = ahead

    @component.output_types(changes=Changes)
    def run(self, batch: TokenizedParts) -> dict[str, Changes]:
        vectors = dict(batch.known)
        tokens = 0
        if batch.tokenized is not None:
            tokens = batch.tokenized.tokens
            new = dict(zip(batch.missing, self._encoder.encode_tokenized(batch.tokenized), strict=True))
            self._ahead.bring(new)
            vectors |= new
        vectors |= self._ahead.of(batch.awaited)
        dim = self._encoder.stamp.dim
        changes = []
        row = 0
        for part in batch.parts.items:
            keys = batch.keys[row : row + len(part.passages)]
            row += len(keys)
            matrix = np.array([vectors[key] for key in keys], dtype=np.float32).reshape(len(keys), dim)
            passages = PassageBatch(part.passages, matrix)
            changes.append(FileChange(part.record, part.documents, passages, first=part.first, last=part.last))
        in_use = batch.missing + batch.awaited
        return {"changes": Changes(tuple(changes), batch.parts.bytes, len(batch.missing), tokens, in_use)}


@component
class IndexWriterComponent:
    """Writes what it is given, and hands on what the store would not take."""

    def __init__(self, writer: IndexWriter, ahead: InFlightVectors, lock: Lock) -> None:
        self._writer = writer
        self._ahead = ahead
        self._lock = lock

    @component.output_types(changes=Changes)
    def run(self, changes: Changes) -> dict[str, Changes]:
        with self._lock:
            rejected = self._writer.write(changes.items) if changes.items else []
        self._ahead.give_back(changes.in_use)
        return {"changes": replace(changes, rejected=tuple(rejected))}
