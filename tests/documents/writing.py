"""A small notation for documents, close to Markdown, and one writer for each format.

`# Title`, `## Section`, `- item`, `| cell | cell |` and paragraphs; the first row of a table is its header.
"""

from __future__ import annotations

import html
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

Rows = list[list[str]]


@dataclass(frozen=True)
class Block:
    """A heading (`level` from 1), a list of `items`, a table of `rows`, or a paragraph of `text`."""

    text: str = ""
    level: int = 0
    items: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def blocks(text: str) -> list[Block]:
    """Parse the notation."""
    found: list[Block] = []
    for part in text.strip().split("\n\n"):
        lines = [line.strip() for line in part.strip().split("\n")]
        if lines[0].startswith("#"):
            mark, _, title = lines.pop(0).partition(" ")
            found.append(Block(title, level=len(mark)))
        if not lines:
            continue
        if lines[0].startswith("- "):
            found.append(Block(items=tuple(line.removeprefix("- ") for line in lines)))
        elif lines[0].startswith("|"):
            found.append(
                Block(rows=tuple(tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines))
            )
        else:
            found.append(Block(" ".join(lines)))
    return found


def title_of(text: str) -> str:
    return next((block.text for block in blocks(text) if block.level), "")


def writer(write: Callable[..., object], text: str, **options: Any) -> Callable[[Path], object]:
    """`write` for later: writer(docx, TEXT)(path)."""
    return partial(write, text=text, **options)


def docx(path: Path, text: str, *, finish: Callable[[Any], object] = lambda document: None, **meta: str) -> None:
    import docx as library

    document = library.Document()
    document.core_properties.title = meta.get("title", title_of(text))
    document.core_properties.author = meta.get("author", "")
    for block in blocks(text):
        docx_block(document, block)
    finish(document)
    document.save(str(path))


def docx_block(document: Any, block: Block) -> None:
    if block.level:
        document.add_heading(block.text, level=block.level)
    for item in block.items:
        document.add_paragraph(item, style="List Bullet")
    if block.rows:
        docx_table(document, block.rows)
    elif block.text and not block.level:
        document.add_paragraph(block.text)


def docx_table(document: Any, rows: Iterable[Iterable[str]]) -> Any:
    lines = [list(row) for row in rows]
    table = document.add_table(rows=len(lines), cols=max(map(len, lines)))
    for number, row in enumerate(lines):
        for column, cell in enumerate(row):
            table.cell(number, column).text = cell
    return table


def html_body(text: str) -> str:
    parts = []
    for block in blocks(text):
        if block.level:
            parts.append(f"<h{block.level}>{html.escape(block.text)}</h{block.level}>")
        elif block.items:
            parts.append("<ul>" + "".join(f"<li>{html.escape(item)}</li>" for item in block.items) + "</ul>")
        elif block.rows:
            tags = ["th", *["td"] * (len(block.rows) - 1)]
            rows = (
                "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row) + "</tr>"
                for tag, row in zip(tags, block.rows, strict=True)
            )
            parts.append(f"<table>{''.join(rows)}</table>")
        else:
            parts.append(f"<p>{html.escape(block.text)}</p>")
    return "\n".join(parts)


def html_page(
    path: Path,
    text: str = "",
    *,
    body: str = "",
    title: str = "",
    encoding: str = "utf-8",
    declared: str = "utf-8",
    language: str = "en",
) -> None:
    head = f'<meta charset="{declared}">' if declared else ""
    head += f"<title>{html.escape(title or title_of(text))}</title>"
    page = f'<!DOCTYPE html><html lang="{language}"><head>{head}</head>'
    path.write_bytes(f"{page}<body>{body or html_body(text)}</body></html>".encode(encoding))


def markdown(path: Path, text: str, *, front: str = "") -> None:
    lines = []
    for line in text.strip().split("\n"):
        lines.append(line)
        if line.startswith("|") and (len(lines) < 2 or not lines[-2].startswith("|")):
            lines.append("|" + "---|" * line.strip("|").count("|") + "---|")
    path.write_text(front + "\n".join(lines) + "\n", encoding="utf-8")


def plain(path: Path, text: str, *, encoding: str = "utf-8") -> None:
    parts = []
    for block in blocks(text):
        if block.level:
            parts.append(f"{block.text}\n{'=-~'[block.level - 1] * len(block.text)}")
        elif block.rows:
            parts.append("\n".join("\t".join(row) for row in block.rows))
        else:
            parts.append(block.text or "\n".join(f"- {item}" for item in block.items))
    path.write_bytes(("\n\n".join(parts) + "\n").encode(encoding))


