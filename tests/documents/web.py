"""HTML, Markdown and ebooks: wrong encodings, tables with traps, accordions, hidden text, navigation, front matter."""

from __future__ import annotations

from pathlib import Path

from documents.suite import Family, ask, cell
from documents.writing import epub, html_page, markdown, writer

FAMILY = Family()


def page(body: str, title: str = "", **options: str) -> object:
    return writer(html_page, "", body=body, title=title, **options)


FAMILY.add(
    "web/haltestellen.html",
    writer(
        html_page,
        """# Haltestellen der Linie 7

Das Umsteigen ist am Römerplatz möglich. Die Züge fahren alle zwölf Minuten.

## Störung

Wegen Gleisarbeiten hält die Linie 7 bis zum 19. Juli nicht an der Mühlstraße.
""",
        encoding="latin-1",
        language="de",
    ),
    ask("Wo ist das Umsteigen möglich?", "am Römerplatz möglich", "encoding german"),
    ask("Bis wann hält die Linie 7 nicht an der Mühlstraße?", "bis zum 19. Juli", "encoding german"),
    traits="encoding german",
)
FAMILY.add(
    "web/recettes.html",
    writer(
        html_page,
        "# Crêpes à la farine de châtaigne\n\nLa pâte repose deux heures au réfrigérateur. On ajoute "
        "une pincée de sel.",
        declared="iso-8859-1",
        language="fr",
    ),
    ask("Combien de temps la pâte à crêpes repose-t-elle ?", "deux heures", "encoding french"),
    traits="encoding french",
)
FAMILY.add(
    "web/contacts.html",
    page(
        "<h1>Contacts of the shipyard</h1><table><tr><th>Department</th><th>Phone</th><th>Fax</th><th>E-mail</th></tr>"
        "<tr><td>Dry dock</td><td>5510</td><td>5511</td><td>dock@yard.example</td></tr>"
        "<tr><td>Paint shop</td><td></td><td>5522</td><td>paint@yard.example</td></tr>"
        "<tr><td>Rigging</td><td>5530</td><td></td><td>rig@yard.example</td></tr></table>",
        "Contacts of the shipyard",
    ),
    cell("What is the fax number of the paint shop?", "5522", "Paint shop", "Fax", "empty-cell"),
    cell("What is the phone number of the department Rigging?", "5530", "Rigging", "Phone", "empty-cell"),
    cell("Which e-mail address has the rigging department?", "rig@yard.example", "Rigging", "E-mail", "empty-cell"),
    traits="table empty-cell",
)
FAMILY.add(
    "web/pool-hours.html",
    page(
        "<h1>Opening hours of the swimming pool</h1><table>"
        "<tr><th>Day</th><th>Hall</th><th>Hours</th><th>Price</th></tr>"
        "<tr><td rowspan=2>Saturday</td><td>Main hall</td><td>8 am<br>to 9 pm</td><td>6 euros</td></tr>"
        "<tr><td>Diving hall</td><td>10 am<br>to 4 pm</td><td>9 euros</td></tr>"
        "<tr><td rowspan=2>Sunday</td><td>Main hall</td><td>9 am<br>to 6 pm</td><td>7 euros</td></tr>"
        "<tr><td>Diving hall</td><td colspan=2>closed</td></tr></table>",
        "Swimming pool",
    ),
    cell("What are the hours of the diving hall on Saturday?", "10 am to 4 pm", "Saturday", "Hours", "rowspan"),
    cell("What is the price of the main hall on Sunday?", "7 euros", "Sunday", "Price", "rowspan"),
    cell("What does the diving hall cost on Saturday?", "9 euros", "Saturday", "Price", "rowspan"),
    traits="table rowspan br",
)
FAMILY.add(
    "web/faq-parcels.html",
    page(
        "<h1>Questions about parcels</h1>"
        + "".join(
            f"<h3><button aria-expanded=false>{question}</button></h3><div class=panel><p>{answer}</p></div>"
            for question, answer in (
                ("How long does a parcel to Iceland take?", "Between five and eight working days."),
                ("What may a parcel weigh?", "Up to 31.5 kg, its wrapping included."),
                ("Who pays customs?", "Customs are paid by the recipient."),
            )
        ),
        "Questions about parcels",
    ),
    ask("How long does a parcel to Iceland take?", "Between five and eight working days", "accordion"),
    ask("What may a parcel weigh?", "Up to 31.5 kg", "accordion"),
    traits="accordion",
)
FAMILY.add(
    "web/greenhouse.html",
    page(
        "<h1>Greenhouse plan</h1><table><tr><th>Section</th><th>Plants</th></tr><tr><td>North</td><td>Ferns and mosses"
        "<table><tr><th>Bed</th><th>Watering</th></tr><tr><td>Bed 1</td><td>daily</td></tr>"
        "<tr><td>Bed 2</td><td>twice a week</td></tr></table></td></tr>"
        "<tr><td>South</td><td>Cacti</td></tr></table>",
        "Greenhouse plan",
    ),
    ask("How often is bed 2 of the greenhouse watered?", "twice a week", "nested"),
    cell("Which plants are in the south section of the greenhouse?", "Cacti", "South", "Plants", "nested"),
    traits="table nested",
)
FAMILY.add(
    "web/glossary.html",
    page(
        "<h1>Glossary of the sail loft</h1><dl><dt>Clew</dt><dd>The lower corner of a sail that the "
        "sheet is tied to.</dd>"
        "<dt>Luff</dt><dd>The front edge of a sail.</dd><dt>Reef</dt><dd>A part of a sail that is "
        "folded away in strong wind.</dd></dl>"
        '<p>Patterns are in the <a href="https://loft.example/patterns-2026.zip">archive</a>.</p>'
        '<p><img src="s.png" alt="The stitch width is 4 millimetres"></p>',
        "Glossary of the sail loft",
    ),
    ask("What is the luff?", "The front edge of a sail", "definition"),
    ask("What is a clew?", "The lower corner of a sail", "definition"),
    ask("Where are the patterns of the sail loft?", "https://loft.example/patterns-2026.zip", "link"),
    ask("What is the stitch width of the sail loft?", "4 millimetres", "alt"),
    traits="definition link alt",
)

