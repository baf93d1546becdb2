"""Tables of PDFs: cells right and seconds per page, ours and pdfplumber's, on pages made by reportlab.

    python -m benchmarks.pdf_tables [--show]

pdfplumber is measured where it is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from indexing.converters import convert

Cells = list[list[str | None]]
"""None: covered by the cell at its left."""


@dataclass(frozen=True)
class Sample:
    """A table as it is to be read, and how it is drawn."""

    name: str
    rows: Sequence[Sequence[str | None]]
    style: Sequence[tuple[Any, ...]]
    widths: Sequence[float] | None = None
    repeat: int = 0


ALLOWANCES: Cells = [
    ["Country", "Daily allowance", "Hotel"],
    ["Portugal", "EUR 46", "EUR 120"],
    ["Spain", "EUR 52", "EUR 135"],
    ["Norway", "EUR 75", "EUR 180"],
    ["Czech Republic", "EUR 41", "EUR 95"],
]
MODELS: Cells = [
    ["Model", "Weight", "Price", "In stock"],
    ["A100", "12.5 kg", "1,200.00", "yes"],
    ["B200", "7.25 kg", "980.50", "no"],
    ["C300 Pro", "125 kg", "12,400.00", "yes"],
    ["D4", "0.5 kg", "15.00", "yes"],
]
MISSING: Cells = [
    ["Name", "Phone", "Fax", "Room"],
    ["Ada Byron", "555 1001", "", "12"],
    ["Carl Gauss", "", "555 2002", "7"],
    ["Emmy Noether", "555 1003", "555 2003", ""],
    ["Kurt Gödel", "", "", "3"],
    ["Alan Turing", "555 1005", "", "9"],
]
RATES: Cells = [
    ["Region", "Rates", None, "Remarks"],
    ["Region", "Day", "Night", "Remarks"],
    ["North", "46", "52", "from May"],
    ["South", "41", "48", "all year"],
    ["West", "39", "44", "on request"],
]
LONG: Cells = [
    ["Clause", "Text", "Term"],
    ["Notice", "Either party may end the contract in writing, with effect to the end of a month.", "3 months"],
    ["Deposit", "The tenant pays a deposit before the keys are handed over by the landlord.", "EUR 900"],
    ["Repairs", "Small repairs are paid by the tenant, larger ones by the landlord.", "14 days"],
]
GRID = ("GRID", (0, 0), (-1, -1), 0.5, "black")
RIGHT = ("ALIGN", (1, 0), (-1, -1), "RIGHT")
RULES = [
    ("LINEABOVE", (0, 0), (-1, 0), 1, "black"),
    ("LINEBELOW", (0, 0), (-1, 0), 0.5, "black"),
    ("LINEBELOW", (0, -1), (-1, -1), 1, "black"),
]
SPANS = [
    ("SPAN", (1, 0), (2, 0)),
    ("SPAN", (0, 0), (0, 1)),
    ("SPAN", (3, 0), (3, 1)),
    ("ALIGN", (1, 0), (2, 0), "CENTER"),
]


def samples() -> Iterator[Sample]:
    wide = [["Item", "Q1", "Q2", "Q3", "Q4", "Total"]] + [
        [f"Item {row}", *(str(random.Random(row * 9 + column).randint(1, 9999)) for column in range(5))]
        for row in range(12)
    ]
    long = [["Number", "Name", "Amount"]] + [
        [str(1000 + row), f"Person {row}", f"{row * 17 % 400}.00"] for row in range(90)
    ]
    yield Sample("ruled", ALLOWANCES, [GRID])
    yield Sample("ruled, numbers on the right", MODELS, [GRID, RIGHT])
    yield Sample("ruled, empty cells", MISSING, [GRID])
    yield Sample("ruled, header of two rows", RATES, [GRID, *SPANS])
    yield Sample("ruled, long cells", LONG, [GRID], widths=[70, 220, 60])
    yield Sample(
        "ruled, tight", MODELS, [GRID, ("LEFTPADDING", (0, 0), (-1, -1), 1), ("RIGHTPADDING", (0, 0), (-1, -1), 1)]
    )
    yield Sample("ruled, over a page", long, [GRID], repeat=1)
    yield Sample(
        "rules between columns",
        MODELS,
        [
            ("LINEAFTER", (0, 0), (-2, -1), 0.5, "black"),
            ("LINEBELOW", (0, 0), (-1, 0), 0.5, "black"),
            ("BOX", (0, 0), (-1, -1), 0.5, "black"),
        ],
    )
    yield Sample("rules between rows", ALLOWANCES, [("LINEBELOW", (0, 0), (-1, -1), 0.5, "black")])
    yield Sample(
        "rules between rows, long cells",
        LONG,
        [("LINEBELOW", (0, 0), (-1, -1), 0.5, "black"), ("VALIGN", (0, 0), (-1, -1), "TOP")],
        widths=[70, 220, 60],
    )
    yield Sample("shaded rows", MODELS, [("ROWBACKGROUNDS", (0, 0), (-1, -1), ["lightgrey", "white"])])
    yield Sample("three rules", ALLOWANCES, RULES)
    yield Sample(
        "three rules, header of two rows",
        RATES,
        [
            *RULES[::2],
            *SPANS,
            ("LINEBELOW", (1, 0), (2, 0), 0.5, "black"),
            ("LINEBELOW", (0, 1), (-1, 1), 0.5, "black"),
        ],
    )
    yield Sample("three rules, empty cells", MISSING, RULES)
    yield Sample("unruled", ALLOWANCES, [])
    yield Sample("unruled, numbers on the right", MODELS, [RIGHT])
    yield Sample("unruled, empty cells", MISSING, [])
    yield Sample("unruled, header of two rows", RATES, SPANS)
    yield Sample("unruled, long cells", LONG, [("VALIGN", (0, 0), (-1, -1), "TOP")], widths=[70, 220, 60])
    yield Sample("unruled, six columns", wide, [RIGHT])
    yield Sample("unruled, over a page", long, [], repeat=1)
    yield Sample("unruled, two columns", [row[:2] for row in ALLOWANCES], [])


PROSE = (
    "The committee of the harbour meets in the first week of each month and decides about the places of boats, the "
    "rates of the season and the repairs that are due. Members may send their questions to the office at any time."
)


def draw(sample: Sample, path: Path) -> None:
    """One table between two paragraphs of prose."""
    from reportlab.lib.pagesizes import A4  # type: ignore[import-untyped]
    from reportlab.lib.styles import getSampleStyleSheet  # type: ignore[import-untyped]
    from reportlab.platypus import (  # type: ignore[import-untyped]
        Paragraph,
        SimpleDocTemplate,
        Spacer,
        Table,
    )

    style = getSampleStyleSheet()["Normal"]
    cells = [[Paragraph(cell, style) if sample.widths and cell else cell or "" for cell in row] for row in sample.rows]
    if SPANS[1] in sample.style:
        cells[0][0], cells[0][3], cells[1][0], cells[1][3] = "Region", "Remarks", "", ""
    table = Table(cells, colWidths=sample.widths, repeatRows=sample.repeat, hAlign="LEFT", style=list(sample.style))
    space = Spacer(0, 14)
    SimpleDocTemplate(str(path), pagesize=A4).build(
        [Paragraph(PROSE, style), space, table, space, Paragraph(PROSE, style)]
    )


def ours(path: Path) -> list[Cells]:
    found = []
    for content in convert(path, "pdf"):
        for table in content.tables:
            rows: Cells = []
            for row in table.rows:
                cells: list[str | None] = [None] * (1 + max(cell.column for cell in row))
                for cell in row:
                    cells[cell.column] = content.text[cell.start : cell.end]
                rows.append(cells)
            found.append(rows)
    return found


def plumber(settings: dict[str, str]) -> Callable[[Path], list[Cells]]:
    def read(path: Path) -> list[Cells]:
        import pdfplumber

        with pdfplumber.open(path) as pdf:
            return [
                [[None if cell is None else " ".join(cell.split()) for cell in row] for row in table]
                for page in pdf.pages
                for table in page.extract_tables(settings)
            ]

    return read


def right(wanted: Sequence[Sequence[str | None]], found: Sequence[Cells]) -> int:
    """Cells of `wanted` that are at their place in a row of their own."""
    rows = [row for table in found for row in table]
    count = 0
    for row in wanted:
        equal: list[int] = [
            sum(_same(cell, other) for cell, other in zip_longest(row, candidate)) for candidate in rows
        ]
        if any(equal):
            count += max(equal)
            rows.pop(equal.index(max(equal)))
    return count


def _same(cell: str | None, other: str | None) -> bool:
    return cell is not None and cell == (other or "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--show", action="store_true", help="print the rows that are wrong")
    given = parser.parse_args()
    readers: dict[str, Callable[[Path], list[Cells]]] = {"ours": ours}
    if importlib.util.find_spec("pdfplumber"):
        readers |= {
            "pdfplumber": plumber({}),
            "pdfplumber, text": plumber({"vertical_strategy": "text", "horizontal_strategy": "text"}),
        }
    total = dict.fromkeys(readers, (0, 0, 0.0))
    print("| table | " + " | ".join(readers) + " |\n|---|" + "---:|" * len(readers))
    with tempfile.TemporaryDirectory() as folder:
        for sample in samples():
            path = Path(folder, "table.pdf")
            draw(sample, path)
            cells = sum(cell is not None for row in sample.rows for cell in row)
            shown = []
            for name, read in readers.items():
                began = time.process_time()
                found = read(path)
                seconds = time.process_time() - began
                count = right(sample.rows, found)
                cells_right, all_cells, spent = total[name]
                total[name] = (cells_right + count, all_cells + cells, spent + seconds)
                shown.append(f"{count}/{cells}")
                if given.show and name == "ours" and count < cells:
                    for table in found:
                        print(*table, sep="\n")
            print(f"| {sample.name} | " + " | ".join(shown) + " |", flush=True)
    print("| all | " + " | ".join(f"{count / cells:.1%}" for count, cells, _ in total.values()) + " |")
    print("| ms per document | " + " | ".join(f"{1000 * seconds / 22:.0f}" for _, _, seconds in total.values()) + " |")


if __name__ == "__main__":
    main()
