from __future__ import annotations

import html
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexing.converters import convert
from indexing.converters.content import Content, TextBuilder
from indexing.converters.html import add_fragment, text_of
from search_app.text.reading import edited, edits_of


def page(folder: Path, body: str, *, head: str = "<title>Page</title>") -> Content:
    path = folder / "a.html"
    path.write_text(f"<!doctype html><html><head>{head}</head><body>{body}</body></html>", encoding="utf-8")
    [content] = convert(path, "html")
    return content


def built(fragment: str) -> TextBuilder:
    builder = TextBuilder()
    add_fragment(fragment, builder)
    return builder


def read(builder: TextBuilder) -> str:
    text = builder.text()
    return edited(text, edits_of(text, builder.tables, 0, len(text))).text


def test_a_row_of_a_table_reads_with_the_names_of_its_columns() -> None:
    builder = built(
        "<table><caption>Rates</caption><thead><tr><th rowspan=2>Country</th><th colspan=2>Per day</th></tr>"
        "<tr><th>Meals</th><th>Hotel<br>night</th></tr></thead>"
        "<tbody><tr><th>Portugal</th><td>46</td><td>120</td></tr></tbody>"
        "<tfoot><tr><td>Mean</td><td>40</td><td></td></tr></tfoot></table>"
    )
    assert builder.text().startswith("Rates\n\nCountry | Per day\nCountry | Meals | Hotel night\n")
    assert read(builder).endswith(
        "Country: Portugal; Per day Meals: 46; Per day Hotel night: 120\nCountry: Mean; Per day Meals: 40"
    )


def test_a_cell_stays_one_cell_and_an_empty_one_keeps_its_place() -> None:
    text = text_of(
        "<table><tr><th>Branch</th><th>Address</th><th>Phone</th><th>Fax</th></tr>"
        "<tr><td>Torvik</td><td>Quay 4<br>2nd floor</td><td><p>555-0101</p><p>555-0109</p></td><td>1</td></tr>"
        "<tr><td>Elmsund</td><td>the old<br>mill</td><td></td><td><ul><li>2</li><li>3</li></ul></td></tr></table>"
    )
    assert "Torvik | Quay 4, 2nd floor | 555-0101, 555-0109 | 1\nElmsund | the old mill |  | 2, 3" in text


def test_a_cell_over_several_rows_is_in_each() -> None:
    text = text_of(
        "<table><tr><th>Building</th><th>Room</th><th>Floor</th></tr><tr><td rowspan=0>Annex</td><td>Studio</td>"
        "<td>1</td></tr><tr><td>Archive</td><td>4</td></tr></table>"
    )
    assert text.endswith("Annex | Studio | 1\nAnnex | Archive | 4")


@pytest.mark.parametrize("span", ['rowspan="99999999"', 'colspan="99999999"', 'rowspan="-1"', 'colspan="x"'])
def test_spans_that_make_no_sense_are_bounded(span: str) -> None:
    assert text_of(f"<table><tr><td {span}>a</td><td>b</td></tr><tr><td>c</td><td>d</td></tr></table>").count("d") == 1


def test_row_headers_are_not_a_header_row() -> None:
    [table] = built(
        "<table><tr><th>Inspector</th><td>Port office</td></tr><tr><th>Owner</th><td>Ada</td></tr></table>"
    ).tables
    assert table.header == 0


def test_tables_inside_of_tables_keep_all_text() -> None:
    text = text_of(
        "<table><tr><td>Refunds: Mirela</td><td><table><tr><td>Hours</td><td>8 to 17</td></tr><tr><td>Fax</td>"
        "<td>none</td></tr></table></td><td>Hotline: 0700</td></tr><tr><td>Closed</td><td>14 days</td></tr></table>"
    )
    assert text == "Refunds: Mirela\n\nHours | 8 to 17\nFax | none\n\nHotline: 0700\n\nClosed | 14 days"
    assert "Annex | Fax none" in text_of(
        "<table><tr><th>House</th><th>Facts</th></tr><tr><td>Annex</td><td><table><tr><td>Fax</td><td>none</td></tr>"
        "</table></td></tr></table>"
    )


def test_a_table_of_one_column_is_blocks() -> None:
    builder = built("<table><tr><td><h1>News</h1><p>One.</p><p>Two.</p></td></tr></table>")
    assert builder.text() == "News\n\nOne.\n\nTwo."
    assert not builder.tables


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "hostile",
    [
        "<table>" + "<tr><td rowspan=60000 colspan=1000>z</td></tr>" * 3000,
        "<table><tr>" + "<td>a" * 20_000 + "<tr><td>b" * 20_000,
        "<p>cookie jar</p>" * 20_000,
        "<button>Why?</button><p>x</p>" * 10_000,
        "<details><summary>q</summary>" * 5_000,
    ],
    ids=["spans", "columns", "cookies", "questions", "details"],
)
def test_pages_that_ask_for_too_much_work_end_soon(tmp_path: Path, hostile: str) -> None:
    assert page(tmp_path, f"<div>{hostile}").text