_FURNITURE = (
    "<nav><ul><li>Start</li><li>Collection</li><li>Shop</li><li>Opening hours</li></ul></nav>"
    '<div class="cookie-banner">We use cookies. Accept all cookies or choose which cookies you accept.</div>{}'
    "<footer>Museum of Clocks, Bell Lane 3. Legal notice. Privacy. Opening hours of the shop on request.</footer>"
)
FAMILY.add(
    "web/museum-visit.html",
    page(
        _FURNITURE.format(
            "<main><h1>Visit the museum of clocks</h1><p>The museum opens from Wednesday to Sunday, 10:00 to 17:30. "
            "Guided tours begin at noon in the hall of pendulums and take fifty minutes.</p>"
            "<p>Children under twelve enter free of charge. Bags larger than a sheet of paper are "
            "left in lockers.</p></main>"
        ),
        "Visit",
    ),
    ask("When do guided tours of the museum of clocks begin?", "at noon", "boilerplate"),
    ask("Who enters the museum of clocks free of charge?", "Children under twelve", "boilerplate"),
    traits="boilerplate",
)
FAMILY.add(
    "web/museum-astrolabe.html",
    page(
        _FURNITURE.format(
            "<main><h1>The astrolabe of Fez</h1><p>The astrolabe was made in Fez in 1318. Its rete shows 29 stars. "
            "It was bought in 1911 from the estate of a ship chandler.</p>"
            '<p hidden>Draft: the astrolabe was made in Cairo.</p><p style="display:none">It shows 31 stars.</p></main>'
        ),
        "The astrolabe",
    ),
    ask("How many stars does the rete of the astrolabe show?", "29 stars", "boilerplate hidden"),
    ask("Where was the astrolabe made?", "in Fez in 1318", "boilerplate hidden"),
    traits="boilerplate hidden",
)
FAMILY.add(
    "web/drainage.html",
    page(
        "<h1>Drain\u00adage of the pitch</h1><p>The pitch is dry again after a thunder\u00adstorm "
        "within ninety minutes. "
        "The pump\u200bing station starts by itself.</p>",
        "Drainage of the pitch",
    ),
    ask("How fast is the pitch dry again after a thunderstorm?", "within ninety minutes", "soft-hyphen"),
    traits="soft-hyphen",
)
FAMILY.add(
    "web/regulamin.html",
    writer(
        html_page,
        """# Regulamin biblioteki miejskiej

Książki wypożycza się na cztery tygodnie. Za każdy dzień zwłoki czytelnik płaci 50 groszy.

## Czytelnia

W czytelni wolno używać własnego laptopa. Żywność zostaje w szatni.
""",
        encoding="cp1250",
        declared="windows-1250",
        language="pl",
    ),
    ask("Na jak długo wypożycza się książki?", "na cztery tygodnie", "polish"),
    ask("Ile czytelnik płaci za każdy dzień zwłoki?", "50 groszy", "polish"),
    traits="polish encoding",
)

