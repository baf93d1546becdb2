"""What a job made of the files of each format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from indexing.converters import ocr
from indexing.diff import IndexDiff, Outcome
from indexing.formats import kind_of
from indexing.sources import Skip


@dataclass(frozen=True, slots=True)
class FormatReport:
    """Files of one format: `read` by the job, and of these those with `warnings`; the others by outcome.

    `ocr_pages` are pages read by OCR. `format` is a name of the registry, or the ending of files that have no format,
    "" without one.
    """

    format: str
    read: int = 0
    unchanged: int = 0
    skipped: int = 0
    failed: int = 0
    warnings: int = 0
    ocr_pages: int = 0


@dataclass(frozen=True, slots=True)
class OcrReport:
    """Scanned pages that `apply` would read by OCR, in about `seconds` of the clock; not without the extra `ocr`.

    Without it, they include the pages that unchanged files lack.
    """

    pages: int
    files: int
    seconds: float
    installed: bool


def ocr_report(changes: IndexDiff, ocr_pages: Mapping[str, int], processes: int) -> OcrReport:
    """What OCR would take. `ocr_pages` are by file, of those that are read."""
    pages = {**changes.unread_pages(), **ocr_pages}
    total = sum(pages.values())
    return OcrReport(total, len(pages), round(total * ocr.SECONDS_PER_PAGE / processes, 1), ocr.is_installed())


def by_format(changes: IndexDiff, warnings: Iterable[Skip], ocr_pages: Mapping[str, int]) -> tuple[FormatReport, ...]:
    """A report for each format, those with the most files first. `ocr_pages` are by file."""
    scanned = Counter[str]()
    for source, pages in ocr_pages.items():
        scanned[kind_of(source)] += pages
    warned = Counter(kind_of(source) for source in {warning.source for warning in warnings})
    counted = sorted(changes.formats().items(), key=lambda item: (-item[1].total(), item[0]))
    return tuple(_report(kind, counts, warned[kind], scanned[kind]) for kind, counts in counted)


def completed(
    reports: Iterable[FormatReport], *, skipped: Iterable[Skip], failed: Iterable[Skip]
) -> tuple[FormatReport, ...]:
    """The reports with files added that did not reach the job: an upload is checked before."""
    more = {kind: Counter(kind_of(item.source) for item in items) for kind, items in
            (("skipped", skipped), ("failed", failed))}  # fmt: skip
    known = {report.format: report for report in reports}
    found = [
        replace(report, skipped=report.skipped + more["skipped"][kind], failed=report.failed + more["failed"][kind])
        for kind in dict.fromkeys([*known, *more["skipped"], *more["failed"]])
        for report in [known.get(kind, FormatReport(kind))]
    ]
    return tuple(sorted(found, key=lambda report: (-_files(report), report.format)))


def _files(report: FormatReport) -> int:
    return report.read + report.unchanged + report.skipped + report.failed


def _report(kind: str, counts: Counter[Outcome], warnings: int, ocr_pages: int) -> FormatReport:
    read = counts[Outcome.ADDED] + counts[Outcome.CHANGED]
    unchanged, skipped, failed = (counts[key] for key in (Outcome.UNCHANGED, Outcome.SKIPPED, Outcome.FAILED))
    return FormatReport(kind, read, unchanged, skipped, failed, warnings, ocr_pages)
