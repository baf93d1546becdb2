"""Files to chunks of documents and passages, in sandboxed processes. A file that fails is reported and skipped."""

from __future__ import annotations

import datetime as dt
import hashlib
import math
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import LifoQueue
from typing import Self

from indexing import sources, unread
from indexing.batches import BATCH_CHARACTERS, DOCUMENT_CHARACTERS, FileChunk, FileFailure, in_chunks
from indexing.converters.content import Content, ConversionError, iso_time
from indexing.diff import Outcome
from indexing.sandbox import DEFAULT_LIMITS, Limits, Sandbox
from indexing.sources import SourceFile
from indexing.splitter import SplitConfig, passage
from indexing.spool import Spool
from search_app.protocols import FileRecord
from search_app.text.analysis import detect_language, normalise_language
from search_app.types import Document, MetaValue, Passage

_MIN_ROOM = 1 << 18
"""Bytes of the spool that a file counts at least, so that the records of many small files do not fill the memory."""


@dataclass(frozen=True, slots=True)
class Converted:
    """A file that waits in its `spool`, or the `failure` that keeps it from being indexed. Discard it after use."""

    file: SourceFile
    record: FileRecord | None = None
    spool: Spool | None = None
    failure: FileFailure | None = None
    language: str = "auto"

    def chunks(self, characters: int = BATCH_CHARACTERS) -> Iterator[FileChunk]:
        """The file in chunks of about `characters`, read piece by piece; none after a failure."""
        if self.spool is None or self.record is None:
            return iter(())
        total = self.spool.characters + DOCUMENT_CHARACTERS * self.spool.documents
        return in_chunks(self.record, self.contents(), total=total, characters=characters, warnings=self.spool.warnings)

    def discard(self) -> None:
        """Delete the spool file."""
        if self.spool is not None:
            self.spool.discard()

    def contents(self) -> Iterator[Document | list[Passage]]:
        """Each document, followed by its passages in lists; none after a failure."""
        number = 0
        document: Document | None = None
        for line in self.spool.lines() if self.spool is not None else ():
            if isinstance(line, dict):
                content = Content.from_json(line)
                document = Document(
                    id=document_id(self.file.path, number),
                    title=content.title,
                    text=content.text,
                    source=self.file.source,
                    meta=content.meta,
                    language=self._language(content),
                    headings=content.headings,
                    pages=content.pages,
                    tables=content.tables,
                )
                number += 1
                yield document
            elif document is not None:
                title, spans = line
                yield [passage(document, title=title, start=start, end=end) for start, end in spans]

    def _language(self, content: Content) -> str:
        """Detected here, as a sandboxed process would take longer to load the model than to convert most files."""
        stated = normalise_language(str(content.meta.get("language", "")))
        return stated or (detect_language(content.text) if self.language == "auto" else self.language)


class FileSplitter:
    """Converts and splits one file at a time in a sandboxed process. A context manager; not for two threads at once.

        with FileSplitter(config) as splitter:
            converted = splitter.convert(file, digest="")
            for chunk in converted.chunks(): ...
            converted.discard()

    Spool files go to `folder`, or to the system's folder for temporary files.
    """

    def __init__(self, config: SplitConfig, *, folder: Path | None = None, limits: Limits = DEFAULT_LIMITS) -> None:
        self._sandbox = Sandbox(limits, config=config, folder=folder)
        self._language, self._folder = config.language, folder

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def convert(self, file: SourceFile, digest: str) -> Converted:
        """`digest` is the file's, or "" if not known. Raises SearchAppError for what is not the file's fault."""
        try:
            return self._convert(file, digest)
        except FileNotFoundError:
            return _failed(file, "it was deleted while the job ran", Outcome.SKIPPED)
        except ConversionError as error:
            return _failed(file, str(error))
        except OSError as error:
            return _failed(file, sources.reason_of(error))

    def interrupt(self) -> None:
        """From another thread: make `convert` return soon."""
        self._sandbox.interrupt()

    def close(self) -> None:
        self._sandbox.close()

    def _convert(self, file: SourceFile, digest: str) -> Converted:
        stated = sources.sidecar_meta(file.sidecar) if file.sidecar else {}
        spool, digest = self._spool(file, digest, stated)
        try:
            now = sources.refreshed(file)
            if now != file:
                spool.discard()
                file = now
                spool, digest = self._spool(file, "", stated)
                if sources.refreshed(file) != file:
                    raise ConversionError("it changes while it is being read; run the command again")
        except BaseException:
            spool.discard()
            raise
        record = sources.record_of(file, unread.marked(digest, spool.unread), spool.documents)
        return Converted(file, record, spool, language=self._language)

    def _spool(self, file: SourceFile, digest: str, stated: Mapping[str, MetaValue]) -> tuple[Spool, str]:
        """Convert into a spool file; returns the digest too."""
        facts: dict[str, MetaValue] = {"size": file.size, "format": file.format}
        if file.modified_ns:  # some web servers do not send it
            facts["modified"] = iso_time(dt.datetime.fromtimestamp(file.modified_ns / 1e9, dt.UTC))
        with sources.local(file, folder=self._folder) as path:
            digest = digest or sources.digest(file, path)
            spool = self._sandbox.convert(
                path,
                file.format,
                file.size,
                stem=Path(file.path).stem,
                overrides={**stated, **facts},
                charset=sources.charset_of(file, stated),
            )
        return spool, digest