FAMILY.add(
    "notes/coffee-roasting.md",
    writer(
        markdown,
        """# Coffee roasting log

The drum is preheated to 205 degrees.

## Profiles

| Bean | First crack | End | Weight loss |
| Sidamo | 8:40 | 10:55 | 14.1 % |
| Huila | 9:05 | 11:20 | 15.3 % |
| Mandheling | 9:30 | 12:10 | 16.8 % |

## Cooling

Beans are cooled below 40 degrees within four minutes.
""",
        front="---\ntitle: Roasting log\nauthor: Imani Duarte\ndate: 2026-02-03\ntags: [coffee, roasting]\n---\n",
    ),
    cell("When does the first crack of Huila beans come?", "9:05", "Huila", "First crack"),
    cell("What weight loss has Mandheling?", "16.8 %", "Mandheling", "Weight loss"),
    cell("At which time does the roast of Sidamo end?", "10:55", "Sidamo", "End"),
    ask("To what temperature is the drum preheated?", "205 degrees"),
    traits="table front-matter",
)
FAMILY.add(
    "notes/telescope.md",
    writer(
        markdown,
        "# Telescope setup\n\nThe mount is levelled first. Polar alignment takes ten minutes.\n\n"
        "# Cooling the camera\n\nThe camera is cooled to minus fifteen degrees in steps of three.\n\n"
        "# Parking the mount\n\nThe mount is parked with the tube facing north.",
        front='+++\ntitle = "Observatory checklists"\nauthor = "Lena Brandt"\n+++\n',
    ),
    ask("To what temperature is the camera of the telescope cooled?", "minus fifteen degrees", "multi-title"),
    ask("How is the mount parked?", "with the tube facing north", "multi-title"),
    traits="front-matter multi-title",
)
_STOPS = "\n".join(
    f"| {name} | {6 + number // 6}:{number % 6}5 | {'A' if number % 3 else 'B'} | {1 + number % 4} |"
    for number, name in enumerate(
        (
            "Abbey Gate",
            "Beacon Hill",
            "Castle Mead",
            "Deer Park",
            "Elm Grove",
            "Ferry Stairs",
            "Glover's End",
            "Hop Yard",
            "Inkwell Lane",
            "Jubilee Bridge",
            "Kiln Corner",
            "Lantern Row",
            "Maltings",
            "Nettle Green",
            "Orchard Way",
            "Plough Inn",
            "Quay West",
            "Rookery",
            "Saltmarsh",
            "Tollgate",
            "Underhill",
            "Vine Street",
            "Weir",
            "Yew Tree",
        )
    )
)
FAMILY.add(
    "notes/bus-timetable.md",
    writer(
        markdown,
        f"# Timetable of bus 12\n\n| Stop | First bus | Bay | Zone |\n{_STOPS}\n\nOn holidays the "
        "first bus leaves an hour later.",
    ),
    cell("When does the first bus leave Saltmarsh?", "9:05", "Saltmarsh", "First bus", "long"),
    cell("From which bay does the bus leave at Jubilee Bridge?", "B", "Jubilee Bridge", "Bay", "long"),
    cell("In which zone is the stop Yew Tree?", "4", "Yew Tree", "Zone", "long"),
    cell("At what time does the first bus leave Kiln Corner?", "7:45", "Kiln Corner", "First bus", "long"),
    traits="table long",
)
FAMILY.add(
    "notes/cheese.md",
    lambda path: path.write_text(
        "# Cheese cellar\n\nThe cellar has three rooms.\n\n"
        + "<table><tr><th>Room</th><th>Temperature</th><th>Humidity</th></tr>"
        + "<tr><td>Upper vault</td><td>9 °C</td><td>88 %</td></tr><tr><td>Lower vault</td><td>12 "
        "°C</td><td>94 %</td></tr>"
        + "<tr><td>Brine room</td><td>14 °C</td><td>70 %</td></tr></table>\n\nWheels are turned every second day.\n",
        encoding="utf-8",
    ),
    cell("What is the humidity of the lower vault?", "94 %", "Lower vault", "Humidity", "html-table"),
    cell("How warm is the brine room?", "14 °C", "Brine room", "Temperature", "html-table"),
    ask("How often are the wheels of cheese turned?", "every second day"),
    traits="table html-table",
)

