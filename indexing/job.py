"""An indexing job: `apply` scans, diffs, converts, encodes and writes; `plan` estimates what that would take."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from indexing import sources, splitter
from indexing.batches import BatchReport, in_batches
from indexing.conversion import Conversions
from indexing.diff import IndexDiff, Outcome, Shard, diff
from indexing.reports import FormatReport, OcrReport, by_format, ocr_report
from indexing.runner import IndexingTask, LocalRunner, Runner, conversions
from indexing.sandbox import DEFAULT_LIMITS, Limits
from indexing.sources import Skip
from indexing.splitter import SplitConfig, Splitter
from indexing.spool import spool_folder
from indexing.stages import StageTime
from search_app.errors import IndexNotFound
from search_app.manifest import Manifest, encoded_text
from search_app.protocols import Encoder, IndexWriter
from search_app.settings import Settings, check_collection_name
from search_app.stores.catalog import open_catalog, require_shard_writers
from search_app.stores.index import Catalog

_SAMPLE = 48
_MAX_SAMPLE = 1000
_REMOVE_FILES = 10_000
_MAX_REASONS = 10_000
"""Files that a summary lists with a reason; the others are only counted."""

Progress = Callable[[int], None]
"""Called after each batch with the bytes of files that it covered."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a job did: files by outcome, passages written, passages encoded, and wall-clock seconds.

    `tokens` went through the encoder, which cut off `truncated_tokens` and was busy for `encoder_share` of the time.
    `problems`, `warnings` and `skips` list at most the first 10,000 each. Readers see nothing of a sharded job before
    the `shards_missing` are done too.
    """

    added: int
    changed: int
    unchanged: int
    removed: int
    skipped: int
    failed: int
    passages: int
    passages_encoded: int
    truncated_tokens: int
    seconds: float
    problems: tuple[Skip, ...] = ()
    warnings: tuple[Skip, ...] = ()
    skips: tuple[Skip, ...] = ()
    tokens: int = 0
    encoder_share: float = 0.0
    stages: tuple[StageTime, ...] = ()
    shards_missing: tuple[int, ...] = ()
    formats: tuple[FormatReport, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Plan:
    """What `apply` would do. Close its `diff`.

    `tokens` include titles; `seconds` are estimated from a sample of the passages.
    """

    diff: IndexDiff
    passages: int
    tokens: int
    passages_to_encode: int
    seconds: float
    ocr: OcrReport
    warnings: tuple[Skip, ...] = ()
    formats: tuple[FormatReport, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, with the files of each outcome."""
        names = {
            outcome.value: list(self.diff.sources(outcome))
            for outcome in (Outcome.ADDED, Outcome.CHANGED, Outcome.UNCHANGED, Outcome.REMOVED)
        }
        reasons = {
            "skipped": list(map(asdict, self.diff.reasons(Outcome.SKIPPED))),
            "failed": list(map(asdict, self.diff.reasons(Outcome.FAILED))),
            "warnings": list(map(asdict, self.warnings)),
        }
        return {
            **asdict(self.diff.counts),
            "passages": self.passages,
            "tokens": self.tokens,
            "passages_to_encode": self.passages_to_encode,
            "seconds": round(self.seconds, 1),
            "ocr": asdict(self.ocr),
            "formats": list(map(asdict, self.formats)),
            **({"shards": list(map(asdict, self.diff.shard_sizes))} if self.diff.shard_sizes else {}),
            "files": {**names, **reasons},
        }


def manifest_of(settings: Settings, encoder: Encoder) -> Manifest:
    """The manifest of an index that these settings and this encoder make."""
    sizes = settings.splitter
    version = splitter.version(sizes.passage_tokens, sizes.overlap_tokens)
    return Manifest(encoder.stamp, version, settings.analysis.language)


