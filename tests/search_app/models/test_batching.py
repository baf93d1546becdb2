from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from search_app.models.batching import PASS_COST, padded_width, plan_batches


@given(lengths=st.lists(st.integers(1, 400), max_size=60), budget=st.integers(64, 4096))
def test_batches_hold_every_row_once_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = plan_batches(lengths, budget=budget)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= budget


@given(lengths=st.lists(st.integers(1, 400), min_size=1, max_size=9))
def test_no_other_way_to_cut_the_sorted_rows_costs_less(lengths: list[int]) -> None:
    ordered = np.sort(lengths)

    def cost(cuts: list[int]) -> int:
        edges = [0, *cuts, len(ordered)]
        return sum(PASS_COST + (b - a) * int(ordered[b - 1]) for a, b in itertools.pairwise(edges))

    least = min(
        cost([i + 1 for i in range(len(ordered) - 1) if mask >> i & 1]) for mask in range(1 << (len(ordered) - 1))
    )
    planned = plan_batches(lengths, budget=1 << 20)
    assert sum(PASS_COST + len(b) * max(lengths[row] for row in b) for b in planned) == least


@given(longest=st.integers(1, 600), data=st.data())
def test_padded_widths_are_multiples_of_eight_or_the_longest_input(longest: int, data: st.DataObject) -> None:
    tokens = data.draw(st.integers(1, longest))
    width = padded_width(tokens, longest)
    assert tokens <= width < tokens + 8
    assert width % 8 == 0 or width == longest
