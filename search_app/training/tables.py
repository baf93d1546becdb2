"""Questions about generated tables, records and data sheets, to train a reader on what it reads of a table.

Names, units, dates and amounts are drawn from lists, the questions from templates. The paragraphs are texts as the
reader reads them (search_app.text.reading).
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from search_app.evaluation.datasets import Article, Dataset, GoldAnswer, Paragraph, Question
from search_app.text.reading import SEPARATOR, edited, edits_of
from search_app.types import Cell, Table

UNANSWERED = 0.25
"""Share of the questions that ask for a thing or a property that the table does not have."""
_ASKED = 4
"""Questions about one table."""

Draw = Callable[[random.Random], str]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of thing: the names of its column, and how its things are named."""

    columns: tuple[str, ...]
    name: Draw
    article: str = ""


@dataclass(frozen=True, slots=True)
class Property:
    """A property: the names of its column, its values, and questions for the value of {e}, or for the {k} with {v}."""

    columns: tuple[str, ...]
    value: Draw
    asked: tuple[str, ...] = ()
    reversed: tuple[str, ...] = ()


def _of(*values: str) -> Draw:
    return lambda rng: rng.choice(values)


_FIRST = _of(*"Ann Luis Mara Tomas Ingrid Omar Yuki Priya Jonas Elif Nora Pavel Chidi Lena Hugo Zoe Amir Sofia".split())
_LAST = _of(*"Ruiz Keller Okafor Novak Tanaka Larsen Moreau Haddad Silva Brandt Kaya Olsen Weber Costa Ivanova".split())
_STEM = _of(*"Orca Delta Vento Luma Nova Terra Astra Corvo Pico Marlin Onyx Zephyr Titan Fjord Quanta Ember".split())
_COUNTRY = _of(*(
    "Portugal Norway Kenya Japan Brazil Austria Chile Poland Ghana Vietnam Canada Greece Peru Ireland Morocco Finland"
).split())  # fmt: skip
_CITY = _of(*"Lisbon Osaka Vienna Lima Bergen Nairobi Porto Graz Quebec Leeds Utrecht Turin Lyon Ghent Bilbao".split())
_MONTH = _of(*(
    "January February March April May June July August September October November December"
).split())  # fmt: skip
_DAY = _of("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")


def _person(rng: random.Random) -> str:
    title = rng.choice(["", "", "", "Dr ", "Prof. "])
    return f"{title}{_FIRST(rng)} {_LAST(rng)}"


def _model(rng: random.Random) -> str:
    number = rng.choice([rng.randint(1, 9) * 100, rng.randint(10, 99), rng.randint(1000, 9999)])
    return rng.choice([f"{_STEM(rng)} {number}", f"{rng.choice('ABCKMXZ')}{number}", f"{_STEM(rng)}-{number}"])


def _code(rng: random.Random) -> str:
    letters = "".join(rng.choices("ABCDEFGHKLMNPRSTVXZ", k=rng.randint(1, 3)))
    return f"{letters}-{rng.randint(10, 99999)}" + rng.choice(
        ["", "", f"/{rng.choice('ABX')}", f".{rng.randint(0, 9)}"]
    )


def _amount(rng: random.Random) -> str:
    value = rng.choice(
        [rng.randint(1, 99), rng.randint(100, 9999), rng.randint(1, 999) + rng.choice([0.5, 0.99, 0.25])]
    )
    number = f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"
    return rng.choice([f"EUR {number}", f"€{number}", f"${number}", f"{number} €", f"£{number}", f"CHF {number}"])


def _date(rng: random.Random) -> str:
    day, month, year = rng.randint(1, 28), rng.randint(1, 12), rng.randint(1890, 2031)
    return rng.choice(
        [f"{year}-{month:02}-{day:02}", f"{day} {_MONTH(rng)} {year}", f"{day:02}.{month:02}.{year}", f"{year}",
         f"{_MONTH(rng)} {day}, {year}", f"{_MONTH(rng)} {year}"]
    )  # fmt: skip