def split_config_of(settings: Settings, encoder: Encoder) -> SplitConfig:
    """How to split for this encoder, with room for its special tokens and prefix: two, unless it states them."""
    reserved: int = getattr(encoder, "reserved_tokens", 2)
    return SplitConfig(
        encoder.tokenizer_json(),
        passage_tokens=settings.splitter.passage_tokens,
        overlap_tokens=settings.splitter.overlap_tokens,
        max_tokens=max(1, encoder.stamp.max_tokens - reserved),
        language=settings.analysis.language,
        fields=tuple(settings.indexing.fields.items()),
    )


def splitter_of(settings: Settings, encoder: Encoder) -> Splitter:
    """The splitter for this encoder."""
    return split_config_of(settings, encoder).splitter()


def apply(
    paths: Sequence[str | Path],
    *,
    settings: Settings,
    encoder: Encoder,
    collection: str = "default",
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    rebuild: bool = False,
    base: Path | None = None,
    shard: Shard | None = None,
    limits: Limits = DEFAULT_LIMITS,
    runner: Runner | None = None,
    start: Callable[[IndexDiff], None] = lambda diff: None,
    progress: Progress = lambda size: None,
) -> Summary:
    """Bring the collection up to date with the files under PATHs. `runner` defaults to a `LocalRunner`.

    A job that is killed keeps the batches it has written, and the next one continues there. Files are added before
    others are removed, so a renamed folder finds the vectors of its passages in the index.
    """
    began = time.perf_counter()
    runner = runner or LocalRunner()
    check_collection_name(collection)
    runner.check(settings)
    found = sources.scan(paths, include=include, exclude=exclude, base=base)
    manifest = manifest_of(settings, encoder)
    with (
        closing(open_catalog(settings)) as catalog,
        _writer(catalog, collection, manifest, shard, rebuild) as writer,
        spool_folder(settings.home) as folder,
        diff(found, writer.files(), shard=shard, folder=folder) as changes,
    ):
        start(changes)
        compared = time.perf_counter()
        totals = _Totals()
        task = IndexingTask(changes, writer, settings, encoder, split_config_of(settings, encoder), limits, folder)
        with closing(runner.run(task)) as reports:
            for report in reports:
                totals.add(report)
                for failure in report.failures:
                    changes.mark(failure.path, failure.outcome, failure.reason)
                progress(report.bytes)
        written = time.perf_counter()
        removed = changes.removed()
        while batch := list(islice(removed, _REMOVE_FILES)):
            writer.remove_files(batch)
        shards_missing = writer.finish()
        ended = time.perf_counter()
        compare, finish = StageTime("compare", compared - began), StageTime("finish", ended - written)
        return totals.summary(changes, ended - began, (compare, *runner.stage_times, finish), shards_missing)


def plan(
    paths: Sequence[str | Path],
    *,
    settings: Settings,
    encoder: Encoder,
    collection: str = "default",
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    shard: Shard | None = None,
    limits: Limits = DEFAULT_LIMITS,
    start: Callable[[IndexDiff], None] = lambda diff: None,
    progress: Progress = lambda size: None,
) -> Plan:
    """Convert and split what `apply` would, write nothing, and encode a sample to estimate the time."""
    began = time.perf_counter()
    found = sources.scan(paths, include=include, exclude=exclude)
    with closing(open_catalog(settings)) as catalog, spool_folder(settings.home) as folder:
        try:
            store = catalog.open(check_collection_name(collection))
        except IndexNotFound:
            changes = diff(found, (), shard=shard, folder=folder)
        else:
            with closing(store):
                store.manifest.require(manifest_of(settings, encoder))
                changes = diff(found, store.files(), shard=shard, folder=folder)
        try:
            start(changes)
            counting = replace(limits, ocr=False)
            with conversions(changes, settings, split_config_of(settings, encoder), folder, counting) as files:
                return _estimate(changes, files, encoder, began, progress)
        except BaseException:
            changes.close()
            raise


