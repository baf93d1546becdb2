"""What a worker machine does for a job: it converts and splits files, encodes and writes batches of them.

Nothing here imports Ray; `driver` sends these objects between machines.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from indexing import unread
from indexing.batches import Batch, FileChunk, FileFailure, in_batches
from indexing.conversion import FileSplitter
from indexing.encoding import BatchEncoder
from indexing.sandbox import Limits
from indexing.sources import SourceFile
from indexing.splitter import SplitConfig
from search_app.errors import SearchAppError
from search_app.manifest import Manifest
from search_app.protocols import Encoder, EncoderStamp
from search_app.settings import Settings
from search_app.stores.elasticsearch.parts import PartWriter, PartWritten


@dataclass(frozen=True, slots=True)
class Assignment:
    """All that a worker needs, including the settings' secrets; `writer_config` is for its `PartWriter`."""

    settings: Settings
    stamp: EncoderStamp
    split_config: SplitConfig
    limits: Limits
    writer_config: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """File `number` of `block`. Chunks in `done` were written before a worker died."""

    block: int
    number: int
    file: SourceFile
    digest: str
    done: tuple[int, ...] = ()

    @property
    def key(self) -> tuple[int, int]:
        """Identifies the file within its job."""
        return self.block, self.number


@dataclass(frozen=True, slots=True)
class RemoteBatch:
    """A batch for an encoder, from `machine`, which took `seconds` to convert it; `files` by path."""

    machine: str
    files: Mapping[str, RemoteFile] = field(default_factory=dict)
    chunks: Sequence[FileChunk] = ()
    failures: Sequence[FileFailure] = ()
    seconds: float = 0.0
    error: SearchAppError | None = None


@dataclass(frozen=True, slots=True)
class RemoteReport:
    """A batch that has been written. Chunks come without their contents; `busy` is in seconds by stage.

    `encoded` passages of `tokens` tokens went through the encoder, which cut off `truncated` tokens.
    """

    machine: str = ""
    written: Sequence[tuple[RemoteFile, FileChunk, PartWritten]] = ()
    failures: Sequence[tuple[RemoteFile, FileFailure]] = ()
    encoded: int = 0
    tokens: int = 0
    truncated: int = 0
    busy: Mapping[str, float] = field(default_factory=dict)
    error: SearchAppError | None = None


def convert(files: Sequence[RemoteFile], assignment: Assignment) -> Iterator[RemoteBatch]:
    """Files to batches. A file's fault is a failure in its batch; a fault of the machine ends the job."""
    machine = socket.gethostname()
    by_path = {file.file.path: file for file in files}
    began = time.perf_counter()
    try:
        with FileSplitter(assignment.split_config, limits=assignment.limits) as splitter:
            for batch in in_batches(_chunks(files, splitter), first=1.0):
                paths = {chunk.record.path for chunk in batch.chunks} | {failure.path for failure in batch.failures}
                own = {path: by_path[path] for path in paths}
                yield RemoteBatch(machine, own, batch.chunks, batch.failures, time.perf_counter() - began)
                began = time.perf_counter()
    except Exception as error:
        yield RemoteBatch(machine, error=as_search_app_error(error))


def _chunks(files: Sequence[RemoteFile], splitter: FileSplitter) -> Iterator[FileChunk | FileFailure]:
    for file in files:
        converted = splitter.convert(file.file, file.digest)
        try:
            if converted.failure is not None:
                yield converted.failure
            for chunk in converted.chunks():
                if chunk.number not in file.done or unread.unmarked(chunk.record.digest) != file.digest:
                    yield chunk
        finally:
            converted.discard()


class RemoteEncoder:
    """Encodes and writes batches. In several threads, one encodes while the others look up vectors and write."""

    def __init__(self, assignment: Assignment, *, threads: int) -> None:
        from search_app import hardware
        from search_app.encoders.sentence_transformer import SentenceTransformerEncoder

        settings = assignment.settings
        hardware.set_threads(settings.threads or threads)
        self._encoder: Encoder = SentenceTransformerEncoder(settings.encoder, hardware.detect(settings.encoder.device))
        Manifest(assignment.stamp, "", "").require_encoder(self._encoder.stamp)
        self._writer = PartWriter(settings.elasticsearch, assignment.writer_config)
        self._encoding, self._writing = threading.Lock(), threading.Lock()

    def __call__(self, batch: RemoteBatch) -> RemoteReport:
        if batch.error is not None:
            return RemoteReport(error=batch.error)
        try:
            return self._report(batch)
        except Exception as error:
            return RemoteReport(error=as_search_app_error(error))

    def _report(self, remote: RemoteBatch) -> RemoteReport:
        batch = Batch(remote.chunks, remote.failures)
        encoder = BatchEncoder(self._encoder, self._writer.known_vectors)
        times = [time.perf_counter()]
        encoder.tokenize(batch)
        times.append(time.perf_counter())
        with self._encoding:
            times.append(time.perf_counter())
            encoder.encode(batch)
            times.append(time.perf_counter())
        with self._writing:
            times.append(time.perf_counter())
            written = self._writer.write(batch.changes) if batch.changes else []
            times.append(time.perf_counter())
        began, tokenised, encoding, encoded, writing, ended = times
        return RemoteReport(
            machine=remote.machine,
            written=[
                (remote.files[chunk.record.path], replace(chunk, documents=(), passages=()), part)
                for chunk, part in zip(batch.chunks, written, strict=True)
            ],
            failures=[(remote.files[failure.path], failure) for failure in remote.failures],
            encoded=len(batch.missing),
            tokens=batch.tokens,
            truncated=batch.truncated,
            busy={
                "convert": remote.seconds,
                "tokenise": tokenised - began,
                "encode": encoded - encoding,
                "write": ended - writing,
            },
        )


def as_search_app_error(error: Exception) -> SearchAppError:
    """The error in a form that can travel to another machine."""
    if isinstance(error, SearchAppError):
        return error
    return SearchAppError(f"{socket.gethostname()}: {type(error).__name__}: {error}")
