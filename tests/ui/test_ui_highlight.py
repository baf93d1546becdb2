from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ui.highlight import escape, excerpt, marked, segments, unwrapped

NASTY = st.text(
    alphabet=st.characters() | st.sampled_from(list("<>&\"'`/= \n\t\0\u202e\u2066\u200f\ud800\U0001f9d1\u0301")),
    max_size=80,
)
POSITION = st.integers(min_value=-5, max_value=90)
TAG = re.compile(r"<[^>]*>")


def shown(markup: str) -> str:
    """What a browser shows of the markup."""
    return html.unescape(TAG.sub("", markup))


def printable(text: str) -> str:
    return re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]", "\ufffd", text)


@given(NASTY, POSITION, POSITION)
def test_only_the_mark_is_markup(text: str, start: int, end: int) -> None:
    assert set(TAG.findall(marked(text, (start, end)))) <= {"<mark>", "</mark>"}
    assert '"' not in marked(text, (start, end))
    assert "'" not in marked(text, (start, end))


@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), max_size=80), POSITION, POSITION)
def test_nothing_of_the_text_is_lost(text: str, start: int, end: int) -> None:
    assert shown(marked(text, (start, end))) == text


@given(NASTY)
def test_what_cannot_be_shown_keeps_its_place(text: str) -> None:
    assert len(printable(text)) == len(text)
    encoded = escape(text).encode()  # would raise for a lone surrogate
    assert b"\n" not in encoded
    assert b"\x00" not in encoded


@given(NASTY, st.data())
def test_the_mark_is_what_the_offsets_say(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    found = re.search("<mark>(.*)</mark>", marked(text, (start, end)))
    if start == end:
        assert found is None
    else:
        assert found is not None
        assert found[1] == escape(text[start:end])


@given(NASTY, POSITION, POSITION)
def test_the_three_segments_are_the_text(text: str, start: int, end: int) -> None:
    assert "".join(segments(text, start, end)) == text


@given(NASTY, POSITION, POSITION, st.integers(0, 30))
def test_an_excerpt_keeps_the_marked_range_and_little_else(text: str, start: int, end: int, margin: int) -> None:
    kept, first, last = excerpt(text, start, end, margin=margin)
    assert kept[first:last] == segments(text, start, end)[1]
    assert first <= margin + 1
    assert len(kept) - last <= margin + 1


def test_offsets_count_code_points_not_utf16_units() -> None:
    assert marked("🧑‍🚀 יום טוב <b>", (4, 7)) == "🧑‍🚀 <mark>יום</mark> טוב &lt;b&gt;"


def test_an_excerpt_is_cut_between_words() -> None:
    text, start, end = excerpt("one two three four five six", 8, 13, margin=6)
    assert text == "…two three four…"
    assert text[start:end] == "three"


def test_an_endless_word_is_cut_inside() -> None:
    text, _, _ = excerpt("w" * 200_000, 0, 0, margin=100)
    assert text == "w" * 100 + "…"


@pytest.mark.parametrize("payload", [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "</mark><svg/onload=alert(1)>", "&lt;script&gt;",
    "\" onmouseover=\"alert(1)", "<!--", "]]>", "<mark>", "javascript:alert(1)", "<a href='javascript:alert(1)'>x</a>",
])  # fmt: skip
def test_a_payload_is_text_on_both_sides_of_the_mark_and_in_it(payload: str) -> None:
    text = payload + payload + payload
    markup = marked(text, (len(payload), 2 * len(payload)))
    assert markup.count("<") == 2
    assert shown(markup) == text


@given(NASTY)
def test_unwrapping_moves_no_character(text: str) -> None:
    joined = unwrapped(text)
    assert len(joined) == len(text)
    assert all(new == old or (old, new) == ("\n", " ") for old, new in zip(text, joined, strict=True))


def test_unwrapping_joins_paragraphs_and_leaves_lists_and_code() -> None:
    assert unwrapped("a wrapped\nline\n\n- one\n- two\n\n    code\n    more") == (
        "a wrapped line\n\n- one\n- two\n\n    code\n    more"
    )


@given(NASTY, st.lists(st.tuples(POSITION, POSITION), max_size=4))
def test_several_marks_lose_nothing_and_never_nest(text: str, ranges: list[tuple[int, int]]) -> None:
    markup = marked(text, *ranges)
    assert re.sub("</?mark>", "", markup) == escape(text)
    assert re.fullmatch("([^<]*<mark>[^<]+</mark>)*[^<]*", markup)
    inside = {place for start, end in ranges for place in range(max(start, 0), min(end, len(text)))}
    assert sum(len(html.unescape(found)) for found in re.findall("<mark>(.*?)</mark>", markup)) == len(inside)