def _number(low: int, high: int, *units: str) -> Draw:
    def draw(rng: random.Random) -> str:
        value = rng.randint(low, high)
        decimal = f".{rng.randint(1, 9)}" if rng.random() < 0.3 else ""
        return f"{value:,}{decimal}{rng.choice(units) if units else ''}"

    return draw


def _time(rng: random.Random) -> str:
    begin = rng.randint(6, 12)
    return rng.choice(
        [f"{begin}:00–{begin + 8}:30", f"{begin:02}:{rng.choice(['00', '15', '30'])}", f"{begin} am to {begin - 2} pm"]
    )


def _address(rng: random.Random) -> str:
    return f"{_FIRST(rng).lower()}.{_LAST(rng).lower()}@example.{rng.choice(['org', 'com', 'net'])}"


KINDS = (
    Kind(("Country", "Destination"), _COUNTRY),
    Kind(("Model", "Product", "Device", "Article"), _model, "the "),
    Kind(("Name", "Employee", "Member", "Contact"), _person),
    Kind(("City", "Office", "Branch", "Location"), _CITY),
    Kind(("Part", "Part no.", "Item", "SKU"), _code, "part "),
    Kind(("Room", "Hall"), lambda rng: f"{rng.choice(['Room', 'Hall', 'Lab'])} {rng.randint(1, 420)}"),
    Kind(("Project", "Team", "Department"), lambda rng: f"{rng.choice(['Project', 'Team'])} {_STEM(rng)}"),
    Kind(("Course", "Event", "Session"), lambda rng: f"{rng.choice(['Pottery', 'First aid', 'Spanish', 'Welding', 'Chess', 'Sailing', 'Yoga'])} {rng.choice(['I', 'II', 'for beginners', 'evening'])}", "the course "),
    Kind(("Plan", "Tariff", "Licence"), lambda rng: rng.choice(["Basic", "Plus", "Team", "Pro", "Premium", "Family", "Student"]), "the plan "),
    Kind(("Command", "Key", "Setting"), lambda rng: f"{_STEM(rng).lower()}.{rng.choice(['size', 'limit', 'timeout', 'path'])}"),
)  # fmt: skip

