"""Files to parts of bounded size, by way of sandboxed processes; a file that fails is noted and passed over."""

from __future__ import annotations

import datetime as dt
import hashlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from indexing import sources
from indexing.converters.content import Content, ConversionError, iso_time
from indexing.diff import Outcome
from indexing.pipeline.batching import BATCH_CHARACTERS, PER_DOCUMENT, PartStream, in_parts
from indexing.pipeline.parts import SplitPart
from indexing.sandbox import DEFAULT_LIMITS, Limits, Sandbox
from indexing.sources import Skip, SourceFile
from indexing.split_config import SplitConfig
from indexing.splitter import Stretch, passage
from indexing.spool import Spool
from search_app.protocols import FileRecord
from search_app.text.analysis import detect_language, normalise_language
from search_app.types import Document, MetaValue

_MAX_WARNINGS = 10_000
_LEAST_ROOM = 1 << 18
"""What a file takes of the spool at least, so that many small ones do not fill the memory with their records."""

SetAside = Callable[[str, Outcome, str], None]
"""Told of each file of which no passages come its path, what becomes of it, and the reason."""


@dataclass(frozen=True, slots=True)
class Converted:
    """A file that waits in its spool; without one `outcome` and `reason` say why it does not."""

    file: SourceFile
    record: FileRecord | None = None
    spool: Spool | None = None
    outcome: Outcome = Outcome.FAILED
    reason: str = ""
    warnings: tuple[str, ...] = ()
    language: str = "auto"

    def parts(self, characters: int = BATCH_CHARACTERS) -> Iterator[SplitPart]:
        """Read piecewise; none for a file that was not converted."""
        if self.spool is None or self.record is None:
            return iter(())
        total = self.spool.characters + PER_DOCUMENT * self.spool.documents
        return in_parts(self.record, self._contents(self.spool), total=total, most=characters)

    def discard(self) -> None:
        if self.spool is not None:
            self.spool.discard()

    def _contents(self, spool: Spool) -> Iterator[Document | Stretch]:
        """Each document, then its stretches."""
        number = 0
        document: Document | None = None
        for line in spool.lines():
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
                )
                number += 1
                yield document
            elif document is not None:
                characters, title, page, places = line
                found = (passage(document, title=title, page=page, start=start, end=end) for start, end in places)
                yield Stretch(tuple(found), characters)

    def _language(self, content: Content) -> str:
        """Found out here, for what a process needs for it takes longer to load than many a file to convert."""
        stated = normalise_language(str(content.meta.get("language", "")))
        return stated or (detect_language(content.text) if self.language == "auto" else self.language)


class FileSplitter:
    """Converts and splits one file after the other, in a process of its own; of no use to two threads at once.

        with FileSplitter(recipe, folder=FOLDER) as splitter:
            converted = splitter.convert(file, digest)
            for part in converted.parts(): ...
            converted.discard()

    Spool files lie in `folder`, or where temporary files go.
    """

    def __init__(self, recipe: SplitConfig, *, folder: Path | None = None, limits: Limits = DEFAULT_LIMITS) -> None:
        self._sandbox = Sandbox(limits, recipe=recipe, folder=folder)
        self._language, self._folder = recipe.language, folder

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def convert(self, file: SourceFile, digest: str) -> Converted:
        """Raises SearchAppError only for what is not the file's fault."""
        try:
            return self._convert(file, digest)
        except FileNotFoundError:
            return Converted(file, outcome=Outcome.SKIPPED, reason="it vanished while the job ran")
        except ConversionError as error:
            return Converted(file, reason=str(error))
        except OSError as error:
            return Converted(file, reason=sources.in_words(error))

    def interrupt(self) -> None:
        """From another thread: `convert` returns soon."""
        self._sandbox.interrupt()

    def close(self) -> None:
        self._sandbox.close()

    def _convert(self, file: SourceFile, digest: str) -> Converted:
        stated = sources.sidecar_meta(file.sidecar) if file.sidecar else {}
        spool, digest = self._spooled(file, digest, stated)
        try:
            now = sources.refreshed(file)
            if now != file:
                spool.discard()
                file = now
                spool, digest = self._spooled(file, "", stated)
                if sources.refreshed(file) != file:
                    raise ConversionError("it changes while it is being read; run the command again")
        except BaseException:
            spool.discard()
            raise
        record = sources.record_of(file, digest, spool.documents)
        return Converted(file, record, spool, warnings=spool.warnings, language=self._language)

    def _spooled(self, file: SourceFile, digest: str, stated: Mapping[str, MetaValue]) -> tuple[Spool, str]:
        """With the digest, where it was not known."""
        facts: dict[str, MetaValue] = {"size": file.size, "format": file.format}
        if file.modified_ns:  # not every web server says when
            facts["modified"] = iso_time(dt.datetime.fromtimestamp(file.modified_ns / 1e9, dt.UTC))
        with sources.local(file, folder=self._folder) as path:
            digest = digest or sources.digest(file, path)
            spool = self._sandbox.convert(
                path, file.format, file.size, stem=Path(file.path).stem, over={**stated, **facts}
            )
        return spool, digest


