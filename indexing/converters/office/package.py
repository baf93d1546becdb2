"""Opens Office files. A file of the strict standard becomes one of the usual kind first, which the library reads."""

from __future__ import annotations

import io
import mmap
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lxml import etree

from indexing.converters.archive import require_harmless_zip
from indexing.converters.content import ConversionError
from indexing.converters.office.xml import Element, parse

_OLE = bytes.fromhex("d0cf11e0a1b11ae1")
"""First bytes of the formats before 2007, and of encrypted files of all versions."""
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
_STRICT = re.compile(rb"http://purl\.oclc\.org/ooxml/(\w+)/")
_USUAL = rb"http://schemas.openxmlformats.org/\1/2006/"
_OF_TEMPLATES = re.compile(r"powerpoint presentation|word document|(?:generated (?:by|using) )?python-(?:docx|pptx)")


def open_package(path: Path, kind: str, name: str) -> Any:
    """The file as a package of python-pptx, which opens Word files too.

    `kind` is its usual ending without the dot, `name` what people call such a file. Raises ConversionError.
    """
    _require_current_format(path, kind, name)
    require_harmless_zip(path, kind)
    from pptx.package import Package

    try:
        return Package.open(_usual(path) or str(path))
    except MemoryError:
        raise
    except Exception as error:  # KeyError, ValueError, XMLSyntaxError and more for a damaged file
        raise _unreadable(name, error) from error


def main_part(package: Any, name: str, types: tuple[str, ...]) -> Any:
    """The part where the document begins. Raises ConversionError if none of the words `types` is in its type."""
    try:
        part = next(related(package, "officeDocument"), None)
    except KeyError as error:
        raise _unreadable(name, error) from error
    if part is None:
        raise ConversionError(f"it cannot be read as a {name}: it has no main document")
    if not any(word in part.content_type for word in types):
        raise ConversionError(f"it is not a {name}: its type is {part.content_type}")
    return part


def related(source: Any, kind: str) -> Any:
    """The parts that `source`, a part or package, refers to as `kind`, the last word of the relation's type."""
    for relation in source._rels.values():
        if not relation.is_external and relation.reltype.rpartition("/")[2] == kind:
            yield relation.target_part


def part_of(source: Any, key: str | None) -> Any | None:
    """The part that `source` refers to by the id `key`, None if there is none."""
    relation = source.rels.get(key) if key else None
    return None if relation is None or relation.is_external else relation.target_part


def root(part: Any) -> Element:
    """The root element of a part. Raises ConversionError for one that is no XML."""
    element = getattr(part, "_element", None)
    try:
        return parse(part.blob) if element is None else element
    except etree.XMLSyntaxError as error:
        raise ConversionError(f"its part {part.partname} is damaged: {error.msg}") from error


def core_meta(package: Any) -> dict[str, object]:
    """Title, author, dates and more, as the file states them; a template's own values are left out."""
    stated = package.core_properties
    if not hasattr(stated, "title"):  # its type is damaged
        return {}
    names = ("title", "author", "subject", "keywords", "category", "language")
    found: Mapping[str, object] = {name: getattr(stated, name) for name in names}
    found = {**found, "description": stated.comments, "date": stated.created or stated.modified}
    return {key: item for key, item in found.items() if item and not _OF_TEMPLATES.fullmatch(str(item).lower())}


def _require_current_format(path: Path, kind: str, name: str) -> None:
    with path.open("rb") as file:
        if file.read(len(_OLE)) != _OLE:
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if data.find(_ENCRYPTED) >= 0:
                raise ConversionError("it is encrypted; save a copy without a password")
    raise ConversionError(f"it is a {name} of a version before 2007; save it as .{kind}")


def _usual(path: Path) -> io.BytesIO | None:
    """A copy with the usual names of elements and relations, None if the file has them already."""
    with zipfile.ZipFile(path) as archive:
        if not _STRICT.search(archive.read("_rels/.rels")):
            return None
        copy = io.BytesIO()
        with zipfile.ZipFile(copy, "w") as target:
            for member in archive.infolist():
                data = archive.read(member)
                readable = member.filename.endswith((".xml", ".rels"))
                target.writestr(member.filename, _STRICT.sub(_USUAL, data) if readable else data)
    copy.seek(0)
    return copy


def _unreadable(name: str, error: Exception) -> ConversionError:
    return ConversionError(f"it cannot be read as a {name}: {str(error) or type(error).__name__}")
