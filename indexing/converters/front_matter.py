"""Metadata at the head of a Markdown file: YAML between `---` lines or TOML between `+++` lines."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import yaml

from indexing.converters.content import plain_meta
from search_app.types import MetaValue

_BLOCK = re.compile(
    r"\A\s*^(?:---[ \t]*\n(?P<yaml>.{0,65536}?)^(?:---|\.\.\.)"
    r"|\+\+\+[ \t]*\n(?P<toml>.{0,65536}?)^\+\+\+)[ \t]*(?:\n|\Z)",
    re.DOTALL | re.MULTILINE,
)
_YAML_ENTRY = re.compile(r"^([\w\"'][\w .\"'-]{0,63}?)\s*:(?:\s+|$)", re.MULTILINE)
_TOML_ENTRY = re.compile(r"^([\w\"'-][\w.\"'-]{0,63}?)\s*=\s*|^\[", re.MULTILINE)

Load = Callable[[str], Any]


def split(text: str) -> tuple[dict[str, MetaValue], str, tuple[str, ...]]:
    """The metadata, the text after it, and warnings. A value that cannot be read is kept as it is written."""
    match = _BLOCK.match(text)
    if match is None:
        return {}, text, ()
    is_yaml = match["yaml"] is not None
    load: Load = yaml.safe_load if is_yaml else tomllib.loads
    values, bad = _values(match["yaml" if is_yaml else "toml"], load, _YAML_ENTRY if is_yaml else _TOML_ENTRY)
    if values is None:
        return {}, text, ()
    meta = plain_meta({str(key).lower(): value for key, value in values.items()})
    title = meta.get("title")
    if isinstance(title, list):
        meta["title"] = ", ".join(map(str, title))
    if "lang" in meta:
        meta.setdefault("language", meta.pop("lang"))
    kind = "YAML" if is_yaml else "TOML"
    warnings = tuple(f"{key} in its front matter is not valid {kind} and was taken as it is written" for key in bad)
    return meta, text[match.end() :], warnings


def _values(block: str, load: Load, entry: re.Pattern[str]) -> tuple[Mapping[Any, Any] | None, list[str]]:
    """The values of a block and the names of those that cannot be read; None if it is no front matter."""
    whole = _loaded(block, load)
    if whole is not None:
        return (whole, []) if isinstance(whole, Mapping) else (None, [])
    values: dict[Any, Any] = {}
    bad: list[str] = []
    for key, chunk, raw in _entries(block, entry):
        found = _loaded(chunk, load)
        if isinstance(found, Mapping):
            values.update(found)
        elif key:
            values[key] = raw
            bad.append(key)
    return values or None, bad


def _entries(block: str, entry: re.Pattern[str]) -> Iterator[tuple[str, str, str]]:
    """Name, text and value of each top entry."""
    starts = list(entry.finditer(block))
    ends = [match.start() for match in starts[1:]] + [len(block)]
    for match, end in zip(starts, ends, strict=True):
        yield (match[1] or "").strip("\"' "), block[match.start() : end], block[match.end() : end].strip().strip("\"'")


def _loaded(text: str, load: Load) -> Any | None:
    try:
        return load(text)
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, OverflowError):
        return None
