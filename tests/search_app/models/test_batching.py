from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from search_app.models.batching import PASS_COST, padded_shape, plan_batches

LONGEST = 400
LENGTHS = st.integers(1, LONGEST)


@given(lengths=st.lists(LENGTHS, max_size=60), budget=st.integers(1, 4096))
def test_batches_hold_every_row_once_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = plan_batches(lengths, longest=LONGEST, budget=budget)
    assert sorted(int(row) for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        rows, width = padded_shape(len(batch), max(lengths[row] for row in batch), LONGEST)
        assert len(batch) == 1 or rows * width <= budget


@given(lengths=st.lists(LENGTHS, min_size=1, max_size=11))
def test_no_other_way_to_cut_the_sorted_rows_costs_less(lengths: list[int]) -> None:
    ordered = np.sort(lengths)

    def cost(batches: list[list[int]]) -> int:
        shapes = [padded_shape(len(batch), max(batch), LONGEST) for batch in batches]
        return sum(PASS_COST + rows * width for rows, width in shapes)

    def cut(places: int) -> list[list[int]]:
        edges = [0, *(i + 1 for i in range(len(ordered) - 1) if places >> i & 1), len(ordered)]
        return [ordered[a:b].tolist() for a, b in itertools.pairwise(edges)]

    planned = [[lengths[row] for row in batch] for batch in plan_batches(lengths, longest=LONGEST, budget=1 << 20)]
    assert cost(planned) == min(cost(cut(places)) for places in range(1 << (len(ordered) - 1)))


def test_inputs_of_any_length_come_in_few_shapes_with_little_padding() -> None:
    """oneDNN keeps memory for each shape for good: a long job must not meet new ones for ever."""
    shapes = set()
    for tokens in range(1, 257):
        for rows in range(1, max(1, 1024 // (-(-tokens // 8) * 8)) + 1):
            shape = padded_shape(rows, tokens, 256)
            assert rows <= shape[0] < rows + 4
            assert tokens <= shape[1] < tokens + 8
            shapes.add(shape)
    assert len(shapes) < 400


@given(longest=st.integers(1, 600), data=st.data())
def test_no_row_becomes_longer_than_the_model_accepts(longest: int, data: st.DataObject) -> None:
    tokens = data.draw(st.integers(1, longest))
    _, width = padded_shape(1, tokens, longest)
    assert width == longest or (width < longest and width % 8 == 0)
