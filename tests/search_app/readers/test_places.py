from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from search_app.readers.places import NOWHERE, place_of, places
from search_app.text.reading import edited
from search_app.types import Edit

TEXT = (
    "Permit\n\nFor a permit these are\nneeded:\n\n- a passport\n- a lease\n\nThe office is closed. Ask Dr. Ruiz.\n"
    "Phone: 123\nFax: 456"
)


def _texts(*, sentences: bool) -> list[str]:
    return [TEXT[place.start : place.end] for place in places(edited(TEXT, ()), sentences=sentences)]


def test_headings_paragraphs_items_and_fields_are_places_and_a_wrapped_line_is_none() -> None:
    assert _texts(sentences=False) == [
        "Permit",
        "For a permit these are\nneeded:",
        "- a passport",
        "- a lease",
        "The office is closed. Ask Dr. Ruiz.",
        "Phone: 123",
        "Fax: 456",
    ]


def test_sentences_are_places_of_their_own() -> None:
    assert _texts(sentences=True)[4:6] == ["The office is closed.", "Ask Dr. Ruiz."]


def test_what_was_put_in_is_no_place_and_parts_two_cells() -> None:
    read = edited("Norway | 75", [Edit(0, 0, "Country: "), Edit(6, 9, "; Allowance: ")])
    assert read.text == "Country: Norway; Allowance: 75"
    found = places(read)
    assert [read.text[place.start : place.end] for place in found] == ["Norway", "75"]
    offsets = np.array([[0, 7], [8, 15], [15, 16], [16, 26], [27, 30]])  # some begin with the space before a word
    assert place_of(offsets, found).tolist() == [NOWHERE, 0, NOWHERE, NOWHERE, 1]


@given(st.text("ab.!? \n-1)A", max_size=80), st.booleans())
def test_places_are_in_order_and_hold_every_character_that_is_not_white_space(text: str, sentences: bool) -> None:
    found = places(edited(text, ()), sentences=sentences)
    assert all(a.end <= b.start for a, b in pairwise(found))
    inside = "".join(text[place.start : place.end] for place in found)
    assert "".join(inside.split()) == "".join(text.split())
