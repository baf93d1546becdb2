"""Spreadsheets: several sheets, dates and numbers as shown, titles, two tables in a sheet, formulas."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from documents.suite import Family, cell
from documents.writing import odf_table

FAMILY = Family()


def xlsx(path: Path, sheets: dict[str, Sequence[Sequence[object]]], *, merge: str = "") -> None:
    """Sheets of rows. Dates are shown as 31 Jan 2026, floats with two decimals, texts "=…" are formulas."""
    import xlsxwriter

    with xlsxwriter.Workbook(str(path), {"default_date_format": "d mmm yyyy"}) as book:
        money = book.add_format({"num_format": "#,##0.00"})
        for name, rows in sheets.items():
            sheet = book.add_worksheet(name)
            for number, row in enumerate(rows):
                for column, value in enumerate(row):
                    if isinstance(value, tuple):
                        sheet.write_formula(number, column, value[0], None, value[1])
                    elif value != "":
                        sheet.write(number, column, value, *((money,) if isinstance(value, float) else ()))
            if merge and name == next(iter(sheets)):
                sheet.merge_range(merge, rows[0][0])


FAMILY.add(
    "sheets/rooms.xlsx",
    partial(
        xlsx,
        sheets={
            "Ground floor": [
                ["Room", "Seats", "Screen", "Contact"],
                ["Anemone", 12, "yes", "Hilde"],
                ["Bluebell", 6, "no", "Goran"],
                ["Campion", 20, "yes", "Hilde"],
            ],
            "First floor": [
                ["Room", "Seats", "Screen", "Contact"],
                ["Dogwood", 8, "no", "Amira"],
                ["Elder", 30, "yes", "Goran"],
            ],
        },
    ),
    cell("How many seats has the room Campion?", "20", "Campion", "Seats"),
    cell("Who is the contact for the room Dogwood?", "Amira", "Dogwood", "Contact"),
    cell("Is there a screen in the room Bluebell?", "no", "Bluebell", "Screen"),
    traits="sheet",
)
FAMILY.add(
    "sheets/grants.xlsx",
    partial(
        xlsx,
        sheets={
            "Grants": [
                ["Grants of the heritage fund", "", "", ""],
                ["Project", "Granted", "Amount", "Ends"],
                ["Bell frame of Saint Olave", dt.date(2026, 1, 31), 18400.0, dt.date(2026, 11, 30)],
                ["Windmill sails", dt.date(2026, 2, 14), 7250.5, dt.date(2027, 3, 1)],
                ["Tapestry cleaning", dt.date(2026, 3, 9), 12999.99, dt.date(2026, 9, 15)],
                ["Sum", "", ("=SUM(C3:C5)", 38650.49), ""],
            ]
        },
        merge="A1:D1",
    ),
    cell("How much money was granted for the windmill sails?", "7,250.50", "Windmill sails", "Amount", "shown"),
    cell("What amount did the tapestry cleaning get?", "12,999.99", "Tapestry cleaning", "Amount", "shown"),
    cell(
        "Which amount was granted for the bell frame of Saint Olave?",
        "18,400.00",
        "Bell frame of Saint Olave",
        "Amount",
        "shown",
    ),
    traits="sheet dates title",
)
FAMILY.add(
    "sheets/stock.xlsx",
    partial(
        xlsx,
        sheets={
            "Stock": [
                ["Yarn", "Balls", "Shelf"],
                ["merino grey", 340, "R2"],
                ["alpaca sand", 125, "R5"],
                ["linen rust", 78, "S1"],
                ["", "", ""],
                ["", "", ""],
                ["Needle", "Size", "Pairs"],
                ["bamboo", "4 mm", 52],
                ["steel", "2.5 mm", 31],
            ]
        },
    ),
    cell("On which shelf is the yarn alpaca sand?", "R5", "alpaca sand", "Shelf", "two-tables"),
    cell("How many balls of linen rust are there?", "78", "linen rust", "Balls", "two-tables"),
    cell("Which size have the steel needles?", "2.5 mm", "steel", "Size", "two-tables"),
    traits="sheet two-tables",
)


def ods(path: Path, sheets: dict[str, Sequence[Sequence[str]]]) -> None:
    from odf.opendocument import OpenDocumentSpreadsheet

    document = OpenDocumentSpreadsheet()
    for name, rows in sheets.items():
        document.spreadsheet.addElement(odf_table(name, rows))
    document.save(str(path))


FAMILY.add(
    "sheets/choir.ods",
    partial(
        ods,
        sheets={
            "Voices": [
                ["Singer", "Voice", "Since"],
                ["Agnes Pohl", "alto", "2011"],
                ["Ruben Castillo", "bass", "2019"],
                ["Wanda Sikora", "soprano", "2004"],
            ],
            "Robes": [["Size", "Number"], ["small", "9"], ["large", "14"]],
        },
    ),
    cell("Which voice does Ruben Castillo sing?", "bass", "Ruben Castillo", "Voice"),
    cell("Since when has Wanda Sikora been in the choir?", "2004", "Wanda Sikora", "Since"),
    cell("How many large robes has the choir?", "14", "large", "Number"),
    traits="sheet opendocument",
)


def xls(path: Path) -> None:
    import xlwt

    book = xlwt.Workbook()
    sheet = book.add_sheet("Hives")
    date = xlwt.easyxf(num_format_str="dd/mm/yyyy")
    rows = (
        ("Hive", "Honey in kg", "Queen since"),
        ("Juniper", 18.5, dt.date(2025, 6, 3)),
        ("Rowan", 22, dt.date(2024, 5, 19)),
    )
    for number, row in enumerate(rows):
        for column, value in enumerate(row):
            sheet.write(number, column, value, *((date,) if isinstance(value, dt.date) else ()))
    book.save(str(path))


FAMILY.add(
    "sheets/hives.xls",
    xls,
    cell("How much honey in kg came from the hive Juniper?", "18.5", "Juniper", "Honey in kg"),
    cell("Since when has the hive Rowan its queen?", "19/05/2024", "Rowan", "Queen since", "dates"),
    traits="sheet old",
)
