"""UTF-16 units and code points lead to each other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from search_app.text.utf16 import Utf16


@given(st.text(st.sampled_from("aé中🚀\U0010ffff"), max_size=20))
def test_places_are_those_of_the_encoded_text(text: str) -> None:
    units = Utf16(text)
    for place in range(len(text) + 1):
        counted = len(text[:place].encode("utf-16-le")) // 2
        assert units.of(place) == counted
        assert units.place(counted) == place


def test_the_middle_of_a_character_is_its_beginning() -> None:
    assert [Utf16("a🚀b").place(units) for units in range(5)] == [0, 1, 1, 2, 3]
