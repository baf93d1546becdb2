"""PDF pages in reading order: words broken at line ends, columns, running headers, form fields."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pypdfium2
import pytest
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

from benchmarks.pdf_tables import Sample, draw, ours, right, samples
from indexing.converters import convert
from indexing.converters.content import Content
from indexing.converters.pdf import glyphs
from indexing.splitter import segments
from search_app.types import Document

WIDTH, HEIGHT = A4
Draw = Callable[[Any], None]


def drawn(path: Path, *pages: Draw) -> Content:
    canvas = Canvas(str(path), pagesize=A4)
    for page in pages:
        page(canvas)
        canvas.showPage()
    canvas.save()
    [content] = convert(path, "pdf")
    return content


def lines(*texts: str, left: float = 72, top: float = 200, leading: float = 14) -> Draw:
    def draw(canvas: Any) -> None:
        canvas.setFont("Helvetica", 11)
        for number, text in enumerate(texts):
            canvas.drawString(left, HEIGHT - top - leading * number, text)

    return draw


def all_of(*parts: Draw) -> Draw:
    def draw(canvas: Any) -> None:
        for part in parts:
            part(canvas)

    return draw


def marked(path: Path, content: Content, text: str) -> list[tuple[int, str]]:
    """Page and characters that the highlight of `text` covers, by the pages' own character lists."""
    start = content.text.index(text)
    found = []
    with pypdfium2.PdfDocument(path) as document:
        for page in content.pages:
            text_page = document[page.number - 1].get_textpage()
            shown = ""
            for run in page.runs:
                first, last = max(start, run.start), min(start + len(text), run.start + run.length)
                if first < last:
                    shown += text_page.get_text_range(run.raw_start + first - run.start, last - first)
            if shown:
                found.append((page.number, shown))
    return found


def is_tiled(content: Content) -> bool:
    borders = [0, *(page.end for page in content.pages)]
    return [page.start for page in content.pages] == borders[:-1] and borders[-1] == len(content.text)


@pytest.mark.parametrize(
    ("left", "right", "whole"),
    [
        ("stored for the maxi-", "mum period of ten years", "the maximum period"),
        ("replaced by model X-", "200 from May", "model X-200 from"),
        ("the Anglo-", "Saxon period", "the Anglo-Saxon period"),
        ("all price-", "determining factors", "price-determining factors"),
        ("a state-of-the-", "art machine", "state-of-the-art machine"),
        ("nach pre-", "and postwar rules", "pre-\nand postwar"),
        ("pages 10-", "20 of it", "pages 10-20 of"),
        ("a break -", "and a dash", "break -\nand"),
        ("die Rechts-", "anwendung der Rechtsanwendung und das maxi-\nmum", "die Rechtsanwendung der"),
    ],
)
def test_a_hyphen_at_a_line_end_goes_only_from_a_broken_word(tmp_path: Path, left: str, right: str, whole: str) -> None:
    assert whole in drawn(tmp_path / "a.pdf", lines(left, *right.split("\n"))).text


def test_a_document_that_breaks_no_words_keeps_its_hyphens(tmp_path: Path) -> None:
    content = drawn(tmp_path / "a.pdf", lines("der Vorstand der Nord-", "handelsgilde tagt jährlich"))
    assert "Nord-handelsgilde" in content.text


def running(number: int) -> Draw:
    def draw(canvas: Any) -> None:
        canvas.setFont("Helvetica", 9)
        canvas.drawString(72, HEIGHT - 40, "Harbour rules, valid from 1 March 2026")
        canvas.drawRightString(WIDTH - 72, 30, f"Page {number} of 4")
        canvas.drawString(72, 30, "Board of the harbour")

    return draw


def four_pages(path: Path) -> Content:
    words = "and so the committee went on through the long winter evening with its work on the rules of"
    filler = lines(*[words] * 3)
    return drawn(
        path,
        all_of(running(1), lines("Introduction ends here."), lines("The highest value was", top=700)),
        all_of(running(2), lines("measured on plot 19 in spring."), lines("It was 46.", top=400)),
        all_of(running(3), filler),
        all_of(running(4), lines("the harbour.")),
    )


