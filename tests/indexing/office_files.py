"""Word files with any XML in them: made by python-docx, with raw elements and parts added."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import docx
from docx.opc.packuri import PackURI
from docx.opc.part import Part
from docx.oxml import parse_xml

NAMESPACES = " ".join(
    f'xmlns:{prefix}="{uri}"'
    for prefix, uri in {
        "w": "http://schemas.openxmlformats.org/wordprocessingml/2006/main",
        "m": "http://schemas.openxmlformats.org/officeDocument/2006/math",
        "mc": "http://schemas.openxmlformats.org/markup-compatibility/2006",
        "r": "http://schemas.openxmlformats.org/officeDocument/2006/relationships",
        "a": "http://schemas.openxmlformats.org/drawingml/2006/main",
        "c": "http://schemas.openxmlformats.org/drawingml/2006/chart",
        "wp": "http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing",
        "wps": "http://schemas.microsoft.com/office/word/2010/wordprocessingShape",
        "w14": "http://schemas.microsoft.com/office/word/2010/wordml",
        "v": "urn:schemas-microsoft-com:vml",
        "o": "urn:schemas-microsoft-com:office:office",
        "p": "http://schemas.openxmlformats.org/presentationml/2006/main",
    }.items()
)
RELATION = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/"


def element(xml: str) -> Any:
    """One element with the usual prefixes."""
    end = min(place for place in (xml.find(">"), xml.find("/>"), xml.find(" ")) if place > 0)
    return parse_xml(f"{xml[:end]} {NAMESPACES}{xml[end:]}")


def elements(xml: str) -> list[Any]:
    """A sequence of elements with the usual prefixes."""
    return list(element(f"<w:body>{xml}</w:body>"))


def word(path: Path, body: str = "", *, parts: Mapping[str, str] | None = None, numbering: str = "") -> Path:
    """A file with the elements of `body`. `parts`: the XML of further parts by the name of their relation.

    `numbering` takes the place of the definitions of lists.
    """
    document = docx.Document()
    if numbering:
        lists = document.part.numbering_part.element
        for child in list(lists):
            lists.remove(child)
        lists.extend(elements(numbering))
    last = document.element.body[-1]
    for item in elements(body):
        last.addprevious(item) if not item.tag.endswith("}sectPr") else document.element.body.replace(last, item)
    for name, xml in (parts or {}).items():
        add_part(document, name, xml)
    document.save(str(path))
    return path


def add_part(document: Any, name: str, xml: str, content_type: str = "application/xml") -> str:
    """Add a part with this XML and return its id. `name` is its relation, with a number if there are several."""
    kind = name.rstrip("0123456789")
    blob = xml.encode() if xml.startswith("<?") else parse_part(xml)
    part = Part(PackURI(f"/word/{name}.xml"), content_type, blob, document.part.package)
    return str(document.part.relate_to(part, RELATION + kind))


def parse_part(xml: str) -> bytes:
    from lxml import etree

    return bytes(etree.tostring(element(xml)))


def paragraph(inner: str, properties: str = "") -> str:
    return f"<w:p>{f'<w:pPr>{properties}</w:pPr>' if properties else ''}{inner}</w:p>"


def run(text: str, properties: str = "") -> str:
    return f'<w:r>{f"<w:rPr>{properties}</w:rPr>" if properties else ""}<w:t xml:space="preserve">{text}</w:t></w:r>'


def cell(inner: str, properties: str = "") -> str:
    return f"<w:tc>{f'<w:tcPr>{properties}</w:tcPr>' if properties else ''}{inner}</w:tc>"


def row(*cells: str, properties: str = "") -> str:
    return f"<w:tr>{f'<w:trPr>{properties}</w:trPr>' if properties else ''}{''.join(cells)}</w:tr>"


def table(*rows: str) -> str:
    return f"<w:tbl><w:tblPr/><w:tblGrid/>{''.join(rows)}</w:tbl>"
