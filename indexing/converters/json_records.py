"""JSON and JSON lines: each record is a document. Lines are read one at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from indexing.converters.characters import clean
from indexing.converters.content import Content, ConversionError
from indexing.converters.decoding import encoding_of, read_text
from indexing.converters.records import Fields, chosen, object_content, text_field, title_of

_MAX_NAMED = 20
"""Lines left out that are named; the others are counted."""
_MANY = 3
"""Objects of one kind below keys that are their ids."""


def convert_json(path: Path, *, fields: Sequence[tuple[str, str]] = (), charset: str = "") -> Iterator[Content]:
    """Yield the paragraphs of a SQuAD file, the items of a list, or else one document. The file may be JSON lines."""
    if _has_lines(path, charset):
        yield from convert_jsonl(path, fields=fields, charset=charset)
        return
    text, warnings = read_text(path, declared=[charset])
    try:
        data = _loaded(text)
    except ValueError as error:
        raise ConversionError(f"it is not JSON: {error}") from error
    except RecursionError as error:
        raise ConversionError("its objects are nested too deeply") from error
    for content in _contents(data, chosen(fields)):
        yield replace(content, warnings=(*warnings, *content.warnings))
        warnings = ()


def convert_jsonl(path: Path, *, fields: Sequence[tuple[str, str]] = (), charset: str = "") -> Iterator[Content]:
    """Yield one document per line. Lines that are not JSON are left out with a warning."""
    wanted = chosen(fields)
    encoding = encoding_of(path, declared=[charset])
    warnings = list(encoding.warnings)
    left_out = read = 0
    last: Content | None = None
    with path.open(encoding=encoding.name, errors="replace", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            found, reason = _parsed(line)
            if reason:
                left_out += 1
                if left_out <= _MAX_NAMED:
                    warnings.append(f"line {number} {reason} and was left out")
            for content in _contents(found, wanted) if line.strip() and not reason else ():
                if last is not None:
                    yield last
                last, warnings, read = replace(content, warnings=tuple(warnings)), [], read + 1
    if left_out and not read:
        raise ConversionError(warnings[0].removesuffix(" and was left out"))
    if left_out > _MAX_NAMED:
        warnings.append(f"{left_out - _MAX_NAMED:,} lines more were left out")
    if last is not None:
        yield replace(last, warnings=(*last.warnings, *warnings))


def _parsed(line: str) -> tuple[Any, str]:
    """The value of a line, and why it has none."""
    if not line.strip():
        return None, ""
    try:
        return _loaded(line), ""
    except ValueError:
        return None, "is not JSON"
    except RecursionError:
        return None, "is nested too deeply"


def _has_lines(path: Path, charset: str) -> bool:
    """Whether the first line is a value, and others follow."""
    with path.open(encoding=encoding_of(path, declared=[charset]).name, errors="replace", newline="\n") as file:
        filled = (line for line in file if line.strip())
        first = next(filled, "")
        if not first.lstrip().startswith(("{", "[")) or next(filled, None) is None:
            return False
        _, reason = _parsed(first)
        return not reason


def _contents(data: Any, fields: Fields) -> Iterator[Content]:
    if isinstance(data, dict) and isinstance(data.get("data"), list) and _is_squad(data["data"]):
        yield from _squad(data["data"])
    elif records := _records(data, fields):
        title = title_of(data, fields) if isinstance(data, dict) else ""
        for part, item in records:
            content = object_content(item, fields)
            yield replace(content, title=content.title or title, part=part or content.part)
    else:
        yield object_content(data, fields)


def _records(data: Any, fields: Fields, part: str = "") -> list[tuple[str, Any]]:
    """The records of a list, of an object by id, or of lists below keys, each with the key above it."""
    if isinstance(data, list):
        return [(part, item) for item in data] if any(isinstance(item, dict) for item in data) else []
    if not isinstance(data, dict) or text_field(data, fields) is not None:
        return []
    if _is_by_id(data):
        return [(part, {"id": key, **item}) for key, item in data.items()]
    found = {key: _records(value, fields, str(key)) for key, value in data.items()}
    inner = {key: data[key] for key, items in found.items() if items}
    rest = {key: value for key, value in data.items() if key not in inner}
    if not inner or _size(inner) < _size(rest):
        return []
    return ([(part, rest)] if rest else []) + [item for items in found.values() for item in items]


def _is_by_id(data: dict[str, Any]) -> bool:
    """Whether all values are objects that have a field in common."""
    if len(data) < _MANY or not all(isinstance(item, dict) and item for item in data.values()):
        return False
    return bool(set.intersection(*(set(item) for item in data.values())))


def _size(data: Any) -> int:
    return len(json.dumps(data))


class _Number(float):
    """A number that is shown as it is written."""

    def __new__(cls, text: object) -> _Number:
        number = super().__new__(cls, str(text))
        number.text = str(text)
        return number

    text: str

    def __str__(self) -> str:
        return self.text


def _loaded(text: str) -> Any:
    return json.loads(text.removeprefix("\ufeff"), parse_float=_Number)


def _is_squad(articles: list[Any]) -> bool:
    return bool(articles) and all(isinstance(article, dict) and "paragraphs" in article for article in articles)


def _squad(articles: list[dict[str, Any]]) -> Iterator[Content]:
    number = 0
    for article in articles:
        title = clean(str(article.get("title", ""))).replace("_", " ").strip()
        for paragraph in article["paragraphs"]:
            if not isinstance(paragraph, dict) or not isinstance(paragraph.get("context"), str):
                raise ConversionError(f"paragraph {number} of this SQuAD file has no context")
            yield Content(
                clean(paragraph["context"]),
                title,
                {"title": title, "paragraph": number} if title else {"paragraph": number},
            )
            number += 1
