"""OpenDocument texts and slides, made by odfpy, and EPUB as the standard has it."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest
from odf import dc, draw, office, presentation, style, table, text
from odf.opendocument import OpenDocumentPresentation, OpenDocumentText

from indexing.converters import FORMATS, convert
from indexing.converters.content import Content, ConversionError
from search_app.text.reading import edited, edits_of


def one(path: Path) -> Content:
    [content] = convert(path, FORMATS[path.suffix])
    return content


def titled(content: Content) -> list[tuple[int, str]]:
    for heading in content.headings:
        assert heading.title in " ".join(content.text[heading.start : heading.end].split())
    return [(heading.level, heading.title) for heading in content.headings]


def as_read(content: Content) -> str:
    return edited(content.text, edits_of(content.text, content.tables, 0, len(content.text))).text


def filled_table(rows: list[list[Any]], *, header: int = 0) -> Any:
    """A cell is a text, or (text, rows, columns) for a merged one; None is covered."""
    found = table.Table()
    heads = table.TableHeaderRows()
    for number, cells in enumerate(rows):
        row = table.TableRow()
        for cell in cells:
            words, height, width = cell if isinstance(cell, tuple) else (cell, 1, 1)
            if cell is None:
                row.addElement(table.CoveredTableCell())
                continue
            element = table.TableCell(numberrowsspanned=height, numbercolumnsspanned=width)
            element.addElement(text.P(text=words))
            row.addElement(element)
        (heads if number < header else found).addElement(row)
        if number == header - 1:
            found.addElement(heads)
    return found


def paragraph(*parts: Any, **attributes: Any) -> Any:
    found = text.P(**attributes)
    for part in parts:
        found.addText(part) if isinstance(part, str) else found.addElement(part)
    return found


def odt(path: Path) -> Path:
    document = OpenDocumentText()
    document.meta.addElement(dc.Title(text="Staff manual"))
    title = style.Style(name="P1", family="paragraph", parentstylename="Title")
    numbers = text.ListStyle(name="L1")
    numbers.addElement(text.ListLevelStyleNumber(level=1, numformat="1"))
    for item in (title, numbers):
        document.automaticstyles.addElement(item)
    layout = style.PageLayout(name="pl")
    document.automaticstyles.addElement(layout)
    page = style.MasterPage(name="Standard", pagelayoutname="pl")
    header = style.Header()
    header.addElement(text.P(text="Valid from 1 March 2024"))
    page.addElement(header)
    document.masterstyles.addElement(page)
    body = document.text
    body.addElement(paragraph("The manual", stylename=title))
    body.addElement(text.H(outlinelevel=1, text="Leave"))
    note = text.Note(noteclass="footnote", id="n1")
    note.addElement(text.NoteCitation(text="1"))
    inside = text.NoteBody()
    inside.addElement(text.P(text="Not in the first year."))
    note.addElement(inside)
    comment = office.Annotation()
    comment.addElement(dc.Creator(text="Ada"))
    comment.addElement(text.P(text="Check this."))
    body.addElement(paragraph("Each gets", text.S(c=2), "30 days", note, " of leave.", comment))
    deleted = text.TrackedChanges()
    region = text.ChangedRegion(check_grammar=False)
    deletion = text.Deletion()
    deletion.addElement(text.P(text="deleted words"))
    region.addElement(deletion)
    deleted.addElement(region)
    body.addElement(deleted)
    steps = text.List(stylename=numbers)
    for words in ("Ask", "Wait"):
        item = text.ListItem()
        item.addElement(text.P(text=words))
        steps.addElement(item)
    body.addElement(steps)
    body.addElement(text.H(outlinelevel=2, text="Rates"))
    rows: list[list[Any]] = [["Country", ("Rate", 1, 2), None], ["", "day", "night"], ["Portugal", "46", "80"]]
    body.addElement(filled_table(rows, header=2))
    frame = draw.Frame(width="5cm", height="5cm")
    box = draw.TextBox()
    box.addElement(text.P(text="Words in a box."))
    frame.addElement(box)
    body.addElement(paragraph("Beside", frame))
    document.save(str(path))
    return path


def test_an_opendocument_text_is_read_as_shown(tmp_path: Path) -> None:
    content = one(odt(tmp_path / "a.odt"))
    assert content.title == "Staff manual"
    assert titled(content) == [(1, "The manual"), (1, "Leave"), (2, "Rates")]
    assert content.text.startswith("Valid from 1 March 2024\n\nThe manual")
    assert (
        "Each gets  30 days of leave.\n\nFootnote 1: Not in the first year.\n\nComment (Ada): Check this."
        in content.text
    )
    assert "1. Ask\n2. Wait" in content.text
    assert "Beside\n\nWords in a box." in content.text
    assert "deleted" not in content.text
    assert "Country: Portugal; Rate day: 46; Rate night: 80" in as_read(content)


def test_opendocument_slides_are_pages(tmp_path: Path) -> None:
    document = OpenDocumentPresentation()
    layout = style.PageLayout(name="pl")
    document.automaticstyles.addElement(layout)
    master = style.MasterPage(name="m", pagelayoutname=layout)
    document.masterstyles.addElement(master)
    for number, words in enumerate(("Sales grew by nine percent.", "")):
        slide = draw.Page(masterpagename=master)
        if words:
            for kind, shown in (("title", f"Results {number}"), ("outline", words)):
                frame = draw.Frame(attributes={"class": kind}, width="5cm", height="5cm")
                box = draw.TextBox()
                box.addElement(text.P(text=shown))
                frame.addElement(box)
                slide.addElement(frame)
            frame = draw.Frame(width="5cm", height="5cm")
            frame.addElement(filled_table([["Region", "Growth"], ["North", "9 %"]]))
            slide.addElement(frame)
            notes = presentation.Notes()
            frame = draw.Frame(width="5cm", height="5cm")
            box = draw.TextBox()
            box.addElement(text.P(text="Say it slowly."))
            frame.addElement(box)
            notes.addElement(frame)
            slide.addElement(notes)
        document.presentation.addElement(slide)
    document.save(str(tmp_path / "a.odp"))
    content = one(tmp_path / "a.odp")
    assert titled(content) == [(1, "Results 0")]
    first = content.text[content.pages[0].start : content.pages[0].end]
    assert "Sales grew by nine percent." in first
    assert first.rstrip().endswith("Notes: Say it slowly.")
    assert "Region: North; Growth: 9 %" in as_read(content)
    assert (len(content.pages), content.warnings) == (2, ("no text on slide 2",))


CHAPTER = '<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body>{}</body></html>'
PACKAGE = """<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" version="3.0">
<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>The lighthouse</dc:title><dc:creator>Ada</dc:creator>
<dc:creator>Bob</dc:creator><dc:language>en</dc:language><dc:date>1999-01-01</dc:date></metadata>
<manifest><item id="n" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>
<item id="two" href="text/b%20c.xhtml" media-type="application/xhtml+xml"/>
<item id="one" href="text/a.xhtml" media-type="application/xhtml+xml"/>
<item id="gone" href="text/gone.xhtml" media-type="application/xhtml+xml"/></manifest>
<spine><itemref idref="n"/><itemref idref="one"/><itemref idref="two"/>{}</spine></package>"""


def epub(path: Path, *, last: str = "", encryption: str = "") -> Path:
    nav = (
        '<nav><ol><li><a href="text/a.xhtml#x">Arrival</a></li><li><a href="text/b%20c.xhtml">Storm</a></li></ol></nav>'
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/epub+zip")
        archive.writestr(
            "META-INF/container.xml",
            '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
            '<rootfile full-path="OPS/p.opf"/></rootfiles></container>',
        )
        if encryption:
            archive.writestr("META-INF/encryption.xml", encryption)
        archive.writestr("OPS/p.opf", PACKAGE.format(last))
        archive.writestr("OPS/nav.xhtml", CHAPTER.format(nav))
        archive.writestr("OPS/text/a.xhtml", CHAPTER.format("<p>The keeper’s name was Tom.</p>"))
        archive.writestr("OPS/text/b c.xhtml", CHAPTER.format("<h1>The storm</h1><h2>Night</h2><p>It blew.</p>"))
    return path


def test_a_book_is_read_in_its_order_with_titles_of_chapters(tmp_path: Path) -> None:
    content = one(epub(tmp_path / "a.epub"))
    assert content.title == "The lighthouse"
    assert titled(content) == [(1, "Arrival"), (1, "The storm"), (2, "Night")]
    assert content.text.index("name was Tom") < content.text.index("It blew")
    assert content.text.startswith("Arrival\n\nThe keeper’s name")
    assert content.meta == {
        "title": "The lighthouse", "author": "Ada, Bob", "language": "en", "date": "1999-01-01",
    }  # fmt: skip


def test_a_missing_chapter_is_counted(tmp_path: Path) -> None:
    content = one(epub(tmp_path / "a.epub", last='<itemref idref="gone"/>'))
    assert content.warnings == ("chapters that are not in the file: 1",)


def test_unreadable_books_give_a_reason(tmp_path: Path) -> None:
    locked = '<encryption><EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#aes128-cbc"/></encryption>'
    epub(tmp_path / "locked.epub", encryption=locked)
    whole = epub(tmp_path / "whole.epub").read_bytes()
    (tmp_path / "cut.epub").write_bytes(whole[: len(whole) // 2])
    with zipfile.ZipFile(tmp_path / "none.epub", "w") as archive:
        archive.writestr("a", "b")
    document = odt(tmp_path / "a.odt")
    with zipfile.ZipFile(document) as source, zipfile.ZipFile(tmp_path / "locked.odt", "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name == "META-INF/manifest.xml":
                data = data.replace(b"</manifest:manifest>", b"<manifest:encryption-data/></manifest:manifest>")
            target.writestr(name, data)
    for name, reason in (
        ("locked.epub", "DRM"), ("cut.epub", "not a epub file"), ("none.epub", "package"), ("locked.odt", "encrypted"),
    ):  # fmt: skip
        with pytest.raises(ConversionError, match=reason):
            one(tmp_path / name)
