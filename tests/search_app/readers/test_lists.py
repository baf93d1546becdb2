from __future__ import annotations

import pytest

from search_app.readers.lists import MAX_LENGTH, lists, whole_enumeration, whole_list
from search_app.types import Span

TEXT = "For a permit these documents are needed:\n\n- a passport\n- a lease\n- two photographs\n\nThe office is closed."
ITEMS = "- a passport\n- a lease\n- two photographs"


def _whole(picked: str, *, many: bool, text: str = TEXT) -> str | None:
    start = text.index(picked)
    span = whole_list(Span(start, start + len(picked)), lists(text), many=many)
    return text[span.start : span.end] if span else None


def test_the_line_before_a_list_stands_for_the_list() -> None:
    assert _whole("these documents", many=False) == ITEMS


def test_an_item_is_the_list_if_several_things_are_asked_for() -> None:
    assert _whole("a lease", many=True) == ITEMS
    assert _whole("a lease", many=False) is None


def test_other_text_is_no_list() -> None:
    assert _whole("closed", many=True) is None
    assert _whole("b", many=True, text="a\n- b\n- c") is None


def test_a_very_long_list_is_not_one_answer() -> None:
    text = "All of these:\n" + "- an item of the list\n" * MAX_LENGTH
    assert _whole("these", many=True, text=text) is None


def test_a_long_line_takes_no_long_search() -> None:
    assert lists("a word " * 100_000) == []


def _enumeration(text: str, picked: str, *, many: bool = True) -> str | None:
    start = text.index(picked)
    span = whole_enumeration(text, Span(start, start + len(picked)), Span(0, len(text)), many=many)
    return text[span.start : span.end] if span else None


@pytest.mark.parametrize(
    ("text", "picked", "whole"),
    [
        ("Bring a towel, soap and a lock.", "a towel", "a towel, soap and a lock"),
        ("It is made of copper, tin, and\nzinc; no lead.", "copper", "copper, tin, and\nzinc"),
        ("Three kinds are sold: new, used and\nrepaired.", "used", "new, used and\nrepaired"),
        ("Bring the following: soap, a towel and a lock.", "the following", "soap, a towel and a lock"),
        ("Open on Monday, Tuesday or Friday (not in May).", "Monday", "Monday, Tuesday or Friday"),
    ],
)
def test_the_items_of_a_sentence_are_one_answer(text: str, picked: str, whole: str) -> None:
    assert _enumeration(text, picked) == whole


@pytest.mark.parametrize(
    ("text", "picked"),
    [
        ("Bring soap and a towel.", "soap"),
        ("It was sold, later repaired and sent to the museum of the city in the north.", "It was sold"),
        ("They came from Spain, Persia and the lands of the south by ship.", "Spain"),
        ("It has a steel frame and a wooden top, giving strength and beauty.", "a steel frame and a wooden top"),
    ],
)
def test_the_rest_of_a_sentence_is_no_enumeration(text: str, picked: str) -> None:
    assert _enumeration(text, picked) is None


def test_one_thing_asked_for_stays_one_thing() -> None:
    assert _enumeration("Bring a towel, soap and a lock.", "a towel", many=False) is None
    assert _enumeration("Three kinds are sold: new, used and repaired.", "used", many=False) is None


def test_a_long_text_with_commas_takes_no_long_search() -> None:
    text = "the list: " + "a b, " * 20_000
    assert whole_enumeration(text, Span(10, 13), Span(0, len(text)), many=True) is None
