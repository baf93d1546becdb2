"""Opens Office files. A file of the strict standard becomes one of the usual kind first, which the library reads."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path
from typing import Any

from indexing.converters.archive import require_harmless_zip
from indexing.converters.content import ConversionError
from indexing.converters.markup import parse
from indexing.converters.office.xml import Element

_STRICT = re.compile(rb"http://purl\.oclc\.org/ooxml/(\w+)/")
_USUAL = rb"http://schemas.openxmlformats.org/\1/2006/"
_MAX_LINKS = 50
_OF_TEMPLATES = re.compile(r"powerpoint presentation|word document|(?:generated (?:by|using) )?python-(?:docx|pptx)")


def open_package(path: Path, kind: str, name: str) -> Any:
    """The file as a package of python-pptx, which opens Word files too.

    `kind` is its usual ending without the dot, `name` what people call such a file. Raises ConversionError.
    """
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


def target_of(source: Any, key: str) -> str:
    """The address that `source` refers to by the id `key`, "" if there is none."""
    relation = source.rels.get(key) if key else None
    return str(relation.target_ref) if relation is not None and relation.is_external else ""


def root(part: Any) -> Element:
    """The root element of a part. Raises ConversionError for one that is no XML."""
    element = getattr(part, "_element", None)
    try:
        return parse(part.blob) if element is None else element
    except ConversionError as error:
        raise ConversionError(f"its part {part.partname} is damaged: {error}") from error


def core_meta(package: Any) -> dict[str, object]:
    """Title, author, dates and more, as the file states them; a template's own values are left out."""
    names = ("title", "author", "subject", "keywords", "category", "language", "comments", "created", "modified")
    try:
        found = {name: getattr(package.core_properties, name) for name in names}
    except (AttributeError, ValueError):  # a damaged part, which the text does not need
        return {}
    found["description"], found["date"] = found.pop("comments"), found.pop("created") or found.pop("modified")
    found.pop("modified", None)
    return {key: item for key, item in found.items() if item and not _OF_TEMPLATES.fullmatch(str(item).lower())}


def links(part: Any) -> list[str]:
    """Addresses on the web that a part leads to, each once."""
    outside = (item for item in part._rels.values() if item.is_external and item.reltype.endswith("/hyperlink"))
    targets = (item.target_ref for item in outside)
    return list(dict.fromkeys(target for target in targets if target.startswith(("http://", "https://"))))[:_MAX_LINKS]


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
