from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from search_app.duplicates import folded, without_boilerplate_first
from search_app.types import Hit, Passage

LONG = "The boiler is restarted by holding the green button for ten seconds until the lamp of the pump is steady again."


def hits(*passages: tuple[str, str], dates: Sequence[str] = ()) -> list[Hit]:
    """Of (title, text), best first."""
    found = []
    for number, (title, text) in enumerate(passages):
        meta = {"modified": dates[number]} if dates else {}
        passage = Passage(f"p{number}", f"d{number}", title, text, 0, len(text), None, f"{number}.txt", meta)
        found.append(Hit(passage, 1 - number / 100, {"bm25": 1.0}))
    return found


def ids(found: Sequence[Hit]) -> list[str]:
    return [hit.passage.id for hit in found]


def also(hit: Hit) -> list[str]:
    return [passage.id for passage in hit.also]


def test_copies_take_one_place_and_k_is_filled_with_others() -> None:
    found = folded(hits(("", LONG), ("", LONG), ("", "other"), ("", LONG), ("", "third")), 2)
    assert ids(found) == ["p0", "p2"]
    assert also(found[0]) == ["p1", "p3"]


def test_the_newest_copy_is_shown() -> None:
    copies = [("Manual", LONG)] * 3
    (found,) = folded(hits(*copies, dates=["2023-01-01", "2025-02-02", "2024-01-01"]), 3)
    assert (found.passage.id, also(found), found.score) == ("p1", ["p0", "p2"], 1.0)


def test_a_newer_copy_with_another_title_does_not_replace_the_best_one() -> None:
    (found,) = folded(hits(("Orca 200", LONG), ("Orca 300", LONG), dates=["2023", "2025"]), 3)
    assert (found.passage.title, also(found)) == ("Orca 200", ["p1"])


def test_nearly_the_same_text_is_folded() -> None:
    long = " ".join(f"{LONG} Step {letter} comes next." for letter in "abcdefg")
    other = long.replace("steady again. Step d", "steady, again. Step d")
    found = folded(hits(("", long), ("", other.upper()), ("", LONG)), 3)
    assert ids(found) == ["p0", "p2"]
    assert also(found[0]) == ["p1"]


def test_texts_that_differ_in_a_number_are_not_folded() -> None:
    long = " ".join([LONG] * 6)
    texts = [f"{long} The limit is {limit}." for limit in ("20 days", "25 days", "E-2091", "E-2092")]
    assert len(folded(hits(*(("", text) for text in texts)), 10)) == 4


def test_a_short_text_counts_with_its_title() -> None:
    assert len(folded(hits(("Model A", "20 EUR"), ("Model B", "20 EUR"), ("Model A", "20 EUR")), 10)) == 2


def test_boilerplate_does_not_outrank_content() -> None:
    footer = "All rights reserved by the company. Contact us by post or by telephone at any time."
    pages = [(f"Page {number} › Contact", footer) for number in range(5)]
    found = folded(without_boilerplate_first(hits(*pages, ("Boiler", LONG))), 3)
    assert ids(found) == ["p5", "p0"]
    assert len(found[1].also) == 4
    copies = [("Page", footer)] * 6
    assert ids(without_boilerplate_first(hits(*copies, ("Boiler", LONG))))[0] == "p0", "copies of one file"


@given(st.lists(st.tuples(st.sampled_from(["", "A", "B › C"]), st.sampled_from(["x", "y z", LONG, LONG + " Yes."]))))
def test_every_hit_is_shown_or_named_once(passages: list[tuple[str, str]]) -> None:
    found = folded(hits(*passages), len(passages) + 1)
    named = [id for hit in found for id in (hit.passage.id, *also(hit))]
    assert sorted(named) == sorted(f"p{number}" for number in range(len(passages)))
