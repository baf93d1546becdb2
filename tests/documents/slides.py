"""PowerPoint and OpenDocument slides: notes, tables, charts, groups, SmartArt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from documents.suite import Family, ask, cell

FAMILY = Family()


def deck(path: Path, slides: Sequence[tuple[str, str]], finish: Callable[[Any], object] = lambda deck: None) -> None:
    """Slides of a title and lines of text."""
    import pptx

    presentation = pptx.Presentation()
    presentation.core_properties.title = slides[0][0]
    for title, text in slides:
        slide = presentation.slides.add_slide(presentation.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = text
    finish(presentation)
    presentation.save(str(path))


def table(slide: Any, rows: list[list[str]]) -> None:
    from pptx.util import Inches

    made = slide.shapes.add_table(len(rows), len(rows[0]), Inches(1), Inches(3), Inches(8), Inches(2)).table
    for number, row in enumerate(rows):
        for column, text in enumerate(row):
            made.cell(number, column).text = text


def roadmap(presentation: Any) -> None:
    presentation.slides[0].notes_slide.notes_text_frame.text = "The launch party is held on the roof terrace."
    table(
        presentation.slides[1],
        [
            ["Release", "Date", "Owner"],
            ["Falcon", "12 May", "Nadia"],
            ["Heron", "3 September", "Piotr"],
            ["Kite", "20 November", "Sanne"],
        ],
    )


FAMILY.add(
    "slides/roadmap.pptx",
    partial(
        deck,
        slides=(
            ("Roadmap of the map service", "Three releases are planned."),
            ("Releases", "Dates may move by a week."),
            ("Risks", "The tile server must be replaced before Heron."),
        ),
        finish=roadmap,
    ),
    cell("On which date is the release Heron?", "3 September", "Heron", "Date", page=2),
    cell("Who owns the release Kite?", "Sanne", "Kite", "Owner", page=2),
    ask("Where is the launch party held?", "on the roof terrace", "notes", page=1),
    ask("What must be replaced before Heron?", "tile server", page=3),
    traits="table notes",
)


def charts(presentation: Any) -> None:
    from pptx.chart.data import CategoryChartData
    from pptx.enum.chart import XL_CHART_TYPE
    from pptx.util import Inches

    data = CategoryChartData()
    data.categories = ["First quarter", "Second quarter", "Third quarter"]
    data.add_series("Tickets sold", (3121, 4475, 5208))
    frame = presentation.slides[1].shapes.add_chart(
        XL_CHART_TYPE.COLUMN_CLUSTERED, Inches(1), Inches(3), Inches(6), Inches(3), data
    )
    frame.chart.has_title = True
    frame.chart.chart_title.text_frame.text = "Tickets of the ferry line by quarter"
    group = presentation.slides[0].shapes.add_group_shape()
    box = group.shapes.add_textbox(Inches(1), Inches(4), Inches(4), Inches(1))
    box.text_frame.text = "The ferry Selkie carries 310 passengers."


FAMILY.add(
    "slides/ferry-review.pptx",
    partial(
        deck,
        slides=(("Ferry line review", "The season lasted 214 days."), ("Tickets", "Sales rose every quarter.")),
        finish=charts,
    ),
    ask("How many tickets did the ferry line sell in the third quarter?", "5208", "chart", page=2),
    ask("How many passengers does the ferry Selkie carry?", "310 passengers", "group", page=1),
    ask("How many days did the ferry season last?", "214 days", page=1),
    traits="chart group",
)

_DGM = "http://schemas.openxmlformats.org/drawingml/2006/diagram"
_A = "http://schemas.openxmlformats.org/drawingml/2006/main"
_R = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def smart_art(presentation: Any) -> None:
    """A diagram of three steps, as PowerPoint stores it: its texts are in a part of their own."""
    from pptx.opc.package import Part
    from pptx.opc.packuri import PackURI
    from pptx.oxml import parse_xml

    slide = presentation.slides[1]
    steps = ("Sort the shards by colour", "Wash them in soft water", "Glue them with Paraloid B-72")
    points = "".join(
        f'<dgm:pt modelId="{number + 1}"><dgm:t><a:bodyPr/><a:p><a:r><a:t>{step}</a:t></a:r></a:p></dgm:t></dgm:pt>'
        for number, step in enumerate(steps)
    )
    data = f'<dgm:dataModel xmlns:dgm="{_DGM}" xmlns:a="{_A}"><dgm:ptLst>{points}</dgm:ptLst></dgm:dataModel>'
    kind = "application/vnd.openxmlformats-officedocument.drawingml.diagramData+xml"
    part = Part(PackURI("/ppt/diagrams/data1.xml"), kind, presentation.part.package, data.encode())
    relation = slide.part.relate_to(part, f"{_R}/diagramData")
    slide.shapes._spTree.append(
        parse_xml(
            f'<p:graphicFrame xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main" xmlns:a="{_A}" '
            f'xmlns:r="{_R}" xmlns:dgm="{_DGM}"><p:nvGraphicFramePr><p:cNvPr id="9" '
            'name="Diagram"/><p:cNvGraphicFramePr/>'
            '<p:nvPr/></p:nvGraphicFramePr><p:xfrm><a:off x="0" y="0"/><a:ext cx="9" cy="9"/></p:xfrm><a:graphic>'
            f'<a:graphicData uri="{_DGM}"><dgm:relIds r:dm="{relation}"/></a:graphicData></a:graphic></p:graphicFrame>'
        )
    )


FAMILY.add(
    "slides/pottery-course.pptx",
    partial(
        deck,
        slides=(("Pottery restoration course", "The course takes two weekends."), ("Three steps", "")),
        finish=smart_art,
    ),
    ask("With what are the pottery shards glued?", "Paraloid B-72", "smartart", page=2),
    ask("In what kind of water are the shards washed?", "soft water", "smartart", page=2),
    traits="smartart",
)


FAMILY.add(
    "slides/schulung.pptx",
    partial(
        deck,
        slides=(
            ("Schulung Brandschutz", "Jede Etage hat zwei Brandschutzhelfer."),
            ("Alarm", "Der Sammelplatz ist der Parkplatz hinter der Kantine."),
        ),
    ),
    ask("Wo ist der Sammelplatz bei Alarm?", "Parkplatz hinter der Kantine", "german", page=2),
    ask("Wie viele Brandschutzhelfer hat jede Etage?", "zwei Brandschutzhelfer", "german", page=1),
    traits="german",
)


def odp(path: Path) -> None:
    from odf.draw import Frame, Page, TextBox
    from odf.namespaces import PRESENTATIONNS
    from odf.opendocument import OpenDocumentPresentation
    from odf.style import MasterPage, PageLayout
    from odf.text import P

    document = OpenDocumentPresentation()
    layout = PageLayout(name="layout")
    document.automaticstyles.addElement(layout)
    master = MasterPage(name="master", pagelayoutname=layout)
    document.masterstyles.addElement(master)
    for name, *lines in (
        ("Beekeeping for beginners", "A hive needs a dry place that faces south-east."),
        ("Harvest", "Honey is harvested when its water content is below 18 percent."),
        ("Winter", "Each colony needs 15 kg of sugar syrup for the winter."),
    ):
        page = Page(name=name, masterpagename=master)
        for number, line in enumerate((name, *lines)):
            frame = Frame(width="20cm", height="3cm", x="2cm", y=f"{2 + 4 * number}cm")
            if not number:
                frame.setAttrNS(PRESENTATIONNS, "class", "title")
            box = TextBox()
            box.addElement(P(text=line))
            frame.addElement(box)
            page.addElement(frame)
        document.presentation.addElement(page)
    document.save(str(path))


FAMILY.add(
    "slides/beekeeping.odp",
    odp,
    ask("When is honey harvested?", "when its water content is below 18 percent", page=2),
    ask("How much sugar syrup does a bee colony need for the winter?", "15 kg", page=3),
)
