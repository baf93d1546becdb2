"""Who drives a job that others do keeps the books: parts come back in any order, and files are completed from them."""

from __future__ import annotations

import itertools
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

from indexing.cluster.remote import Item, Note, Report
from indexing.diff import IndexDiff, Outcome
from indexing.job import Progress, Summary
from indexing.pipeline.stages import StageTime
from indexing.sources import Skip
from search_app.protocols import FileRecord
from search_app.stores.elasticsearch.parts import FileWritten, PartWritten
from search_app.stores.elasticsearch.writer import ElasticsearchWriter

_MOST_REASONS = 10_000
_AT_ONCE, _SECONDS = 500, 10.0
"""Files are completed together, so many or so long after the last ones: each time the build is refreshed."""


@dataclass(slots=True)
class _File:
    """One that is open: what has been written of it, by the part's number."""

    item: Item
    parts: dict[int, PartWritten] = field(default_factory=dict)
    bytes: dict[int, int] = field(default_factory=dict)
    record: FileRecord | None = None
    count: int = 0


class JobLedger:
    """Takes memory for the files that are open, not for all."""

    def __init__(self, writer: ElasticsearchWriter, work: IndexDiff, progress: Progress) -> None:
        self._writer = writer
        self._work = work
        self._progress = progress
        self._expected: dict[int, int] = {}
        self._ended: dict[int, set[int]] = {}
        self._open: dict[tuple[int, int], _File] = {}
        self._complete: list[FileWritten] = []
        self._settled = time.monotonic()
        self._warnings: dict[Skip, None] = {}  # a file that is done again says them again
        self._passages = self._encoded = self._tokens = self._truncated = 0
        self.busy: Counter[str] = Counter()
        """Seconds by stage, of all machines."""

    def expect(self, block: int, files: int) -> None:
        self._expected[block] = files

    def take(self, report: Report) -> None:
        """Raises the error that a worker met."""
        if report.error is not None:
            raise report.error
        for part in report.parts:
            if self._is_ended(part.item):
                continue
            file = self._open.setdefault((part.item.block, part.item.number), _File(part.item))
            if part.index not in file.parts:
                self._passages += part.written.passages
                file.bytes[part.index] = part.bytes
                self._progress(part.bytes)
            file.parts[part.index] = part.written
            if part.record is not None:
                file.record, file.count = part.record, part.index + 1
            if file.record is not None and len(file.parts) >= file.count:
                self._complete.append(FileWritten(file.record, tuple(file.parts.values())))
                self._end(part.item)
        for note in report.notes:
            self._note(note)
        self._encoded += report.encoded
        self._tokens += report.tokens
        self._truncated += report.truncated
        self.busy.update(report.busy)
        if len(self._complete) >= _AT_ONCE or (self._complete and time.monotonic() > self._settled + _SECONDS):
            self.settle()

    def settle(self) -> None:
        """Completes in the index the files that are complete here."""
        complete, self._complete = self._complete, []
        for rejection in self._writer.complete(complete):
            self._work.set_aside(rejection.path, Outcome.FAILED, rejection.reason)
        self._settled = time.monotonic()

    def is_done(self, block: int) -> bool:
        return block not in self._expected

    def rest(self, items: Sequence[Item]) -> list[Item]:
        """Those of a block that have not ended, without the parts that are written."""
        return [
            replace(item, done=tuple(self._open[key].parts) if key in self._open else ())
            for item in items
            if not self._is_ended(item)
            for key in [(item.block, item.number)]
        ]

    def give_up(self, item: Item, reason: str) -> None:
        self._set_aside(item, Outcome.FAILED, reason)
        self.settle()

    def summary(self, seconds: float, *, encoder_share: float, stages: Sequence[StageTime]) -> Summary:
        return Summary(
            **asdict(self._work.counts),
            passages=self._passages,
            passages_encoded=self._encoded,
            truncated_tokens=self._truncated,
            seconds=round(seconds, 3),
            problems=tuple(itertools.islice(self._work.reasons(Outcome.FAILED), _MOST_REASONS)),
            warnings=tuple(itertools.islice(self._warnings, _MOST_REASONS)),
            skips=tuple(itertools.islice(self._work.reasons(Outcome.SKIPPED), _MOST_REASONS)),
            tokens=self._tokens,
            encoder_share=round(encoder_share, 3),
            stages=tuple(stage.rounded() for stage in stages),
        )

    def _note(self, note: Note) -> None:
        item = note.item
        if self._is_ended(item):
            return
        if note.outcome is None:
            self._warnings[Skip(item.file.source, note.reason)] = None
        elif note.outcome is Outcome.SKIPPED and os.path.exists(item.file.path):
            reason = f"{note.machine} does not find it: give all machines the same folder, or an object store's URL"
            self._set_aside(item, Outcome.FAILED, reason)
        else:
            self._set_aside(item, note.outcome, note.reason)

    def _set_aside(self, item: Item, outcome: Outcome, reason: str) -> None:
        self._work.set_aside(item.file.path, outcome, reason)
        file = self._open.get((item.block, item.number), _File(item))
        self._progress(max(0, item.file.size - sum(file.bytes.values())))
        if file.parts:  # of its content before this; it goes
            record = FileRecord(item.file.path, item.file.source, "", item.file.size, 0, 0)
            self._complete.append(FileWritten(record, (PartWritten(item.file.path, kept=False),)))
        self._end(item)

    def _is_ended(self, item: Item) -> bool:
        return item.block not in self._expected or item.number in self._ended.get(item.block, ())

    def _end(self, item: Item) -> None:
        self._open.pop((item.block, item.number), None)
        ended = self._ended.setdefault(item.block, set())
        ended.add(item.number)
        if len(ended) == self._expected[item.block]:
            del self._ended[item.block], self._expected[item.block]
