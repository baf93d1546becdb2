"""An indexing job: what a run would do, and doing it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from indexing import sources, splitter
from indexing.conversion import Conversions
from indexing.diff import IndexDiff, Outcome, Shard, compare
from indexing.pipeline.batching import BATCH_CHARACTERS
from indexing.pipeline.stages import StageTime
from indexing.sandbox import DEFAULT_LIMITS, Limits
from indexing.sources import Skip
from indexing.split_config import SplitConfig
from indexing.splitter import Splitter
from indexing.spool import spool_folder
from search_app import hardware
from search_app.errors import IndexNotFound
from search_app.manifest import Manifest, encoded_text
from search_app.protocols import Encoder
from search_app.settings import Settings, check_collection_name
from search_app.stores.catalog import open_catalog, require_shard_writers

_SAMPLE = 48
_MOST_SAMPLED = 1000
_REMOVED_AT_ONCE = 10_000
_MOST_REASONS = 10_000
"""Files that are named with the reason why they are not indexed; beyond these they are only counted."""

Progress = Callable[[int], None]
"""Told of each batch how many bytes of files it dealt with."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Files counted by outcome, passages written, those of them that went through the encoder, and wall-clock time.

    `tokens` are those that the encoder computed, `encoder_share` is the part of the time that it did. Problems,
    warnings and skips are the first of them. Nothing is seen before the `shards_missing` are done.
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

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Plan:
    """What `apply` would do; `seconds` is an estimate from a sample of its own passages, `tokens` includes titles.

    Close its `work`.
    """

    work: IndexDiff
    passages: int
    tokens: int
    passages_to_encode: int
    seconds: float
    warnings: tuple[Skip, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        names = {
            outcome.value: list(self.work.sources(outcome))
            for outcome in (Outcome.ADDED, Outcome.CHANGED, Outcome.UNCHANGED, Outcome.REMOVED)
        }
        reasons = {
            "skipped": list(map(asdict, self.work.reasons(Outcome.SKIPPED))),
            "failed": list(map(asdict, self.work.reasons(Outcome.FAILED))),
            "warnings": list(map(asdict, self.warnings)),
        }
        return {
            **asdict(self.work.counts),
            "passages": self.passages,
            "tokens": self.tokens,
            "passages_to_encode": self.passages_to_encode,
            "seconds": round(self.seconds, 1),
            **({"shards": list(map(asdict, self.work.shares))} if self.work.shares else {}),
            "files": {**names, **reasons},
        }


def manifest_of(settings: Settings, encoder: Encoder) -> Manifest:
    sizes = settings.splitter
    version = splitter.version(sizes.passage_tokens, sizes.overlap_tokens)
    return Manifest(encoder.stamp, version, settings.analysis.language)


def split_config_of(settings: Settings, encoder: Encoder) -> SplitConfig:
    """Leaves room for the special tokens (two, if the encoder does not say) and the prefix that the encoder adds."""
    reserved: int = getattr(encoder, "special_tokens", 2)
    if settings.encoder.passage_prefix:
        reserved += len(encoder.token_spans([settings.encoder.passage_prefix])[0])
    return SplitConfig(
        encoder.tokenizer_json(),
        passage_tokens=settings.splitter.passage_tokens,
        overlap_tokens=settings.splitter.overlap_tokens,
        max_tokens=max(1, encoder.stamp.max_tokens - reserved),
        language=settings.analysis.language,
    )


def splitter_of(settings: Settings, encoder: Encoder) -> Splitter:
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
    start: Callable[[IndexDiff], None] = lambda work: None,
    progress: Progress = lambda size: None,
) -> Summary:
    """Brings the collection up to date with the PATHs.

    A job that is killed has kept the batches that it finished, and the next one goes on there.
    Additions come before removals: the passages of a renamed folder find their vectors still in the index.
    """
    from indexing.pipeline.pipeline import indexing_pipeline, overlapping

    began = time.perf_counter()
    check_collection_name(collection)
    found = sources.scan(paths, include=include, exclude=exclude, base=base)
    truncated = encoder.truncated_tokens
    passages = encoded = tokens = 0
    manifest = manifest_of(settings, encoder)
    with (
        closing(open_catalog(settings)) as catalog,
        (
            require_shard_writers(catalog).shard_writer(
                collection, manifest, (shard.index, shard.count), rebuild=rebuild
            )
            if shard
            else catalog.writer(collection, manifest, rebuild=rebuild)
        ) as writer,
        spool_folder(settings.home) as folder,
        compare(found, writer.files(), shard=shard, folder=folder) as work,
    ):
        start(work)
        compared = time.perf_counter()
        with (
            _conversions(work, settings, encoder, folder, limits) as conversions,
            overlapping(indexing_pipeline(conversions, encoder, writer), BATCH_CHARACTERS) as batches,
        ):
            for changes in batches:
                passages += sum(len(change.batch.passages) for change in changes.items)
                encoded += changes.encoded
                tokens += changes.tokens
                for rejection in changes.rejected:
                    work.set_aside(rejection.path, Outcome.FAILED, rejection.reason)
                progress(changes.bytes)
        written = time.perf_counter()
        removed = work.removed()
        while batch := list(itertools.islice(removed, _REMOVED_AT_ONCE)):
            writer.remove_files(batch)
        shards_missing = writer.finish()
        ended = time.perf_counter()
        stages = (
            StageTime("compare", compared - began),
            StageTime("convert", conversions.converting, 0.0, conversions.held_up, conversions.processes),
            *batches.times(),
            StageTime("finish", ended - written),
        )
        [encoding] = [stage.busy for stage in stages if stage.name == "encode"]
        return Summary(
            **asdict(work.counts),
            passages=passages,
            passages_encoded=encoded,
            truncated_tokens=encoder.truncated_tokens - truncated,
            seconds=round(ended - began, 3),
            problems=_first(work.reasons(Outcome.FAILED)),
            warnings=conversions.warnings,
            skips=_first(work.reasons(Outcome.SKIPPED)),
            tokens=tokens,
            encoder_share=round(encoding / (ended - began), 3),
            stages=tuple(stage.rounded() for stage in stages),
            shards_missing=shards_missing,
        )


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
    start: Callable[[IndexDiff], None] = lambda work: None,
    progress: Progress = lambda size: None,
) -> Plan:
    """Converts and splits what `apply` would, writes nothing, and encodes a sample to estimate the time."""
    began = time.perf_counter()
    found = sources.scan(paths, include=include, exclude=exclude)
    with closing(open_catalog(settings)) as catalog, spool_folder(settings.home) as folder:
        try:
            store = catalog.open(check_collection_name(collection))
        except IndexNotFound:
            work = compare(found, (), shard=shard, folder=folder)
        else:
            with closing(store):
                store.manifest.require(manifest_of(settings, encoder))
                work = compare(found, store.files(), shard=shard, folder=folder)
        try:
            start(work)
            with _conversions(work, settings, encoder, folder, limits) as conversions:
                return _planned(work, conversions, encoder, began, progress)
        except BaseException:
            work.close()
            raise


