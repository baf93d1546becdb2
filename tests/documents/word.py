"""Word files: tables, headers, notes, tracked changes, content controls, text boxes, fields, numbered headings."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from documents.suite import Family, Question, ask, cell
from documents.writing import docx, docx_table, writer

FAMILY = Family()
_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_BY = 'w:author="Ines" w:date="2026-01-12T09:00:00Z"'


def xml(text: str) -> Any:
    """An element of WordprocessingML; `w:` is known."""
    from docx.oxml import parse_xml

    head, mark, rest = text.partition(">")
    close = "/" if head.endswith("/") else ""
    return parse_xml(f'{head.removesuffix("/")} xmlns:w="{_WORD}"{close}{mark}{rest}')


def run(text: str) -> str:
    return f'<w:r><w:t xml:space="preserve">{text}</w:t></w:r>'


def paragraph(document: Any, *parts: str) -> Any:
    """A paragraph of runs (plain text) and other elements (starting with "<")."""
    made = document.add_paragraph()
    for part in parts:
        made._p.append(xml(part if part.startswith("<") else run(part)))
    return made


def part_of(document: Any, name: str, body: str) -> None:
    """Add a part such as footnotes.xml with its relation."""
    from docx.opc.packuri import PackURI
    from docx.opc.part import Part

    kind = f"application/vnd.openxmlformats-officedocument.wordprocessingml.{name}+xml"
    data = f'<?xml version="1.0" encoding="UTF-8"?><w:{name} xmlns:w="{_WORD}">{body}</w:{name}>'
    part = Part(PackURI(f"/word/{name}.xml"), kind, data.encode(), document.part.package)
    document.part.relate_to(part, f"http://schemas.openxmlformats.org/officeDocument/2006/relationships/{name}")


def note(kind: str, number: int, text: str) -> str:
    return f'<w:{kind} w:id="{number}"><w:p>{run(text)}</w:p></w:{kind}>'


def mark(kind: str, number: int) -> str:
    return f'<w:r><w:{kind}Reference w:id="{number}"/></w:r>'


TRAVEL = """# Travel rules of the Nordhavn office

Trips are booked by the travel desk at least five working days before departure.

## Daily allowances

| Country | Daily allowance | Hotel limit |
| Portugal | EUR 46 | EUR 110 |
| Denmark | EUR 75 | EUR 165 |
| Hungary | EUR 39 | EUR 95 |
| Switzerland | EUR 88 | EUR 190 |
| Ireland | EUR 58 | EUR 150 |

## Trains and flights

Trains are booked in second class. A flight is allowed if the train takes longer than six hours.

## Receipts

Receipts are handed in within thirty days. Without a receipt, taxi fares are paid up to EUR 20.
"""
FAMILY.add(
    "travel/travel-rules.docx",
    writer(docx, TRAVEL, author="Maren Holt"),
    cell("What is the daily allowance for Portugal?", "EUR 46", "Portugal", "Daily allowance"),
    cell("How high is the hotel limit in Switzerland?", "EUR 190", "Switzerland", "Hotel limit"),
    cell("What daily allowance is paid in Hungary?", "EUR 39", "Hungary", "Daily allowance"),
    ask("When may someone fly instead of taking the train?", "if the train takes longer than six hours"),
    ask("Within how many days are receipts handed in?", "within thirty days"),
    traits="table",
)


def car_policy(path: Path) -> None:
    def finish(document: Any) -> None:
        paragraph(
            document,
            "A company car may be driven privately up to ",
            f'<w:ins w:id="1" {_BY}>{run("9,000 km")}</w:ins>',
            f'<w:del w:id="2" {_BY}><w:r><w:delText>5,000 km</w:delText></w:r></w:del>',
            " a year.",
        )
        paragraph(
            document, f'<w:moveTo w:id="3" {_BY}>{run("Winter tyres are fitted by the end of October.")}</w:moveTo>'
        )
        paragraph(
            document, f'<w:moveFrom w:id="4" {_BY}>{run("Winter tyres are fitted by the end of October.")}</w:moveFrom>'
        )
        paragraph(document, "Parking fines are paid by ", f'<w:ins w:id="5" {_BY}>{run("the driver")}</w:ins>', ".")

    docx(path, "# Company car policy\n\nThis policy holds for all cars of the depot.", finish=finish)


FAMILY.add(
    "travel/car-policy.docx",
    car_policy,
    ask("How far may a company car be driven privately in a year?", "9,000 km", "tracked"),
    ask("When are winter tyres fitted to company cars?", "by the end of October", "tracked"),
    ask("Who pays parking fines?", "the driver", "tracked"),
    traits="tracked",
)


def leave_policy(path: Path) -> None:
    def finish(document: Any) -> None:
        section = document.sections[0]
        section.header.paragraphs[0].text = "Leave policy, valid from 1 March 2026"
        section.footer.paragraphs[0].text = "Kept by the people team, room 214"
        paragraph(document, "Parental leave lasts up to fourteen months.", mark("footnote", 2))
        part_of(
            document,
            "footnotes",
            note("footnote", 2, "Two of these months are reserved for the second parent."),
        )

    text = """# Annual and parental leave

