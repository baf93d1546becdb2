from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import pptx
import pytest
import samples
from office_files import RELATION, element
from pptx.chart.data import CategoryChartData, XyChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.opc.package import Part
from pptx.opc.packuri import PackURI
from pptx.util import Inches

from indexing.converters import convert
from indexing.converters.content import Content

_DGM = 'xmlns:dgm="http://schemas.openxmlformats.org/drawingml/2006/diagram"'
_A = 'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"'


class Deck:
    """A presentation that is read after its slides have been made."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = pptx.Presentation()
        self.slide: Any = None
        self.next()

    def next(self) -> None:
        self.slide = self.file.slides.add_slide(self.file.slide_layouts[6])

    def box(self, text: str, left: float, top: float, *, into: Any = None) -> Any:
        shapes = self.slide.shapes if into is None else into.shapes
        box = shapes.add_textbox(Inches(left), Inches(top), Inches(2), Inches(1))
        box.text_frame.text = text
        return box

    def part(self, source: Any, kind: str, xml: str) -> str:
        name = PackURI(f"/ppt/parts/{kind}{len(source.part.rels)}.xml")
        return str(
            source.part.relate_to(Part(name, "application/xml", source.part.package, xml.encode()), RELATION + kind)
        )

    def read(self) -> Content:
        self.file.save(str(self.path))
        (content,) = convert(self.path, "pptx")
        return content

    def blocks(self) -> list[str]:
        return self.read().text.strip().split("\n\n")


@pytest.fixture
def deck(tmp_path: Path) -> Deck:
    return Deck(tmp_path / "a.pptx")


def test_shapes_are_read_in_the_order_of_the_file_where_it_goes_down(deck: Deck) -> None:
    for text, left, top in (("a", 0, 1), ("b", 0, 2.5), ("c", 4, 1), ("d", 4, 2.5)):
        deck.box(text, left, top)
    assert deck.blocks() == ["a", "b", "c", "d"]


def test_shapes_that_were_added_later_above_are_read_first(deck: Deck) -> None:
    for text, left, top in (("below", 0, 5), ("right", 4, 3.1), ("left", 0, 3), ("top", 0, 0)):
        deck.box(text, left, top)
    assert deck.blocks() == ["top", "left", "right", "below"]


def test_groups_equations_and_shapes_in_new_elements(deck: Deck) -> None:
    group = deck.slide.shapes.add_group_shape()
    deck.box("grouped", 0, 0, into=group)
    box = deck.box("", 0, 3)
    box.text_frame.paragraphs[0]._p.append(
        element("<mc:AlternateContent><mc:Choice><m:oMath><m:r><m:t>a=b</m:t></m:r></m:oMath></mc:Choice>"
                "<mc:Fallback><a:r><a:t>picture of it</a:t></a:r></mc:Fallback></mc:AlternateContent>")
    )  # fmt: skip
    outer = element("<mc:AlternateContent><mc:Choice Requires='a14'/><mc:Fallback/></mc:AlternateContent>")
    box._element.getparent().append(outer)
    outer[0].append(box._element)
    assert deck.blocks() == ["grouped", "a=b"]


def test_merged_cells_keep_the_grid_and_the_first_row_is_a_header(deck: Deck) -> None:
    found = deck.slide.shapes.add_table(3, 3, Inches(1), Inches(1), Inches(6), Inches(2)).table
    rows = (("City", "2024", "2025"), ("Oslo", "46", "47"), ("", "51", "52"))
    for row, cells in enumerate(rows):
        for column, text in enumerate(cells):
            found.cell(row, column).text = text
    found.cell(1, 0).merge(found.cell(2, 0))
    content = deck.read()
    (read,) = content.tables
    assert read.columns == ("City", "2024", "2025")
    assert content.text.strip() == "City | 2024 | 2025\nOslo | 46 | 47\nOslo | 51 | 52"


def chart(deck: Deck, kind: Any, data: Any) -> Any:
    return deck.slide.shapes.add_chart(kind, Inches(1), Inches(1), Inches(5), Inches(4), data).chart


def test_a_chart_is_a_table_with_its_title_above(deck: Deck) -> None:
    data = CategoryChartData(number_format="0.0%")
    data.categories = ["North", "South"]
    data.add_series("2024", (0.125, 0.3))
    data.add_series("2025", (0.5, None))
    found = chart(deck, XL_CHART_TYPE.COLUMN_CLUSTERED, data)
    found.has_title = True
    found.chart_title.text_frame.text = "Share by region"
    found.category_axis.axis_title.text_frame.text = "Region"
    content = deck.read()
    assert content.text.strip() == "Share by region\n\nRegion | 2024 | 2025\nNorth | 12.5% | 50.0%\nSouth | 30.0%"
    assert content.tables[0].columns == ("Region", "2024", "2025")


def test_categories_of_several_levels_and_pairs_of_numbers(deck: Deck) -> None:
    data = CategoryChartData()
    for year, quarters in (("2024", ("Q1", "Q2")), ("2025", ("Q1",))):
        outer = data.add_category(year)
        for quarter in quarters:
            outer.add_sub_category(quarter)
    data.add_series("Sales", (1, 2, 3))
    chart(deck, XL_CHART_TYPE.BAR_CLUSTERED, data)
    deck.next()
    points = XyChartData()
    series = points.add_series("Runs")
    series.add_data_point(1.5, 20)
    series.add_data_point(2, 30)
    chart(deck, XL_CHART_TYPE.XY_SCATTER, points)
    text = deck.read().text
    assert "Category | Sales\n2024 Q1 | 1\n2024 Q2 | 2\n2025 Q1 | 3" in text
    assert "Category | Runs\n1.5 | 20\n2 | 30" in text


def test_a_diagram_is_read_by_its_links(deck: Deck) -> None:
    def point(key: str, text: str, kind: str = "node") -> str:
        body = f"<dgm:t><a:bodyPr/><a:p><a:r><a:t>{text}</a:t></a:r></a:p></dgm:t>" if text else ""
        return f"<dgm:pt modelId='{key}' type='{kind}'>{body}</dgm:pt>"

    links = (("0", "2", 1), ("0", "1", 0), ("1", "3", 0))
    data = (
        f"<dgm:dataModel {_DGM} {_A}><dgm:ptLst>{point('2', 'Sign')}{point('3', 'by post')}{point('1', 'Apply')}"
        f"{point('0', '', 'doc')}{point('9', 'unlinked')}</dgm:ptLst><dgm:cxnLst>"
        + "".join(f"<dgm:cxn modelId='l{n}' srcId='{s}' destId='{d}' srcOrd='{n}'/>" for s, d, n in links)
        + "</dgm:cxnLst></dgm:dataModel>"
    )
    key = deck.part(deck.slide, "diagramData", data)
    deck.slide.shapes._spTree.append(
        element(
            "<p:graphicFrame><p:nvGraphicFramePr><p:cNvPr id='9' name='d' descr='Steps to join'/><p:cNvGraphicFramePr/>"
            "<p:nvPr/></p:nvGraphicFramePr><p:xfrm><a:off x='0' y='0'/><a:ext cx='9' cy='9'/></p:xfrm><a:graphic>"
            "<a:graphicData uri='http://schemas.openxmlformats.org/drawingml/2006/diagram'>"
            f"<dgm:relIds {_DGM} r:dm='{key}'/></a:graphicData></a:graphic></p:graphicFrame>"
        )
    )
    assert deck.blocks() == ["Apply\n- by post\nSign\nunlinked", "Picture: Steps to join"]


def test_notes_comments_and_hidden_slides_are_marked(deck: Deck) -> None:
    deck.box("Plan", 0, 0)
    deck.slide.notes_slide.notes_text_frame.text = "Speak up."
    deck.slide._element.set("show", "0")
    authors = "<p:cmAuthorLst {}><p:cmAuthor id='0' name='Ines'/></p:cmAuthorLst>"
    space = 'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main"'
    deck.part(deck.file, "commentAuthors", authors.format(space))
    deck.part(deck.slide, "comments", f"<p:cmLst {space}><p:cm authorId='0'><p:text>Old data</p:text></p:cm></p:cmLst>")
    new = 'xmlns:q="http://schemas.microsoft.com/office/powerpoint/2018/8/main"'
    body = "<q:txBody><a:p><a:r><a:t>{}</a:t></a:r></a:p></q:txBody>"
    deck.part(
        deck.slide,
        "comments",
        f"<q:cmLst {new} {_A}><q:cm authorId='x'><q:replyLst><q:reply authorId='0'>{body.format('Mended')}</q:reply>"
        f"</q:replyLst>{body.format('Wrong year')}</q:cm></q:cmLst>",
    )
    assert deck.blocks() == [
        "Hidden slide", "Plan", "Notes: Speak up.", "Comment (Ines): Old data", "Comment: Wrong year",
        "Comment (Ines): Mended",
    ]  # fmt: skip


def test_what_each_slide_shows_is_read_once_and_slide_numbers_never(deck: Deck) -> None:
    layout = deck.file.slide_layouts[6]
    layout.shapes._spTree.append(deck.box("Valid from May 2026", 0, 6)._element)
    for number in (1, 2):
        for kind, text in (("ftr", "Confidential"), ("sldNum", str(number))):
            box = deck.box(text, 0, 7)
            box._element.nvSpPr.nvPr.append(element(f"<p:ph type='{kind}'/>"))
        deck.box(f"body {number}", 0, 1)
        deck.next()
    content = deck.read()
    pages = [content.text[page.start : page.end].split() for page in content.pages]
    assert pages[0] == ["body", "1", "Confidential", "Valid", "from", "May", "2026"]
    assert pages[1] == ["body", "2"]


def test_addresses_of_links_are_metadata(deck: Deck) -> None:
    run = deck.box("the form", 0, 0).text_frame.paragraphs[0].runs[0]
    run.hyperlink.address = "https://intra.example.org/form"
    content = deck.read()
    assert (content.text.strip(), content.meta["links"]) == ("the form", ["https://intra.example.org/form"])


def test_numbered_paragraphs_and_line_breaks(deck: Deck) -> None:
    box = deck.box("first\vhere\nsecond\nthird", 0, 0)
    for paragraph, level in zip(box.text_frame.paragraphs, (0, 1, 0), strict=True):
        paragraph.level = level
        paragraph._p.get_or_add_pPr().append(
            element(f"<a:buAutoNum type='{'alphaLcParenR' if level else 'arabicPeriod'}'/>")
        )
    assert deck.blocks() == ["1. first\nhere\na) second\n2. third"]


@pytest.mark.parametrize(
    "kind",
    [
        "vnd.ms-powerpoint.presentation.macroEnabled.main",
        "vnd.openxmlformats-officedocument.presentationml.template.main",
        "vnd.ms-powerpoint.template.macroEnabled.main",
        "vnd.openxmlformats-officedocument.presentationml.slideshow.main",
    ],
)
def test_templates_shows_and_files_with_macros_are_read(tmp_path: Path, kind: str) -> None:
    usual = samples.pptx(tmp_path / "a.pptx")
    with zipfile.ZipFile(usual) as source, zipfile.ZipFile(tmp_path / "b.pptx", "w") as target:
        for member in source.namelist():
            data = re.sub(rb"vnd\.[\w.-]+presentationml\.presentation\.main", kind.encode(), source.read(member))
            target.writestr(member, data)
    assert list(convert(tmp_path / "b.pptx", "pptx")) == list(convert(usual, "pptx"))