def _planned(work: IndexDiff, conversions: Conversions, encoder: Encoder, began: float, progress: Progress) -> Plan:
    passages = tokens = fresh = fresh_tokens = 0
    sample: list[str] = []
    while not conversions.exhausted:
        parts = conversions.take(BATCH_CHARACTERS)
        for part in parts.items:
            texts = list(map(encoded_text, part.passages))
            count = sum(map(len, encoder.token_spans(texts))) if texts else 0
            passages, tokens = passages + len(texts), tokens + count
            if not work.knows(part.record.digest):  # else it is a file that moved, and its vectors are known
                fresh, fresh_tokens = fresh + len(texts), fresh_tokens + count
                sample.extend(texts[: max(1, _SAMPLE // 8)])
                if len(sample) > _MOST_SAMPLED:
                    del sample[::2]
        progress(parts.bytes)
    reading = time.perf_counter() - began
    seconds = max(reading, fresh_tokens * _seconds_per_token(encoder, sample))  # they overlap
    return Plan(work, passages, tokens, fresh, seconds, conversions.warnings)


def _conversions(work: IndexDiff, settings: Settings, encoder: Encoder, folder: Path, limits: Limits) -> Conversions:
    return Conversions(
        work.to_index(),
        split_config_of(settings, encoder),
        processes=settings.indexing.converters or max(1, hardware.cores() - 1),
        folder=folder,
        spool_bytes=settings.indexing.spool_mb << 20,
        limits=limits,
        part_characters=BATCH_CHARACTERS,
        set_aside=work.set_aside,
    )


def _first(reasons: Iterator[Skip]) -> tuple[Skip, ...]:
    return tuple(itertools.islice(reasons, _MOST_REASONS))


def _seconds_per_token(encoder: Encoder, sample: list[str]) -> float:
    if not sample:
        return 0.0
    sample = sample[:: max(1, len(sample) // _SAMPLE)][:_SAMPLE]
    encoder.encode_passages(sample[:4])  # the first pass of a model is slower than all the others
    began = time.perf_counter()
    encoder.encode_passages(sample)
    return (time.perf_counter() - began) / max(1, sum(map(len, encoder.token_spans(sample))))
