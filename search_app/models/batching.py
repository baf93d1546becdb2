"""How inputs of different lengths are grouped and padded for a forward pass.

oneDNN keeps kernels and memory for every input shape that it has met, for the life of the process. So widths are
rounded up to a few steps, and padding is kept low by running inputs of similar length together.
"""

from __future__ import annotations

from collections.abc import Sequence

WIDTH_STEP = 8
PASS_COST = 64
"""Cost of one more forward pass, in tokens: a batch is split only where that saves more padding."""


def round_up(number: int, multiple: int) -> int:
    """The smallest multiple that is not below `number`."""
    return -(-number // multiple) * multiple


def padded_width(tokens: int, longest: int) -> int:
    """Tokens of an input with its padding; never more than `longest`, which the model accepts."""
    return max(tokens, min(longest, round_up(tokens, WIDTH_STEP)))


def plan_batches(lengths: Sequence[int], *, budget: int) -> list[list[int]]:
    """Row numbers of each batch, such that the computed tokens plus PASS_COST per batch are fewest.

    In order of length, each best batch is a run of neighbours, so the plan is a shortest path. No batch exceeds
    `budget` tokens, padding included, unless a single row does.
    """
    order = sorted(range(len(lengths)), key=lambda row: (lengths[row], row))
    cost, cut = [0], [0]
    for last in range(1, len(order) + 1):
        width = lengths[order[last - 1]]
        first = max(0, min(last - 1, last - budget // max(1, width)))
        least, where = min((cost[i] + (last - i) * width + PASS_COST, i) for i in range(first, last))
        cost.append(least)
        cut.append(where)
    batches: list[list[int]] = []
    last = len(order)
    while last:
        batches.append(order[cut[last] : last])
        last = cut[last]
    return batches
