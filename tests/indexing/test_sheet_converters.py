"""Spreadsheets, made by XlsxWriter and odfpy."""

from __future__ import annotations

import datetime as dt
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter
import xlwt
from hypothesis import given
from hypothesis import strategies as st
from odf.dc import Creator
from odf.office import Annotation
from odf.opendocument import OpenDocumentSpreadsheet
from odf.style import Style, TableProperties
from odf.table import CoveredTableCell, Table, TableCell, TableRow
from odf.text import P

from indexing.converters import FORMATS, convert, numbers
from indexing.converters.content import Content, ConversionError
from indexing.sandbox import Sandbox
from indexing.splitter import SplitConfig
from search_app.text.reading import edited, edits_of

Sheets = dict[str, list[list[Any]]]


def workbook(path: Path, fill: Callable[[Any], None], **properties: str) -> Path:
    book = xlsxwriter.Workbook(str(path))
    book.set_properties(properties)
    fill(book)
    book.close()
    return path


def rows_of(*rows: list[Any]) -> Callable[[Any], None]:
    def fill(book: Any) -> None:
        sheet = book.add_worksheet("Data")
        for number, row in enumerate(rows):
            sheet.write_row(number, 0, row)

    return fill


def documents(path: Path) -> list[Content]:
    return list(convert(path, FORMATS[path.suffix]))


def as_read(content: Content) -> list[str]:
    """The lines that encoder and reader see."""
    return edited(content.text, edits_of(content.text, content.tables, 0, len(content.text))).text.split("\n")


@pytest.mark.parametrize(
    ("value", "code", "text"),
    [
        (45321, "yyyy-mm-dd", "2024-01-30"),
        (45321, "d. mmmm yyyy", "30. January 2024"),
        (45321.75, "dd.mm.yy hh:mm", "30.01.24 18:00"),
        (0.75, "h:mm AM/PM", "6:00 PM"),
        (1.5, "[h]:mm", "36:00"),
        (0.15, "0%", "15%"),
        (0.1234, "0.0 %", "12.3 %"),
        (1234.5, '#,##0.00 "€"', "1,234.50 €"),
        (-1234.5, '#,##0.00 "€";[Red]-#,##0.00 "€"', "-1,234.50 €"),
        (-1234, "#,##0_);(#,##0)", "(1,234)"),
        (46, '"EUR" 0', "EUR 46"),
        (80, "_-* #,##0.00 [$€-407]_-", "80.00 €"),
        (1_234_567, '#,##0.0,,"M"', "1.2M"),
        (5551234567, "(000) 000-0000", "(555) 123-4567"),
        (42, "00000", "00042"),
        (1.25, "# ?/?", "1 1/4"),
        (12345, "0.00E+00", "1.23E+04"),
        (0, '0;-0;"none"', "none"),
        (7, '[<5]0;[>=5]"many"', "many"),
        (2, "0.##", "2"),
        (1.005, "0.00", "1.01"),
        (4021600000001, "General", "4021600000001"),
        (0.1 + 0.2, "General", "0.3"),
        (3, 'General" kg"', "3 kg"),
    ],
)
def test_numbers_are_shown_as_in_the_sheet(value: float, code: str, text: str) -> None:
    assert numbers.shown(value, code).strip() == text


def test_dates_of_a_workbook_from_a_mac_begin_in_1904() -> None:
    assert numbers.shown(43859, "yyyy-mm-dd", from_1904=True) == "2024-01-30"


@given(st.floats(), st.text(alphabet='0#?.,%/[]"\\;@yYmdhsEe+-_*AP$€ x', max_size=30))
def test_any_format_shows_something_for_any_number(value: float, code: str) -> None:
    assert isinstance(numbers.shown(value, code), str)


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=2))
def test_digits_of_a_number_are_kept(value: Any) -> None:
    shown = numbers.shown(float(value), "#,##0.00")
    assert shown.replace(",", "") == f"{value + 0:.2f}".replace("-0.00", "0.00")


