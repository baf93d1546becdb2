from __future__ import annotations

import itertools
import re
import zipfile
from pathlib import Path

import docx
import pytest
import samples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from office_files import add_part, cell, element, paragraph, row, run, table, word

from indexing.converters import convert
from indexing.converters.content import Content, ConversionError

_OLE = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600)


def one(path: Path) -> Content:
    (content,) = convert(path, "docx")
    return content


def blocks(path: Path) -> list[str]:
    return one(path).text.split("\n\n")


def changed(kind: str, inner: str) -> str:
    return f'<w:{kind} w:id="1" w:author="Ana">{inner}</w:{kind}>'


def field(instruction: str, result: str) -> str:
    mark = '<w:r><w:fldChar w:fldCharType="{}"/></w:r>'
    return (
        f"{mark.format('begin')}<w:r><w:instrText>{instruction}</w:instrText></w:r>{mark.format('separate')}"
        f"{result}{mark.format('end')}"
    )


def text_box(inner: str) -> str:
    """As Word writes it: twice, for new and for old programs."""
    return (
        "<w:r><mc:AlternateContent><mc:Choice Requires='wps'><w:drawing><wp:anchor><wp:docPr id='1' name='Box' "
        f"descr='box'/><wps:txbx><w:txbxContent>{inner}</w:txbxContent></wps:txbx></wp:anchor></w:drawing></mc:Choice>"
        f"<mc:Fallback><w:pict><v:shape><v:textbox><w:txbxContent>{inner}</w:txbxContent></v:textbox></v:shape></w:pict>"
        "</mc:Fallback></mc:AlternateContent></w:r>"
    )


@pytest.mark.parametrize(
    ("inner", "text"),
    [
        (run("is ") + changed("del", "<w:r><w:delText>30</w:delText></w:r>") + changed("ins", run("90")), "is 90"),
        (changed("moveFrom", run("old place")) + changed("moveTo", run("new place")), "new place"),
        (changed("ins", run("a") + changed("del", run("b"))), "a"),
        (
            f"<w:sdt><w:sdtPr><w:alias w:val='x'/></w:sdtPr><w:sdtContent>{run('Hall 7')}</w:sdtContent></w:sdt>",
            "Hall 7",
        ),
        (
            "<w:sdt><w:sdtPr><w:dropDownList><w:listItem w:displayText='Low'/></w:dropDownList></w:sdtPr>"
            f"<w:sdtContent>{run('High')}</w:sdtContent></w:sdt>",
            "High",
        ),
        (f"<w:fldSimple w:instr='DATE'>{run('3 May')}</w:fldSimple>", "3 May"),
        (field("REF x", run("Annex B")), "Annex B"),
        (field(f"IF {field('MERGEFIELD x', run('no'))}", run("yes")), "yes"),
        ("<w:r><w:fldChar w:fldCharType='begin'/></w:r>" + run("no end"), "no end"),
        (
            "<w:r><w:fldChar w:fldCharType='begin'><w:ffData><w:ddList><w:result w:val='1'/><w:listEntry w:val='up'/>"
            "<w:listEntry w:val='south'/></w:ddList></w:ffData></w:fldChar></w:r><w:r><w:instrText>FORMDROPDOWN"
            "</w:instrText></w:r><w:r><w:fldChar w:fldCharType='end'/></w:r>",
            "south",
        ),
        (f"<w:smartTag w:element='City'>{run('Oslo')}</w:smartTag>", "Oslo"),
        (f"<w:hyperlink w:anchor='x'>{run('the form')}</w:hyperlink>", "the form"),
        (f"<w:newElementOfTomorrow>{run('kept')}</w:newElementOfTomorrow>", "kept"),
        ("<w:r><w:t>a</w:t><w:tab/><w:t>b</w:t><w:br/><w:t>c</w:t></w:r>", "a\tb\nc"),
        (run("42 m") + run("2", "<w:vertAlign w:val='superscript'/>"), "42 m²"),
        (run("CO") + run("2", "<w:vertAlign w:val='subscript'/>"), "CO2"),
        ("<w:r><w:t>X</w:t><w:noBreakHyphen/><w:t>200</w:t></w:r>", "X-200"),
        ("<w:r><w:t>Donau</w:t><w:softHyphen/><w:t>dampf</w:t></w:r>", "Donaudampf"),
        ("<w:r><w:sym w:font='Symbol' w:char='F061'/></w:r>", "α"),
        ("<w:r><w:sym w:font='Wingdings' w:char='F0FC'/></w:r>" + run(" done"), "✓ done"),
        (run("\uf0b3", "<w:rFonts w:ascii='Symbol'/>") + run(" 5"), "≥ 5"),
        (run("shown") + run(" hidden", "<w:vanish/>") + run(" on", "<w:vanish w:val='0'/>"), "shown on"),
        (
            "".join(
                f"<w:r><w:ruby><w:rt>{run(above)}</w:rt><w:rubyBase>{run(base)}</w:rubyBase></w:ruby></w:r>"
                for above, base in (("とう", "東"), ("きょう", "京"))
            )
            + run("へ"),
            "東京 (とうきょう)へ",
        ),
    ],
)
def test_a_paragraph_is_read_as_word_shows_it(tmp_path: Path, inner: str, text: str) -> None:
    assert one(word(tmp_path / "a.docx", paragraph(inner))).text == text