CELLS = st.text(st.characters(categories=("L", "N"), max_codepoint=0x2FF), min_size=1, max_size=6)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_every_cell_of_a_table_is_in_its_column(data: st.DataObject) -> None:
    """A grid is tiled by cells of random spans; each place shows the cell that covers it."""
    height, width = data.draw(st.integers(2, 5)), data.draw(st.integers(2, 5))
    taken: dict[tuple[int, int], tuple[str, int]] = {}
    rows = []
    for row in range(height):
        cells = []
        for column in range(width):
            if (row, column) in taken:
                continue
            free = next((c for c in range(column, width) if (row, c) in taken), width) - column
            across, down = data.draw(st.integers(1, free)), data.draw(st.integers(1, height - row))
            if row == 0 and column == 0:
                across = min(across, width - 1)
            text = data.draw(CELLS)
            taken |= {(r, c): (text, column) for r in range(row, row + down) for c in range(column, column + across)}
            tag = data.draw(st.sampled_from(["td", "th"]))
            cells.append(f"<{tag} rowspan={down} colspan={across}>{html.escape(text)}</{tag}>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    builder = built(f"<table>{''.join(rows)}</table>")
    found = {
        (line, cell.column): builder.text()[cell.start : cell.end]
        for t in builder.tables
        for line, row in enumerate(t.rows)
        for cell in row
    }
    [table] = builder.tables
    skipped = height - len(table.rows)  # a title across the table
    for (row, column), (text, left) in taken.items():
        if row >= skipped and not all(taken[row, c][1] == taken[row, 0][1] for c in range(width)):
            assert found.get((row - skipped, column)) == (text if left == column else None)
    assert all(text in builder.text() for text, _ in taken.values())


@pytest.mark.parametrize(
    "fold",
    [
        '<h3><button aria-expanded="false">How long?</button></h3><div>Three days.</div>',
        '<button aria-expanded="false" aria-controls="p1">How long?</button><div id="p1" hidden>Three days.</div>',
        '<button class="accordion">How long</button><div style="display: none">Three days.</div>',
        "<details><summary>How long?</summary>Three days.</details>",
        '<div role="button" aria-expanded="false">How long?</div><div>Three days.</div>',
    ],
)
def test_questions_that_fold_out_are_headings(tmp_path: Path, fold: str) -> None:
    content = page(tmp_path, f"<main><h1>Help</h1><div>{fold}</div><p>Call us.</p><button>Send</button></main>")
    assert [heading.title.rstrip("?") for heading in content.headings[:2]] == ["Help", "How long"]
    assert "Three days.\n\nCall us." in content.text
    assert "Send" not in content.text


def test_what_follows_answers_belongs_to_the_heading_above_them() -> None:
    builder = built("<h1>Help</h1><details><summary>How long?</summary>Three days.</details><p>Call us.</p>")
    last = builder.headings[-1]
    assert (last.level, last.title, last.start) == (1, "Help", builder.text().index("Call us."))


@pytest.mark.parametrize(
    "unseen",
    [
        "<p hidden>secret</p>", '<p aria-hidden="true">secret</p>', '<div style="color:red;display:none">secret</div>',
        "<template><p>secret</p></template>", '<p style="visibility: hidden">secret</p>', "<noscript>secret</noscript>",
    ],
)  # fmt: skip
def test_what_is_not_shown_is_no_text(tmp_path: Path, unseen: str) -> None:
    assert page(tmp_path, f"<p>Before.</p>{unseen} tail <p>After.</p>").text == "Before.\n\ntail\n\nAfter."


@pytest.mark.parametrize(
    "style",
    [
        ".x { display: none }", "#a{color:red;visibility:hidden}", "aside{display:none!important} aside{display:block}",
        "main .x, .y{display:none}", "@media screen{.x{display:none}}", ".x{display:block} aside.x{display:none}",
    ],
)  # fmt: skip
def test_what_a_style_sheet_hides_is_no_text(tmp_path: Path, style: str) -> None:
    body = '<main><p>Before this.</p><aside class="x" id="a">secret</aside><p>After that.</p></main>'
    assert page(tmp_path, f"<style>{style}</style>{body}").text == "Before this.\n\nAfter that."


@pytest.mark.parametrize(
    "style",
    [
        ".x{display:none} .x.open{display:block}", "@media print{.x{display:none}}", ".x:hover{display:none}",
        ".x{display:none} #a{display:block}", "</style><style media=print>.x{display:none}",
        "body{display:none}", ".x{display:none}</style><script>show('x')</script><style>", ".x{[display:none}",
    ],
)  # fmt: skip
def test_what_a_page_can_show_is_text(tmp_path: Path, style: str) -> None:
    body = '<main><p>Before this.</p><div class="x" id="a">seen</div><p>After that.</p></main>'
    assert "seen" in page(tmp_path, f"<style>{style}</style>{body}").text


def test_terms_stay_with_their_definitions() -> None:
    text = text_of(
        "<dl><dt>Gusset<dd>A plate.<dt>Web<dt>Stem<dd>The upright part.<dd>Of a beam.<dt>Flange:<dd><ul><li>top</ul>"
        "<dt>Why?<dd>So.<dt>Alone</dl>"
    )
    assert text == (
        "Gusset: A plate.\n\nWeb, Stem: The upright part.\n\nWeb, Stem: Of a beam.\n\nFlange:\n\n- top\n\nWhy? So."
        "\n\nAlone"
    )


def test_pictures_and_links_give_what_the_text_lacks(tmp_path: Path) -> None:
    content = page(
        tmp_path,
        '<p>Write to <a href="mailto:ada@x.org?subject=Hi">Ada</a> or <a href="mailto:bo@x.org">bo@x.org</a>, call '
        '<a href="tel:+15550101">the desk</a> or <a href="tel:+15550102">1-555-0102</a>.</p>'
        '<img alt="A map of the harbour" src="m.png"><img alt="IMG_1.JPG" src="i.jpg"><img alt="" src="d.gif">'
        '<p>Read <a href="/guide.pdf">the guide</a>. x<sup>2</sup>, <q>yes</q></p>',
        head='<title>Page</title><link rel="canonical" href="https://x.org/a/b">',
    )
    assert "Write to Ada (ada@x.org) or bo@x.org, call the desk (+15550101) or 1-555-0102." in content.text
    assert "A map of the harbour" in content.text
    assert "IMG_1" not in content.text
    assert 'x², "yes"' in content.text
    assert content.meta["links"] == ["https://x.org/guide.pdf"]


def test_lists_keep_their_numbers_and_levels() -> None:
    text = text_of("<ol start=3><li>three<ul><li>inner</li></ul></li><li><p>four</p><p>more</p></li></ol>")
    assert text == "3. three\n  - inner\n4. four\n\nmore"


SITE = """
<div id="skip-link"><a href="#main">Skip to content</a></div>
<div class="top"><a href="/">Home</a> <a href="/p">Products</a> <a href="/c">Contact</a></div>
<div role="navigation"><ul><li><a href="/1">Chapter one</a></li></ul></div>
<div id="cookie-banner"><p>We use cookies to improve your visit.</p><button>Accept</button></div>
<div class="x7"><div><p>This site stores cookies.</p></div><a href="/p">More</a><button>OK</button></div>
<div class="page">{content}</div>
<div class="site-footer"><p>Legal notice. All prices include tax.</p></div>
<p>© 2026 Harbour Ltd. All rights reserved.</p>
<ul><li><a href="/i">Imprint</a></li><li><a href="/p">Privacy</a></li><li><a href="/t">Terms</a></li></ul>
"""


def test_what_all_pages_of_a_site_share_is_left_out(tmp_path: Path) -> None:
    content = "<h1>Dredging</h1>" + "<p>The basin is dredged in March, when the herring have left it.</p>" * 8
    assert page(tmp_path, SITE.format(content=content)).text == text_of(content)


@pytest.mark.parametrize(
    "content",
    [
        '<div class="menu"><h2>Lunch</h2><p>Soup, bread and a glass of cider for eight crowns each.</p></div>',
        '<div class="sidebar"><p>The office opens at eight and closes at five on all working days.</p></div>',
        '<article><p>So it was.</p><footer>Ada Okoro, keeper of the light</footer></article>',
        "<blockquote>So it was.<footer>Ada Okoro, keeper of the light</footer></blockquote>",
        '<ul><li><a href="/1">One</a></li><li><a href="/2">Two</a></li><li><a href="/3">Three</a></li></ul>',
    ],
)  # fmt: skip
def test_content_that_only_looks_like_a_menu_stays(tmp_path: Path, content: str) -> None:
    words = "<p>The basin is dredged in March, when the herring have left it.</p>"
    text = page(tmp_path, f"<h1>Harbour</h1>{words * 3}{content}{words * 3}").text
    assert text_of(content) in text


def test_what_is_beside_the_main_element_is_left_out_unless_it_reads_like_content(tmp_path: Path) -> None:
    words = "<p>The basin is dredged in March, when the herring have left it.</p>" * 5
    content = page(
        tmp_path,
        '<header><h1>The harbour book</h1></header><div class="keys"><h2>Keyboard</h2><p>Press ?</p></div>'
        f'<main><h1>Dredging <button>Copy path</button><a href="#d">¶</a></h1>{words}</main>'
        "<aside><p>The office opens at eight and closes at five on all working days.</p></aside>",
    )
    assert [heading.title for heading in content.headings] == ["Dredging"]
    assert "Keyboard" not in content.text
    assert "The office opens at eight" in content.text


def test_a_page_of_menus_alone_keeps_them(tmp_path: Path) -> None:
    assert page(tmp_path, "<nav><a href='/'>Home</a></nav><footer>Imprint</footer>").text == "Home\n\nImprint"


def test_several_top_headings_give_no_title(tmp_path: Path) -> None:
    assert page(tmp_path, "<h1>Leave</h1><p>a</p><h1>Parking</h1><p>b</p>", head="").title == ""
    assert page(tmp_path, "<h1>Leave</h1><p>a</p><h2>Parking</h2><p>b</p>", head="").title == "Leave"