class Conversions(PartStream):
    """Files through several processes, which work ahead of their reader; what it reads is in the order of the files.

    About `spool_bytes` wait on disk, or one file that is larger. Close it.
    """

    def __init__(
        self,
        files: Iterable[tuple[SourceFile, str]],
        recipe: SplitConfig,
        *,
        processes: int = 1,
        folder: Path | None = None,
        spool_bytes: int = 512 << 20,
        limits: Limits = DEFAULT_LIMITS,
        part_characters: int = BATCH_CHARACTERS,
        set_aside: SetAside = lambda path, outcome, reason: None,
    ) -> None:
        self._files = iter(files)
        self._part_characters = part_characters
        self._set_aside = set_aside
        self._room = spool_bytes
        self._used = 0
        self._taken = self._read = 0
        self._ended = self._stopped = False
        self._results: dict[int, Converted | BaseException] = {}
        self._changed = threading.Condition()
        self._pulling = threading.Lock()
        self.processes = processes
        self.converting = self.held_up = 0.0
        """Seconds of all processes together: at work, and waiting for room in the spool."""
        self._warnings: list[Skip] = []
        self._more_warnings = 0
        self._splitters = [FileSplitter(recipe, folder=folder, limits=limits) for _ in range(processes)]
        self._threads = [
            threading.Thread(target=self._work, args=(splitter,), name=f"convert-{number}", daemon=True)
            for number, splitter in enumerate(self._splitters, 1)
        ]
        super().__init__(self._all())
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def warnings(self) -> tuple[Skip, ...]:
        """So far; beyond a limit they are counted in the last one."""
        more = (Skip("…", f"and {self._more_warnings} warnings more"),) if self._more_warnings else ()
        return (*self._warnings, *more)

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        for splitter in self._splitters:
            splitter.interrupt()

    def close(self) -> None:
        self.stop()
        for thread in self._threads:
            thread.join()
        for splitter in self._splitters:
            splitter.close()

    def _all(self) -> Iterator[SplitPart]:
        while (converted := self._next()) is not None:
            file = converted.file
            kept = converted.warnings[: _MAX_WARNINGS - len(self._warnings)]
            self._warnings += (Skip(file.source, warning) for warning in kept)
            self._more_warnings += len(converted.warnings) - len(kept)
            room = _room(converted.spool.bytes if converted.spool is not None else 0)
            if converted.spool is None:
                self._set_aside(file.path, converted.outcome, converted.reason)
                self.pass_over(file.size)
            left = room
            try:
                for part in converted.parts(self._part_characters):
                    yield part
                    read = min(left, room * part.bytes // max(1, file.size))
                    left -= read
                    self._give_back(read)  # or the next file would be converted when the last of a huge one is read
            finally:
                converted.discard()
                self._give_back(left)

    def _next(self) -> Converted | None:
        """The next file in order; None at the end."""
        began = time.perf_counter()
        with self._changed:
            while self._read not in self._results:
                if self._stopped or (self._ended and self._read == self._taken):
                    return None
                self._changed.wait()
            result = self._results.pop(self._read)
            self._read += 1
        self.waited += time.perf_counter() - began
        if isinstance(result, BaseException):
            raise result
        return result

    def _work(self, splitter: FileSplitter) -> None:
        while (task := self._pull()) is not None:
            number, file, digest = task
            began = time.perf_counter()
            result: Converted | BaseException
            try:
                result = splitter.convert(file, digest)
            except BaseException as error:  # raised again where the file's turn comes
                result = error
            size = result.spool.bytes if isinstance(result, Converted) and result.spool is not None else 0
            with self._changed:
                self.converting += time.perf_counter() - began
                self._used += _room(size) - _room(file.size)
                self._results[number] = result
                self._changed.notify_all()

    def _pull(self) -> tuple[int, SourceFile, str] | None:
        """The next file and its number, once there is room for it: what it will take is not known before."""
        with self._pulling:  # one at a time, and in order
            try:
                found = next(self._files, None)
            except BaseException as error:
                with self._changed:
                    self._results[self._taken] = error
                    self._taken += 1
                    self._ended = True
                    self._changed.notify_all()
                return None
            began = time.perf_counter()
            with self._changed:
                if found is None:
                    self._ended = True
                    self._changed.notify_all()
                    return None
                room = _room(found[0].size)
                while self._used and self._used + room > self._room and not self._stopped:
                    self._changed.wait()
                self.held_up += time.perf_counter() - began
                if self._stopped:
                    return None
                self._used += room
                number = self._taken
                self._taken += 1
            return number, *found

    def _give_back(self, room: int) -> None:
        with self._changed:
            self._used -= room
            self._changed.notify_all()


def _room(size: int) -> int:
    return max(size, _LEAST_ROOM)


def document_id(path: str, number: int) -> str:
    """By the file's place and the document's number in it, not by content: an edited document keeps its id."""
    return hashlib.sha256(f"{path}\0{number}".encode()).hexdigest()[:32]