def rst(path: Path, text: str) -> None:
    parts = []
    for block in blocks(text):
        if block.level:
            parts.append(f"{block.text}\n{'=-~'[block.level - 1] * len(block.text)}")
        elif block.items:
            parts.append("\n".join(f"* {item}" for item in block.items))
        elif block.rows:
            rows = "\n".join("   * - " + "\n     - ".join(row) for row in block.rows)
            parts.append(f".. list-table::\n   :header-rows: 1\n\n{rows}")
        else:
            parts.append(block.text)
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def tex(path: Path, text: str) -> None:
    names = ("section", "subsection", "subsubsection")
    parts = [f"\\documentclass{{article}}\n\\title{{{title_of(text)}}}\n\\begin{{document}}\n\\maketitle"]
    for block in blocks(text):
        if block.level:
            parts.append(f"\\{names[block.level - 1]}{{{_tex(block.text)}}}")
        elif block.items:
            items = "\n".join(f"  \\item {_tex(item)}" for item in block.items)
            parts.append(f"\\begin{{itemize}}\n{items}\n\\end{{itemize}}")
        elif block.rows:
            rows = "\n".join("  " + " & ".join(map(_tex, row)) + r" \\" for row in block.rows)
            parts.append(f"\\begin{{tabular}}{{{'l' * len(block.rows[0])}}}\n{rows}\n\\end{{tabular}}")
        else:
            parts.append(f"{_tex(block.text)} % checked")
    path.write_text("\n\n".join([*parts, "\\end{document}\n"]), encoding="utf-8")


def _tex(text: str) -> str:
    for mark in "%&#_":
        text = text.replace(mark, f"\\{mark}")
    return text


def rtf(path: Path, text: str) -> None:
    parts = [r"{\rtf1\ansi\ansicpg1252\deff0{\fonttbl{\f0 Times New Roman;}}"]
    for block in blocks(text):
        if block.level:
            parts.append(rf"\pard\s{block.level}\b\fs{40 - 6 * block.level} {_rtf(block.text)}\b0\fs24\par")
        elif block.items:
            parts += [rf"\pard\bullet  {_rtf(item)}\par" for item in block.items]
        elif block.rows:
            for row in block.rows:
                cells = "".join(rf"\cellx{2400 * (number + 1)}" for number in range(len(row)))
                parts.append(rf"\trowd{cells}" + "".join(rf"\pard\intbl {_rtf(cell)}\cell" for cell in row) + r"\row")
        else:
            parts.append(rf"\pard {_rtf(block.text)}\par")
    path.write_bytes(("\n".join(parts) + "}").encode("ascii"))


def _rtf(text: str) -> str:
    return "".join(character if character < "\x7f" else rf"\u{ord(character)}?" for character in text)


def odt(path: Path, text: str, *, language: str = "en") -> None:
    from odf.opendocument import OpenDocumentText
    from odf.text import H, P

    document = OpenDocumentText()
    for block in blocks(text):
        if block.level:
            document.text.addElement(H(outlinelevel=block.level, text=block.text))
        elif block.rows:
            document.text.addElement(odf_table("Table", block.rows))
        elif block.items:
            document.text.addElement(odf_list(block.items))
        else:
            document.text.addElement(P(text=block.text))
    document.save(str(path))


def odf_list(items: Iterable[str]) -> Any:
    from odf.text import List, ListItem, P

    found = List()
    for item in items:
        entry = ListItem()
        entry.addElement(P(text=item))
        found.addElement(entry)
    return found


def odf_table(name: str, rows: Iterable[Iterable[str]]) -> Any:
    from odf.table import Table, TableCell, TableRow
    from odf.text import P

    table = Table(name=name)
    for row in rows:
        line = TableRow()
        for cell in row:
            entry = TableCell(valuetype="string")
            entry.addElement(P(text=cell))
            line.addElement(entry)
        table.addElement(line)
    return table


def epub(path: Path, text: str, *, author: str = "", language: str = "en") -> None:
    """One file per chapter, that is per heading of level 2."""
    chapters = ("\n" + text.strip()).split("\n## ")
    bodies = [html_body(chapters[0]), *(html_body("## " + chapter) for chapter in chapters[1:])]
    names = [f"chapter{number}.xhtml" for number in range(len(bodies))]
    page = '<html xmlns="http://www.w3.org/1999/xhtml"><head><title>{}</title></head><body>{}</body></html>'
    items = "".join(
        f'<item id="c{n}" href="{name}" media-type="application/xhtml+xml"/>' for n, name in enumerate(names)
    )
    spine = "".join(f'<itemref idref="c{n}"/>' for n in range(len(names)))
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="id">'
        '<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:identifier id="id">urn:x:1</dc:identifier>'
        f"<dc:title>{title_of(text)}</dc:title><dc:creator>{author}</dc:creator><dc:language>{language}</dc:language>"
        f"</metadata><manifest>{items}</manifest><spine>{spine}</spine></package>"
    )
    container = (
        '<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="OEBPS/content.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/epub+zip")
        archive.writestr("META-INF/container.xml", container)
        archive.writestr("OEBPS/content.opf", package)
        for name, body in zip(names, bodies, strict=True):
            archive.writestr(f"OEBPS/{name}", page.format(title_of(text), body))
