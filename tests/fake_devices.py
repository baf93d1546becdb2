"""Replacements for GPUs: CPU indexes with the limits of GPU indexes, and devices that fail on demand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from search_app.stores.vectors.device import DeviceFailure, Found, Mask, Scan
from search_app.stores.vectors.faiss_gpu import MAX_HITS, FaissScan, Selector, bitmap_selector
from search_app.stores.vectors.torch import TorchScan
from search_app.types import Matrix


class PlainKernel:
    """A flat index with the limits of FAISS on GPUs: no selectors, at most 2,048 hits, no removal."""

    def __init__(self, dim: int, *, float16: bool = False) -> None:
        self._index: Any = faiss.IndexFlatIP(dim)
        if float16:
            self._index = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)

    @property
    def ntotal(self) -> int:
        return int(self._index.ntotal)

    def add(self, vectors: Matrix) -> None:
        self._index.add(vectors)

    def reset(self) -> None:
        self._index.reset()

    def reconstruct_n(self, first: int, count: int) -> Matrix:
        return np.asarray(self._index.reconstruct_n(first, count))

    def reconstruct_batch(self, positions: NDArray[np.int64]) -> Matrix:
        return np.asarray(self._index.reconstruct_batch(np.ascontiguousarray(positions)))

    def search(self, queries: Matrix, k: int, params: object = None) -> Found:
        if k > MAX_HITS:
            raise RuntimeError(f"GPU index only supports min/max-K selection up to {MAX_HITS} (requested {k})")
        found: Found = self._index.search(queries, k)
        return found


class ObedientKernel(PlainKernel):
    """A kernel that applies selectors."""

    def search(self, queries: Matrix, k: int, params: object = None) -> Found:
        found: Found = self._index.search(queries, k, params=params)
        return found


def faiss_scan(
    dim: int, *, kernel: type[PlainKernel] = PlainKernel, float16: bool = False, selectors: bool = False,
    name: str = "faiss stand-in", segment: int = 900,
) -> FaissScan:  # fmt: skip
    selector: Selector | None = bitmap_selector(faiss) if selectors else None
    return FaissScan(
        lambda: kernel(dim, float16=float16), dim, name=name, float16=float16, selector=selector, segment=segment
    )


def torch_scan(dim: int, *, float16: bool = False, expected: int = 0, segment: int = 900) -> TorchScan:
    return TorchScan(dim, device="cpu", expected=expected, float16=float16, scratch_mb=1, segment=segment)


SCANS: dict[str, Callable[[int], Scan]] = {
    "torch bfloat16": torch_scan,
    "torch float16": lambda dim: torch_scan(dim, float16=True),
    "torch, memory taken at once": lambda dim: torch_scan(dim, expected=5000, segment=1 << 20),
    "faiss float32": faiss_scan,
    "faiss float16": lambda dim: faiss_scan(dim, float16=True),
    "faiss, one segment": lambda dim: faiss_scan(dim, segment=1 << 20),
    "faiss with selectors": lambda dim: faiss_scan(dim, kernel=ObedientKernel, selectors=True),
}


class Failing:
    """A scan that raises in its n-th call and in every later call."""

    def __init__(
        self, scan: Scan, *, at: int, error: Callable[[str], DeviceFailure] = DeviceFailure, name: str = "cuda:0"
    ) -> None:
        self._scan, self._left, self._error, self.name = scan, at, error, name

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise self._error(f"{self.name}: CUDA error: the device is gone")

    def __len__(self) -> int:
        return len(self._scan)

    def add(self, vectors: Matrix) -> None:
        self._count()
        self._scan.add(vectors)

    def best(self, queries: Matrix, k: int, mask: Mask | None) -> Found:
        self._count()
        return self._scan.best(queries, k, mask)

    def compact(self, mask: Mask) -> None:
        self._count()
        self._scan.compact(mask)

    def error_bound(self, queries: Matrix) -> float:
        return self._scan.error_bound(queries)

    def describe(self) -> dict[str, object]:
        return {"device": self.name}
