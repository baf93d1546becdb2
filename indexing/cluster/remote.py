"""What a machine does for a job that another one drives: converts and splits files, encodes and writes them.

Nothing here knows Ray: `cluster` carries these objects from machine to machine.
"""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexing.conversion import FileSplitter
from indexing.diff import Outcome
from indexing.pipeline.batching import BATCH_CHARACTERS, PER_DOCUMENT
from indexing.pipeline.parts import SplitPart
from indexing.sandbox import Limits
from indexing.sources import SourceFile
from indexing.split_config import SplitConfig
from search_app.errors import SearchAppError
from search_app.manifest import Manifest, encoded_text, vector_key
from search_app.protocols import Encoder, EncoderStamp, FileChange, FileRecord
from search_app.settings import Settings
from search_app.stores.elasticsearch.parts import FilePart, PartWriter, PartWritten
from search_app.types import PassageBatch


@dataclass(frozen=True, slots=True)
class Assignment:
    """All that a worker needs to know, secrets of the settings included; `shared` is what its `PartWriter` joins."""

    settings: Settings
    stamp: EncoderStamp
    recipe: SplitConfig
    limits: Limits
    shared: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Item:
    """A file to index, number `number` of `block`; its parts in `done` were written before a worker died."""

    block: int
    number: int
    file: SourceFile
    digest: str
    done: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ReadyPart:
    """Part `index` of a file, to be encoded and written; it stands for so many `bytes` of it."""

    item: Item
    index: int
    part: FilePart
    bytes: int


@dataclass(frozen=True, slots=True)
class Note:
    """What is to be said of a file, and on which `machine` it turned out; without an `outcome` it is a warning."""

    item: Item
    outcome: Outcome | None
    reason: str
    machine: str


@dataclass(frozen=True, slots=True)
class ReadyBatch:
    """What an encoder takes at once; converting it took `seconds`."""

    parts: tuple[ReadyPart, ...] = ()
    notes: tuple[Note, ...] = ()
    seconds: float = 0.0
    error: SearchAppError | None = None


@dataclass(frozen=True, slots=True)
class DonePart:
    """A part that is written; `record` is its file's, where it is the last one."""

    item: Item
    index: int
    written: PartWritten
    bytes: int
    record: FileRecord | None


@dataclass(frozen=True, slots=True)
class Report:
    """A batch that is done; `encoded` passages of `tokens` tokens went through the encoder; `busy` seconds by stage."""

    parts: tuple[DonePart, ...] = ()
    notes: tuple[Note, ...] = ()
    encoded: int = 0
    tokens: int = 0
    truncated: int = 0
    busy: Mapping[str, float] = field(default_factory=dict)
    error: SearchAppError | None = None


def convert(items: Sequence[Item], assignment: Assignment) -> Iterator[ReadyBatch]:
    """Files to batches. What goes wrong with one of them is a note, what goes wrong with the machine ends the job."""
    machine = socket.gethostname()
    parts: list[ReadyPart] = []
    notes: list[Note] = []
    size = 0
    began = time.perf_counter()
    try:
        with FileSplitter(assignment.recipe, limits=assignment.limits) as splitter:
            for item in items:
                converted = splitter.convert(item.file, item.digest)
                notes += [Note(item, None, warning, machine) for warning in converted.warnings]
                if converted.record is None:
                    notes.append(Note(item, converted.outcome, converted.reason, machine))
                try:
                    opened = _Opened(item)
                    for part in converted.parts():
                        if (ready := opened.next(part)) is not None:
                            parts.append(ready)
                            size += part.size + PER_DOCUMENT
                        if size >= BATCH_CHARACTERS:
                            yield ReadyBatch(tuple(parts), tuple(notes), time.perf_counter() - began)
                            parts, notes, size, began = [], [], 0, time.perf_counter()
                finally:
                    converted.discard()
    except Exception as error:
        yield ReadyBatch(error=told(error))
        return
    if parts or notes:
        yield ReadyBatch(tuple(parts), tuple(notes), time.perf_counter() - began)


