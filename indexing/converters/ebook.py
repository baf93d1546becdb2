"""EPUB: chapters in reading order, with their headings or those of the table of contents."""

from __future__ import annotations

import posixpath
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from indexing.converters import html, markup
from indexing.converters.archive import require_harmless_zip
from indexing.converters.content import Content, ConversionError, TextBuilder, plain_meta
from indexing.converters.parts import decoded

_TEXT = ("application/xhtml+xml", "text/html", "application/x-dtbook+xml", "text/x-oeb1-document")
_DECLARED = re.compile(rb"""\s*<\?xml[^>]{0,200}encoding\s*=\s*["']([A-Za-z0-9._-]+)""")
_FONTS = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")


def convert(path: Path) -> Iterator[Content]:
    """Yield one document."""
    require_harmless_zip(path, "epub")
    try:
        with zipfile.ZipFile(path) as archive:
            yield _read(archive)
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError) as error:
        raise ConversionError(f"it cannot be read as EPUB: {error}") from error


def _read(archive: zipfile.ZipFile) -> Content:
    _require_open(archive)
    name = _package(archive)
    package = markup.parse(archive.read(name))
    items = {item.get("id"): item for item in package.iter("{*}item")}
    chapters = [items[item.get("idref")] for item in package.iter("{*}itemref") if item.get("idref") in items]
    if not chapters:
        raise ConversionError("it cannot be read as EPUB: it has no chapters")
    titles = _titles(archive, name, items.values())
    builder = TextBuilder()
    missing = 0
    for chapter in chapters:
        place = _joined(name, str(chapter.get("href") or ""))
        if "nav" in str(chapter.get("properties") or "").split() or chapter.get("media-type") not in _TEXT:
            continue
        if place in archive.namelist():
            _append_chapter(archive.read(place), titles.get(place, ""), builder)
        else:
            missing += 1
    meta = _meta(package)
    return Content(
        builder.text(),
        str(meta.get("title", "")),
        plain_meta(meta),
        tuple(builder.headings),
        warnings=(f"chapters that are not in the file: {missing}",) if missing else (),
        tables=tuple(builder.tables),
    )


def _append_chapter(data: bytes, title: str, builder: TextBuilder) -> None:
    """Append a chapter below its own headings, or else below its title in the table of contents."""
    chapter = TextBuilder()
    declared = _DECLARED.match(data)
    text = decoded(data, declared[1].decode() if declared else "").removeprefix("\ufeff")
    html.add_fragment(text, chapter)
    if not chapter.text().strip():
        return
    first = min((heading.start for heading in chapter.headings), default=None)
    if title and (first is None or chapter.text()[:first].strip()) and not chapter.text().startswith(title):
        builder.heading(1, title)
    html.add_fragment(text, builder)


def _require_open(archive: zipfile.ZipFile) -> None:
    root = markup.part(archive, "META-INF/encryption.xml")
    methods = [item.get("Algorithm") for item in root.iter("{*}EncryptionMethod")] if root is not None else []
    if any(method not in _FONTS for method in methods):
        raise ConversionError("it is protected by DRM; only its reader's own software opens it")


def _package(archive: zipfile.ZipFile) -> str:
    container = markup.part(archive, "META-INF/container.xml")
    found = next(container.iter("{*}rootfile"), None) if container is not None else None
    if found is None or not found.get("full-path"):
        raise ConversionError("it cannot be read as EPUB: it does not name its package")
    return str(found.get("full-path"))


def _titles(archive: zipfile.ZipFile, package: str, items: Any) -> dict[str, str]:
    """The titles of the table of contents by file; the first entry of a file counts."""
    titles: dict[str, str] = {}
    for item in items:
        name = _joined(package, str(item.get("href") or ""))
        is_nav = "nav" in str(item.get("properties") or "").split()
        if not (is_nav or item.get("media-type") == "application/x-dtbncx+xml") or name not in archive.namelist():
            continue
        root = html.parse(archive.read(name).decode("utf-8-sig", "replace")) if is_nav else markup.part(archive, name)
        for target, title in _links(root) if is_nav else _points(root):
            titles.setdefault(_joined(name, target), " ".join(title.split()))
    return titles


def _links(root: Any) -> Iterator[tuple[str, str]]:
    for link in root.iter("a"):
        yield link.get("href") or "", link.text_content()


def _points(root: Any) -> Iterator[tuple[str, str]]:
    for point in root.iter("{*}navPoint"):
        label, content = markup.child(point, "navLabel"), markup.child(point, "content")
        if label is not None and content is not None:
            yield content.get("src") or "", "".join(label.itertext())


def _joined(name: str, target: str) -> str:
    """The name of a part that the part `name` refers to."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(target.partition("#")[0])))


def _meta(package: Any) -> dict[str, object]:
    found: dict[str, list[str]] = {}
    for element in package.iter("{http://purl.org/dc/elements/1.1/}*"):
        if text := " ".join("".join(element.itertext()).split()):
            found.setdefault(markup.name_of(element), []).append(text)
    meta: dict[str, object] = {
        name: values[0] for name in ("title", "date", "language", "publisher") if (values := found.get(name))
    }
    authors = found.get("creator", [])
    return {**meta, "author": ", ".join(authors)} if authors else meta