def math(inner: str) -> str:
    return f"<m:oMathPara><m:oMath>{inner}</m:oMath></m:oMathPara>"


def term(text: str) -> str:
    return f"<m:r><m:t>{text}</m:t></m:r>"


@pytest.mark.parametrize(
    ("inner", "text"),
    [
        (term("E=m") + f"<m:sSup><m:e>{term('c')}</m:e><m:sup>{term('2')}</m:sup></m:sSup>", "E=mc^2"),
        (f"<m:f><m:num>{term('a+b')}</m:num><m:den>{term('2')}</m:den></m:f>", "(a+b)/2"),
        (f"<m:rad><m:deg/><m:e>{term('n')}</m:e></m:rad>", "√(n)"),
        (
            f"<m:nary><m:naryPr><m:chr m:val='∑'/></m:naryPr><m:sub>{term('i=1')}</m:sub><m:sup>{term('n')}</m:sup>"
            f"<m:e>{term('i')}</m:e></m:nary>",
            "∑_(i=1)^n i",
        ),
        (f"<m:d><m:e>{term('x')}</m:e></m:d>", "(x)"),
    ],
)
def test_an_equation_is_one_line(tmp_path: Path, inner: str, text: str) -> None:
    assert one(word(tmp_path / "a.docx", paragraph(math(inner)))).text == text


def test_a_paragraph_whose_mark_is_deleted_continues_in_the_next_one(tmp_path: Path) -> None:
    body = paragraph(run("The fee is "), "<w:rPr><w:del w:id='1'/></w:rPr>") + paragraph(run("40 euros."))
    assert one(word(tmp_path / "a.docx", body)).text == "The fee is 40 euros."


def test_a_text_box_is_read_once_after_its_paragraph(tmp_path: Path) -> None:
    body = paragraph(run("before") + text_box(paragraph(run("one")) + paragraph(run("two")))) + paragraph(run("after"))
    assert blocks(word(tmp_path / "a.docx", body)) == ["before", "one", "two", "after"]


def test_controls_around_paragraphs_rows_and_cells(tmp_path: Path) -> None:
    def control(inner: str) -> str:
        return f"<w:sdt><w:sdtPr/><w:sdtContent>{inner}</w:sdtContent></w:sdt>"

    body = control(paragraph(run("block"))) + table(
        row(cell(paragraph(run("Place"))), cell(paragraph(run("Rate")))),
        control(row(control(cell(paragraph(run("Oslo")))), cell(paragraph(run("46"))))),
        f"<w:ins w:id='2'>{row(cell(paragraph(run('Rome'))), cell(paragraph(run('51'))))}</w:ins>",
    )
    assert blocks(word(tmp_path / "a.docx", body)) == ["block", "Place | Rate\nOslo | 46\nRome | 51"]


def test_merged_cells_keep_the_grid(tmp_path: Path) -> None:
    wide, top, below = "<w:gridSpan w:val='2'/>", "<w:vMerge w:val='restart'/>", "<w:vMerge/>"
    header = "<w:tblHeader/>"
    body = table(
        row(cell(paragraph(run("Country")), top), cell(paragraph(run("Rate")), wide), properties=header),
        row(cell(paragraph(""), below), *(cell(paragraph(run(t))) for t in ("Day", "Night")), properties=header),
        row(*(cell(paragraph(run(t))) for t in ("Peru", "10", "20"))),
        row(cell(paragraph(run("gone"))), properties="<w:del w:id='3'/>"),
        row(cell(paragraph(run("30"))), properties="<w:gridBefore w:val='1'/>"),
    )
    (found,) = one(word(tmp_path / "a.docx", body)).tables
    assert (found.columns, found.header) == (("Country", "Rate Day", "Rate Night"), 2)
    assert [[c.column for c in cells] for cells in found.rows] == [[0, 1], [0, 1, 2], [0, 1, 2], [0, 1]]