@dataclass(slots=True)
class _Opened:
    """How far a file has come: what a part must know of those before it."""

    item: Item
    index: int = 0
    documents: int = 0
    languages: dict[str, str] = field(default_factory=dict)

    def next(self, part: SplitPart) -> ReadyPart | None:
        """None where it is written already."""
        batch = PassageBatch(part.passages, np.empty((len(part.passages), 0), dtype=np.float32))
        change = FileChange(part.record, part.documents, batch, first=part.first, last=part.last)
        ready = ReadyPart(self.item, self.index, FilePart(change, self.documents, self.languages), part.bytes)
        self.index += 1
        self.documents += len(part.documents)
        if part.documents:  # only the last one goes on in later parts
            self.languages = {part.documents[-1].id: part.documents[-1].language}
        written = ready.index in self.item.done and part.record.digest == self.item.digest
        return None if written else ready


class PartEncoder:
    """Encodes and writes batches. Called from several threads, one encodes while the others look up and write."""

    def __init__(self, assignment: Assignment, *, threads: int) -> None:
        from search_app import hardware
        from search_app.encoders.sentence_transformer import SentenceTransformerEncoder

        settings = assignment.settings
        hardware.set_threads(settings.threads or threads)
        self._encoder: Encoder = SentenceTransformerEncoder(settings.encoder, hardware.detect(settings.encoder.device))
        Manifest(assignment.stamp, "", "").require_encoder(self._encoder.stamp)
        self._writer = PartWriter(settings.elasticsearch, assignment.shared)
        self._encoding, self._writing = threading.Lock(), threading.Lock()

    def __call__(self, batch: ReadyBatch) -> Report:
        if batch.error is not None:
            return Report(error=batch.error)
        try:
            return self._report(batch)
        except Exception as error:
            return Report(error=told(error))

    def _report(self, batch: ReadyBatch) -> Report:
        times = [time.perf_counter()]
        passages = [passage for ready in batch.parts for passage in ready.part.change.batch.passages]
        texts = list(map(encoded_text, passages))
        keys = [vector_key(text, self._encoder.stamp) for text in texts]
        vectors = self._writer.known_vectors(list(dict.fromkeys(keys)))
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in vectors}
        tokens = truncated = 0
        tokenized = self._encoder.tokenize_passages(list(missing.values())) if missing else None
        times.append(time.perf_counter())
        with self._encoding:
            times.append(time.perf_counter())
            if tokenized is not None:
                before = self._encoder.truncated_tokens
                vectors |= dict(zip(missing, self._encoder.encode_tokenized(tokenized), strict=True))
                tokens, truncated = tokenized.tokens, self._encoder.truncated_tokens - before
            times.append(time.perf_counter())
        parts = list(self._with_vectors(batch.parts, [vectors[key] for key in keys]))
        with self._writing:
            times.append(time.perf_counter())
            written = self._writer.write(parts) if parts else []
            times.append(time.perf_counter())
        began, tokenised, encoding, encoded, writing, ended = times
        busy = {
            "convert": batch.seconds,
            "tokenise": tokenised - began,
            "encode": encoded - encoding,
            "write": ended - writing,
        }
        done = []
        for ready, answer in zip(batch.parts, written, strict=True):
            change = ready.part.change
            done.append(DonePart(ready.item, ready.index, answer, ready.bytes, change.record if change.last else None))
        return Report(tuple(done), batch.notes, len(missing), tokens, truncated, busy)

    def _with_vectors(self, parts: Sequence[ReadyPart], vectors: Sequence[NDArray[np.float32]]) -> Iterator[FilePart]:
        rows = iter(vectors)
        for ready in parts:
            passages = ready.part.change.batch.passages
            own = list(itertools.islice(rows, len(passages)))
            matrix = np.array(own, dtype=np.float32).reshape(len(own), self._encoder.stamp.dim)
            yield replace(ready.part, change=replace(ready.part.change, batch=PassageBatch(passages, matrix)))


def told(error: Exception) -> SearchAppError:
    """As one that can travel to another machine."""
    if isinstance(error, SearchAppError):
        return error
    return SearchAppError(f"{socket.gethostname()}: {type(error).__name__}: {error}")
