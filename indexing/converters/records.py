"""Records, such as rows of CSV and objects of JSON, as documents: a line `name: value` per field."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from indexing.converters.characters import clean
from indexing.converters.content import Content, plain_meta

_MAX_TITLE = 200
_MAX_NAME = 80
_LONG = 600
"""Characters of a record that may become more than one passage."""
_MAX_NUMBERS = 32
"""A longer list of numbers is a vector or a shape, not text."""
_KNOWN = ("author", "date", "language")
_WEB = re.compile(r"https?://\S+", re.IGNORECASE)
_LABEL = re.compile(r"(?=.*\d)(?=.*[A-Za-z])[\w./#-]{2,24}")
_MACHINE_ID = re.compile(r"[0-9a-fA-F]{16,}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|\d{12,}")
_MARKUP = re.compile(r"</(?:p|div|li|ul|ol|td|tr|table|h[1-6]|span|a|b|strong|em)>|<br ?/?>", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Fields:
    """Names, in lower case, of the fields that hold a record's text, title, id and address.

    Of several, the first that a record has counts.
    """

    text: tuple[str, ...] = ("text", "content", "body")
    title: tuple[str, ...] = ("title", "name", "headline", "subject")
    id: tuple[str, ...] = ("id", "_id", "uuid", "key")
    url: tuple[str, ...] = ("url", "link", "href", "permalink", "source_url")


DEFAULT = Fields()


def chosen(names: Sequence[tuple[str, str]]) -> Fields:
    """The fields with the names in pairs of role and name before the usual ones."""
    return replace(DEFAULT, **{role: (name.lower(), *getattr(DEFAULT, role)) for role, name in names})


def column_names(header: Sequence[str]) -> tuple[str, ...]:
    """Names of the columns; those without a name are numbered, and of two the same the second gets a number."""
    names: list[str] = []
    for number, cell in enumerate(header, start=1):
        name = plain = " ".join(clean(cell).split()) or f"column {number}"
        count = 1
        while name in names:
            count += 1
            name = f"{plain} {count}"
        names.append(name)
    return tuple(names)


def row_content(
    cells: Iterable[tuple[str, str]], *, number: int, captions: Sequence[str] = (), fields: Fields = DEFAULT
) -> Content:
    """Row `number` of a table as a document. `captions` are the lines above the table."""
    values = {name: text for name, value in cells if (text := shown(value))}
    known = {name.lower(): value for name, value in values.items()}
    meta: dict[str, Any] = {name: known[name] for name in _KNOWN if name in known}
    title, identifier, address = (
        next((known[name] for name in names if name in known), "") for names in (fields.title, fields.id, fields.url)
    )
    title = title or next(iter(captions), "")
    meta |= {"id": identifier, "url": address if _WEB.fullmatch(address) else "", "row": number}
    meta["caption"] = "; ".join(captions)
    text = "\n".join(f"{name}: {value}" for name, value in values.items())
    return _content(text, title, meta, name=next(iter(values.values()), ""))


def object_content(item: Any, fields: Fields = DEFAULT) -> Content:
    """An object as a document: its text first, then the other fields."""
    if not isinstance(item, Mapping):
        return Content("\n".join(_lines("", item)))
    field = text_field(item, fields)
    named = _named(item, fields)
    name = next((str(value) for value in item.values() if _is_plain(value)), "")
    if field is None:
        return _content("\n".join(_lines("", item)), named.get("title", ""), named, name=name)
    text = "\n\n".join(map(shown, item[field])) if isinstance(item[field], list) else shown(item[field])
    others = {key: value for key, value in item.items() if key != field}
    text = "\n\n".join(filter(None, (text, "\n".join(_lines("", _beside_text(others, fields))))))
    return _content(text, named.get("title", ""), {**others, **named}, name=name)


def _content(text: str, title: str, meta: Mapping[str, Any], *, name: str) -> Content:
    """A long record without a title is known by its `name`, so that each of its passages is."""
    part = clean(name).strip() if not title and len(text) > _LONG and len(name) <= _MAX_NAME else ""
    return Content(text, title[:_MAX_TITLE], plain_meta(meta), part=part)


def title_of(item: Mapping[Any, Any], fields: Fields) -> str:
    """An object's title, "" if it has none."""
    return _first(item, fields.title)


def text_field(item: Mapping[Any, Any], fields: Fields) -> Any | None:
    """The key of the field that holds an object's text."""
    filled = {str(key).lower(): key for key, value in item.items() if _is_text(value)}
    return next((filled[name] for name in fields.text if name in filled), None)


def shown(value: str) -> str:
    """A value's text, without the markup of HTML."""
    if _MARKUP.search(value):
        from indexing.converters.html import text_of

        value = text_of(value) or value
    return clean(value).strip()


def _named(item: Mapping[Any, Any], fields: Fields) -> dict[str, str]:
    """The values by which a record is known, if it has them."""
    found = {name: str(item[name]) for name in ("author", "date", "language") if _is_plain(item.get(name))}
    found |= {"title": title_of(item, fields), "id": _first(item, fields.id), "url": _address(item, fields)}
    return {name: value for name, value in found.items() if value}


def _first(item: Mapping[Any, Any], names: Sequence[str]) -> str:
    known = {str(key).lower(): value for key, value in item.items() if _is_plain(value)}
    return next((shown(str(known[name])) for name in names if known.get(name) not in (None, "")), "")


def _address(item: Mapping[Any, Any], fields: Fields) -> str:
    address = _first(item, fields.url)
    return address if _WEB.fullmatch(address) else ""


def _beside_text(item: Mapping[Any, Any], fields: Fields) -> dict[str, Any]:
    """The fields to read after the text, also of objects inside of the record."""
    kept = {key: value for key, value in item.items() if not _is_told_elsewhere(str(key).lower(), value, fields)}
    return {key: _beside_text(value, fields) if isinstance(value, dict) else value for key, value in kept.items()}


def _is_told_elsewhere(name: str, value: Any, fields: Fields) -> bool:
    """Whether a field is the title, or an id or address for machines. People ask for ids such as `T-101`."""
    if name in ("language", "lang") or (name in fields.title and isinstance(value, str)):
        return True
    if name in fields.id and not (name == "id" and isinstance(value, str) and _LABEL.fullmatch(value)):
        return True
    return isinstance(value, str) and bool(_WEB.fullmatch(value) or _MACHINE_ID.fullmatch(value))


def _is_text(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(item, str) for item in value)
    return isinstance(value, str) and bool(value.strip())


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _lines(name: str, value: Any) -> Iterator[str]:
    """Nested objects as `outer.inner: value`, a list of plain values on one line."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _lines(f"{name}.{key}" if name else str(key), inner)
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for number, inner in enumerate(value, start=1):
            yield from _lines(f"{name}.{number}" if name else str(number), inner)
    elif isinstance(value, list):
        numbers = len(value) > _MAX_NUMBERS and all(isinstance(item, int | float) for item in value)
        yield from () if numbers else _lines(name, ", ".join(_plain(item) for item in value if item is not None))
    elif value is not None and (text := shown(_plain(value))):
        yield f"{clean(name)}: {text}" if name else text


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
