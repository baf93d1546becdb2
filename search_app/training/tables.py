"""Questions about generated tables, records and data sheets, to train a reader on what it reads of a table.

Things, values and questions are drawn from patterns (tables.toml). The paragraphs are texts as the
reader reads them (search_app.text.reading).
"""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from search_app.evaluation.datasets import Article, Dataset, GoldAnswer, Paragraph, Question
from search_app.text.reading import SEPARATOR, edited, edits_of
from search_app.types import Cell, Table

UNANSWERED = 0.25
"""Share of the questions that ask for a thing or a property that the table does not have."""
_ASKED = 4
"""Questions about one table."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of thing: the names of its column, patterns of its names, and what stands before one in a question."""

    columns: tuple[str, ...]
    values: tuple[str, ...]
    article: str = ""


@dataclass(frozen=True, slots=True)
class Property:
    """A property: the names of its column, patterns of its values, and questions.

    `asked` are for the value in column {c} of {e}, `reversed` for the {k} with the value {v}.
    """

    columns: tuple[str, ...]
    values: tuple[str, ...]
    asked: tuple[str, ...] = ()
    reversed: tuple[str, ...] = ()


_DATA = tomllib.loads(files("search_app.training").joinpath("tables.toml").read_text(encoding="utf-8"))


def _rows(name: str) -> list[dict[str, Any]]:
    return [
        {key: value if isinstance(value, str) else tuple(value) for key, value in row.items()} for row in _DATA[name]
    ]


KINDS = tuple(Kind(**row) for row in _rows("kinds"))
PROPERTIES = tuple(Property(**row) for row in _rows("properties"))
_PATTERNS: dict[str, list[str]] = _DATA["words"] | _DATA["patterns"]
_PLACE = re.compile(r"\{(?:(\d+)\.\.(\d+)|(\w+))\}")

PLAIN = (
    "What is the {c} of {e}?", "What is the {c} for {e}?", "Which {c} does {e} have?", "What {c} is listed for {e}?",
    "{c} of {e}?", "{e} {c}", "{e}: {c}?", "Tell me the {c} of {e}.", "What does the table give as {c} for {e}?",
)  # fmt: skip


def fill(pattern: str, rng: random.Random) -> str:
    """The pattern with a word for each {name} and a number for each {1..9}."""

    def one(found: re.Match[str]) -> str:
        low, high, name = found.groups()
        return fill(rng.choice(_PATTERNS[name]), rng) if name else str(rng.randint(int(low), int(high)))

    return _PLACE.sub(one, pattern)


def make_tables(questions: int, seed: int) -> Dataset:
    """At least `questions` questions, a share UNANSWERED of them without an answer; the same for the same seed."""
    rng = random.Random(f"{seed} tables")
    articles: list[Article] = []
    count = 0
    while count < questions:
        article = rng.choice((_table, _table, _sheet, _record))(rng, str(len(articles)))
        count += sum(len(paragraph.questions) for paragraph in article.paragraphs)
        articles.append(article)
    return Dataset("tables", tuple(articles))


def _table(rng: random.Random, number: str) -> Article:
    """A table with a head, one thing in each row."""
    kind, properties = rng.choice(KINDS), rng.sample(PROPERTIES, rng.randint(1, 4))
    names = list(dict.fromkeys(_value(kind, rng) for _ in range(rng.randint(2, 8))))
    head = [rng.choice(kind.columns), *(rng.choice(one.columns) for one in properties)]
    rows = [[name, *(_filled(one, rng) for one in properties)] for name in names]
    text = _read([head, *rows], fill("{before}", rng), named=True)
    asked: list[tuple[str, str, int]] = []
    for _ in range(_ASKED):
        row, column = rng.choice(rows), rng.randint(1, len(properties))
        asked.append(_about(kind, properties[column - 1], head, row, column, text, rows, rng))
    return _article(fill("{section}", rng), text, asked, number)


