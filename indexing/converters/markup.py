"""XML files and XML inside archives, by lxml: no network, no external entities, and none that grow into a bomb."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import IO, Any

from lxml import etree

from indexing.converters.content import ConversionError

_SAFE = {"no_network": True, "load_dtd": False, "huge_tree": False, "remove_comments": True, "remove_pis": True}


def parse(data: bytes) -> Any:
    """The root element. Raises ConversionError for data that is not XML, or that nests or grows without end."""
    try:
        return etree.fromstring(data, etree.XMLParser(resolve_entities="internal", **_SAFE))
    except (etree.LxmlError, ValueError) as error:
        raise ConversionError(f"it is not valid XML: {_reason(error)}") from error


def part(archive: zipfile.ZipFile, name: str) -> Any:
    """The root element of a part of an archive, or None if there is no such part."""
    try:
        return parse(archive.read(name.lstrip("/")))
    except KeyError:
        return None


def elements(file: IO[bytes], tags: Sequence[str], *, starts: bool = False) -> Iterator[tuple[str, Any]]:
    """("start" or "end", element) of elements named like `{*}row`; only those still open stay in memory.

    Raises ConversionError in the middle, for a file that is cut off.
    """
    events = ("start", "end") if starts else ("end",)
    try:
        for event, element in etree.iterparse(file, events=events, tag=tags, resolve_entities=False, **_SAFE):
            yield event, element
            if event == "end":
                element.clear()
                while element.getprevious() is not None:
                    del element.getparent()[0]
    except (etree.LxmlError, ValueError) as error:
        raise ConversionError(f"it is not valid XML: {_reason(error)}") from error


def name_of(element: Any) -> str:
    """The element's name without its namespace; "" for comments and the like."""
    return _local(element.tag) if isinstance(element.tag, str) else ""


@lru_cache(maxsize=4096)
def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def value_of(element: Any, name: str) -> str:
    """The value of the attribute `name` of any namespace, or ""."""
    found = element.get(name)
    if found is None:
        found = next((value for key, value in element.attrib.items() if key.rpartition("}")[2] == name), "")
    return str(found)


def child(element: Any, name: str) -> Any:
    """The first child of that name of any namespace, or None."""
    return next((inner for inner in element if name_of(inner) == name), None)


def _reason(error: Exception) -> str:
    return str(error).split("(<string>")[0].strip() or type(error).__name__
