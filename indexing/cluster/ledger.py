"""The driver's record of a job that other machines do: chunks come back in any order and complete their files."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from indexing.batches import BatchReport, FileFailure
from indexing.cluster.remote import RemoteFile, RemoteReport
from indexing.diff import Outcome
from indexing.sources import Skip
from search_app.protocols import FileRecord
from search_app.stores.elasticsearch.parts import FileWritten, PartWritten
from search_app.stores.elasticsearch.writer import ElasticsearchWriter

_FLUSH_FILES, _FLUSH_SECONDS = 500, 10.0
"""Files are completed in groups, as each time Elasticsearch has to refresh the index."""


@dataclass(slots=True)
class _OpenFile:
    """What has been written of a file so far, by chunk number."""

    written: dict[int, PartWritten] = field(default_factory=dict)
    bytes: dict[int, int] = field(default_factory=dict)
    record: FileRecord | None = None
    count: int = 0


class JobLedger:
    """Keeps the open files in memory, not all files. `busy` counts seconds by stage, over all machines."""

    def __init__(self, writer: ElasticsearchWriter) -> None:
        self._writer = writer
        self._expected: dict[int, int] = {}
        self._finished: dict[int, set[int]] = {}
        self._open: dict[tuple[int, int], _OpenFile] = {}
        self._complete: list[FileWritten] = []
        self._flushed = time.monotonic()
        self.busy: Counter[str] = Counter()

    def expect(self, block: int, files: int) -> None:
        """Announce a block of files."""
        self._expected[block] = files

    def add(self, report: RemoteReport) -> BatchReport:
        """Record a worker's report. Raises the error that the worker met."""
        if report.error is not None:
            raise report.error
        size = passages = 0
        failures: list[FileFailure] = []
        warnings: list[Skip] = []
        for file, chunk, written in report.written:
            if self._is_finished(file):
                continue
            opened = self._open.setdefault(file.key, _OpenFile())
            if chunk.number not in opened.written:
                passages += written.passages
                size += chunk.bytes
            opened.written[chunk.number], opened.bytes[chunk.number] = written, chunk.bytes
            warnings += (Skip(chunk.record.source, text) for text in chunk.warnings)
            if chunk.last:
                opened.record, opened.count = chunk.record, chunk.number + 1
            if opened.record is not None and len(opened.written) >= opened.count:
                self._complete.append(FileWritten(opened.record, tuple(opened.written.values())))
                self._finish(file)
        for file, failure in report.failures:
            if not self._is_finished(file):
                failures.append(self._fail(file, _located(failure, report.machine)))
        self.busy.update(report.busy)
        due = len(self._complete) >= _FLUSH_FILES or time.monotonic() > self._flushed + _FLUSH_SECONDS
        if self._complete and due:
            failures += self.flush().failures
        return BatchReport(
            size + sum(failure.bytes for failure in failures),
            passages, report.encoded, report.tokens, report.truncated, tuple(failures), tuple(warnings),
        )  # fmt: skip

    def flush(self) -> BatchReport:
        """Complete in the index the files that are complete here."""
        complete, self._complete = self._complete, []
        rejections = self._writer.complete(complete)
        self._flushed = time.monotonic()
        return BatchReport(failures=tuple(map(FileFailure.of, rejections)))

    def is_done(self, block: int) -> bool:
        """Whether every file of the block is complete or has failed."""
        return block not in self._expected

    def remaining(self, files: Sequence[RemoteFile]) -> list[RemoteFile]:
        """The unfinished files of a block, with the chunks of them that are done."""
        return [
            replace(file, done=tuple(self._open[file.key].written) if file.key in self._open else ())
            for file in files
            if not self._is_finished(file)
        ]

    def fail(self, files: Sequence[RemoteFile], reason: str) -> BatchReport:
        """Fail files that no worker could finish."""
        failures = [
            self._fail(file, FileFailure(file.file.path, file.file.source, Outcome.FAILED, reason)) for file in files
        ]
        size = sum(failure.bytes for failure in failures)
        return BatchReport(size, failures=(*failures, *self.flush().failures))

    def _fail(self, file: RemoteFile, failure: FileFailure) -> FileFailure:
        opened = self._open.get(file.key, _OpenFile())
        if opened.written:  # delete what was written of its earlier content
            record = FileRecord(file.file.path, file.file.source, "", file.file.size, 0, 0)
            self._complete.append(FileWritten(record, (PartWritten(file.file.path, kept=False),)))
        self._finish(file)
        return replace(failure, bytes=max(0, file.file.size - sum(opened.bytes.values())))

    def _is_finished(self, file: RemoteFile) -> bool:
        return file.block not in self._expected or file.number in self._finished.get(file.block, ())

    def _finish(self, file: RemoteFile) -> None:
        self._open.pop(file.key, None)
        finished = self._finished.setdefault(file.block, set())
        finished.add(file.number)
        if len(finished) == self._expected[file.block]:
            del self._finished[file.block], self._expected[file.block]


def _located(failure: FileFailure, machine: str) -> FileFailure:
    """A file that exists here and not on the worker has not been deleted."""
    if failure.outcome is not Outcome.SKIPPED or not os.path.exists(failure.path):
        return failure
    reason = f"{machine} cannot find it; mount the same folder on all machines, or give an object store's URL"
    return replace(failure, outcome=Outcome.FAILED, reason=reason)