def test_an_inner_table_follows_the_outer_one_with_all_its_rows(tmp_path: Path) -> None:
    inner = table(row(*(cell(paragraph(run(t))) for t in ("Night", "25 percent"))))
    body = table(
        row(cell(paragraph(run("Name"))), cell(paragraph(run("Rates")))),
        row(cell(paragraph(run("Ada")) + paragraph(run("Lovelace"))), cell(paragraph(run("see")) + inner)),
        row(cell(paragraph(text_box(paragraph(run("boxed"))))), cell(paragraph(run("x")))),
    )
    assert blocks(word(tmp_path / "a.docx", body)) == [
        "Name | Rates\nAda, Lovelace | see\nboxed | x",
        "Night | 25 percent",
    ]


def test_the_header_row_of_a_table_style_is_a_header(tmp_path: Path) -> None:
    document = docx.Document()
    found = document.add_table(rows=2, cols=2, style="Light Grid Accent 1")
    for place, text in enumerate(("2024", "2025", "10", "20")):
        found.cell(place // 2, place % 2).text = text
    document.save(str(tmp_path / "a.docx"))
    (read,) = one(tmp_path / "a.docx").tables
    assert (read.header, read.columns) == (1, ("2024", "2025"))


def test_names_and_values_have_no_header_in_spite_of_their_style(tmp_path: Path) -> None:
    document = docx.Document()
    found = document.add_table(rows=3, cols=2, style="Light Grid Accent 1")
    for place, text in enumerate(("Name:", "Ada", "Room:", "12", "Phone:", "345")):
        found.cell(place // 2, place % 2).text = text
    hidden = found.rows[1]._tr.get_or_add_trPr()
    hidden.append(element("<w:hidden/>"))
    document.save(str(tmp_path / "a.docx"))
    content = one(tmp_path / "a.docx")
    assert content.text == "Name: | Ada\nPhone: | 345"
    assert content.tables[0].header == 0


def test_a_chart_and_a_shape_in_a_drawing(tmp_path: Path) -> None:
    document = docx.Document()
    points = "".join(f"<c:pt idx='{{n}}'><c:v>{v}</c:v></c:pt>".format(n=n) for n, v in enumerate((45292, 45323)))
    numbers = "".join(f"<c:pt idx='{n}'><c:v>{v}</c:v></c:pt>" for n, v in enumerate((1.5, 2)))
    key = add_part(
        document,
        "chart",
        "<c:chartSpace><c:chart><c:plotArea><c:lineChart><c:ser><c:tx><c:strRef><c:strCache><c:pt idx='0'><c:v>Load"
        "</c:v></c:pt></c:strCache></c:strRef></c:tx><c:cat><c:numRef><c:numCache><c:formatCode>yyyy\\-mm</c:formatCode>"
        f"{points}</c:numCache></c:numRef></c:cat><c:val><c:numRef><c:numCache>{numbers}</c:numCache></c:numRef></c:val>"
        "</c:ser></c:lineChart></c:plotArea></c:chart></c:chartSpace>",
    )
    drawing = "<w:r><w:drawing><a:graphic><a:graphicData>{}</a:graphicData></a:graphic></w:drawing></w:r>"
    shape = "".join(f"<a:p><a:r><a:t>{text}</a:t></a:r></a:p>" for text in ("Valve", "Pump"))
    for inner in (f"<c:chart r:id='{key}'/>", f"<a:txBody>{shape}</a:txBody>"):
        document.add_paragraph()._p.append(element(drawing.format(inner)))
    document.save(str(tmp_path / "a.docx"))
    assert blocks(tmp_path / "a.docx") == ["Load", "Category | Load\n2024-01 | 1.5\n2024-02 | 2", "Valve\nPump"]


def test_a_frame_of_one_cell_keeps_headings_and_paragraphs(tmp_path: Path) -> None:
    heading = paragraph(run("Scope"), "<w:pStyle w:val='Heading1'/>")
    content = one(word(tmp_path / "a.docx", table(row(cell(heading + paragraph(run("All staff.")))))))
    assert [(h.level, h.title) for h in content.headings] == [(1, "Scope")]
    assert content.text == "Scope\n\nAll staff."


def level(index: int, shape: str, text: str, more: str = "") -> str:
    return (
        f"<w:lvl w:ilvl='{index}'><w:start w:val='1'/><w:numFmt w:val='{shape}'/>{more}"
        f"<w:lvlText w:val='{text}'/></w:lvl>"
    )


def numbered(text: str, number: int, depth: int = 0) -> str:
    return paragraph(run(text), f"<w:numPr><w:ilvl w:val='{depth}'/><w:numId w:val='{number}'/></w:numPr>")


LISTS = (
    "<w:abstractNum w:abstractNumId='1'>"
    + level(0, "decimal", "%1.", "<w:pStyle w:val='Heading1'/>")
    + level(1, "decimal", "%1.%2", "<w:pStyle w:val='Heading2'/>")
    + level(2, "lowerLetter", "%3)")
    + level(3, "upperRoman", "%4.")
    + "</w:abstractNum><w:abstractNum w:abstractNumId='2'>"
    + level(0, "bullet", "\uf0b7")
    + "</w:abstractNum>"
    + "<w:num w:numId='1'><w:abstractNumId w:val='1'/></w:num>"
    + "<w:num w:numId='2'><w:abstractNumId w:val='2'/></w:num>"
    + "<w:num w:numId='3'><w:abstractNumId w:val='1'/><w:lvlOverride w:ilvl='0'><w:startOverride w:val='7'/>"
    + "</w:lvlOverride></w:num>"
)


def test_numbers_of_lists_are_computed(tmp_path: Path) -> None:
    steps = [("a", 1, 0), ("b", 1, 1), ("c", 1, 2), ("d", 1, 2), ("e", 1, 3), ("f", 1, 0), ("g", 1, 1), ("h", 1, 2)]
    steps += [("i", 3, 0), ("j", 3, 1), ("k", 2, 0)]
    body = "".join(numbered(*step) for step in steps)
    assert re.findall(r".+", one(word(tmp_path / "a.docx", body, numbering=LISTS)).text) == [
        "1. a", "1.1 b", "a) c", "b) d", "I. e", "2. f", "2.1 g", "a) h", "7. i", "7.1 j", "- k",
    ]  # fmt: skip


def test_headings_are_numbered_by_their_style(tmp_path: Path) -> None:
    path = word(tmp_path / "a.docx", numbering=LISTS)
    document = docx.Document(str(path))
    for depth in (1, 2):
        properties = document.styles[f"Heading {depth}"].element.get_or_add_pPr()
        properties.append(element("<w:numPr><w:numId w:val='1'/></w:numPr>"))
    for title, depth in (("Leave", 1), ("Sick leave", 2), ("Pay", 1), ("Bonus", 2)):
        document.add_heading(title, depth)
    document.save(str(path))
    titles = [heading.title for heading in one(path).headings]
    assert titles == ["1. Leave", "1.1 Sick leave", "2. Pay", "2.1 Bonus"]


def test_notes_and_comments_follow_the_paragraph_that_refers_to_them(tmp_path: Path) -> None:
    parts = {
        "footnotes": f"<w:footnotes><w:footnote w:id='5'>{paragraph(run('Not in Lima.'))}</w:footnote></w:footnotes>",
        "endnotes": f"<w:endnotes><w:endnote w:id='2'>{paragraph(run('Since 2020.'))}</w:endnote></w:endnotes>",
        "comments": "<w:comments><w:comment w:id='0' w:author='Ines'>"
        f"{paragraph(run('Check this.'))}</w:comment></w:comments>",
    }
    references = (
        "<w:r><w:footnoteReference w:id='5'/></w:r><w:r><w:endnoteReference w:id='2'/></w:r>"
        "<w:r><w:commentReference w:id='0'/></w:r>"
    )
    body = paragraph(run("Ten days") + references + run(" are free.")) + paragraph(run("after"))
    assert blocks(word(tmp_path / "a.docx", body, parts=parts)) == [
        "Ten days are free.", "Footnote 1: Not in Lima.", "Endnote 1: Since 2020.",
        "Comment (Ines): Check this.", "after",
    ]  # fmt: skip


def test_headers_and_footers_are_read_once_in_their_section(tmp_path: Path) -> None:
    document = docx.Document()
    document.sections[0].header.paragraphs[0].text = "Valid from 1 March 2026"
    document.sections[0].footer.paragraphs[0].text = "Form 12"
    document.add_paragraph("first section")
    document.add_section()
    document.add_paragraph("same header")
    last = document.add_section()
    last.header.is_linked_to_previous = False
    last.header.paragraphs[0].text = "Annex"
    last.footer.is_linked_to_previous = False
    last.footer.paragraphs[0]._p.extend([element(f"<w:r>{run('Page ')}</w:r>"), element("<w:fldSimple w:instr='PAGE'>"
                                         f"{run('3')}</w:fldSimple>")])  # fmt: skip
    document.add_paragraph("last section")
    document.save(str(tmp_path / "a.docx"))
    assert blocks(tmp_path / "a.docx") == [
        "Valid from 1 March 2026", "first section", "Form 12", "same header", "Annex", "last section",
    ]  # fmt: skip


def test_titles_captions_alternative_texts_and_hidden_styles(tmp_path: Path) -> None:
    document = docx.Document()
    document.core_properties.title = "stock title of a template"
    own = document.styles.add_style("Report Title", 1)
    own.base_style = document.styles["Normal"]
    document.add_paragraph("Orca 300", style="Report Title")
    secret = document.styles.add_style("Secret", 1)
    secret.font.hidden = True
    document.add_paragraph("not shown", style="Secret")
    picture = "<w:r><w:drawing><wp:inline><wp:docPr id='1' name='p' descr='{}'/></wp:inline></w:drawing></w:r>"
    for text in ("A map of the plant&#10;&#10;Description automatically generated", "image1.png"):
        document.add_paragraph()._p.append(element(picture.format(text)))
    document.add_paragraph("Figure 1: The plant", style="Caption")
    document.save(str(tmp_path / "a.docx"))
    content = one(tmp_path / "a.docx")
    assert content.title == "Orca 300"
    assert content.text == "Orca 300\n\nPicture: A map of the plant\n\nFigure 1: The plant"


def test_an_embedded_page_is_read_and_another_document_counted(tmp_path: Path) -> None:
    document = docx.Document()
    page = "<?xml version='1.0'?><html><body><h1>Menu</h1><p>Soup at noon</p></body></html>"
    for name, kind in (("aFChunk1", "text/html"), ("aFChunk2", "application/rtf")):
        key = add_part(document, name, page, kind)
        document.element.body.insert(0, element(f"<w:altChunk r:id='{key}'/>"))
    document.save(str(tmp_path / "a.docx"))
    content = one(tmp_path / "a.docx")
    assert content.text == "Menu\n\nSoup at noon"
    assert [heading.title for heading in content.headings] == ["Menu"]
    assert content.warnings == ("not read: 1 embedded object (application/rtf)",)


def test_bold_lines_are_headings_where_no_style_is(tmp_path: Path) -> None:
    def line(text: str, *, bold: bool = False) -> str:
        return paragraph(run(text, "<w:b/>" if bold else ""))

    body = line("House rules", bold=True) + line("For all guests.") + line("Noise", bold=True) + line("None at night.")
    content = one(word(tmp_path / "a.docx", body + line("Quiet please.", bold=True)))
    assert [(heading.level, heading.title) for heading in content.headings] == [(1, "House rules"), (2, "Noise")]
    assert [content.text[heading.start : heading.end] for heading in content.headings] == ["House rules", "Noise"]
    assert content.title == "House rules"
    document = docx.Document(str(tmp_path / "a.docx"))
    document.sections[0].header.paragraphs[0].add_run("Inn").bold = True
    document.save(str(tmp_path / "c.docx"))
    assert one(tmp_path / "c.docx").title == "House rules"
    styled = paragraph(run("Styled"), "<w:pStyle w:val='Heading1'/>")
    assert [heading.title for heading in one(word(tmp_path / "b.docx", styled + body)).headings] == ["Styled"]


def test_links_that_the_text_does_not_show(tmp_path: Path) -> None:
    document = docx.Document()
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/hyperlink"
    added = document.add_paragraph("Ask ")._p
    for text, target in (("Ada", "mailto:ada@example.org"), (" or the intranet", "https://intra.example.org/leave")):
        key = document.part.relate_to(target, kind, is_external=True)
        added.append(element(f"<w:hyperlink r:id='{key}'>{run(text)}</w:hyperlink>"))
    document.save(str(tmp_path / "a.docx"))
    content = one(tmp_path / "a.docx")
    assert content.text == "Ask Ada (ada@example.org) or the intranet"
    assert content.meta["links"] == ["https://intra.example.org/leave"]


def test_templates_files_with_macros_and_strict_files_are_read(tmp_path: Path) -> None:
    usual = samples.docx(tmp_path / "a.docx")
    wanted = one(usual)

    def rewritten(name: str, old: bytes, new: bytes) -> Path:
        with zipfile.ZipFile(usual) as source, zipfile.ZipFile(tmp_path / name, "w") as target:
            for member in source.namelist():
                target.writestr(member, re.sub(old, new, source.read(member)))
        return tmp_path / name

    main = rb"application/vnd.openxmlformats-officedocument.wordprocessingml.document.main\+xml"
    macros = rewritten("b.docx", main, b"application/vnd.ms-word.document.macroEnabled.main+xml")
    strict = rewritten("c.docx", rb"http://schemas.openxmlformats.org/(wordprocessingml|officeDocument)/2006/",
                       rb"http://purl.oclc.org/ooxml/\1/")  # fmt: skip
    assert one(macros) == wanted
    assert one(strict) == wanted


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (
            _OLE,
            "it is not a docx file but one of an old Office version; save it as docx",
        ),
        (
            _OLE + "EncryptedPackage".encode("utf-16-le"),
            "it is encrypted; save a copy without a password",
        ),
    ],
)
def test_old_and_encrypted_files_are_named_with_what_helps(tmp_path: Path, data: bytes, reason: str) -> None:
    (tmp_path / "a.docx").write_bytes(data)
    with pytest.raises(ConversionError, match=re.escape(reason)):
        one(tmp_path / "a.docx")


