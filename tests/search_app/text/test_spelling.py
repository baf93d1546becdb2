from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from search_app.text.spelling import near


def test_one_mistake_is_a_letter_left_out_put_in_replaced_or_swapped() -> None:
    assert {"cat", "boat", "bat", "bolt", "hat", "coat", "oat"} & set(near("boat")) == {"bat", "bolt", "coat", "oat"}
    assert "form" in near("from")
    assert near("図書館の本") == near("caf\u00e9s") == []


@given(st.text(alphabet="abcde", min_size=5, max_size=8))
def test_a_mistake_can_be_undone(word: str) -> None:
    others = near(word)
    assert word not in others
    assert all(word in near(other) for other in others[:20])