def expenses(book: Any) -> None:
    euro, share = book.add_format({"num_format": '#,##0.00 "EUR"'}), book.add_format({"num_format": "0%"})
    date = book.add_format({"num_format": "dd.mm.yyyy"})
    sheet = book.add_worksheet("Rates")
    sheet.write("B2", "Daily allowances 2024")
    sheet.write_row("B3", ["Country", "Rate", "Reduced by", "Valid from"])
    for row, (country, rate, cut) in enumerate([("Portugal", 46, 0.15), ("Spain", 1252.5, 0.2)], start=3):
        sheet.write(row, 1, country)
        sheet.write(row, 2, rate, euro)
        sheet.write(row, 3, cut, share)
        sheet.write_datetime(row, 4, dt.datetime(2024, row, 1), date)
    sheet.write("B8", "Rates include breakfast.")
    sheet.merge_range("B10:E10", "Hotels")
    sheet.merge_range("B11:B12", "City")
    sheet.merge_range("C11:D11", "Rate")
    sheet.write_row("C12", ["low", "high"])
    sheet.merge_range("B13:B14", "Lisbon")
    sheet.write_row("C13", [80, 120])
    sheet.write_row("C14", [90, 140])


def test_rows_of_a_sheet_carry_their_columns(tmp_path: Path) -> None:
    [content] = documents(workbook(tmp_path / "a.xlsx", expenses, title="Travel", author="Ada"))
    assert (content.title, content.part) == ("Travel", "Rates")
    assert {name: content.meta[name] for name in ("author", "sheet", "rows")} == {
        "author": "Ada", "sheet": "Rates", "rows": "2-14",
    }  # fmt: skip
    assert [heading.title for heading in content.headings] == ["Daily allowances 2024", "Hotels"]
    lines = as_read(content)
    assert "Country: Portugal; Rate: 46.00 EUR; Reduced by: 15%; Valid from: 01.03.2024" in lines
    assert "Country: Spain; Rate: 1,252.50 EUR; Reduced by: 20%; Valid from: 01.04.2024" in lines
    assert "Rates include breakfast." in lines
    assert "City: Lisbon; Rate low: 80; Rate high: 120" in lines
    assert "City: Lisbon; Rate low: 90; Rate high: 140" in lines


def test_each_sheet_is_a_document_and_what_is_hidden_is_counted(tmp_path: Path) -> None:
    def fill(book: Any) -> None:
        first = book.add_worksheet("Shown")
        for number, row in enumerate((["Name", "Size"], ["Ada", 1], ["Secret", 2], ["Bob", 3])):
            first.write_row(number, 0, row)
        first.set_row(2, None, None, {"hidden": True})
        book.add_worksheet("Hidden").write("A1", "unseen words")
        book.get_worksheet_by_name("Hidden").hide()
        second = book.add_worksheet("Second")
        second.write_row(0, 0, ["Key", "Inner", "Value"])
        second.write_row(1, 0, ["colour", "x", "blue"])
        second.set_column(1, 1, None, None, {"hidden": True})

    first, second = documents(workbook(tmp_path / "a.xlsx", fill))
    assert (first.part, second.part) == ("Shown", "Second")
    assert as_read(first) == ["Name: Ada; Size: 1", "Name: Bob; Size: 3"]
    assert "Inner" not in second.text
    assert first.warnings == ()
    assert second.warnings == (
        "sheet Shown: hidden rows left out: 1",
        "sheet Hidden is hidden and was left out",
        "sheet Second: hidden columns were left out",
    )


def test_comments_of_cells_are_text(tmp_path: Path) -> None:
    def fill(book: Any) -> None:
        sheet = book.add_worksheet("S")
        sheet.write_row("A1", ["Name", "Rate"])
        sheet.write_row("A2", ["Ada", 46])
        sheet.write_comment("B2", "Until May only.", {"author": "Bob"})

    [content] = documents(workbook(tmp_path / "a.xlsx", fill))
    assert content.text.endswith("Ada | 46\n\nComment on B2 (Bob): Until May only.")


def test_a_formula_without_a_value_is_counted(tmp_path: Path) -> None:
    path = workbook(tmp_path / "whole.xlsx", lambda book: book.add_worksheet("S").write_formula("A1", "=1+1", None, 2))
    [content] = documents(path)
    assert (content.text, content.warnings) == ("2", ())
    bare = tmp_path / "bare.xlsx"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(bare, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name).replace(b"<v>2</v>", b""))
    [content] = documents(bare)
    assert content.text == ""
    assert content.warnings == ("sheet S: formulas without a stored value: 1; open and save it in Excel",)