_SECURITY = """# Security rules {version}

Visitors are met at the front desk. Badges are worn where they can be seen.

## Passwords

Passwords have at least {length} characters. They are changed {change}.

## Lost devices

A lost phone or laptop is reported to the help desk within {hours}.
"""
_OLD = _SECURITY.format(version="2024", length="ten", change="every ninety days", hours="one day")
_NEW = _SECURITY.format(version="2026", length="sixteen", change="only after an incident", hours="two hours")
FAMILY.add(
    "policies/security-rules-2024.md",
    writer(markdown, _OLD),
    ask("How many characters did passwords have under the security rules 2024?", "at least ten characters", "version"),
    traits="version",
)
FAMILY.add(
    "policies/security-rules-2026.md",
    writer(markdown, _NEW),
    ask(
        "How many characters do passwords have under the security rules 2026?", "at least sixteen characters", "version"
    ),
    ask("When are passwords changed according to the security rules 2026?", "only after an incident", "version"),
    traits="version",
)
_COPY = """# Care of the piano

The piano is tuned in spring and autumn. Humidity in the music room stays between 45 and 55 percent.
"""
FAMILY.add(
    "music/piano-care.md",
    writer(markdown, _COPY),
    ask("When is the piano tuned?", "in spring and autumn", "duplicate", also="music/piano-care-copy.md"),
    traits="duplicate",
)
FAMILY.add("music/piano-care-copy.md", writer(markdown, _COPY), traits="duplicate")

FAMILY.add(
    "books/lighthouse.epub",
    writer(
        epub,
        """# The keeper of Skerryvore

A story in three chapters.

## The storm

On the ninth of November the lantern went dark, and Duncan climbed the 151 steps with a candle under his coat.

## The supply boat

The boat brought flour, paraffin and a letter from Oban. The letter was from his sister Morag, who wanted to sell the
farm.

## The lamp

The new lamp burned acetylene and could be seen from 23 miles away.
""",
        author="Ailsa Crane",
    ),
    ask("How many steps did Duncan climb?", "151 steps"),
    ask("Who wrote the letter from Oban?", "his sister Morag"),
    ask("What did the new lamp of the lighthouse burn?", "acetylene"),
    traits="ebook",
)
FAMILY.add(
    "books/sourdough.epub",
    writer(
        epub,
        """# Sourdough at home

Flour, water and patience.

## Starter

The starter is fed with equal weights of rye flour and water every twelve hours.

## Baking

| Loaf | Oven | Time |
| Rye | 230 °C | 55 minutes |
| Spelt | 220 °C | 40 minutes |
| Baguette | 250 °C | 22 minutes |
""",
        author="Per Nyström",
    ),
    cell("How long is the spelt loaf baked?", "40 minutes", "Spelt", "Time"),
    cell("How hot is the oven for a baguette?", "250 °C", "Baguette", "Oven"),
    ask("How often is the sourdough starter fed?", "every twelve hours"),
    traits="ebook table",
)


def xhtml(path: Path) -> None:
    body = (
        "<h1>Tide gauge at Cove Point</h1>"
        "<p>The gauge was moved 12 metres seaward in 1998. Its zero lies 2.35 m below the mark.</p>"
    )
    path.write_text(
        '<?xml version="1.0" encoding="UTF-8"?><html xmlns="http://www.w3.org/1999/xhtml" lang="en"><head>'
        f"<title>Tide gauge</title></head><body>{body}</body></html>",
        encoding="utf-8",
    )


FAMILY.add(
    "web/tide-gauge.xhtml",
    xhtml,
    ask("How far was the tide gauge moved in 1998?", "12 metres seaward"),
)
