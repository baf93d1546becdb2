"""The reading of passages: what is kept maps to its own place, and nothing else does."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from indexing.converters.content import TextBuilder
from search_app.text.reading import edited, edits_of
from search_app.types import Edit, Span

cells = st.one_of(st.none(), st.sampled_from(["", "Country", "Portugal", "EUR 46", "a | b", "Daily allowance", "7"]))


@given(
    rows=st.lists(st.lists(cells, min_size=1, max_size=5), max_size=8),
    before=st.sampled_from(["", "A sentence."]),
    data=st.data(),
)
def test_every_part_that_is_kept_has_its_place(rows: list[list[str | None]], before: str, data: st.DataObject) -> None:
    builder = TextBuilder()
    builder.block(before)
    builder.table(rows)
    text = builder.text()
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    edits = edits_of(text, builder.tables, start, end)
    assert all(0 <= edit.start <= edit.end <= end - start for edit in edits)
    assert all(one.end <= other.start for one, other in itertools.pairwise(edits))
    reading = edited(text[start:end], edits)
    for first, origin, length in reading.kept:
        assert reading.text[first : first + length] == text[start + origin : start + origin + length]
        assert reading.span(first, first + length) == Span(origin, origin + length)


def test_a_table_reads_row_by_row_with_its_names() -> None:
    builder = TextBuilder()
    builder.block("Allowances:")
    builder.table(
        [
            ["Country", "Day rate", None],
            ["", "Hotel", "Meals"],
            ["Portugal", "EUR 46", "EUR 12"],
            ["Spain", "", "EUR 9"],
        ]
    )
    builder.table([["Capacity", "2,800 litres"], ["Colour", "green"]])
    text = builder.text()
    rows = "Country | Day rate\n | Hotel | Meals\nPortugal | EUR 46 | EUR 12\nSpain |  | EUR 9"
    assert text.startswith(f"Allowances:\n\n{rows}\n\n")
    reading = edited(text, edits_of(text, builder.tables, 0, len(text)))
    assert reading.text == (
        "Allowances:\n\nCountry: Portugal; Day rate Hotel: EUR 46; Day rate Meals: EUR 12\n"
        "Country: Spain; Day rate Meals: EUR 9\n\nCapacity: 2,800 litres\nColour: green"
    )
    place = reading.text.index("EUR 46")
    span = reading.span(place, place + 6)
    assert span is not None
    assert text[span.start : span.end] == "EUR 46"
    label = reading.text.index("Hotel")
    assert reading.span(label, label + 5) is None
    assert reading.span(place, place + 20) is None, "it would include the name of the next column"


def test_a_text_without_edits_is_itself() -> None:
    reading = edited("as it is", ())
    assert (reading.text, reading.kept) == ("as it is", ((0, 0, 8),))
    assert edited("", ()).kept == ()
    assert edited("x", [Edit(0, 1, "y")]).span(0, 1) is None