Everyone has 27 days of annual leave. Up to five days are carried over to the end of April.

## Parental leave
"""
    docx(path, text, finish=finish, title="Leave policy")


FAMILY.add(
    "hr/leave-policy.docx",
    leave_policy,
    ask("From which date is the leave policy valid?", "1 March 2026", "header"),
    ask("In which room is the people team that keeps the leave policy?", "room 214", "header"),
    ask("How many months of parental leave are reserved for the second parent?", "Two of these months", "footnote"),
    ask("How many days of annual leave does everyone have?", "27 days"),
    traits="header footnote",
)


def contract(path: Path) -> None:
    def control(inner: str) -> str:
        return f'<w:sdt><w:sdtPr><w:alias w:val="field"/></w:sdtPr><w:sdtContent>{inner}</w:sdtContent></w:sdt>'

    def finish(document: Any) -> None:
        paragraph(document, "The employee works as ", control(run("hydraulics engineer")), " in Trondheim.")
        body = document.element.body
        body.insert(len(body) - 1, xml(control(f"<w:p>{run('The trial period ends after four months.')}</w:p>")))
        table = docx_table(document, [["Item", "Value"], ["Monthly salary", ""], ["Weekly hours", "37.5"]])
        table.cell(1, 1)._tc.append(xml(control(f"<w:p>{run('NOK 61,400')}</w:p>")))

    docx(path, "# Employment contract of Signe Aune\n\nThis contract begins on 1 June 2026.", finish=finish)


FAMILY.add(
    "hr/contract-aune.docx",
    contract,
    ask("As what does Signe Aune work?", "hydraulics engineer", "control"),
    ask("When does the trial period of Signe Aune's contract end?", "after four months", "control"),
    cell(
        "What is the monthly salary in the contract of Signe Aune?", "NOK 61,400", "Monthly salary", "Value", "control"
    ),
    traits="control table",
)


def safety(path: Path) -> None:
    def finish(document: Any) -> None:
        numbering = document.part.numbering_part.element
        levels = "".join(
            f'<w:lvl w:ilvl="{level}"><w:start w:val="1"/><w:numFmt w:val="decimal"/><w:lvlText '
            f'w:val="{text}"/></w:lvl>'
            for level, text in ((0, "%1"), (1, "%1.%2"))
        )
        numbering.insert(0, xml(f'<w:abstractNum w:abstractNumId="77">{levels}</w:abstractNum>'))
        numbering.append(xml('<w:num w:numId="77"><w:abstractNumId w:val="77"/></w:num>'))
        for level, title, text in (
            (1, "Acids", "Acids are kept below eye level."),
            (2, "Hydrofluoric acid", "Calcium gluconate gel hangs beside the fume hood."),
            (1, "Gases", "Cylinders are chained to the wall."),
            (2, "Nitrogen", "The oxygen alarm sounds below 19 percent."),
            (2, "Hydrogen", "Hydrogen lines are tested with helium every quarter."),
        ):
            heading = document.add_heading(title, level=level)
            heading._p.get_or_add_pPr().append(
                xml(f'<w:numPr><w:ilvl w:val="{level - 1}"/><w:numId w:val="77"/></w:numPr>')
            )
            document.add_paragraph(text)
        outer = docx_table(document, [["Room", "Equipment"], ["L-12", ""]])
        inner = outer.cell(1, 1).add_table(rows=2, cols=2)
        for place, text in (((0, 0), "Device"), ((0, 1), "Check"), ((1, 0), "Eye shower"), ((1, 1), "every Monday")):
            inner.cell(*place).text = text

    docx(path, "", finish=finish, title="Laboratory safety manual")


FAMILY.add(
    "lab/safety-manual.docx",
    safety,
    ask(
        "What does section 2.1 of the laboratory safety manual say?",
        "The oxygen alarm sounds below 19 percent",
        "numbers",
    ),
    ask("Where does the calcium gluconate gel hang?", "beside the fume hood"),
    ask("How are hydrogen lines tested?", "with helium every quarter"),
    ask("When is the eye shower in room L-12 checked?", "every Monday", "nested"),
    traits="numbers nested",
)


def instruments(path: Path) -> None:
    def finish(document: Any) -> None:
        rows = [
            ["Instrument", "Calibration", "", "Owner"],
            ["", "Interval", "Tolerance", ""],
            ["Balance KB-3", "6 months", "0.2 mg", "Okafor"],
            ["Pipette P200", "3 months", "1.6 µl", "Lindqvist"],
            ["Oven T-80", "24 months", "2 °C", "Lindqvist"],
            ["", "12 months", "5 °C", "Baran"],
        ]
        table = docx_table(document, rows)
        table.cell(0, 1).merge(table.cell(0, 2))
        table.cell(0, 0).merge(table.cell(1, 0))
        table.cell(0, 3).merge(table.cell(1, 3))
        table.cell(4, 0).merge(table.cell(5, 0))

    docx(path, "# Instruments\n\nThe list is checked by Ada Okafor in January.", finish=finish, title="Instrument list")


FAMILY.add(
    "lab/instruments.docx",
    instruments,
    cell("What is the calibration interval of the pipette P200?", "3 months", "Pipette P200", "Calibration Interval"),
    cell("What tolerance has the balance KB-3?", "0.2 mg", "Balance KB-3", "Calibration Tolerance"),
    cell("Who owns the pipette P200?", "Lindqvist", "Pipette P200", "Owner"),
    cell("Which tolerance has the oven T-80 of Baran?", "5 °C", "Oven T-80", "Calibration Tolerance", "merged"),
    traits="table merged",
)

LEASE = """# Lease of {name}

