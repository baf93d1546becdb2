"""Search by PyTorch in half precision, mainly on CUDA devices that the installed FAISS cannot use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from search_app.stores.vectors.device import Found, Mask, Rounding, failure
from search_app.types import Matrix

SEGMENT = 1 << 20
"""Vectors in one tensor."""
_GATHER = 1 / 8
"""Up to this share of a segment, gathering the allowed vectors moves less memory than masking."""


class TorchScan:
    """2 bytes per dimension, bfloat16 or float16. Memory for `expected` vectors is allocated at once."""

    def __init__(
        self, dim: int, *, device: str, expected: int = 0, float16: bool = False, scratch_mb: int = 256,
        segment: int = SEGMENT,
    ) -> None:  # fmt: skip
        self._dim, self._device, self._expected, self._segment = dim, torch.device(device), expected, segment
        self._type = torch.float16 if float16 else torch.bfloat16
        self._scratch = max(1, scratch_mb) << 20
        self._segments: list[torch.Tensor] = []
        self._used: list[int] = []
        self._rounding = Rounding(dim)

    @property
    def name(self) -> str:
        return f"torch {self._device}"

    def __len__(self) -> int:
        return sum(self._used)

    def add(self, vectors: Matrix) -> None:
        with self._translated():
            exact = self._moved(vectors)
            self._rounding.observe(*_norms(exact, exact.to(self._type)))
            rounded, done = exact.to(self._type), 0
            while done < len(rounded):
                if not self._segments or self._used[-1] == len(self._segments[-1]):
                    self._new_segment(len(rounded) - done)
                at = self._used[-1]
                some = rounded[done : done + len(self._segments[-1]) - at]
                self._segments[-1][at : at + len(some)] = some
                self._used[-1] += len(some)
                done += len(some)

    def best(self, queries: Matrix, k: int, mask: Mask | None) -> Found:
        with self._translated(), torch.inference_mode():
            wanted = self._moved(queries).to(self._type)
            scores = torch.empty((len(wanted), 0), device=self._device)
            positions = torch.empty((len(wanted), 0), dtype=torch.int64, device=self._device)
            for start, places, vectors, allowed in self._blocks(len(wanted), mask):
                here = _products(wanted, vectors)
                if allowed is not None:
                    here.masked_fill_(~allowed, -torch.inf)
                values, which = here.topk(min(k, here.shape[1]), dim=1)
                which = which + start if places is None else places[which]
                scores, positions = torch.cat((scores, values), dim=1), torch.cat((positions, which), dim=1)
                scores, order = scores.topk(min(k, scores.shape[1]), dim=1)
                positions = positions.gather(1, order)
            return scores.cpu().numpy(), positions.cpu().numpy()

    def compact(self, mask: Mask) -> None:
        with self._translated():
            kept: list[torch.Tensor] = []
            start = 0
            for i, used in enumerate(self._used):
                chosen = torch.from_numpy(mask[start : start + used].copy()).to(self._device)
                left = self._segments[i][:used][chosen]
                self._segments[i] = left  # frees the old tensor before the next is copied
                if kept and len(kept[-1]) + len(left) <= self._segment:
                    kept[-1] = torch.cat((kept[-1], left))
                elif len(left):
                    kept.append(left)
                start += used
            self._segments, self._used = kept, [len(segment) for segment in kept]

    def error_bound(self, queries: Matrix) -> float:
        exact = torch.from_numpy(np.array(queries, dtype=np.float32))
        return self._rounding.error_bound(*_norms(exact, exact.to(self._type)))

    def describe(self) -> dict[str, object]:
        return {
            "device": self.name,
            "precision": str(self._type).removeprefix("torch."),
            "bytes": sum(segment.nbytes for segment in self._segments),
        }

    def _new_segment(self, needed: int) -> None:
        size = max(needed, self._expected - len(self), len(self) // 8, 1024)
        self._segments.append(torch.empty((min(size, self._segment), self._dim), dtype=self._type, device=self._device))
        self._used.append(0)

    def _blocks(
        self, queries: int, mask: Mask | None
    ) -> Iterator[tuple[int, torch.Tensor | None, torch.Tensor, torch.Tensor | None]]:
        """Blocks that fit into scratch memory: first position or all positions, vectors, and which are allowed."""
        start = 0
        for segment, used in zip(self._segments, self._used, strict=True):
            allowed = None if mask is None else mask[start : start + used]
            count = used if allowed is None else int(np.count_nonzero(allowed))
            # Scores and the output of topk; without CUDA also the vectors as float32.
            each = 12 * queries + (0 if self._device.type == "cuda" else 4 * self._dim)
            if allowed is not None and count <= used * _GATHER:
                places = torch.from_numpy(np.flatnonzero(allowed)).to(self._device)
                for some in torch.split(places, max(256, self._scratch // (each + 2 * self._dim))):
                    yield 0, some + start, segment.index_select(0, some), None
            else:
                chosen = None if allowed is None or count == used else torch.from_numpy(allowed.copy()).to(self._device)
                step = max(256, self._scratch // each)
                for at in range(0, used, step):
                    end = min(at + step, used)
                    yield start + at, None, segment[at:end], None if chosen is None else chosen[at:end]
            start += used

    def _moved(self, matrix: Matrix) -> torch.Tensor:
        plain = np.ascontiguousarray(matrix, dtype=np.float32)
        return torch.from_numpy(plain if plain.flags.writeable else plain.copy()).to(self._device)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise failure(self.name, error) from error
        except RuntimeError as error:  # such as a lost device
            raise failure(self.name, error) from error


def _products(queries: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """Inner products, float32 (queries, vectors), accumulated in float32."""
    if queries.is_cuda:
        return torch.mm(queries, vectors.T, out_dtype=torch.float32)
    return queries.float() @ vectors.float().T


def _norms(exact: torch.Tensor, rounded: torch.Tensor) -> tuple[float, float]:
    """The largest norm and the largest rounding error."""
    if not len(exact):
        return 0.0, 0.0
    away = exact - rounded.float()
    return float(exact.norm(dim=1).max()), float(away.norm(dim=1).max())
