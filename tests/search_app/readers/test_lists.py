from __future__ import annotations

from search_app.readers.lists import MAX_LENGTH, lists, whole_list
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
