"""Vectors for the passages of a batch: known ones are reused, the others encoded."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from indexing.batches import Batch
from search_app.manifest import encoded_text, vector_key
from search_app.protocols import Encoder, EncoderStamp, FileChange, PassageStore
from search_app.types import PassageBatch

KnownVectors = Callable[[Sequence[str]], dict[str, NDArray[np.float32]]]
"""Takes vector keys, and returns the vectors that an index has of them, by key."""


class InFlightVectors:
    """Vectors that are computed or not yet written, with a reference count, so that no text is encoded twice.

    A batch acquires keys before it asks the index for them, and releases them when it is written. Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._references: dict[str, int] = {}
        self._vectors: dict[str, NDArray[np.float32]] = {}

    def acquire(self, keys: Iterable[str]) -> tuple[str, ...]:
        """Add a reference to each of the distinct keys that an earlier batch has reserved, and return these."""
        with self._lock:
            found = tuple(key for key in keys if key in self._references)
            for key in found:
                self._references[key] += 1
        return found

    def reserve(self, keys: Iterable[str]) -> None:
        """Promise vectors for keys that nobody has reserved."""
        with self._lock:
            self._references.update(dict.fromkeys(keys, 1))

    def put(self, vectors: Mapping[str, NDArray[np.float32]]) -> None:
        """Store vectors of reserved keys."""
        with self._lock:
            self._vectors |= vectors

    def get(self, keys: Iterable[str]) -> dict[str, NDArray[np.float32]]:
        """Vectors of acquired keys."""
        with self._lock:
            return {key: self._vectors[key] for key in keys}

    def release(self, keys: Iterable[str]) -> None:
        """Drop a reference to each key; the last one drops the vector."""
        with self._lock:
            for key in keys:
                self._references[key] -= 1
                if not self._references[key]:
                    del self._references[key], self._vectors[key]


class BatchEncoder:
    """Fills batches with vectors in two steps, which may run in two threads, each with the batches in order.

    Vectors come from `known_vectors`, from an `earlier` index of the same encoder, from batches that are not written
    yet, or else from the encoder.
    """

    def __init__(self, encoder: Encoder, known_vectors: KnownVectors, *, earlier: PassageStore | None = None) -> None:
        self._encoder, self._known_vectors, self._earlier = encoder, known_vectors, earlier
        self._in_flight = InFlightVectors()

    def tokenize(self, batch: Batch) -> Batch:
        """Look up the vectors of the batch, and tokenise the texts that have none."""
        stamp = self._encoder.stamp
        passages = batch.passages
        texts = list(map(encoded_text, passages))
        batch.keys = [vector_key(text, stamp) for text in texts]
        missing = dict(zip(batch.keys, texts, strict=True))
        batch.shared = self._in_flight.acquire(missing)  # first: what is written from now on, the index then has
        for key in batch.shared:
            del missing[key]
        known = self._known_vectors(list(missing))
        if self._earlier is not None:
            new = [item.id for item, key in zip(passages, batch.keys, strict=True) if key in missing.keys() - known]
            known |= _vectors_of(self._earlier, new, stamp)
        for key in known.keys() & missing.keys():
            del missing[key]
        self._in_flight.reserve(missing)
        batch.vectors, batch.missing = known, tuple(missing)
        batch.tokenized = self._encoder.tokenize_passages(list(missing.values())) if missing else None
        return batch

    def encode(self, batch: Batch) -> Batch:
        """Compute the missing vectors, and make the changes to write."""
        if batch.tokenized is not None:
            truncated = self._encoder.truncated_tokens
            vectors = self._encoder.encode_tokenized(batch.tokenized)
            self._in_flight.put(dict(zip(batch.missing, vectors, strict=True)))
            batch.tokens, batch.tokenized = batch.tokenized.tokens, None
            batch.truncated = self._encoder.truncated_tokens - truncated
        vectors_of = batch.vectors | self._in_flight.get([*batch.missing, *batch.shared])
        rows = iter([vectors_of[key] for key in batch.keys])
        changes = []
        for chunk in batch.chunks:
            own = list(islice(rows, len(chunk.passages)))
            matrix = np.array(own, dtype=np.float32).reshape(len(own), self._encoder.stamp.dim)
            passages = PassageBatch(chunk.passages, matrix)
            change = FileChange(chunk.record, chunk.documents, passages, first=chunk.number == 0, last=chunk.last)
            changes.append(replace(change, first_document=chunk.first_document, languages=chunk.languages))
        batch.changes, batch.vectors = changes, {}
        return batch

    def release(self, batch: Batch) -> None:
        """Forget the vectors of a batch that is written."""
        self._in_flight.release([*batch.missing, *batch.shared])


def _vectors_of(store: PassageStore, ids: Sequence[str], stamp: EncoderStamp) -> dict[str, NDArray[np.float32]]:
    """Vectors by key. A passage of the same id may have another title, and so another key than expected."""
    return {
        vector_key(encoded_text(passage), stamp): vector
        for batch in (store.passages(ids=ids, vectors=True) if ids else ())
        for passage, vector in zip(batch.passages, batch.embeddings, strict=True)
        if not np.isnan(vector).any()
    }