The premises are let to {tenant}. The monthly rent is {rent}, due on the third working day.

## Notice

Either party may end the lease with a notice of {notice}.

## Deposit

The deposit is {deposit} and is returned within ninety days.
"""


def lease(path: Path, text: str, note_text: str) -> None:
    def finish(document: Any) -> None:
        paragraph(document, "Repairs of the roof are paid by the landlord.", mark("endnote", 2))
        part_of(document, "endnotes", note("endnote", 2, note_text))
        if hasattr(document, "add_comment"):
            last = document.paragraphs[-1]
            document.add_comment(runs=last.runs, text="The tenant wants to see the insurance papers.", author="Jonas")

    docx(path, text, finish=finish)


def leased(name: str, note_text: str, values: dict[str, str], *questions: Question) -> None:
    FAMILY.add(
        f"leases/{name.lower()}.docx",
        partial(lease, text=LEASE.format(name=f"{name} House", **values), note_text=note_text),
        ask(f"What is the notice period for {name} House?", f"notice of {values['notice']}", "titles"),
        ask(f"What is the monthly rent of {name} House?", values["rent"], "titles"),
        *questions,
        traits="endnote titles",
    )


leased(
    "Harbour",
    "Gutters of Harbour House count as part of the roof.",
    {"tenant": "Brightwater Sails", "rent": "GBP 4,150", "notice": "nine months", "deposit": "GBP 12,450"},
    ask("Which house is let to Brightwater Sails?", "Brightwater Sails"),
)
leased(
    "Mill",
    "The chimney of Mill House is repaired by the tenant.",
    {"tenant": "Tannery Books", "rent": "GBP 2,875", "notice": "three months", "deposit": "GBP 8,625"},
    ask("Who repairs the chimney of Mill House?", "by the tenant", "endnote"),
    ask("How high is the deposit for Mill House?", "GBP 8,625", "titles"),
)
leased(
    "Station",
    "Skylights of Station House are repaired every ten years.",
    {"tenant": "Cinder Coffee", "rent": "GBP 3,320", "notice": "six months", "deposit": "GBP 9,960"},
    ask("How often are the skylights of Station House repaired?", "every ten years", "endnote"),
)

BOARD = """# Minutes of the board, {date}

Present: Grace Mbeki (chair), Tomás Rivera, Yuki Tanaka. Apologies: {absent}.

## Decisions

- The budget for {budget} is approved.
- {person} was elected as treasurer.

## Next meeting