def test_a_long_sheet_is_read_in_pieces_that_repeat_title_and_header(tmp_path: Path) -> None:
    rows = [["Orders 2024"], ["Order", "Amount"], *([f"O-{number:05}", number] for number in range(1, 1801))]
    found = documents(workbook(tmp_path / "a.xlsx", rows_of(*rows)))
    assert [content.meta["rows"] for content in found] == ["1-500", "501-1000", "1001-1500", "1501-1802"]
    assert [content.headings[0].title for content in found] == ["Orders 2024"] * 4
    lines = [line for content in found for line in as_read(content) if line.startswith("Order: ")]
    assert lines == [f"Order: O-{number:05}; Amount: {number}" for number in range(1, 1801)]


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    book = xlsxwriter.Workbook(str(path), {"constant_memory": True})
    sheet = book.add_worksheet("S")
    for number in range(8_000):
        sheet.write_row(number, 0, ["Ada", "Lisbon", number])
    book.close()
    tracemalloc.start()
    assert sum(1 for _ in convert(path, "xlsx")) == 16
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 << 20  # two blocks of the sheet's XML, and a piece; all pieces together are 4 MB


def test_a_sheet_is_named_after_its_file_in_a_job(tmp_path: Path) -> None:
    path = workbook(tmp_path / "rates.xlsx", rows_of(["Name", "Rate"], ["Ada", 1]))
    with Sandbox(config=SplitConfig("", passage_tokens=1, overlap_tokens=0, max_tokens=1, language="en")) as sandbox:
        [document] = sandbox.convert(path, "xlsx", path.stat().st_size, stem="rates").lines()
    assert document["title"] == "rates › Data"


def opendocument(path: Path, sheets: Sheets, *, hidden: str = "") -> Path:
    """A cell is a text, (text, rows, columns) for a merged one, or None for a covered one. HIDE begins a hidden row."""
    document = OpenDocumentSpreadsheet()
    style = Style(name="hidden", family="table")
    style.addElement(TableProperties(display="false"))
    document.automaticstyles.addElement(style)
    for name, rows in sheets.items():
        table = Table(name=name, **({"stylename": style} if name == hidden else {}))
        for cells in rows:
            row = TableRow(**({"visibility": "collapse"} if cells[:1] == ["HIDE"] else {}))
            for cell in cells:
                text, height, width = cell if isinstance(cell, tuple) else (cell, 1, 1)
                element = (
                    CoveredTableCell()
                    if cell is None
                    else TableCell(numberrowsspanned=height, numbercolumnsspanned=width)
                )
                if text:
                    element.addElement(P(text=text))
                row.addElement(element)
            table.addElement(row)
        table.addElement(TableRow(numberrowsrepeated=1_000_000))
        document.spreadsheet.addElement(table)
    document.save(str(path))
    return path


def test_an_opendocument_sheet_is_read_as_shown(tmp_path: Path) -> None:
    rows = [
        ["Price list"], [],
        ["Model", "Price", "From"], ["B200", "1.234,50 €", "01.03.24"], ["HIDE", "x", "y"],
        [("C3", 2, 1), "80 €", "May"], [None, "90 €", "June"],
    ]  # fmt: skip
    [content] = documents(opendocument(tmp_path / "a.ods", {"Prices": rows, "Old": [["unseen"]]}, hidden="Old"))
    assert content.headings[0].title == "Price list"
    assert as_read(content)[2:] == [
        "Model: B200; Price: 1.234,50 €; From: 01.03.24", "Model: C3; Price: 80 €; From: May",
        "Model: C3; Price: 90 €; From: June",
    ]  # fmt: skip
    assert content.warnings == ("sheet Prices: hidden rows left out: 1", "sheet Old is hidden and was left out")


def test_comments_of_an_opendocument_sheet_are_text(tmp_path: Path) -> None:
    document = OpenDocumentSpreadsheet()
    note = Annotation()
    note.addElement(Creator(text="Bob"))
    note.addElement(P(text="Until May only."))
    cell = TableCell()
    cell.addElement(note)
    cell.addElement(P(text="46"))
    row = TableRow()
    row.addElement(cell)
    table = Table(name="S")
    table.addElement(row)
    document.spreadsheet.addElement(table)
    document.save(str(tmp_path / "a.ods"))
    [content] = documents(tmp_path / "a.ods")
    assert content.text == "46\n\nComment on row 1 (Bob): Until May only."