def test_a_file_of_another_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"it is not a Word document: its type is .*presentationml"):
        one(samples.pptx(tmp_path / "a.docx"))


_INLINE = ("ins", "moveTo", "hyperlink", "smartTag", "customXml", "sdt", "fldSimple", "field", "choice", "bdo", "box")
_REMOVED = ("del", "moveFrom", "vanish", "fallback")


def _wrapped(kind: str, inner: str) -> str:
    shapes = {
        "sdt": "<w:sdt><w:sdtPr/><w:sdtContent>{}</w:sdtContent></w:sdt>",
        "field": field("X", "{}"),
        "choice": "<mc:AlternateContent><mc:Choice Requires='x'>{}</mc:Choice></mc:AlternateContent>",
        "fallback": "<mc:AlternateContent><mc:Choice Requires='x'/><mc:Fallback>{}</mc:Fallback></mc:AlternateContent>",
        "box": text_box("<w:p>{}</w:p>").replace("{}", "{0}"),
    }
    return shapes.get(kind, f"<w:{kind} w:id='1'>{{}}</w:{kind}>").format(inner)


@st.composite
def _nested(draw: st.DrawFn, depth: int = 0) -> str:
    """XML of runs whose texts are marks "@"."""
    allowed = ("run", *_INLINE, *_REMOVED) if depth < 4 else ("run", "vanish")
    leaves = {"run": run("@"), "vanish": run("@", "<w:vanish/>")}
    kinds = draw(st.lists(st.sampled_from(allowed), min_size=1, max_size=3))
    return "".join(leaves.get(kind) or _wrapped(kind, draw(_nested(depth=depth + 1))) for kind in kinds)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_nested(), st.sampled_from(["p", "cell", "sdt"]))