The board meets again on {next} in {place}.
"""
for name, values, questions in (
    (
        "minutes/board-2026-01.docx",
        {
            "date": "14 January 2026",
            "absent": "Olu Adeyemi",
            "budget": "the new boiler",
            "person": "Tomás Rivera",
            "next": "11 February 2026",
            "place": "Leiden",
        },
        (
            ask("Who was elected as treasurer in January 2026?", "Tomás Rivera", "titles"),
            ask("What budget did the board approve on 14 January 2026?", "the new boiler", "titles"),
        ),
    ),
    (
        "minutes/board-2026-02.docx",
        {
            "date": "11 February 2026",
            "absent": "Yuki Tanaka",
            "budget": "the roof garden",
            "person": "Olu Adeyemi",
            "next": "18 March 2026",
            "place": "Utrecht",
        },
        (
            ask("Who was elected as treasurer in February 2026?", "Olu Adeyemi", "titles"),
            ask("Where does the board meet on 18 March 2026?", "Utrecht"),
        ),
    ),
):
    FAMILY.add(name, writer(docx, BOARD.format(**values)), *questions, traits="titles")


def pump(path: Path) -> None:
    def finish(document: Any) -> None:
        box = "<w:p>" + run("Order the seal kit SK-77 together with the pump.") + "</w:p>"
        paragraph(
            document,
            "Pumps are shipped without oil.",
            "<w:r><w:pict><v:shape xmlns:v='urn:schemas-microsoft-com:vml'><v:textbox><w:txbxContent>"
            f"{box}</w:txbxContent></v:textbox></v:shape></w:pict></w:r>",
        )
        paragraph(
            document,
            "The largest pump weighs ",
            f'<w:fldSimple w:instr="DOCPROPERTY Weight">{run("2,340 kg")}</w:fldSimple>',
            " and is built in ",
            f'<w:smartTag w:uri="urn:place" w:element="place">{run("Ostrava")}</w:smartTag>',
            ".",
        )

    text = """# Pump catalogue

| Model | Flow | Head | Price |
| Orca 200 | 20 m³/h | 34 m | EUR 1,890 |
| Orca 300 | 31 m³/h | 52 m | EUR 2,450 |
| Orca 300 S | 31 m³/h | 60 m | EUR 2,990 |
| Minke 90 | 9 m³/h | 21 m | EUR 940 |
"""
    docx(path, text, finish=finish)


FAMILY.add(
    "products/pump-catalogue.docx",
    pump,
    cell("How much does the Orca 300 cost?", "EUR 2,450", "Orca 300", "Price"),
    cell("What head does the Minke 90 reach?", "21 m", "Minke 90", "Head"),
    cell("What is the flow of the Orca 200?", "20 m³/h", "Orca 200", "Flow"),
    ask("Which seal kit is ordered together with the pump?", "seal kit SK-77", "textbox"),
    ask("How much does the largest pump weigh?", "2,340 kg", "field"),
    ask("In which town is the largest pump built?", "Ostrava", "field"),
    ask("SK-77", "SK-77", "keyword textbox"),
    traits="table textbox field",
)

_SITES = (
    "Aalen",
    "Bodø",
    "Cork",
    "Dijon",
    "Espoo",
    "Faro",
    "Ghent",
    "Haugesund",
    "Izmir",
    "Jena",
    "Kotka",
    "Lublin",
    "Malmö",
    "Nantes",
    "Odense",
    "Pécs",
    "Quimper",
    "Riga",
    "Siena",
    "Tartu",
    "Umeå",
    "Varna",
    "Wels",
    "Xanten",
    "York",
    "Zadar",
    "Arhus",
    "Brno",
    "Chur",
    "Delft",
    "Elche",
    "Fermo",
    "Gävle",
    "Hanko",
    "Ivrea",
    "Jihlava",
    "Kiel",
    "Lleida",
    "Mons",
    "Narva",
    "Oulu",
    "Padua",
    "Reims",
    "Sopot",
    "Trier",
    "Uzès",
    "Viborg",
    "Worms",
    "Ystad",
    "Zwolle",
)
_ROWS = "\n".join(
    f"| {site} | {120 + 7 * number} | {3 + number % 9} | +{30 + number % 40} {1000 + 137 * number} |"
    for number, site in enumerate(_SITES)
)
FAMILY.add(
    "facilities/sites.docx",
    writer(
        docx, f"# Sites and caretakers\n\nAll sites of the group.\n\n| Site | Desks | Meeting rooms | Phone |\n{_ROWS}"
    ),
    cell("How many desks has the site in Tartu?", "253", "Tartu", "Desks", "long"),
    cell("How many meeting rooms are there in Zadar?", "10", "Zadar", "Meeting rooms", "long"),
    cell("What is the phone number of the site in Kiel?", "+66 5932", "Kiel", "Phone", "long"),
    cell("How many desks are in Ystad?", "456", "Ystad", "Desks", "long"),
    traits="table long",
)

FAMILY.add(
    "hr/urlaub.docx",
    writer(
        docx,
        """# Urlaubsordnung der Stadtwerke

Der Jahresurlaub beträgt 30 Arbeitstage. Resturlaub verfällt am 31. März des Folgejahres.

## Sonderurlaub

| Anlass | Tage |
| Umzug | 1 Tag |
| Eheschließung | 2 Tage |
| Geburt eines Kindes | 3 Tage |
""",
    ),
    ask("Wann verfällt der Resturlaub?", "am 31. März des Folgejahres", "german"),
    cell("Wie viele Tage Sonderurlaub gibt es bei einer Eheschließung?", "2 Tage", "Eheschließung", "Tage", "german"),
    traits="german table",
)
