"""Text in many forms: encodings, logs, reStructuredText, TeX, RTF, OpenDocument, notebooks, XML, subtitles, code."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from documents.suite import Family, ask, cell
from documents.writing import odt, plain, rst, rtf, tex, writer

FAMILY = Family()


def raw(path: Path, text: str, *, encoding: str = "utf-8") -> None:
    path.write_bytes(text.encode(encoding))


FAMILY.add(
    "letters/nunez.txt",
    writer(
        plain,
        "# Señora Núñez\n\nThe naïve plan of the café owner failed. Señora Núñez pays the façade herself, for 3.200 €.",
        encoding="cp1252",
    ),
    ask("Who pays the façade of the café?", "Señora Núñez", "encoding"),
    traits="encoding",
)
FAMILY.add(
    "letters/zolw.txt",
    writer(
        plain,
        "# Opieka nad żółwiem\n\nŻółw je sałatę i mniszek. Lampa świeci dwanaście godzin dziennie. "
        "Zimą żółw śpi w skrzyni z liśćmi, w temperaturze pięciu stopni. Wodę zmienia się codziennie rano.",
        encoding="cp1250",
    ),
    ask("W czym śpi żółw zimą?", "w skrzyni z liśćmi", "encoding polish"),
    ask("Ile godzin dziennie świeci lampa żółwia?", "dwanaście godzin", "encoding polish"),
    traits="encoding polish",
)
FAMILY.add(
    "letters/kiosk.txt",
    writer(
        plain,
        "# Kiosk am Hafen\n\nDer Kiosk öffnet um sechs Uhr früh. Die Brötchen kommen von der Bäckerei Lütjens.",
        encoding="utf-16",
    ),
    ask("Von welcher Bäckerei kommen die Brötchen des Kiosks?", "Bäckerei Lütjens", "encoding german"),
    traits="encoding german",
)
_CODES = (
    ("E-2091", "coolant pressure too low", "fill the tank and bleed the pump"),
    ("E-2019", "spindle too hot", "wait ten minutes and check the fan"),
    ("E-2190", "door open", "close the door and press reset"),
    ("E-3307", "tool not found", "measure the tool again"),
    ("E-3370", "axis Z out of range", "move the axis to its reference point"),
)
FAMILY.add(
    "machines/error-codes.txt",
    partial(
        raw,
        text="ERROR CODES OF THE MILLING MACHINE\n\n"
        + "".join(f"{code}: {cause}. Remedy: {remedy}.\n\n" for code, cause, remedy in _CODES),
    ),
    ask("E-2091", "coolant pressure too low", "keyword identifier"),
    ask("What helps with error E-3370?", "move the axis to its reference point", "identifier"),
    ask("What does error E-2019 mean?", "spindle too hot", "identifier"),
    traits="identifier",
)
FAMILY.add(
    "machines/backup.log",
    partial(
        raw,
        text="".join(
            f"2026-03-{day:02d} 02:{10 + day}:0{day % 10} INFO backup of vault-{day % 3} finished, "
            f"{410 + 13 * day} GB\n"
            + (
                f"2026-03-{day:02d} 02:58:31 ERROR disk sdf{day} does not answer, ticket OPS-{7700 + day}\n"
                if day in (3, 13)
                else ""
            )
            for day in range(1, 15)
        ),
    ),
    ask("OPS-7713", "ticket OPS-7713", "keyword identifier"),
    ask("Which disk did not answer on 2026-03-03?", "disk sdf3", "identifier date"),
    traits="identifier log",
)
FAMILY.add(
    "recipes/goulash.txt",
    writer(
        plain,
        """# Goulash of the mountain hut

Fry 800 g of onions until they are golden. Add three spoons of paprika and take the pot off the heat.

## Cooking

The goulash simmers for two and a half hours. Vinegar is added at the end.

## Storage

It keeps for three days in the cellar.
""",
    ),
    ask("How long does the goulash simmer?", "two and a half hours"),
    ask("How many grams of onions are fried for the goulash?", "800 g of onions"),
)
FAMILY.add(
    "manuals/radio.rst",
    writer(
        rst,
        """# Shortwave receiver

The receiver covers 150 kHz to 30 MHz.

## Antenna

A wire of at least nine metres is tied to the terminal marked Y.

## Bands