PROPERTIES = (
    Property(("Price", "Cost", "Fee", "Unit price"), _amount, ("How much does {e} cost?", "What do I pay for {e}?", "How expensive is {e}?"), ("Which {k} costs {v}?",)),
    Property(("Daily allowance", "Hotel limit", "Deposit", "Budget", "Rent"), _amount, ("How high is the {c} for {e}?", "How much is the {c} in {e}?"), ("Which {k} has a {c} of {v}?",)),
    Property(("Weight", "Net weight", "Mass"), _number(1, 900, " kg", " g", " t", " lb"), ("How heavy is {e}?", "How much does {e} weigh?"), ("Which {k} weighs {v}?",)),
    Property(("Length", "Height", "Width", "Depth"), _number(1, 990, " mm", " cm", " m", " in"), ("How big is the {c} of {e}?", "What {c} does {e} have?")),
    Property(("Capacity", "Seats", "Places"), _number(4, 900, "", " people", " seats"), ("How many people fit into {e}?", "How many does {e} hold?")),
    Property(("Power", "Voltage", "Input"), _number(5, 900, " W", " V", " kW", " VA"), ("What {c} does {e} need?",)),
    Property(("Max. temperature", "Storage temperature", "Working temperature"), _number(-40, 180, " °C", "°C", " °F"), ("How warm may {e} get?", "At what temperature is {e} kept?")),
    Property(("Start", "Start date", "Begins"), _date, ("When does {e} start?", "When does {e} begin?"), ("Which {k} starts on {v}?",)),
    Property(("Released", "Founded", "Opened", "Joined", "Valid from"), _date, ("When was {e} {lc}?", "Since when is {e} there?")),
    Property(("Deadline", "Due", "Expires", "Valid until", "Next check"), _date, ("When is {e} due?", "Until when is {e} valid?", "What is the deadline for {e}?")),
    Property(("Manager", "Responsible", "Owner", "Contact person", "Lead"), _person, ("Who is responsible for {e}?", "Who leads {e}?", "Who is in charge of {e}?"), ("Which {k} is {v} responsible for?",)),
    Property(("Location", "Place", "Site", "Stored in"), lambda rng: rng.choice([_CITY(rng), f"Building {rng.randint(1, 30)}", f"shelf {rng.choice('ABCD')}{rng.randint(1, 40)}", f"{rng.randint(1, 9)}th floor"]), ("Where is {e}?", "Where do I find {e}?"), ("Which {k} is in {v}?",)),
    Property(("Phone", "Telephone", "Extension", "Fax"), lambda rng: rng.choice([f"+{rng.randint(30, 59)} {rng.randint(10, 99)} {rng.randint(100000, 9999999)}", f"{rng.randint(100, 999)}-{rng.randint(1000, 9999)}", str(rng.randint(100, 9999))]), ("What number do I call for {e}?", "How can I phone {e}?")),
    Property(("Email", "E-mail", "Mail"), _address, ("How can I write to {e}?", "What is the email address of {e}?")),
    Property(("Serial number", "Order no.", "Article number", "ID"), _code, ("Under which number is {e} listed?",), ("Which {k} has the {c} {v}?",)),
    Property(("Share", "Discount", "VAT", "Growth", "Utilisation"), _number(1, 99, " %", "%"), ("How high is the {c} of {e}?", "How much {c} does {e} get?")),
    Property(("Duration", "Warranty", "Notice period", "Delivery time", "Battery life"), lambda rng: f"{rng.randint(2, 36)} {rng.choice(['days', 'months', 'years', 'hours', 'weeks', 'minutes'])}", ("How long is the {c} of {e}?", "How long does {e} take?"), ("Which {k} has a {c} of {v}?",)),
    Property(("Opening hours", "Hours", "Time", "Shift"), _time, ("When is {e} open?", "What are the hours of {e}?")),
    Property(("Day", "Weekday", "Closed on"), _DAY, ("On which day is {e}?",)),
    Property(("Colour", "Color", "Finish"), _of("red", "dark blue", "silver", "white", "matt black", "green", "oak"), ("What colour is {e}?",), ("Which {k} is {v}?",)),
    Property(("Status", "Result", "State"), _of("open", "closed", "approved", "in progress", "rejected", "on hold", "passed"), ("What is the status of {e}?", "How far is {e}?")),
    Property(("Material", "Made of", "Fuel"), _of("steel", "aluminium", "oak wood", "diesel", "wool", "copper", "glass fibre"), ("What is {e} made of?",)),
    Property(("Stock", "Quantity", "Members", "Inhabitants", "Staff"), _number(1, 90000), ("How many {c} does {e} have?", "What is the number of {c} at {e}?")),
    Property(("Default", "Default value", "Limit"), lambda rng: rng.choice([str(rng.randint(0, 4096)), "true", "off", "auto", f"{rng.randint(1, 90)}s", f"{rng.randint(1, 64)} MB", f"/var/lib/{_STEM(rng).lower()}"]), ("What is the default of {e}?", "What is {e} set to?")),
    Property(("Version", "Firmware", "Release"), lambda rng: f"{rng.choice(['', 'v'])}{rng.randint(0, 19)}.{rng.randint(0, 30)}" + rng.choice(["", f".{rng.randint(0, 9)}", "-rc1"]), ("Which version does {e} have?", "What {c} is needed for {e}?")),
    Property(("Headquarters", "Capital", "Home town"), _CITY, ("What is the {c} of {e}?",)),
)  # fmt: skip