def test_every_shown_run_is_in_the_text_exactly_once(tmp_path: Path, nested: str, place: str) -> None:
    number = itertools.count()
    xml = re.sub("@", lambda _: f"q{next(number)}z", nested)
    body = paragraph(xml)
    body = table(row(cell(body), cell(paragraph(run("other"))))) if place == "cell" else body
    body = f"<w:sdt><w:sdtPr/><w:sdtContent>{body}</w:sdtContent></w:sdt>" if place == "sdt" else body
    text = one(word(tmp_path / "a.docx", body)).text
    assert sorted(re.findall(r"q\d+z", text)) == sorted(_shown(element(f"<w:p>{xml}</w:p>")))


def _shown(root: object) -> list[str]:
    """The texts outside of what is deleted, hidden or a second copy: stated here in another way than in the code."""
    from lxml import etree

    space = {"w": "http://schemas.openxmlformats.org/wordprocessingml/2006/main",
             "mc": "http://schemas.openxmlformats.org/markup-compatibility/2006"}  # fmt: skip
    gone = "ancestor::w:del or ancestor::w:moveFrom or ancestor::mc:Fallback or ../w:rPr/w:vanish"
    found = etree.XPath(f"//w:t[not({gone})]/text()", namespaces=space)(root)
    return [str(text) for text in found]