| Band | From | To |
| 49 m | 5.9 MHz | 6.2 MHz |
| 31 m | 9.4 MHz | 9.9 MHz |
| 19 m | 15.1 MHz | 15.8 MHz |
""",
    ),
    cell("At which frequency does the 31 m band end?", "9.9 MHz", "31 m", "To"),
    cell("Where does the 49 m band begin?", "5.9 MHz", "49 m", "From"),
    ask("How long must the wire of the antenna be?", "at least nine metres"),
    traits="table",
)
FAMILY.add(
    "manuals/api-guide.rst",
    writer(
        rst,
        """# Weather client

Install it with ``pip``. Each call needs a key.

## Limits

A key allows 600 calls an hour. After that the server answers with status 429.

## Retries

- The first retry comes after two seconds.
- There are at most five retries.
""",
    ),
    ask("How many calls an hour does a key of the weather client allow?", "600 calls an hour"),
    ask("At most how many retries does the weather client make?", "at most five retries"),
)
FAMILY.add(
    "papers/moths.tex",
    writer(
        tex,
        """# Moths at street lamps

We counted moths at 36 lamps in two summers.

## Results

| Lamp | Moths per night | Species |
| Sodium | 14 | 9 |
| White LED | 31 | 17 |
| Amber LED | 6 | 4 |

## Discussion

The share of females was 42% at white lamps.
""",
    ),
    cell("How many moths per night were counted at amber LED lamps?", "6", "Amber LED", "Moths per night"),
    cell("How many species were found at sodium lamps?", "9", "Sodium", "Species"),
    ask("What was the share of females at white lamps?", "42%"),
    traits="table tex",
)
FAMILY.add(
    "letters/allotment.rtf",
    writer(
        rtf,
        """# Rules of the allotment garden

Hedges are at most 1.25 metres high. Bonfires are allowed on Saturdays in October.

## Water

| Plot size | Water a week | Fee |
| small | 600 litres | £40 |
| large | 950 litres | £65 |
""",
    ),
    ask("How high may a hedge of the allotment garden be?", "1.25 metres"),
    cell("What fee is paid for a large plot?", "£65", "large", "Fee"),
    cell("How much water a week gets a small plot?", "600 litres", "small", "Water a week"),
    traits="rtf table",
)
FAMILY.add(
    "letters/tuning.rtf",
    writer(
        rtf,
        "# Tuning the carillon\n\nThe bell Émeline sounds a third too high. It is tuned on a lathe by Maître Roussel.",
    ),
    ask("Who tunes the bell Émeline on a lathe?", "Maître Roussel"),
    traits="rtf",
)
FAMILY.add(
    "office/archery.odt",
    writer(
        odt,
        """# Archery club handbook

Members shoot on the meadow behind the barn.

## Distances

| Class | Distance | Arrows |
| Junior | 18 m | 30 |
| Adult | 50 m | 60 |
| Master | 70 m | 72 |

## Safety

- A horn sounds twice before shooting begins.
- Broken arrows are collected in the red box.
""",
    ),
    cell("From which distance does the class Master shoot?", "70 m", "Master", "Distance"),
    cell("How many arrows does a junior shoot?", "30", "Junior", "Arrows"),
    ask("How often does the horn sound before shooting begins?", "twice"),
    ask("Where are broken arrows collected?", "in the red box"),
    traits="table opendocument",
)
FAMILY.add(
    "office/reglamento.odt",
    writer(
        odt,
        """# Reglamento del coro

Los ensayos son los jueves a las siete de la tarde. La cuota anual es de 45 euros.

## Conciertos