@dataclass(slots=True)
class _Totals:
    """The reports of a job, added up."""

    passages: int = 0
    encoded: int = 0
    tokens: int = 0
    truncated: int = 0
    warnings: dict[Skip, None] = field(default_factory=dict)  # a file that is converted again repeats its warnings
    more_warnings: int = 0
    ocr_pages: Counter[str] = field(default_factory=Counter)

    def add(self, report: BatchReport) -> None:
        self.passages += report.passages
        self.encoded += report.encoded
        self.tokens += report.tokens
        self.truncated += report.truncated
        self.warn(report.warnings)
        self.ocr_pages.update(report.ocr_pages)

    def warn(self, warnings: Iterable[Skip]) -> None:
        for warning in warnings:
            if len(self.warnings) < _MAX_REASONS:
                self.warnings[warning] = None
            elif warning not in self.warnings:
                self.more_warnings += 1

    def first_warnings(self) -> tuple[Skip, ...]:
        more = (Skip("…", f"and {self.more_warnings} warnings more"),) if self.more_warnings else ()
        return (*self.warnings, *more)

    def summary(
        self, changes: IndexDiff, seconds: float, stages: Sequence[StageTime], shards_missing: tuple[int, ...]
    ) -> Summary:
        [encode] = [stage for stage in stages if stage.name == "encode"]
        return Summary(
            **asdict(changes.counts),
            passages=self.passages,
            passages_encoded=self.encoded,
            truncated_tokens=self.truncated,
            seconds=round(seconds, 3),
            problems=_first(changes.reasons(Outcome.FAILED)),
            warnings=self.first_warnings(),
            skips=_first(changes.reasons(Outcome.SKIPPED)),
            tokens=self.tokens,
            encoder_share=round(encode.busy / (seconds * encode.processes), 3),
            stages=tuple(stage.rounded() for stage in stages),
            shards_missing=shards_missing,
            formats=by_format(changes, self.warnings, self.ocr_pages),
        )


def _writer(catalog: Catalog, collection: str, manifest: Manifest, shard: Shard | None, rebuild: bool) -> IndexWriter:
    if shard is None:
        return catalog.writer(collection, manifest, rebuild=rebuild)
    writers = require_shard_writers(catalog)
    return writers.shard_writer(collection, manifest, (shard.index, shard.count), rebuild=rebuild)


def _estimate(changes: IndexDiff, files: Conversions, encoder: Encoder, began: float, progress: Progress) -> Plan:
    totals = _Totals()
    passages = tokens = new = new_tokens = 0
    sample: list[str] = []
    for batch in in_batches(files):
        for failure in batch.failures:
            changes.mark(failure.path, failure.outcome, failure.reason)
        for chunk in batch.chunks:
            texts = list(map(encoded_text, chunk.passages))
            count = sum(map(len, encoder.token_spans(texts))) if texts else 0
            passages, tokens = passages + len(texts), tokens + count
            if not changes.has_content(chunk.record.digest):  # or the file has moved, and its vectors are known
                new, new_tokens = new + len(texts), new_tokens + count
                sample.extend(texts[: max(1, _SAMPLE // 8)])
                if len(sample) > _MAX_SAMPLE:
                    del sample[::2]
        totals.warn(batch.warnings)
        totals.ocr_pages.update(batch.ocr_pages)
        progress(batch.bytes)
    reading = time.perf_counter() - began
    scanned = ocr_report(changes, totals.ocr_pages, files.processes)
    reading += scanned.seconds if scanned.installed else 0
    seconds = max(reading, new_tokens * _seconds_per_token(encoder, sample))  # both at the same time
    formats = by_format(changes, totals.warnings, totals.ocr_pages)
    return Plan(changes, passages, tokens, new, seconds, scanned, totals.first_warnings(), formats)


def _first(reasons: Iterator[Skip]) -> tuple[Skip, ...]:
    return tuple(islice(reasons, _MAX_REASONS))


def _seconds_per_token(encoder: Encoder, sample: list[str]) -> float:
    if not sample:
        return 0.0
    sample = sample[:: max(1, len(sample) // _SAMPLE)][:_SAMPLE]
    encoder.encode_passages(sample[:4])  # the first pass of a model is slower than the others
    began = time.perf_counter()
    encoder.encode_passages(sample)
    return (time.perf_counter() - began) / max(1, sum(map(len, encoder.token_spans(sample))))
