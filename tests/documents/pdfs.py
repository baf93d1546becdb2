"""PDF files: tables ruled and unruled, over a page, columns, running heads, hyphens, forms, outlines, look-alikes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from documents.suite import Family, ask, cell
from documents.writing import Block, blocks, title_of

FAMILY = Family()


def canvas_of(path: Path, title: str = "") -> Any:
    from reportlab.lib.pagesizes import A4
    from reportlab.pdfgen.canvas import Canvas

    canvas = Canvas(str(path), pagesize=A4, invariant=True)
    canvas.setTitle(title)
    return canvas


def lines(canvas: Any, found: Sequence[str], *, left: int = 72, top: int = 740, step: int = 15, size: int = 11) -> None:
    canvas.setFont("Helvetica", size)
    for number, line in enumerate(found):
        canvas.drawString(left, top - step * number, line)


def pages(
    path: Path, found: Sequence[Sequence[str]], *, title: str = "", head: str = "", foot: str = "", size: int = 11
) -> None:
    """Pages of lines. `head` and `foot` are on every page; {} is the page's number."""
    canvas = canvas_of(path, title)
    for number, page in enumerate(found, start=1):
        lines(canvas, page, size=size)
        canvas.setFont("Helvetica", 8)
        canvas.drawString(72, 800, head.format(number))
        canvas.drawString(72, 40, foot.format(number))
        canvas.showPage()
    canvas.save()


def flow(
    path: Path, text: str, *, ruled: bool = True, columns: int = 1, on_page: Callable[..., object] | None = None
) -> None:
    """The notation as a PDF with real layout."""
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.styles import getSampleStyleSheet
    from reportlab.platypus import BaseDocTemplate, Frame, PageTemplate, Paragraph, Spacer, Table

    styles = getSampleStyleSheet()
    grid = [("GRID", (0, 0), (-1, -1), 0.5, "black")] if ruled else [("BOTTOMPADDING", (0, 0), (-1, -1), 4)]

    def flowable(block: Block) -> list[Any]:
        if block.level:
            return [Paragraph(block.text, styles[f"Heading{block.level}"])]
        if block.rows:
            return [Table([list(row) for row in block.rows], style=grid, repeatRows=0), Spacer(1, 8)]
        return [Paragraph(text, styles["Normal"]) for text in block.items or (block.text,)] + [Spacer(1, 6)]

    width = (A4[0] - 100) / columns
    frames = [Frame(50 + number * width, 60, width, A4[1] - 120, rightPadding=14) for number in range(columns)]
    document = BaseDocTemplate(str(path), pagesize=A4, title=title_of(text), invariant=1)
    document.addPageTemplates(PageTemplate(frames=frames, onPage=on_page or (lambda canvas, document: None)))
    document.build([item for block in blocks(text) for item in flowable(block)])


NETWORK = """# Network devices of the Fjord campus

The list is kept by the network team. Passwords are in the vault.

| Device | Address | Ports | Firmware | Location |
| SW-CORE-01 | 10.20.0.1 | 48 | 15.2(7)E3 | Basement rack A |
| SW-EDGE-14 | 10.20.4.14 | 24 | 15.2(4)E8 | Library, second floor |
| SW-EDGE-15 | 10.20.4.15 | 24 | 15.2(4)E9 | Canteen |
| AP-0342 | 10.20.9.42 | 1 | 8.10.185 | Lecture hall 3 |
| FW-NORTH | 10.20.0.254 | 8 | 7.2.11 | Basement rack C |

## Replacement

Batteries of the backup supply are replaced every four years.
"""
FAMILY.add(
    "network/devices.pdf",
    partial(flow, text=NETWORK),
    cell("Which firmware runs on SW-EDGE-14?", "15.2(4)E8", "SW-EDGE-14", "Firmware", "identifier", page=1),
    cell("Where is AP-0342?", "Lecture hall 3", "AP-0342", "Location", "identifier", page=1),
    cell("What address has the firewall FW-NORTH?", "10.20.0.254", "FW-NORTH", "Address", "identifier", page=1),
    cell("How many ports has SW-CORE-01?", "48", "SW-CORE-01", "Ports", "identifier", page=1),
    ask("How often are the batteries of the backup supply replaced?", "every four years", page=1),
    ask("SW-EDGE-15", "SW-EDGE-15", "keyword identifier", page=1),
    traits="table ruled",
)