En los conciertos se viste de azul oscuro.
""",
        language="es",
    ),
    ask("¿Cuándo son los ensayos del coro?", "los jueves a las siete", "spanish"),
    ask("¿De cuánto es la cuota anual del coro?", "45 euros", "spanish"),
    traits="spanish opendocument",
)


def notebook(path: Path) -> None:
    cells = [
        {
            "cell_type": "markdown",
            "metadata": {},
            "source": ["# Glacier melt\n", "\n", "Stakes were read on 14 September."],
        },
        {
            "cell_type": "code",
            "metadata": {},
            "execution_count": 1,
            "source": ["rates = read_stakes('aletsch.csv')\n", "rates.mean()"],
            "outputs": [
                {
                    "output_type": "execute_result",
                    "execution_count": 1,
                    "metadata": {},
                    "data": {"text/plain": ["-1.84 metres per year"]},
                }
            ],
        },
        {
            "cell_type": "markdown",
            "metadata": {},
            "source": ["## Conclusion\n", "\n", "Stake 11 was lost in a crevasse."],
        },
    ]
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}), encoding="utf-8")


FAMILY.add(
    "notebooks/glacier.ipynb",
    notebook,
    ask("Which stake was lost in a crevasse?", "Stake 11"),
    ask("When were the stakes on the glacier read?", "14 September"),
    ask("read_stakes aletsch.csv", "read_stakes('aletsch.csv')", "keyword code"),
    traits="notebook",
)
FAMILY.add(
    "data/herbarium.xml",
    partial(
        raw,
        text='<?xml version="1.0" encoding="UTF-8"?>\n<herbarium><note>The sheets are kept in cabinet 7.</note>'
        + "".join(
            f"<sheet><species>{species}</species><found>{place}</found><collector>{who}</collector></sheet>"
            for species, place, who in (
                ("Gentiana acaulis", "Furka pass", "R. Amsler"),
                ("Linnaea borealis", "Kuusamo", "T. Virtanen"),
                ("Cypripedium calceolus", "Saaremaa", "L. Tamm"),
            )
        )
        + "</herbarium>\n",
    ),
    ask("Where was Linnaea borealis found?", "Kuusamo"),
    ask("In which cabinet are the sheets of the herbarium kept?", "cabinet 7"),
    traits="xml",
)
_CUES = (
    ("00:00:02", "00:00:06", "Welcome to the workshop on violin varnish."),
    ("00:00:07", "00:00:12", "The ground coat is made of"),
    ("00:00:12", "00:00:16", "amber, walnut oil and patience."),
    ("00:00:18", "00:00:24", "Each layer dries for eleven days in the loft."),
)
FAMILY.add(
    "media/varnish.srt",
    partial(
        raw,
        text="".join(
            f"{n}\n{begin},000 --> {end},500\n{line}\n\n" for n, (begin, end, line) in enumerate(_CUES, start=1)
        ),
    ),
    ask("How long does each layer of violin varnish dry?", "eleven days", "subtitles"),
    ask("What is the ground coat of the violin varnish made of?", "walnut oil", "subtitles"),
    traits="subtitles",
)
FAMILY.add(
    "media/interview.vtt",
    partial(
        raw,
        text="WEBVTT\n\n00:01.000 --> 00:04.000\n<v Rosa>I started as a diver in the harbour of Vigo.\n\n"
        "00:05.000 --> 00:09.000\n<v Rosa>Later I repaired propellers under water.\n\n"
        "00:10.000 --> 00:14.000\n<v Host>Which wreck was the deepest?\n\n"
        "00:15.000 --> 00:19.000\n<v Rosa>The Almirante, at 61 metres.\n",
    ),
    ask("In the harbour of which town did Rosa start as a diver?", "Vigo", "subtitles"),
    ask("How deep is the wreck of the Almirante?", "61 metres", "subtitles"),
    traits="subtitles",
)
FAMILY.add(
    "code/ballast.py",
    partial(
        raw,
        text='''"""Ballast of a sailing boat."""

MAX_HEEL_DEGREES = 22


def ballast_needed(sail_area: float, crew: int) -> float:
    """Return the ballast in kilograms.

    Each member of the crew counts as 68 kg of live ballast.
    """
    return max(0.0, 19.5 * sail_area - 68 * crew)


def reef(wind: float) -> int:
    """Return the number of reefs for a wind in knots: the first at 18 knots, the second at 27."""
    return int(wind >= 18) + int(wind >= 27)
''',
    ),
    ask("ballast_needed", "def ballast_needed", "keyword code"),
    ask("MAX_HEEL_DEGREES", "MAX_HEEL_DEGREES = 22", "keyword code"),
    ask("At how many knots of wind is the second reef taken?", "the second at 27", "code"),
    traits="code",
)
FAMILY.add(
    "code/schema.sql",
    partial(
        raw,
        text="-- Loans of the tool library.\nCREATE TABLE loan (\n  id INTEGER PRIMARY KEY,\n  tool TEXT NOT NULL,\n"
        "  borrower TEXT NOT NULL,\n  due DATE NOT NULL -- three weeks after the loan\n);\n\n"
        "CREATE INDEX loan_by_due ON loan (due);\n",
    ),
    ask("loan_by_due", "CREATE INDEX loan_by_due", "keyword code"),
    traits="code",
)
FAMILY.add(
    "notes/languages.txt",
    writer(
        plain,
        "# Programming courses\n\nThe course on C++ is held in room 4.\n\nThe course on C# is held in room 6.\n\n"
        "The course on .NET services is held online.\n\nClass C goods are kept in the yard.",
    ),
    ask("Where is the course on C++ held?", "The course on C++ is held in room 4", "identifier"),
    traits="identifier",
)
