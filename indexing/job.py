"""An indexing job: what a run would do, and doing it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from indexing import sources, splitter
from indexing.batching import BATCH_CHARACTERS
from indexing.conversion import Conversions
from indexing.sandbox import DEFAULT_LIMITS, Limits, Sandbox
from indexing.sources import Skip
from indexing.splitter import Splitter
from indexing.work import Work, compare
from search_app.errors import IndexNotFound
from search_app.manifest import Manifest, encoded_text
from search_app.protocols import Encoder, FileRecord, Rejection
from search_app.settings import Settings, check_collection_name
from search_app.stores.catalog import open_catalog

_SAMPLE = 48

Progress = Callable[[int], None]
"""Told of each batch how many bytes of files it dealt with."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Files counted by outcome, passages written, those of them that went through the encoder, and wall-clock time."""

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

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Plan:
    """What `apply` would do; `seconds` is an estimate from a sample of its own passages, `tokens` includes titles."""

    work: Work
    passages: int
    tokens: int
    passages_to_encode: int
    seconds: float
    warnings: tuple[Skip, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        names = {
            "added": [file.source for file, _ in self.work.added],
            "changed": [file.source for file, _ in self.work.changed],
            "unchanged": [file.source for file in self.work.unchanged],
            "removed": list(self.work.removed),
        }
        reasons = {
            name: [asdict(skip) for skip in skips]
            for name, skips in (
                ("skipped", self.work.skipped),
                ("failed", self.work.failed),
                ("warnings", self.warnings),
            )
        }
        return {
            **{name: len(items) for name, items in names.items()},
            "skipped": len(self.work.skipped),
            "failed": len(self.work.failed),
            "passages": self.passages,
            "tokens": self.tokens,
            "passages_to_encode": self.passages_to_encode,
            "seconds": round(self.seconds, 1),
            "files": {**names, **reasons},
        }


def manifest_of(settings: Settings, encoder: Encoder) -> Manifest:
    sizes = settings.splitter
    version = splitter.version(sizes.passage_tokens, sizes.overlap_tokens)
    return Manifest(encoder.stamp, version, settings.analysis.language)


def splitter_of(settings: Settings, encoder: Encoder) -> Splitter:
    """Leaves room for the special tokens (two, if the encoder does not say) and the prefix that the encoder adds."""
    reserved: int = getattr(encoder, "special_tokens", 2)
    if settings.encoder.passage_prefix:
        reserved += len(encoder.token_spans([settings.encoder.passage_prefix])[0])
    return Splitter(
        encoder.token_spans,
        passage_tokens=settings.splitter.passage_tokens,
        overlap_tokens=settings.splitter.overlap_tokens,
        max_tokens=max(1, encoder.stamp.max_tokens - reserved),
    )


def apply(
    paths: Sequence[str | Path],
    *,
    settings: Settings,
    encoder: Encoder,
    collection: str = "default",
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    rebuild: bool = False,
    limits: Limits = DEFAULT_LIMITS,
    start: Callable[[Work], None] = lambda work: None,
    progress: Progress = lambda size: None,
) -> Summary:
    """Brings the collection up to date with the PATHs.

    A job that is killed has kept the batches that it finished, and the next one goes on there.
    Additions come before removals: the passages of a renamed folder find their vectors still in the index.
    """
    from indexing.pipeline import batches, indexing_pipeline

    began = time.perf_counter()
    check_collection_name(collection)
    found = sources.scan(paths, include=include, exclude=exclude)
    truncated = encoder.truncated_tokens
    passages = encoded = 0
    rejected: list[Rejection] = []
    manifest = manifest_of(settings, encoder)
    with (
        closing(open_catalog(settings)) as catalog,
        catalog.writer(collection, manifest, rebuild=rebuild) as writer,
        Sandbox(limits) as sandbox,
    ):
        work = compare(found, {record.path: record for record in writer.files()})
        start(work)
        split = splitter_of(settings, encoder)
        conversions = _conversions(work, settings, sandbox, split)
        run = batches(indexing_pipeline(conversions, split, encoder, writer))
        while not conversions.exhausted:
            changes = run(BATCH_CHARACTERS)
            passages += sum(len(change.batch.passages) for change in changes.items)
            encoded += changes.encoded
            rejected += changes.rejected
            progress(conversions.take_progress())
        writer.remove_files(work.removed)
        writer.finish()
    refused = {rejection.path for rejection in rejected}
    converted = set(conversions.converted) - refused
    return Summary(
        added=sum(file.path in converted for file, _ in work.added),
        changed=sum(file.path in converted for file, _ in work.changed),
        unchanged=len(work.unchanged),
        removed=len(work.removed),
        skipped=len(work.skipped) + len(conversions.skipped),
        failed=len(work.failed) + len(conversions.failed) + len(refused),
        passages=passages,
        passages_encoded=encoded,
        truncated_tokens=encoder.truncated_tokens - truncated,
        seconds=round(time.perf_counter() - began, 3),
        problems=tuple(
            work.failed + conversions.failed + [Skip(rejection.source, rejection.reason) for rejection in rejected]
        ),
        warnings=tuple(conversions.warnings),
        skips=tuple(work.skipped + conversions.skipped),
    )


def plan(
    paths: Sequence[str | Path],
    *,
    settings: Settings,
    encoder: Encoder,
    collection: str = "default",
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    limits: Limits = DEFAULT_LIMITS,
    start: Callable[[Work], None] = lambda work: None,
    progress: Progress = lambda size: None,
) -> Plan:
    """Converts and splits what `apply` would, writes nothing, and encodes a sample to estimate the time."""
    began = time.perf_counter()
    found = sources.scan(paths, include=include, exclude=exclude)
    known: dict[str, FileRecord] = {}
    with closing(open_catalog(settings)) as catalog:
        try:
            store = catalog.open(check_collection_name(collection))
        except IndexNotFound:
            pass
        else:
            with closing(store):
                store.manifest.require(manifest_of(settings, encoder))
                known = {record.path: record for record in store.files()}
    work = compare(found, known)
    start(work)
    digests = {record.digest for record in known.values()}
    split = splitter_of(settings, encoder)
    passages = tokens = fresh = fresh_tokens = 0
    sample: list[str] = []
    with Sandbox(limits) as sandbox:
        conversions = _conversions(work, settings, sandbox, split)
        while not conversions.exhausted:
            for part in conversions.take(BATCH_CHARACTERS).items:
                texts = [encoded_text(passage) for found in split.split(part.pieces) for passage in found]
                count = sum(map(len, encoder.token_spans(texts))) if texts else 0
                passages, tokens = passages + len(texts), tokens + count
                if part.record.digest not in digests:  # else it is a file that moved, and its vectors are known
                    fresh, fresh_tokens = fresh + len(texts), fresh_tokens + count
                    sample.extend(texts[: max(1, _SAMPLE // 8)])
            progress(conversions.take_progress())
    work.failed += conversions.failed
    work.skipped += conversions.skipped
    converted = set(conversions.converted)
    work.added = [item for item in work.added if item[0].path in converted]
    work.changed = [item for item in work.changed if item[0].path in converted]
    reading = time.perf_counter() - began
    seconds = reading + fresh_tokens * _seconds_per_token(encoder, sample)
    return Plan(work, passages, tokens, fresh, seconds, tuple(conversions.warnings))


def _conversions(work: Work, settings: Settings, sandbox: Sandbox, split: Splitter) -> Conversions:
    return Conversions(
        work.to_index,
        sandbox=sandbox,
        pieces=split.pieces,
        language=settings.analysis.language,
        part_characters=BATCH_CHARACTERS,
    )


def _seconds_per_token(encoder: Encoder, sample: list[str]) -> float:
    if not sample:
        return 0.0
    sample = sample[:: max(1, len(sample) // _SAMPLE)][:_SAMPLE]
    encoder.encode_passages(sample[:4])  # the first pass of a model is slower than all the others
    began = time.perf_counter()
    encoder.encode_passages(sample)
    return (time.perf_counter() - began) / max(1, sum(map(len, encoder.token_spans(sample))))