HARVEST = """# Harvest report of the trial orchard

Yields are given per tree, as the mean of three seasons.

| Variety | Trees | Yield | Picking week |
| Ribston | 14 | 61 kg | 38 |
| Topaz | 22 | 48 kg | 39 |
| Elstar | 31 | 55 kg | 36 |
| Boskoop | 9 | 72 kg | 41 |

## Soil

The soil of the lower field is heavy clay with a pH of 6.4.
"""
FAMILY.add(
    "orchard/harvest.pdf",
    partial(flow, text=HARVEST, ruled=False),
    cell("What yield has the variety Topaz?", "48 kg", "Topaz", "Yield", page=1),
    cell("In which week is Boskoop picked?", "41", "Boskoop", "Picking week", page=1),
    cell("How many trees of Elstar are there?", "31", "Elstar", "Trees", page=1),
    ask("What is the pH of the lower field?", "pH of 6.4", page=1),
    traits="table unruled",
)

_PARTS = "\n".join(
    f"| {4400 + number}-{'ABCD'[number % 4]} | {name} | {2 + number % 7} | EUR {3 + 1.25 * number:.2f} |"
    for number, name in enumerate(
        f"{size} {kind}"
        for kind in ("gasket", "valve", "spring", "bolt", "washer", "clamp", "bushing", "filter")
        for size in ("small", "medium", "large", "wide", "narrow", "steel", "brass")
    )
)
FAMILY.add(
    "workshop/spare-parts.pdf",
    partial(
        flow,
        text="# Spare parts of the workshop\n\nPrices are valid until December.\n\n| Part number | "
        f"Name | Stock | Price |\n{_PARTS}",
    ),
    cell("What does the brass filter cost?", "EUR 71.75", "brass filter", "Price", "long", page=2),
    cell("How many large valves are in stock?", "4", "large valve", "Stock", "long", page=1),
    cell("Which part number has the brass clamp?", "4441-B", "brass clamp", "Part number", "long", page=2),
    ask("4423-D", "4423-D", "keyword identifier"),
    traits="table ruled over-page long",
)

FAMILY.add(
    "reports/plots.pdf",
    partial(
        pages,
        found=[
            [
                "Soil moisture on the Hallgrim plots",
                "",
                "Moisture was measured at dawn with twelve probes.",
                "Probes were calibrated in March. The driest plot was number 4.",
                "",
                "During the second week of the campaign, the highest value was",
            ],
            ["measured on plot 19 after the storm of 6 June.", "", "All probes were removed in October."],
            ["The raw data are kept for ten years by the institute in Akureyri."],
        ],
        title="Soil moisture report",
        head="Institute of Soil Science, report 2026/7",
        foot="Page {} of 3",
    ),
    ask("On which plot was the highest value measured?", "plot 19", "over-page", page=2),
    ask("Which plot was the driest?", "number 4", page=1),
    ask("For how long are the raw data of the soil moisture report kept?", "for ten years", page=3),
    traits="running-heads over-page",
)

CAVE = """# Survey of the Lindal cave

The entrance lies behind a waterfall and is closed from November to April to protect bats. Visitors need a permit of
the forest office. The first chamber is 40 metres long and can be entered without ropes.

The second chamber, named the Organ, holds a lake of 7 metres depth. Divers mapped it in 2019 and found a side passage
that leads north. The passage ends at a boulder choke. Air moves through it, so that a further chamber is likely.

Temperature in the cave is 8 degrees all year. The humidity is above 95 percent. Electronic devices must be kept in
sealed boxes. Carbide lamps are not allowed.

In the third chamber, stalagmites of 3 metres height were dated to 14,000 years. The dating was made by the laboratory
in Bern from a core of 12 millimetres. The core is kept in the museum of the valley.

## Rescue

The rescue team of the valley is called by radio on channel 6. A phone hangs at the entrance. The stretcher is kept in
the first chamber, beside the ladder.
"""
FAMILY.add(
    "reports/cave.pdf",
    partial(flow, text=CAVE * 1, columns=2),
    ask("How deep is the lake in the chamber named the Organ?", "7 metres depth", "columns", page=1),
    ask("To what age were the stalagmites dated?", "14,000 years", "columns", page=1),
    ask("On which radio channel is the rescue team called?", "channel 6", "columns", page=1),
    traits="columns",
)