def test_running_headers_and_page_numbers_interrupt_nothing(tmp_path: Path) -> None:
    content = four_pages(tmp_path / "a.pdf")
    assert content.text.count("Harbour rules") == 1
    assert content.text.startswith("Harbour rules, valid from 1 March 2026")
    assert content.text.endswith("Board of the harbour")
    assert "Page" not in content.text
    assert content.meta["header"] == "Harbour rules, valid from 1 March 2026"
    assert content.meta["footer"] == "Board of the harbour"


def test_a_sentence_over_two_pages_is_whole_and_marked_on_both(tmp_path: Path) -> None:
    content = four_pages(tmp_path / "a.pdf")
    sentence = "The highest value was measured on plot 19 in spring."
    assert marked(tmp_path / "a.pdf", content, sentence) == [
        (1, "The highest value was"), (2, "measured on plot 19 in spring."),
    ]  # fmt: skip
    assert is_tiled(content)
    document = Document("a", "", content.text, "", pages=content.pages)
    assert any(sentence in content.text[part.start : part.end] for part in segments(document, overlap=0))


def test_a_page_that_ends_with_a_sentence_ends_with_a_paragraph(tmp_path: Path) -> None:
    content = drawn(tmp_path / "a.pdf", lines("One sentence."), lines("Another one."), lines("A third."))
    assert content.text == "One sentence.\n\nAnother one.\n\nA third."


def test_equal_lines_in_the_middle_of_pages_stay(tmp_path: Path) -> None:
    content = drawn(tmp_path / "a.pdf", *[lines("Answer: yes.", f"Reason {n}.") for n in range(4)])
    assert content.text.count("Answer: yes.") == 4


def rows_of_columns(*columns: Iterable[str]) -> Draw:
    def draw(canvas: Any) -> None:
        canvas.setFont("Helvetica", 11)
        for number, row in enumerate(zip(*columns, strict=True)):
            for column, text in enumerate(row):
                canvas.drawString(60 + 170 * column, HEIGHT - 200 - 14 * number, text)

    return draw


@pytest.mark.parametrize("count", [2, 3])
def test_columns_drawn_row_by_row_are_read_one_after_the_other(tmp_path: Path, count: int) -> None:
    columns = [[f"row {row} of the column number {column}" for row in range(6)] for column in range(count)]
    title = lines("A report on many things of the year that goes over both of its columns", top=150)
    content = drawn(tmp_path / "a.pdf", all_of(title, rows_of_columns(*columns)))
    assert content.text.split("\n", 1)[1].split() == " ".join(line for column in columns for line in column).split()
    line = "row 3 of the column number 1\nrow 4 of the column number 1"
    assert marked(tmp_path / "a.pdf", content, line) == [(1, line.replace("\n", ""))]


def test_filled_fields_are_read_beside_their_labels(tmp_path: Path) -> None:
    def form(canvas: Any) -> None:
        lines("Application form", "Name:", "Occupation:", "Smoker:", "Language:", "Nothing:", leading=30)(canvas)
        fields = canvas.acroForm
        for row, (name, value) in enumerate([("name", "Ada Byron"), ("occupation", "glass blower")], start=1):
            fields.textfield(name=name, value=value, x=160, y=HEIGHT - 205 - 30 * row, width=120, height=20)
        fields.checkbox(name="smoker", checked=True, x=160, y=HEIGHT - 295)
        fields.choice(name="language", value="German", options=["German", "French"], x=160, y=HEIGHT - 325, height=20)
        fields.textfield(name="nothing", value="", x=160, y=HEIGHT - 355, width=120, height=20)

    content = drawn(tmp_path / "a.pdf", form)
    assert [line for line in content.text.split("\n") if line] == [
        "Application form", "Name: Ada Byron", "Occupation: glass blower", "Smoker: yes", "Language: German",
        "Nothing:",
    ]  # fmt: skip
    [page] = content.pages
    box = next(box for box in page.boxes if content.text[box.start : box.start + box.length] == "glass blower")
    assert 0.2 < box.left < box.right < 0.5
    assert 0.2 < box.top < box.bottom < 0.35


