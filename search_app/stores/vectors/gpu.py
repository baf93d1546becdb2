"""Search on one or several GPUs with exact re-ranking; on the CPU if the GPUs fail."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from typing import TypeVar

import numpy as np

from search_app import hardware
from search_app.settings import VectorSettings
from search_app.stores.vectors import ranking, selftest
from search_app.stores.vectors.device import DeviceFailure, Found, Mask, OutOfMemory, Scan
from search_app.stores.vectors.faiss_gpu import faiss_scan
from search_app.stores.vectors.flat import FlatIndex
from search_app.stores.vectors.index import Lookup, Rows, VectorIndex
from search_app.stores.vectors.rows import NONE, empty_result, positions_of
from search_app.types import Matrix

Batches = Callable[[], Iterator[tuple[Rows, Matrix]]]
Scans = Callable[[int, int, VectorSettings], Sequence[Scan]]
"""(dim, count, settings): one scan per device; raises DeviceFailure without one."""
T = TypeVar("T")
log = logging.getLogger(__name__)
_MAX_DEAD = 1 / 5
"""Share of removed vectors that a device holds before it is compacted."""
_BLOCK = 8192
"""Exact vectors read at a time."""


def wanted(settings: VectorSettings, count: int) -> bool:
    """Whether to use a GPU; "auto" does for more than `flat_limit` vectors, if a GPU passes its self-test."""
    if settings.device == "auto":
        return count > settings.flat_limit and hardware.cuda_devices() > 0 and bool(selftest.run().library)
    return settings.device != "cpu"


def describe(settings: VectorSettings) -> dict[str, object]:
    """The device and its self-test, for `info`."""
    if settings.device == "cpu" or (settings.device == "auto" and not hardware.cuda_devices()):
        return {"device": settings.device}
    return {"device": settings.device, **asdict(selftest.run())}


def open_gpu(
    dim: int, count: int, batches: Batches, settings: VectorSettings, *, scans: Scans | None = None
) -> VectorIndex:
    """Load `batches` onto the devices in the settings; onto the CPU, with a warning, if they fail."""
    index = GpuIndex(dim, (), spread=settings.spread)
    try:
        why = f"vectors.device is {settings.device}"
        index = GpuIndex(dim, (scans or available_scans)(dim, count, settings), spread=settings.spread, why=why)
        for rows, vectors in batches():
            index.add(rows, vectors)
            if not index.devices:
                break
    except DeviceFailure as error:
        index.fail(str(error))
    if not index.devices:
        index.serve_from(batches())
    return index


def available_scans(dim: int, count: int, settings: VectorSettings) -> Sequence[Scan]:
    """Scans on every visible device (cuda), one (cuda:N), or the first (auto); by FAISS if it passed its self-test."""
    result = selftest.run()
    if not result.library:
        raise DeviceFailure(result.why)
    ids = _devices(settings.device, len(result.devices))
    if ids.stop > len(result.devices):
        raise DeviceFailure(f"there is no {settings.device}, only {', '.join(result.devices)}")
    float16, scratch_mb = settings.float16, settings.scratch_mb
    if result.library == "faiss":
        return [faiss_scan(dim, n, float16=float16, scratch_mb=scratch_mb, selectors=result.selectors) for n in ids]
    from search_app.stores.vectors.torch import TorchScan  # importing torch takes a second

    expected = math.ceil(count / len(ids)) if settings.spread == "shard" else count
    return [TorchScan(dim, device=f"cuda:{n}", expected=expected, float16=float16, scratch_mb=scratch_mb) for n in ids]


class _DeviceIndex:
    """The rows on one device, and the one thread that uses it."""

    def __init__(self, scan: Scan) -> None:
        self.scan = scan
        self._batches: list[Rows] = [NONE]
        self._live: Mask = np.empty(0, dtype=bool)
        self.dead = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=scan.name)

    @property
    def rows(self) -> Rows:
        """Row numbers by position, removed ones included; they ascend."""
        if len(self._batches) > 1:
            self._batches = [np.concatenate(self._batches)]
            new = len(self._batches[0]) - len(self._live)
            self._live = np.concatenate((self._live, np.ones(new, dtype=bool)))
        return self._batches[0]

    @property
    def live(self) -> Rows:
        rows = self.rows
        return rows[self._live]

    def run(self, task: Callable[..., T], *arguments: object) -> Future[T]:
        return self._thread.submit(task, *arguments)

    def add(self, rows: Rows, vectors: Matrix) -> None:
        """Rows are recorded before the device is used, so that they are known if it fails."""
        self._batches.append(rows)
        self.run(self.scan.add, vectors).result()

    def remove(self, rows: Rows) -> None:
        """Mask removed vectors; compact the device once there are many."""
        places = positions_of(rows, self.rows)
        self._live[places] = False
        self.dead = len(self._live) - int(np.count_nonzero(self._live))
        if self.dead > len(self._live) * _MAX_DEAD:
            kept, self._batches = self._live, [self.live]
            self._live, self.dead = np.ones(len(self._batches[0]), dtype=bool), 0
            self.run(self.scan.compact, kept).result()

    def count(self, among: Rows) -> int:
        """The number of these rows that are here and not removed."""
        places = positions_of(among, self.rows)
        return int(np.count_nonzero(self._live[places]))

    def best(self, queries: Matrix, k: int, among: Rows | None) -> Found:
        """Approximate scores and rows, both (queries, min(k, matching))."""
        rows = self.rows
        mask: Mask | None = self._live
        if among is not None:
            mask = np.zeros(len(rows), dtype=bool)
            mask[positions_of(among, rows)] = True
            mask &= self._live
        elif not self.dead:
            mask = None
        k = min(k, len(rows) if mask is None else int(np.count_nonzero(mask)))
        if not k:
            return empty_result(queries, 0)
        scores, positions = self._halving(queries, k, mask)
        return scores, rows[positions]

    def _halving(self, queries: Matrix, k: int, mask: Mask | None) -> Found:
        try:
            return self.scan.best(queries, k, mask)
        except OutOfMemory:
            if len(queries) < 2:
                raise
        half = len(queries) // 2
        both = self._halving(queries[:half], k, mask), self._halving(queries[half:], k, mask)
        return np.concatenate([one[0] for one in both]), np.concatenate([one[1] for one in both])


class GpuIndex:
    """Each device holds all vectors and answers a part of the queries ("replica"), or the reverse ("shard").

    A device that fails is not used again. When too few are left, the CPU searches the exact vectors.
    """

    def __init__(self, dim: int, scans: Sequence[Scan], *, spread: str, why: str = "") -> None:
        self._dim, self._shard, self._why = dim, spread == "shard", why
        self._parts = [_DeviceIndex(scan) for scan in scans]
        self._failures: list[str] = []
        self._lost: list[_DeviceIndex] = []
        """Kept, since freeing memory of a lost device makes FAISS end the process."""
        self._left: Rows = NONE
        self._cpu: VectorIndex | None = None

    def __len__(self) -> int:
        if self._cpu is not None:
            return len(self._cpu)
        if not self._parts:
            return len(self._left)
        return sum(len(part.rows) - part.dead for part in (self._parts if self._shard else self._parts[:1]))

    @property
    def degraded(self) -> str:
        return "; ".join(self._failures)

    @property
    def devices(self) -> list[str]:
        """Names of the working devices."""
        return [part.scan.name for part in self._parts]

    def add(self, rows: Rows, vectors: Matrix) -> None:
        if not len(rows):
            return
        if self._cpu is not None:
            return self._cpu.add(rows, vectors)
        if not self._parts:
            self._left = np.concatenate((self._left, rows))
        smallest = sorted(self._parts, key=lambda part: len(part.scan))[:1]
        for part in smallest if self._shard else list(self._parts):
            try:
                part.add(rows, vectors)
            except DeviceFailure as error:
                self._lose(part, error)

    def remove(self, rows: Rows) -> None:
        if self._cpu is not None:
            return self._cpu.remove(rows)
        for part in list(self._parts):
            try:
                part.remove(rows)
            except DeviceFailure as error:
                self._lose(part, error)
        self._left = self._left[~np.isin(self._left, rows)]

    def search(self, vectors: Matrix, k: int, *, exact: Lookup, among: Rows | None = None) -> tuple[Matrix, Rows]:
        queries = np.ascontiguousarray(vectors, dtype=np.float32)
        if self._parts:
            try:
                return self._search(queries, k, exact, among)
            except _NoDeviceLeft:
                pass
        if self._cpu is None:
            self.serve_from(_exact_batches(self._left, exact))
        assert self._cpu is not None
        return self._cpu.search(queries, k, exact=exact, among=among)

    def describe(self) -> dict[str, object]:
        if self._cpu is not None:
            return {**self._cpu.describe(), "why": self.degraded}
        return {
            "kind": "gpu",
            "spread": "shard" if self._shard else "replica",
            "devices": [part.scan.describe() for part in self._parts],
            "removed": sum(part.dead for part in self._parts),
            "why": "; ".join(filter(None, (self._why, self.degraded))),
        }

    def to_arrays(self) -> None:
        return None

    def fail(self, why: str) -> None:
        self._failures.append(why)
        log.warning("vectors are searched on the CPU: %s", why)

    def serve_from(self, batches: Iterable[tuple[Rows, Matrix]]) -> None:
        """Switch to the CPU with these vectors."""
        flat = FlatIndex(self._dim, why=self.degraded)
        for rows, vectors in batches:
            flat.add(rows, vectors)
        self._cpu, self._left = flat, NONE

    def _search(self, queries: Matrix, k: int, exact: Lookup, among: Rows | None) -> tuple[Matrix, Rows]:
        parts = self._parts if self._shard else self._parts[:1]
        matching = len(self) if among is None else sum(part.count(among) for part in parts)
        k = min(k, matching)
        if not k or not len(queries):
            return empty_result(queries, k)
        scores, rows = self._best(queries, ranking.initial_k(k), among)

        def more(query: int, count: int) -> ranking.Ranked:
            again = self._best(queries[query : query + 1], count, among)
            return again[0][0], again[1][0]

        return ranking.rerank_exact(
            queries,
            list(zip(scores, rows, strict=True)),
            k,
            exact=exact,
            error_bound=max(part.scan.error_bound(queries) for part in self._parts),
            matching=matching,
            more=more,
        )

    def _best(self, queries: Matrix, k: int, among: Rows | None) -> Found:
        """Approximate scores, descending, and rows. Raises _NoDeviceLeft."""
        while self._parts:
            shares = [queries] * len(self._parts) if self._shard else np.array_split(queries, len(self._parts))
            asked = [
                (part, part.run(part.best, share, k, among))
                for part, share in zip(self._parts, shares, strict=True)
                if len(share)
            ]
            found = []
            for part, future in asked:
                try:
                    found.append(future.result())
                except DeviceFailure as error:
                    self._lose(part, error)
            if len(found) == len(asked):
                if self._shard:
                    return functools.reduce(lambda left, right: ranking.merge_top_k(left, right, k), found)
                return np.concatenate([one[0] for one in found]), np.concatenate([one[1] for one in found])
        raise _NoDeviceLeft

    def _lose(self, lost: _DeviceIndex, error: DeviceFailure) -> None:
        if lost not in self._parts:
            return
        if not isinstance(error, OutOfMemory):
            self._lost.append(lost)
        gone = self._parts if self._shard else [lost]
        self._parts = [part for part in self._parts if part not in gone]
        if not self._parts:
            self._left = np.sort(np.concatenate([part.live for part in gone]))
            self.fail(str(error))
        else:
            self._failures.append(str(error))
            log.warning("vectors are searched on %s alone: %s", ", ".join(self.devices), error)


class _NoDeviceLeft(Exception):
    """Every device failed."""


def _exact_batches(rows: Rows, exact: Lookup) -> Iterator[tuple[Rows, Matrix]]:
    for start in range(0, len(rows), _BLOCK):
        some = rows[start : start + _BLOCK]
        yield some, exact(some)


def _devices(setting: str, there: int) -> range:
    """Device numbers: "cuda" is all of them, "auto" the first."""
    if setting == "cuda":
        return range(there)
    first = int(setting.partition(":")[2] or 0)
    return range(first, first + 1)