def test_an_old_workbook_is_read_as_shown(tmp_path: Path) -> None:
    book = xlwt.Workbook()
    sheet, old = book.add_sheet("Rates"), book.add_sheet("Old")
    old.visibility = 1
    plain, date = xlwt.Style.default_style, xlwt.easyxf(num_format_str="dd/mm/yyyy")
    euro, share = xlwt.easyxf(num_format_str='#,##0.00 "EUR"'), xlwt.easyxf(num_format_str="0%")
    rows = (
        (("Country", plain), ("Rate", plain), ("Cut", plain), ("From", plain)),
        (("Portugal", plain), (1046, euro), (0.15, share), (dt.date(2024, 3, 1), date)),
        (("Spain", plain), (1, euro), (1, share), (dt.date(2024, 3, 1), date)),
    )
    for row, cells in enumerate(rows):
        for column, (cell, style) in enumerate(cells):
            sheet.write(row, column, cell, style)
    sheet.row(2).hidden = True
    sheet.write_merge(4, 5, 0, 0, "Lisbon")
    sheet.write(4, 1, "low")
    sheet.write(5, 1, "high")
    book.save(str(tmp_path / "a.xls"))
    [content] = documents(tmp_path / "a.xls")
    assert as_read(content)[0] == "Country: Portugal; Rate: 1,046.00 EUR; Cut: 15%; From: 01/03/2024"
    assert "Lisbon | low\nLisbon | high" in content.text
    assert content.warnings == ("sheet Rates: hidden rows left out: 1", "sheet Old is hidden and was left out")


def test_a_damaged_old_workbook_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.xls").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))
    with pytest.raises(ConversionError, match="Excel workbook"):
        documents(tmp_path / "a.xls")


def test_unreadable_sheets_give_a_reason(tmp_path: Path) -> None:
    whole = workbook(tmp_path / "whole.xlsx", rows_of(["a", "b"])).read_bytes()
    encrypted = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(1000) + "EncryptedPackage".encode("utf-16-le")
    entities = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">' + "".join(
        f'<!ENTITY {to} "{f"&{one};" * 10}">' for one, to in zip("abcdefgh", "bcdefghi", strict=True)
    )
    bomb = tmp_path / "bomb.xlsx"
    with zipfile.ZipFile(bomb, "w") as archive:
        archive.writestr("xl/workbook.xml", entities + "]><x>&i;</x>")
    for name, data, reason in (
        ("cut.xlsx", whole[: len(whole) // 2], "not a xlsx file"),
        ("locked.xlsx", encrypted, "encrypted"),
        ("old.xlsx", encrypted[:900], "old Office version"),
        ("bomb.xlsx", bomb.read_bytes(), "not valid XML"),
        ("none.ods", b"words", "not a ods file"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ConversionError, match=reason):
            documents(tmp_path / name)


DATA = Path(__file__).parent / "data"
"""Binary workbooks, which no library writes: from the tests of python-calamine (MIT)."""


def test_a_binary_workbook_is_read() -> None:
    first, third = convert(DATA / "values.xlsb", "xlsb")
    assert first.text.split(" | ") == [
        "String", "1", "1.1", "TRUE", "FALSE", "2010-10-10", "2010-10-10 10:10:10", "10:10:10", "10:10:10.100000",
        "10 days, 15:10:10",
    ]  # fmt: skip
    assert (third.part, third.text.splitlines()) == ("Sheet3", [" | ".join([f"line{n}"] * 3) for n in (1, 2, 3)])


def test_hidden_sheets_of_a_binary_workbook_are_named() -> None:
    [content] = convert(DATA / "hidden.xlsb", "xlsb")
    assert [warning.split(" and ")[0] for warning in content.warnings] == [
        "sheet Hidden is hidden",
        "sheet VeryHidden is hidden",
        "sheet Chart is no table",
    ]


@pytest.mark.parametrize("size", [100, 5000, 9000])
def test_a_damaged_binary_workbook_gives_a_reason(tmp_path: Path, size: int) -> None:
    (tmp_path / "a.xlsb").write_bytes((DATA / "values.xlsb").read_bytes()[:size])
    with pytest.raises(ConversionError, match=r"it is not a xlsb file|cannot be read"):
        list(convert(tmp_path / "a.xlsb", "xlsb"))