def _about(
    kind: Kind, what: Property, head: Sequence[str], row: Sequence[str], column: int, text: str,
    rows: Sequence[Sequence[str]], rng: random.Random,
) -> tuple[str, str, int]:  # fmt: skip
    """A question with its answer and the answer's place in `text`, or "" and -1."""
    line = _place(head[0], row[0], text)
    if rng.random() < UNANSWERED:
        missing = _value(kind, rng)
        others = [one for one in PROPERTIES if not set(one.columns) & set(head)]
        if rng.random() < 0.5 and all(missing != other[0] for other in rows):
            return _ask(what, kind, missing, head[column], rng), "", -1
        other = rng.choice(others)
        return _ask(other, kind, row[0], rng.choice(other.columns), rng), "", -1
    value = row[column]
    if not value:
        return _ask(what, kind, row[0], head[column], rng), "", -1
    unique = sum(other[column] == value for other in rows) == 1
    if what.reversed and unique and rng.random() < 0.2:
        asked = rng.choice(what.reversed).format(k=head[0].lower(), v=value, c=head[column].lower())
        return asked, row[0], line
    return _ask(what, kind, row[0], head[column], rng), value, _place(head[column], value, text, line)


def _sheet(rng: random.Random, number: str) -> Article:
    """A data sheet of one thing, which its title alone names: rows of a name and a value, without a head."""
    return _described(rng, number, lambda pairs: _read(pairs, fill("{before}", rng), named=False))


def _record(rng: random.Random, number: str) -> Article:
    """A record of a CSV or JSON file: lines of a name and a value."""
    return _described(rng, number, lambda pairs: "\n".join(f"{name}: {value}" for name, value in pairs))


def _described(rng: random.Random, number: str, write: Callable[[list[list[str]]], str]) -> Article:
    kind, properties = rng.choice(KINDS), rng.sample(PROPERTIES, rng.randint(3, 8))
    name = _value(kind, rng)
    pairs = [[rng.choice(one.columns), _value(one, rng)] for one in properties]
    inside = rng.random() < 0.5  # else the title alone names the thing
    named = [[rng.choice(kind.columns), name], *pairs] if inside else pairs
    text = write(named)
    asked: list[tuple[str, str, int]] = []
    for _ in range(_ASKED):
        index = rng.randrange(len(pairs))
        label, value = pairs[index]
        if rng.random() < UNANSWERED:
            other = _value(kind, rng)
            while other == name:
                other = _value(kind, rng)
            asked.append((_ask(properties[index], kind, other, label, rng), "", -1))
        else:
            asked.append((_ask(properties[index], kind, name, label, rng), value, _place(label, value, text)))
    section = fill("{section}", rng)
    title = (
        section if inside and rng.random() < 0.5 else rng.choice([name, f"{name} › {section}", f"{section} › {name}"])
    )
    return _article(title, text, asked, number)


def _ask(what: Property, kind: Kind, thing: str, column: str, rng: random.Random) -> str:
    template = rng.choice(what.asked) if what.asked and rng.random() < 0.6 else rng.choice(PLAIN)
    called = f"{kind.article}{thing}" if template not in PLAIN[-4:] else thing
    text = template.format(e=called, c=column.lower())
    return text[0].upper() + text[1:] if rng.random() < 0.85 else text.lower()


def _value(what: Kind | Property, rng: random.Random) -> str:
    return fill(rng.choice(what.values), rng)


def _filled(what: Property, rng: random.Random) -> str:
    return "" if rng.random() < 0.04 else _value(what, rng)


def _place(column: str, value: str, text: str, after: int = 0) -> int:
    """Where the value of a column is, in the text from `after` on."""
    whole = re.compile(rf"{re.escape(column)}: {re.escape(value)}(?=[;\n]|$)")
    found = whole.search(text, after)
    if not found:
        raise ValueError(f"no {column} {value} in {text!r}")
    return found.end() - len(value)


def _read(rows: Sequence[Sequence[str]], before: str, *, named: bool) -> str:
    """What is read of a table; `named`: the first row has the names of the columns."""
    text = f"{before}\n\n" if before else ""
    start, lines = len(text), []
    for row in rows:
        cells = []
        for column, value in enumerate(row):
            text += SEPARATOR if column else ""
            cells.append(Cell(len(text), len(text) + len(value), column))
            text += value
        lines.append(tuple(cells))
        text += "\n"
    text = text.rstrip("\n")
    table = Table(start, len(text), tuple(rows[0]) if named else (), int(named), tuple(lines))
    return edited(text, edits_of(text, (table,), 0, len(text))).text


def _article(title: str, text: str, asked: Sequence[tuple[str, str, int]], number: str) -> Article:
    return Article(title, (Paragraph(text, tuple(_questions(asked, number))),))


def _questions(asked: Sequence[tuple[str, str, int]], number: str) -> Iterator[Question]:
    for index, (question, answer, start) in enumerate(dict.fromkeys(asked)):
        yield Question(f"tables-{number}-{index}", question, (GoldAnswer(answer, start),) if answer else ())
