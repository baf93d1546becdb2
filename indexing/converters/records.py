"""CSV, JSON and JSON lines: each record is a document. All but JSON are read one record at a time."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from indexing.converters.characters import clean
from indexing.converters.content import Content, ConversionError, plain_meta
from indexing.converters.decoding import encoding_of, read_text

_TEXT_FIELDS = ("text", "content", "body")
_TITLE_FIELDS = ("title", "name", "headline")
_MAX_CELL = 1 << 28
_SAMPLE = 1 << 16


def convert_csv(path: Path) -> Iterator[Content]:
    """Yield one document per row, with a line `header: value` per cell. The first row is the header."""
    csv.field_size_limit(_MAX_CELL)
    with path.open(encoding=encoding_of(path).name, errors="replace", newline="") as file:
        sample = file.read(_SAMPLE)
        file.seek(0)
        rows = csv.reader((line.replace("\0", "\ufffd") for line in file), _dialect(sample, path))
        header: list[str] | None = None
        try:
            for number, row in enumerate(rows, start=1):
                if not any(cell.strip() for cell in row):
                    continue
                if header is None:
                    header = [clean(cell).strip() or f"column {index}" for index, cell in enumerate(row, start=1)]
                    continue
                yield _row(header, row, number)
        except csv.Error as error:
            raise ConversionError(f"line {rows.line_num} is not CSV: {error}") from error


def convert_json(path: Path) -> Iterator[Content]:
    """Yield the paragraphs of a SQuAD file, the items of a list, or else one document."""
    try:
        data = json.loads(read_text(path)[0].removeprefix("\ufeff"))
    except ValueError as error:
        raise ConversionError(f"it is not JSON: {error}") from error
    except RecursionError as error:
        raise ConversionError("its objects are nested too deeply") from error
    if isinstance(data, dict) and isinstance(data.get("data"), list) and _is_squad(data["data"]):
        yield from _squad(data["data"])
    elif isinstance(data, list) and any(isinstance(item, dict) for item in data):
        yield from map(_record, data)
    else:
        yield _record(data)


def convert_jsonl(path: Path) -> Iterator[Content]:
    """Yield one document per line."""
    with path.open(encoding=encoding_of(path).name, errors="replace", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                yield _record(json.loads(line))
            except ValueError as error:
                raise ConversionError(f"line {number} is not JSON: {error}") from error
            except RecursionError as error:
                raise ConversionError(f"line {number} is nested too deeply") from error


def _dialect(sample: str, path: Path) -> type[csv.Dialect]:
    if path.suffix.lower() == ".tsv":
        return csv.excel_tab
    first = sample.split("\n", 1)[0]
    delimiter = max(",;\t|", key=first.count)  # the most frequent in the header, or a comma

    class Found(csv.excel):
        pass

    Found.delimiter = delimiter
    return Found


def _row(header: list[str], row: list[str], number: int) -> Content:
    values: dict[str, str] = {}
    for index, cell in enumerate(row):
        name = header[index] if index < len(header) else f"column {index + 1}"
        while name in values:
            name += "'"
        values[name] = clean(cell).strip()
    text = "\n".join(f"{name}: {value}" for name, value in values.items() if value)
    title = next((value for name, value in values.items() if name.lower() in _TITLE_FIELDS and value), "")
    known = {name.lower(): value for name, value in values.items()}
    meta = {name: known[name] for name in ("author", "date", "language", "url") if known.get(name)}
    return Content(text, title[:200], {**plain_meta(meta), "row": number})


def _record(item: Any) -> Content:
    if not isinstance(item, dict):
        return Content(clean("\n".join(_lines("", item))))
    field = next((name for name in _TEXT_FIELDS if isinstance(item.get(name), str) and item[name].strip()), None)
    title = next((clean(item[name]).strip() for name in _TITLE_FIELDS if isinstance(item.get(name), str)), "")
    if field is None:
        named = {key: item[key] for key in ("title", "author", "date", "language", "url") if key in item}
        return Content(clean("\n".join(_lines("", item))), title[:200], plain_meta(named))
    meta = plain_meta({key: value for key, value in item.items() if key != field})
    return Content(clean(item[field]), title[:200], meta)


def _lines(name: str, value: Any) -> Iterator[str]:
    """Nested objects as `outer.inner: value`, a list of plain values on one line."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _lines(f"{name}.{key}" if name else str(key), inner)
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for number, inner in enumerate(value, start=1):
            yield from _lines(f"{name}.{number}" if name else str(number), inner)
    elif isinstance(value, list):
        yield from _lines(name, ", ".join(str(item) for item in value if item is not None))
    elif value is not None and value != "":
        yield f"{name}: {value}" if name else str(value)


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
