"""Self-test of GPU search: known answers, with filters and after removal.

It runs in its own process, since FAISS ends the process on a CUDA error.
"""

from __future__ import annotations

import functools
import itertools
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import numpy as np

from search_app.stores.vectors import packages
from search_app.stores.vectors.device import DeviceFailure, Mask, Scan
from search_app.types import Matrix

TIMEOUT = 120.0
"""Seconds per library; initialising CUDA alone can take ten."""
DIM = 96
_COUNT, _SEED = 6000, 7
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SelfTestResult:
    """`library`: "faiss" or "torch", empty if neither passed; `why`: what failed."""

    library: str = ""
    devices: tuple[str, ...] = ()
    selectors: bool = False
    why: str = ""


@functools.cache
def run() -> SelfTestResult:
    """Test FAISS, then torch. Takes seconds, so the result is cached."""
    found = packages.installed()
    named = ", ".join(found) or "no FAISS"
    result = in_own_process("faiss") if packages.for_gpu(found) else SelfTestResult(why=f"{named} has no code for GPUs")
    if result.library:
        return result
    fallback = in_own_process("torch")
    why = "; ".join(reason for reason in (result.why, fallback.why) if reason)
    if not fallback.library:
        log.warning("no GPU is used for vectors: %s", why)
    return SelfTestResult(fallback.library, fallback.devices, fallback.selectors, why)


def in_own_process(library: str, *, timeout: float = TIMEOUT) -> SelfTestResult:
    """Run the self-test in a new process, because a broken library may crash it."""
    paths = os.pathsep.join(path for path in sys.path if path)
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__, library],
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, "PYTHONPATH": paths},
            check=False,
        )
    except subprocess.TimeoutExpired:
        return SelfTestResult(why=f"{library}: no answer within {timeout:.0f} s")
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return SelfTestResult(why=f"{library}: {lines[-1]}")
    answer = json.loads(done.stdout.splitlines()[-1])
    return SelfTestResult(**{**answer, "devices": tuple(answer["devices"])})


def check(scan: Scan) -> None:
    """Raises DeviceFailure for missing or wrong hits, or scores beyond the error bound."""
    random = np.random.default_rng(_SEED)
    vectors, queries = _unit(random, _COUNT), _unit(random, 40)
    scan.add(vectors[: _COUNT // 3])
    scan.add(vectors[_COUNT // 3 :])
    for mask in _masks(random, _COUNT):
        _compare(scan, vectors, queries, mask)
    kept = random.random(_COUNT) > 0.3
    scan.compact(kept)
    scan.add(vectors[:100])
    vectors = np.concatenate((vectors[kept], vectors[:100]))
    for mask in _masks(random, len(vectors)):
        _compare(scan, vectors, queries, mask)


def _unit(random: np.random.Generator, count: int) -> Matrix:
    vectors: Matrix = random.standard_normal((count, DIM), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def _masks(random: np.random.Generator, count: int) -> Iterator[Mask | None]:
    yield None
    for share in (0.999, 0.5, 0.1, 0.01, 0.001):
        yield random.random(count) < share


def _compare(scan: Scan, vectors: Matrix, queries: Matrix, mask: Mask | None) -> None:
    allowed = np.ones(len(vectors), dtype=bool) if mask is None else mask
    count = int(np.count_nonzero(allowed))
    for k, asked in ((1, 1), (10, 1), (10, len(queries)), (100, len(queries)), (2048, 2), (3000, 1)):
        some, k = queries[:asked], min(k, count)
        if not k:
            continue
        exact = some @ vectors.T
        error_bound = scan.error_bound(some)
        scores, positions = scan.best(some, k, mask)
        if scores.shape != (asked, k) or positions.shape != (asked, k):
            raise DeviceFailure(f"{scan.name}: self-test: {scores.shape} in place of {(asked, k)} hits")
        if not allowed[positions].all():
            raise DeviceFailure(f"{scan.name}: self-test: a filter was ignored")
        if any(len(np.unique(row)) < k for row in positions):
            raise DeviceFailure(f"{scan.name}: self-test: a vector was found twice")
        if (
            np.abs(np.take_along_axis(exact, positions, axis=1) - scores).max() > error_bound
            or (np.diff(scores) > 0).any()
        ):
            raise DeviceFailure(
                f"{scan.name}: self-test: scores are off by more than {error_bound:.2g}, or not in order"
            )
        last = -np.partition(-np.where(allowed, exact, -np.inf), k - 1, axis=1)[:, k - 1]
        if (scores[:, -1] < last - 2 * error_bound).any():
            raise DeviceFailure(f"{scan.name}: self-test: a better vector was missed")


def _faiss() -> SelfTestResult:
    from search_app.stores.vectors import faiss
    from search_app.stores.vectors.faiss_gpu import faiss_scan

    library = faiss.library()
    if "GPU" not in library.get_compile_options().split():
        return SelfTestResult(why=f"FAISS {library.__version__} has no code for GPUs")

    def make(n: int, float16: bool, selectors: bool) -> Scan:
        return faiss_scan(DIM, n, float16=float16, scratch_mb=64, selectors=selectors)

    return run_checks("faiss", library.get_num_gpus(), make)


def _torch() -> SelfTestResult:
    import torch

    from search_app.stores.vectors.torch import TorchScan

    def make(n: int, float16: bool, selectors: bool) -> Scan:
        return TorchScan(DIM, device=f"cuda:{n}", float16=float16, scratch_mb=1)

    return run_checks("torch", torch.cuda.device_count() if torch.cuda.is_available() else 0, make)


def run_checks(library: str, count: int, make: Callable[[int, bool, bool], Scan]) -> SelfTestResult:
    """Check `make(device, float16, selectors)` on each device in both precisions; with selectors, then without."""
    if not count:
        return SelfTestResult(why=f"{library} finds no GPU")
    why = ""
    for selectors in (True, False) if library == "faiss" else (False,):
        try:
            for device, float16 in itertools.product(range(count), (False, True)):
                check(make(device, float16, selectors))
        except DeviceFailure as error:
            why = str(error)
            continue
        return SelfTestResult(library, tuple(f"cuda:{n}" for n in range(count)), selectors, why)
    return SelfTestResult(why=why)


if __name__ == "__main__":
    print(json.dumps(asdict({"faiss": _faiss, "torch": _torch}[sys.argv[1]]())))