def test_turned_pages_are_read_as_they_are_shown(tmp_path: Path) -> None:
    upright = drawn(tmp_path / "a.pdf", all_of(running(1), lines("The highest value was measured")))
    canvas = Canvas(str(tmp_path / "b.pdf"), pagesize=(HEIGHT, WIDTH))
    canvas.translate(HEIGHT, 0)
    canvas.rotate(90)
    canvas._pageRotation = 90  # type: ignore[attr-defined]
    all_of(running(1), lines("The highest value was measured"))(canvas)
    canvas.showPage()
    canvas.save()
    [turned] = convert(tmp_path / "b.pdf", "pdf")
    assert turned.text == upright.text


@pytest.mark.parametrize("sample", list(samples()), ids=lambda sample: sample.name)
def test_cells_of_tables_are_in_their_rows_and_columns(tmp_path: Path, sample: Sample) -> None:
    draw(sample, tmp_path / "a.pdf")
    [found] = ours(tmp_path / "a.pdf")
    assert right(sample.rows, [found]) == sum(cell is not None for row in sample.rows for cell in row)
    assert len(found) == len(sample.rows)


def test_a_highlight_marks_the_cell_of_a_table_that_goes_over_a_page(tmp_path: Path) -> None:
    sample = next(sample for sample in samples() if sample.name == "ruled, over a page")
    draw(sample, tmp_path / "a.pdf")
    [content] = convert(tmp_path / "a.pdf", "pdf")
    [table] = content.tables
    assert table.columns == ("Number", "Name", "Amount")
    assert marked(tmp_path / "a.pdf", content, "Person 3") == [(1, "Person 3")]
    assert marked(tmp_path / "a.pdf", content, "1089 | Person 89 | 313.00") == [(3, "1089Person 89313.00")]
    assert is_tiled(content)


def test_lines_of_prose_are_no_table(tmp_path: Path) -> None:
    words = "The committee of the harbour meets in the first week of each month and decides about places"
    justified = [" ".join(words.split()[:10]).replace(" ", " " * (1 + number % 3)) for number in range(8)]
    listed = rows_of_columns(["1.", "2.", "3.", "4."], [f"The item number {n} of the list" for n in range(4)])
    content = drawn(tmp_path / "a.pdf", all_of(lines(*justified, top=100), listed))
    assert content.tables == ()


def test_two_columns_of_prose_are_no_table(tmp_path: Path) -> None:
    left, right_ = (
        lines(*[f"line {n} of the {side} column" for n in range(9)], left=x)
        for side, x in [("one", 60), ("other", 320)]
    )
    content = drawn(tmp_path / "a.pdf", all_of(left, right_))
    assert content.tables == ()
    assert "line 8 of the one column\nline 0 of the other column" in content.text


def test_places_within_a_plain_word_are_shared_out_and_others_are_pdfiums(tmp_path: Path) -> None:
    def draw(canvas: Any) -> None:
        lines("Will illuminated WWW measure it in millimetres?", "m", "C++ 8Z-4411/B")(canvas)
        canvas.drawString(72, 400, "Word", charSpace=14)  # as in a spaced heading
        canvas.rotate(90)
        canvas.drawString(300, -300, "sideways")

    drawn(tmp_path / "a.pdf", draw)
    with pypdfium2.PdfDocument(tmp_path / "a.pdf") as pdf:
        page = pdf[0]
        found = glyphs.read(page, 1)
        text_page = page.get_textpage()
        real = {place: text_page.get_charbox(place, loose=True) for place in found.solid.tolist()}
        text_page.close()
        page.close()
    text = "".join(found.characters)
    for word in re.finditer(r"\S+", text):
        for place in range(*word.span()):
            left, bottom, right, top = real[place]
            exact = place in (word.start(), word.end() - 1) or word[0] in ("Word", "WWW", "sideways")
            near = 0.02 if exact else 0.75 * 11
            wanted = (left, HEIGHT - top, right, HEIGHT - bottom)
            assert found.boxes[place].tolist() == pytest.approx(wanted, abs=near), (word[0], text[place])