class Conversions:
    """Convert and split files in several processes, and iterate over their chunks and failures in order.

    The processes work ahead of the reader until about `spool_bytes` wait on disk, or one file that is larger.
    `busy` and `waited_for_room` are seconds summed over the processes, `waited` are seconds of the reader. A context
    manager; iterate once.
    """

    def __init__(
        self,
        files: Iterable[tuple[SourceFile, str]],
        config: SplitConfig,
        *,
        processes: int = 1,
        folder: Path | None = None,
        spool_bytes: int = 512 << 20,
        limits: Limits = DEFAULT_LIMITS,
        chunk_characters: int = BATCH_CHARACTERS,
    ) -> None:
        self._files = iter(files)
        self._next: tuple[SourceFile, str] | None = None
        self._chunk_characters = chunk_characters
        self._spool_bytes = spool_bytes
        self._used = 0
        self._lock = threading.Lock()
        self._pending: deque[Future[Converted]] = deque()
        self._splitters = [FileSplitter(config, folder=folder, limits=limits) for _ in range(processes)]
        self._idle: LifoQueue[tuple[FileSplitter, float]] = LifoQueue()
        for splitter in self._splitters:
            self._idle.put((splitter, math.inf))
        self._pool = ThreadPoolExecutor(processes, thread_name_prefix="convert")
        self.processes = processes
        self.busy = self.waited_for_room = self.waited = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[FileChunk | FileFailure]:
        while self._submit():
            began = time.perf_counter()
            converted = self._pending.popleft().result()
            self.waited += time.perf_counter() - began
            yield from self._chunks(converted)

    def stop(self) -> None:
        """From another thread: end soon, with any error."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for splitter in self._splitters:
            splitter.interrupt()

    def close(self) -> None:
        self.stop()
        self._pool.shutdown()
        for splitter in self._splitters:
            splitter.close()

    def _chunks(self, converted: Converted) -> Iterator[FileChunk | FileFailure]:
        left = room = _room(converted.spool.bytes if converted.spool is not None else 0)
        try:
            if converted.failure is not None:
                yield converted.failure
            for chunk in converted.chunks(self._chunk_characters):
                yield chunk
                read = min(left, room * chunk.bytes // max(1, chunk.record.size))
                left -= read
                self._use(-read)  # at once: the next files are converted while a huge one is being read
                self._submit()
        finally:
            converted.discard()
            self._use(-left)

    def _submit(self) -> bool:
        """Start as many files as there is room for, and return whether any is pending."""
        while self._has_next() and self._next is not None:
            room = _room(self._next[0].size)  # an estimate until it is converted
            with self._lock:
                if self._used and self._used + room > self._spool_bytes:
                    break
                self._used += room
            self._pending.append(self._pool.submit(self._convert, *self._next, time.perf_counter()))
            self._next = None
        return bool(self._pending)

    def _has_next(self) -> bool:
        if self._next is None:
            try:
                self._next = next(self._files, None)
            except Exception as error:  # raised again after the files before it
                failed: Future[Converted] = Future()
                failed.set_exception(error)
                self._pending.append(failed)
                self._files = iter(())
        return self._next is not None

    def _convert(self, file: SourceFile, digest: str, submitted: float) -> Converted:
        splitter, idle_since = self._idle.get()
        began = time.perf_counter()
        try:
            converted = splitter.convert(file, digest)
        finally:
            self._idle.put((splitter, time.perf_counter()))
        size = converted.spool.bytes if converted.spool is not None else 0
        with self._lock:
            self.busy += time.perf_counter() - began
            self.waited_for_room += max(0.0, submitted - idle_since)
            self._used += _room(size) - _room(file.size)
        return converted

    def _use(self, room: int) -> None:
        with self._lock:
            self._used += room


def _failed(file: SourceFile, reason: str, outcome: Outcome = Outcome.FAILED) -> Converted:
    return Converted(file, failure=FileFailure(file.path, file.source, outcome, reason, file.size))


def _room(size: int) -> int:
    return max(size, _MIN_ROOM)


def document_id(path: str, number: int) -> str:
    """From the file's path and the document's number in it, not from the content: an edited document keeps its id."""
    return hashlib.sha256(f"{path}\0{number}".encode()).hexdigest()[:32]
