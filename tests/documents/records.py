"""CSV, TSV, JSON and JSON lines: dialects, captions, marks, nested values, records under a key, a bad line."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from documents.suite import Family, ask, cell

FAMILY = Family()


def raw(path: Path, text: str, *, encoding: str = "utf-8") -> None:
    path.write_bytes(text.encode(encoding))


def dump(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")


FAMILY.add(
    "data/kayaks.csv",
    partial(
        raw,
        text="Model,Length,Weight,Price,Colour\nTern 14,4.3 m,22 kg,1290,sea green\nTern 16,4.9 m,25 kg,1480,sand\n"
        'Auk 12,3.7 m,19 kg,990,"red, white keel"\nGannet X,5.2 m,21 kg,2650,black\n',
    ),
    cell("How heavy is the kayak Auk 12?", "19 kg", "Auk 12", "Weight"),
    cell("What is the price of the kayak Gannet X?", "2650", "Gannet X", "Price"),
    cell("Which colour has the kayak Tern 16?", "sand", "Tern 16", "Colour"),
    traits="csv",
)
FAMILY.add(
    "data/gehaelter.csv",
    partial(
        raw,
        text="Stelle;Stufe;Monatsgehalt;Urlaubstage\nGärtnerin;3;2.940,50;30\nPförtner;2;2.610,00;29\nBürokraft;4;3.105,75;30\n",
        encoding="cp1252",
    ),
    cell("Wie hoch ist das Monatsgehalt der Gärtnerin?", "2.940,50", "Gärtnerin", "Monatsgehalt", "german"),
    cell("Wie viele Urlaubstage hat der Pförtner?", "29", "Pförtner", "Urlaubstage", "german"),
    traits="csv semicolon german encoding",
)
FAMILY.add(
    "data/tides.tsv",
    partial(
        raw,
        text="Harbour\tHigh water\tLow water\tRange\nAberdovey\t07:12\t13:30\t3.9 m\nPorthgain\t06:48\t13:02\t4.4 m\n"
        "Fishguard\t07:05\t13:18\t3.5 m\n",
    ),
    cell("When is high water in Porthgain?", "06:48", "Porthgain", "High water"),
    cell("What is the range of the tide in Aberdovey?", "3.9 m", "Aberdovey", "Range"),
    traits="tsv",
)
FAMILY.add(
    "data/looms.csv",
    partial(raw, text="sep=;\nLoom;Width;Shafts\nBirka 8;80 cm;8\nOland 4;120 cm;4\nGotland 12;150 cm;12\n"),
    cell("How wide is the loom Oland 4?", "120 cm", "Oland 4", "Width", "sep"),
    cell("How many shafts has the loom Gotland 12?", "12", "Gotland 12", "Shafts", "sep"),
    traits="csv sep",
)
FAMILY.add(
    "data/reservoirs.csv",
    partial(
        raw,
        text="Water levels of the valley reservoirs\nExported on 2 February 2026\n\n"
        "Reservoir,Level,Capacity,Keeper\nBlackmoor,81 %,14 million m³,Priya Nair\nHollin Dale,64 "
        "%,9 million m³,Ewan Ross\n"
        "Upper Sike,93 %,3 million m³,Priya Nair\nWhitestone,58 %,22 million m³,Zofia Lis\n",
    ),
    cell("What is the level of the reservoir Hollin Dale?", "64 %", "Hollin Dale", "Level", "preamble"),
    cell("Who keeps the reservoir Whitestone?", "Zofia Lis", "Whitestone", "Keeper", "preamble"),
    traits="csv preamble",
)
FAMILY.add(
    "data/fonts.csv",
    partial(
        raw,
        text='\ufeff"Typeface","Foundry","Year"\n"Marram","Dune Type","1987"\n"Ostler","Saddle & '
        'Sons","1923"\n"Plover","Dune Type","2004"\n',
    ),
    cell("Which foundry made the typeface Ostler?", "Saddle & Sons", "Ostler", "Foundry", "mark"),
    cell("In which year was the typeface Plover made?", "2004", "Plover", "Year", "mark"),
    traits="csv mark",
)
FAMILY.add(
    "data/lifts.json",
    partial(
        dump,
        value=[
            {
                "lift": "Rosenberg chair",
                "seats": 4,
                "length": "1,310 m",
                "opening": {"first": "08:45", "last": "16:10"},
            },
            {
                "lift": "Kaltbach gondola",
                "seats": 8,
                "length": "2,720 m",
                "opening": {"first": "08:15", "last": "17:00"},
            },
            {"lift": "Fuchs drag lift", "seats": 1, "length": "450 m", "opening": {"first": "09:30", "last": "15:45"}},
        ],
    ),
    cell("How long is the Kaltbach gondola?", "2,720 m", "Kaltbach gondola", "length"),
    ask("When is the last ride of the Fuchs drag lift?", "15:45", "nested"),
    traits="json nested",
)
FAMILY.add(
    "data/tickets.json",
    partial(
        dump,
        value=[
            {
                "id": "HD-301",
                "text": "The projector in the aula shows green stripes.",
                "status": "open",
                "assignee": "Marisol",
            },
            {
                "id": "HD-302",
                "text": "The printer on floor five jams.",
                "status": "closed",
                "assignee": "Bertrand",
                "solution": "The roller was replaced.",
            },
        ],
    ),
    ask("Who is assigned to the projector with green stripes?", "Marisol", "hidden-fields"),
    ask("What was the solution for the printer on floor five?", "The roller was replaced", "hidden-fields"),
    ask("HD-302", "HD-302", "keyword identifier"),
    traits="json hidden-fields",
)
FAMILY.add(
    "data/bridges.json",
    partial(
        raw,
        text="".join(
            json.dumps({"bridge": name, "span": span, "built": year}) + "\n"
            for name, span, year in (
                ("Otter Bridge", "88 m", 1931),
                ("Linden Viaduct", "412 m", 1878),
                ("Cinder Footbridge", "27 m", 2011),
            )
        ),
    ),
    cell("What is the span of the Linden Viaduct?", "412 m", "Linden Viaduct", "span"),
    cell("When was the Cinder Footbridge built?", "2011", "Cinder Footbridge", "built"),
    traits="json lines",
)
FAMILY.add(
    "data/trees.json",
    partial(
        dump,
        value={
            "park": "Elmwood",
            "surveyed": "2025-10-04",
            "trees": [
                {"number": "T-014", "species": "copper beech", "girth": "3.1 m"},
                {"number": "T-027", "species": "hornbeam", "girth": "1.9 m"},
                {"number": "T-041", "species": "black walnut", "girth": "2.6 m"},
            ],
        },
    ),
    cell("What is the girth of the black walnut?", "2.6 m", "black walnut", "girth"),
    cell("Which species is tree T-027?", "hornbeam", "T-027", "species", "identifier"),
    traits="json under-key",
)
FAMILY.add(
    "data/chat.jsonl",
    partial(
        raw,
        text="".join(
            json.dumps({"author": who, "message": text, "channel": "sea-trials"}) + "\n"
            for who, text in (
                ("Tove", "The catamaran reached 23 knots off Hanko."),
                ("Sami", "Rudder play is back, I ordered new bushings from Raisio."),
                ("Tove", "Sea trial three moves to the 28th of May."),
            )
        ),
    ),
    ask("What speed did the catamaran reach off Hanko?", "23 knots", "jsonl"),
    ask("From where were new bushings for the rudder ordered?", "Raisio", "jsonl"),
    traits="jsonl other-field",
)
FAMILY.add(
    "data/wells.jsonl",
    partial(
        raw,
        text='{"well": "Abu Rif", "depth": "64 m", "pump": "solar"}\n{"well": "broken", "depth": \n'
        '{"well": "Tin Essa", "depth": "112 m", "pump": "hand"}\n{"well": "Oum Dab", "depth": "38 '
        'm", "pump": "diesel"}\n',
    ),
    cell("How deep is the well Tin Essa?", "112 m", "Tin Essa", "depth", "bad-line"),
    cell("What pump has the well Oum Dab?", "diesel", "Oum Dab", "pump", "bad-line"),
    traits="jsonl bad-line",
)
FAMILY.add(
    "data/squad.json",
    partial(
        dump,
        value={
            "data": [
                {
                    "title": "Salt_works",
                    "paragraphs": [
                        {
                            "context": "The salt works of Guérande cover 2,000 hectares. The salt is harvested by "
                            "hand from June to September.",
                            "qas": [],
                        },
                        {
                            "context": "Fleur de sel forms on the surface of the ponds on evenings with a dry east "
                            "wind.",
                            "qas": [],
                        },
                    ],
                }
            ]
        },
    ),
    ask("How many hectares do the salt works of Guérande cover?", "2,000 hectares"),
    ask("When does fleur de sel form on the ponds?", "on evenings with a dry east wind"),
    traits="json squad",
)