PLAIN = (
    "What is the {c} of {e}?", "What is the {c} for {e}?", "Which {c} does {e} have?", "What {c} is listed for {e}?",
    "{c} of {e}?", "{e} {c}", "{e}: {c}?", "Tell me the {c} of {e}.", "What does the table give as {c} for {e}?",
)  # fmt: skip
_SECTIONS = _of(
    "Technical data", "Overview", "Prices", "Appendix A", "Specifications", "Travel policy", "Contacts", "Annex 2",
    "List of items", "Summary", "Data sheet", "Details",
)  # fmt: skip
_BEFORE = _of(
    "The table shows the current values.", "All figures were checked in spring.", "Please ask before you order.",
    "The following applies from the start of the year.", "These values replace those of the last edition.", "",
    "", "", "",
)  # fmt: skip


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
    names = list(dict.fromkeys(kind.name(rng) for _ in range(rng.randint(2, 8))))
    head = [rng.choice(kind.columns), *(rng.choice(one.columns) for one in properties)]
    rows = [[name, *(_filled(one, rng) for one in properties)] for name in names]
    text = _read([head, *rows], _BEFORE(rng), named=True)
    asked: list[tuple[str, str, int]] = []
    for _ in range(_ASKED):
        row, column = rng.choice(rows), rng.randint(1, len(properties))
        asked.append(_about(kind, properties[column - 1], head, row, column, text, rows, rng))
    return _article(f"{_SECTIONS(rng)}", text, asked, number)


def _about(
    kind: Kind, what: Property, head: Sequence[str], row: Sequence[str], column: int, text: str,
    rows: Sequence[Sequence[str]], rng: random.Random,
) -> tuple[str, str, int]:  # fmt: skip
    """A question with its answer and the answer's place in `text`, or "" and -1."""
    line = _place(head[0], row[0], text)
    if rng.random() < UNANSWERED:
        missing = kind.name(rng)
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
    return _described(rng, number, lambda pairs: _read(pairs, _BEFORE(rng), named=False))


def _record(rng: random.Random, number: str) -> Article:
    """A record of a CSV or JSON file: lines of a name and a value."""
    return _described(rng, number, lambda pairs: "\n".join(f"{name}: {value}" for name, value in pairs))


def _described(rng: random.Random, number: str, write: Callable[[list[list[str]]], str]) -> Article:
    kind, properties = rng.choice(KINDS), rng.sample(PROPERTIES, rng.randint(3, 8))
    name = kind.name(rng)
    pairs = [[rng.choice(one.columns), one.value(rng)] for one in properties]
    inside = rng.random() < 0.5  # else the title alone names the thing
    named = [[rng.choice(kind.columns), name], *pairs] if inside else pairs
    text = write(named)
    asked: list[tuple[str, str, int]] = []
    for _ in range(_ASKED):
        index = rng.randrange(len(pairs))
        label, value = pairs[index]
        if rng.random() < UNANSWERED:
            other = kind.name(rng)
            while other == name:
                other = kind.name(rng)
            asked.append((_ask(properties[index], kind, other, label, rng), "", -1))
        else:
            asked.append((_ask(properties[index], kind, name, label, rng), value, _place(label, value, text)))
    section = _SECTIONS(rng)
    title = (
        section if inside and rng.random() < 0.5 else rng.choice([name, f"{name} › {section}", f"{section} › {name}"])
    )
    return _article(title, text, asked, number)


def _ask(what: Property, kind: Kind, thing: str, column: str, rng: random.Random) -> str:
    template = rng.choice(what.asked) if what.asked and rng.random() < 0.6 else rng.choice(PLAIN)
    called = f"{kind.article}{thing}" if template not in PLAIN[-4:] else thing
    text = template.format(e=called, c=column.lower(), lc=column.lower())
    return text[0].upper() + text[1:] if rng.random() < 0.85 else text.lower()


def _filled(what: Property, rng: random.Random) -> str:
    return "" if rng.random() < 0.04 else what.value(rng)


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
