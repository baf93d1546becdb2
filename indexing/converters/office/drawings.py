"""Text of pictures, diagrams (SmartArt) and charts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from indexing.converters import numbers
from indexing.converters.content import TextBuilder
from indexing.converters.office.package import part_of, root
from indexing.converters.office.runs import Runs
from indexing.converters.office.xml import CX, DGM, A, C, Element, R, V, W

_FILE_NAME = re.compile(r"[^/\\]*\.(?:png|jpe?g|gif|bmp|tiff?|emf|wmf|svg|webp)", re.IGNORECASE)
_MADE_BY_PROGRAM = re.compile(
    r"\s*(?:Description automatically generated(?: with \w+ confidence)?|AI-generated content may be incorrect\.?)\s*",
    re.IGNORECASE,
)
_MAX_POINTS = 5_000
"""Per series: a chart of more points is a curve, and nobody reads its values."""

Rows = list[list[str | None]]


@dataclass(frozen=True, slots=True)
class Chart:
    """`title` may be empty. The first row of each table is its header."""

    title: str
    tables: tuple[Rows, ...]


def write(source: Any, element: Element, builder: TextBuilder) -> None:
    """Add a chart or diagram, given the element in the part `source` that refers to it."""
    part = part_of(source, element.get(f"{R}dm") or element.get(f"{R}id"))
    if part is None:
        return
    if element.tag == f"{DGM}relIds":
        builder.block("\n".join(diagram(root(part))))
        return
    found = chart(root(part))
    builder.block(found.title)
    for rows in found.tables:
        builder.table(rows, header=1)


def write_picture(element: Element, builder: TextBuilder) -> None:
    """Add what a picture shows, given the element with its properties. A text box has its own text."""
    for path in element.iterchildren(f"{V}textpath"):
        builder.block(path.get("string", ""))
    if next(element.getparent().iter(f"{W}txbxContent"), None) is None and (text := alternative_text(element)):
        builder.block(f"Picture: {text}")


def unread_objects(kinds: Sequence[str]) -> Iterator[str]:
    """A warning if a file has embedded objects, of which only a picture is shown."""
    if kinds:
        yield f"not read: {len(kinds)} embedded object{'s' * (len(kinds) > 1)} ({', '.join(sorted(set(kinds)))})"


def alternative_text(element: Element) -> str:
    """The text that a picture has for people who do not see it; "" for a file name, or if the picture is decoration."""
    if any(child.get("val") in ("1", "true") for child in element.iter("{*}decorative")):
        return ""
    text = " ".join(_MADE_BY_PROGRAM.sub(" ", element.get("descr") or element.get("alt") or "").split())
    return "" if _FILE_NAME.fullmatch(text) else text


def diagram(root: Element) -> list[str]:
    """The lines of a diagram (SmartArt) from the part with its data; a line below another begins with "- "."""
    points = {point.get("modelId", ""): point for point in root.iter(f"{DGM}pt")}
    children: dict[str, list[tuple[int, str]]] = {}
    for link in root.iter(f"{DGM}cxn"):
        if link.get("type", "parOf") == "parOf":
            place = link.get("srcOrd", "0")
            below = children.setdefault(link.get("srcId", ""), [])
            below.append((int(place) if place.isdigit() else 0, link.get("destId", "")))
    lines: list[str] = []
    seen: set[str] = set()

    def visit(key: str, depth: int) -> None:
        if key in seen or key not in points:
            return
        seen.add(key)
        text = _point_text(points[key])
        if text:
            lines.append("- " * (depth > 1) + text)
        for _, child in sorted(children.get(key, ())):
            visit(child, depth + 1)

    roots = [key for key, point in points.items() if point.get("type") == "doc"]
    for key in [*roots, *points]:
        visit(key, 0 if key in roots else 1)
    return lines


def chart(root: Element) -> Chart:
    """A chart's title and values from its part, also of the kinds that came with Office 2016."""
    if root.tag.startswith(CX):
        return Chart(_text(root.find(f"{CX}chart/{CX}title")), tuple(_new_tables(root)))
    title = _text(root.find(f"{C}chart/{C}title"))
    series = list(root.iter(f"{C}ser"))
    names = [_text(item.find(f"{C}tx")) or _cached_text(item.find(f"{C}tx")) for item in series]
    labels = [_points(item, "cat") or _points(item, "xVal") for item in series]
    values = [_points(item, "val") or _points(item, "yVal") for item in series]
    title = title or (names[0] if len(series) == 1 else "")
    return Chart(title, tuple(_tables(_axis_titles(root), names, labels, values)))


