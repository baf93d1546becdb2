"""How the files of a job are converted, encoded and written. `LocalRunner` does it on this machine.

`indexing.cluster.driver.RayRunner` does it on a Ray cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from indexing.batches import BATCH_CHARACTERS, Batch, BatchReport, in_batches
from indexing.conversion import Conversions
from indexing.diff import IndexDiff
from indexing.encoding import BatchEncoder
from indexing.sandbox import Limits
from indexing.splitter import SplitConfig
from indexing.stages import Stages, StageTime
from search_app import hardware
from search_app.protocols import Encoder, IndexWriter, PassageStore
from search_app.settings import Settings


@dataclass(frozen=True, slots=True)
class IndexingTask:
    """The added and changed files of `diff`, and all that it takes to index them. Spool files go to `folder`."""

    diff: IndexDiff
    writer: IndexWriter
    settings: Settings
    encoder: Encoder
    split_config: SplitConfig
    limits: Limits
    folder: Path


class Runner(Protocol):
    """Runs one task at a time."""

    @property
    def stage_times(self) -> Sequence[StageTime]:
        """Times of the last task that was run to its end; one of the stages is `encode`."""
        ...

    def check(self, settings: Settings) -> None:
        """Raise ConfigurationError for what cannot work, before the job begins."""
        ...

    def run(self, task: IndexingTask) -> Generator[BatchReport]:
        """Convert, encode and write; yield a report per batch. Closing the generator stops everything."""
        ...


class LocalRunner:
    """Converts in sandboxed processes; tokenises, encodes and writes in threads of this process.

    Each transaction has about `batch_characters` of text.
    """

    def __init__(self, *, batch_characters: int = BATCH_CHARACTERS) -> None:
        self._batch_characters = batch_characters
        self.stage_times: Sequence[StageTime] = ()

    def check(self, settings: Settings) -> None:
        """Every store works."""

    def run(self, task: IndexingTask) -> Generator[BatchReport]:
        with (
            conversions(
                task.diff, task.settings, task.split_config, task.folder, task.limits, self._batch_characters
            ) as files,
            encode_and_write(
                in_batches(files, characters=self._batch_characters),
                task.encoder,
                task.writer,
                on_stop=files.stop,
                waited=lambda: files.waited,
            ) as stages,
        ):
            yield from stages
            convert = StageTime("convert", files.busy, 0.0, files.waited_for_room, files.processes)
            self.stage_times = (convert, *stages.times())


def conversions(
    diff: IndexDiff, settings: Settings, config: SplitConfig, folder: Path, limits: Limits,
    chunk_characters: int = BATCH_CHARACTERS,
) -> Conversions:  # fmt: skip
    """The files to index, converted and split in as many processes as the settings allow."""
    return Conversions(
        diff.to_index(),
        config,
        processes=settings.indexing.converters or max(1, hardware.cores() - 1),
        folder=folder,
        spool_bytes=settings.indexing.spool_mb << 20,
        limits=limits,
        chunk_characters=chunk_characters,
    )


def encode_and_write(
    batches: Iterable[Batch],
    encoder: Encoder,
    writer: IndexWriter,
    *,
    earlier: PassageStore | None = None,
    on_stop: Callable[[], None] = lambda: None,
    waited: Callable[[], float] = lambda: 0.0,
) -> Stages[BatchReport]:
    """Read, tokenise, encode and write batches at the same time. Vectors are reused from `writer` and `earlier`."""
    lock = Lock()  # a writer serves one thread at a time

    def known_vectors(keys: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        with lock:
            return writer.known_vectors(keys)

    def write(batch: Batch) -> BatchReport:
        with lock:
            rejections = writer.write(batch.changes) if batch.changes else []
        batch_encoder.release(batch)
        return batch.report(rejections)

    batch_encoder = BatchEncoder(encoder, known_vectors, earlier=earlier)
    steps = [("tokenise", batch_encoder.tokenize), ("encode", batch_encoder.encode), ("write", write)]
    return Stages(("read", batches), steps, on_stop=on_stop, waited=waited)
