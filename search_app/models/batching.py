"""How inputs of different lengths are grouped and padded for a forward pass.

oneDNN keeps kernels and memory for every input shape that it has met, for the life of the process. So shapes are
rounded up to few, and padding is kept low by running inputs of similar length together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

WIDTH_STEP = 8
ROW_STEP = 4
"""Rows are rounded up beyond twice this number."""
PASS_COST = 64
"""Cost of one more forward pass, in tokens: a batch is split only where that saves more padding."""


def round_up(number: int, multiple: int) -> int:
    """The smallest multiple that is not below `number`."""
    return -(-number // multiple) * multiple


def padded_shape(rows: int, tokens: int, longest: int) -> tuple[int, int]:
    """Rows and tokens with padding. `longest` is what the model accepts: no row becomes longer."""
    padded_rows = rows if rows <= 2 * ROW_STEP else round_up(rows, ROW_STEP)
    return padded_rows, max(tokens, min(longest, round_up(tokens, WIDTH_STEP)))


def plan_batches(lengths: Sequence[int], *, longest: int, budget: int) -> list[NDArray[np.int64]]:
    """Row numbers of each batch, such that the computed tokens plus PASS_COST per batch are fewest.

    In order of length, each best batch is a run of neighbours, so the plan is a shortest path. No batch exceeds
    `budget` tokens, padding included, unless a single row does.
    """
    order = np.argsort(np.asarray(lengths, dtype=np.int64), kind="stable")
    costs = np.zeros(len(order) + 1, dtype=np.int64)
    cuts = np.zeros(len(order) + 1, dtype=np.int64)
    rows = np.array([padded_shape(rows, 1, 1)[0] for rows in range(len(order) + 1)])
    for end in range(1, len(order) + 1):
        width = padded_shape(1, lengths[order[end - 1]], longest)[1]
        start = max(0, end - _most_rows(width, budget))
        choices = costs[start:end] + rows[end - start : 0 : -1] * width + PASS_COST
        best = int(choices.argmin())
        costs[end], cuts[end] = choices[best], start + best
    batches: list[NDArray[np.int64]] = []
    end = len(order)
    while end:
        batches.append(order[cuts[end] : end])
        end = int(cuts[end])
    return batches


def _most_rows(width: int, budget: int) -> int:
    rows = max(1, budget // max(1, width))
    return rows if rows <= 2 * ROW_STEP else rows // ROW_STEP * ROW_STEP