FAMILY.add(
    "reports/drives.pdf",
    partial(
        pages,
        found=[
            [
                "Drive units of the cable car",
                "",
                "The cabin is moved by two drive units. The motor type is X-",
                "200 with water cooling. The brake pads are the price-",
                "determining part of each inspec-",
                "tion, which is due every 1,500 hours. The efficiency of the gearbox is 97 percent.",
            ]
        ],
        title="Drive units",
    ),
    ask("Which motor type moves the cabin of the cable car?", "X-200", "hyphen", page=1),
    ask("What is the price-determining part of the inspection?", "brake pads", "hyphen", page=1),
    ask("When is each inspection of the drive units due?", "every 1,500 hours", "hyphen", page=1),
    traits="hyphen",
)


def form(path: Path) -> None:
    canvas = canvas_of(path, "Registration of a boat")
    lines(canvas, ["Registration of a boat", "", "Name of the boat:", "", "Home port:", "", "Length:"])
    for name, value, top in (("boat", "Kittiwake", 706), ("port", "Stornoway", 676), ("length", "11.4 m", 646)):
        canvas.acroForm.textfield(name=name, value=value, x=200, y=top, width=200, height=18, tooltip=name)
    canvas.save()


FAMILY.add(
    "forms/boat.pdf",
    form,
    ask("What is the home port of the boat Kittiwake?", "Stornoway", "form", page=1),
    ask("How long is the boat Kittiwake?", "11.4 m", "form", page=1),
    traits="form",
)

for number, (customer, total, due, order) in enumerate(
    (
        ("Larkspur Bakery", "EUR 1,284.50", "28 February 2026", "8Z-4411/B"),
        ("Quarry Road Clinic", "EUR 9,730.00", "15 March 2026", "8Z-4412/A"),
        ("Teal & Sons", "EUR 611.20", "2 April 2026", "8Z-4419/C"),
    ),
    start=4711,
):
    FAMILY.add(
        f"invoices/invoice-{number}.pdf",
        partial(
            pages,
            found=[
                [
                    f"Invoice {number}",
                    "",
                    f"Customer: {customer}",
                    f"Order: {order}",
                    f"Total: {total}",
                    f"Due: {due}",
                    "",
                    "Please pay by bank transfer. Goods stay ours until they are paid.",
                ]
            ],
            title=f"Invoice {number}",
            foot="Orchid Office Supplies Ltd, Wharf Street 9, Bristol",
        ),
        ask(f"What is the total of invoice {number}?", total, "look-alike", page=1),
        ask(f"When is the invoice for {customer} due?", due, "look-alike", page=1),
        ask(order, order, "keyword identifier", page=1),
        traits="look-alike",
    )


def outlined(path: Path) -> None:
    canvas = canvas_of(path, "Handbook of the lock keepers")
    for number, (title, text) in enumerate(
        (
            ("Opening the gates", "The gates are opened once both water levels are equal."),
            ("Night shift", "At night the lock is staffed by one keeper, from 22:00 to 6:00."),
            ("Ice", "Below minus ten degrees the gates are heated with steam."),
        )
    ):
        canvas.bookmarkPage(f"p{number}")
        canvas.addOutlineEntry(title, f"p{number}", level=0)
        lines(canvas, [title, "", text])
        canvas.showPage()
    canvas.save()


FAMILY.add(
    "handbooks/lock-keepers.pdf",
    outlined,
    ask("When are the gates of the lock opened?", "once both water levels are equal", page=1),
    ask("How are the gates kept free of ice?", "heated with steam", page=3),
    ask("How many keepers staff the lock at night?", "one keeper", page=2),
    traits="outline",
)

FAMILY.add(
    "reports/rapport-musee.pdf",
    partial(
        flow,
        text="""# Rapport annuel du musée de la dentelle

Le musée a accueilli 48 300 visiteurs en 2025. La salle des métiers est fermée jusqu'au 4 mai.

| Exposition | Début | Entrées |
| Fuseaux d'hiver | 12 janvier | 9 420 |
| La dentelle bleue | 3 avril | 17 850 |
| Points et nœuds | 8 septembre | 6 110 |
""",
    ),
    ask("Jusqu'à quand la salle des métiers est-elle fermée ?", "jusqu'au 4 mai", "french", page=1),
    cell(
        "Combien d'entrées a eu l'exposition La dentelle bleue ?",
        "17 850",
        "La dentelle bleue",
        "Entrées",
        "french",
        page=1,
    ),
    traits="french table",
)
