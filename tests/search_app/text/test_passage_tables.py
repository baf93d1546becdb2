"""The tables that are drawn from a passage's edits have the cells and names of the document's."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from indexing.converters.content import TextBuilder
from search_app.text.passage_tables import passage_tables
from search_app.text.reading import edits_of
from search_app.types import Passage

NAMES = ["Country", "Daily allowance", "Hotel: upper limit", "Valid"]
values = st.sampled_from(["Portugal", "EUR 46", "a | b", "7", "x: y; z"])


def passage_of(text: str, builder: TextBuilder, start: int, end: int) -> Passage:
    edits = edits_of(text, builder.tables, start, end)
    return Passage("p", "d", "", text[start:end], start, end, edits=edits)


@given(
    rows=st.lists(st.lists(values, min_size=4, max_size=4), min_size=1, max_size=6),
    before=st.sampled_from(["", "A sentence."]),
    data=st.data(),
)
def test_every_cell_has_its_place_and_the_name_of_its_column(
    rows: list[list[str]], before: str, data: st.DataObject
) -> None:
    builder = TextBuilder()
    builder.block(before)
    builder.table([NAMES, *rows], header=1)
    builder.block("The end.")
    text = builder.text()
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    expected = {
        (max(start, cell.start), min(end, cell.end), NAMES[cell.column])
        for row in builder.tables[0].rows[1:]
        for cell in row
        if cell.start < end and cell.end > start
    }
    found = set()
    for table in passage_tables(passage_of(text, builder, start, end)):
        assert start <= table.start <= table.end <= end
        for row in table.rows:
            assert [cell.column for cell in row] == sorted({cell.column for cell in row})
            found |= {(cell.start, cell.end, table.columns[cell.column]) for cell in row}
    # Where the passage ends in the middle of a row, a separator may stay with its cell, or be taken from it.
    assert {cell for cell in found if cell[1] < end - 3} == {cell for cell in expected if cell[1] < end - 3}


def test_the_columns_of_all_rows_are_in_one_order_and_the_header_is_inside() -> None:
    builder = TextBuilder()
    builder.block("Allowances:")
    builder.table([["Country", "Day rate", "Hotel"], ["Portugal", "", "EUR 90"], ["Spain", "EUR 40", ""]])
    builder.table([["Capacity", "2,800 litres"], ["Colour", "green"]])
    text = builder.text()
    first, second = passage_tables(passage_of(text, builder, 0, len(text)))
    assert first.columns == ("Country", "Day rate", "Hotel")
    assert text[first.start : first.end].startswith("Country | Day rate | Hotel\nPortugal")
    cells = [[(text[cell.start : cell.end], cell.column) for cell in row] for row in first.rows]
    assert cells == [[("Portugal", 0), ("EUR 90", 2)], [("Spain", 0), ("EUR 40", 1)]]
    assert second.columns == ("", "")
    assert [[text[cell.start : cell.end] for cell in row] for row in second.rows] == [
        ["Capacity", "2,800 litres"],
        ["Colour", "green"],
    ]


def test_a_passage_without_tables_has_none() -> None:
    builder = TextBuilder()
    builder.block("a | b\nc | d")
    assert passage_tables(passage_of(builder.text(), builder, 0, 11)) == ()