def _tables(
    axes: tuple[str, str], names: Sequence[str], labels: Sequence[dict[int, str]], values: Sequence[dict[int, str]]
) -> Iterator[Rows]:
    """Series of the same categories are columns of one table."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for index, found in enumerate(labels):
        groups.setdefault(tuple(found.values()), []).append(index)
    for members in groups.values():
        columns = [names[index] or axes[1] or "Value" for index in members]
        places = sorted({place for index in members for place in (*labels[index], *values[index])})
        rows: Rows = [[axes[0] or "Category", *columns]]
        for place in places[:_MAX_POINTS]:
            label = labels[members[0]].get(place, "")
            rows.append([label, *(values[index].get(place, "") for index in members)])
        if len(rows) > 1:
            yield rows


def _points(series: Element, name: str) -> dict[int, str]:
    """The cached texts or numbers by their places; those of several levels are joined, outer level first."""
    source = series.find(f"{C}{name}")
    if source is None:
        return {}
    levels = list(source.iter(f"{C}lvl"))
    if levels:
        return _joined([_values(level, str) for level in levels])
    return _values(source, _number_format(source))


def _joined(levels: Sequence[dict[int, str]]) -> dict[int, str]:
    found = levels[0] if levels else {}
    for level in levels[1:]:  # an outer label stands at the first of the places that it covers
        covered = sorted(level)
        outer = {place: max((start for start in covered if start <= place), default=None) for place in found}
        found = {p: f"{level[start]} {text}" if (start := outer[p]) is not None else text for p, text in found.items()}
    return found


def _values(source: Element, shown: Callable[[str], str]) -> dict[int, str]:
    found: dict[int, str] = {}
    for point in source.iter(f"{C}pt"):
        place, text = point.get("idx", ""), point.findtext(f"{C}v")
        if place.isdigit() and text:
            found[int(place)] = shown(text)
    return found


def _number_format(source: Element) -> Callable[[str], str]:
    numeric = source.find(f".//{C}numCache") is not None or source.find(f".//{C}numLit") is not None
    code = source.findtext(f".//{C}formatCode") or "General"
    return (lambda text: _number(text, code)) if numeric else str


def _number(text: str, code: str) -> str:
    try:
        return numbers.shown(float(text), code)
    except ValueError:
        return text


def _axis_titles(root: Element) -> tuple[str, str]:
    """Of the categories and of the values."""
    horizontal = [root.find(f".//{C}{name}/{C}title") for name in ("catAx", "dateAx")]
    values = [axis.find(f"{C}title") for axis in root.iter(f"{C}valAx")]
    if all(title is None for title in horizontal) and len(values) > 1:  # x and y are both values
        horizontal, values = values[:1], values[1:]
    return (
        next((_text(title) for title in horizontal if title is not None), ""),
        next((_text(title) for title in values if title is not None), ""),
    )


def _new_tables(root: Element) -> Iterator[Rows]:
    names = {
        item.find(f"{CX}dataId").get("val"): _text(item.find(f"{CX}tx"))
        for item in root.iter(f"{CX}series")
        if item.find(f"{CX}dataId") is not None
    }
    for data in root.iter(f"{CX}data"):
        levels = [[_new_points(level) for level in dim.iter(f"{CX}lvl")] for dim in data.iterchildren(f"{CX}strDim")]
        labels = _joined(levels[0]) if levels else {}
        numbers = next((_new_points(level) for level in data.iterfind(f"{CX}numDim/{CX}lvl")), {})
        yield from _tables(("", ""), [names.get(data.get("id"), "")], [labels], [numbers])


def _new_points(level: Element) -> dict[int, str]:
    code = level.get("formatCode")
    return {
        int(point.get("idx", "0")): point.text if code is None else _number(point.text, code)
        for point in level.iter(f"{CX}pt")
        if point.text and point.get("idx", "0").isdigit()
    }


def _point_text(point: Element) -> str:
    body = point.find(f"{DGM}t")
    return "" if body is None else _text(body)


def _text(element: Element | None) -> str:
    """The paragraphs in an element in one line; the name of a new chart's series has none."""
    if element is None:
        return ""
    runs = Runs(element)
    text = " ".join(runs.read(paragraph).text for paragraph in element.iter(f"{A}p"))
    return " ".join((text or element.findtext(f".//{CX}v") or "").split())


def _cached_text(element: Element | None) -> str:
    return "" if element is None else " ".join(element.findtext(f".//{C}v", "").split())
