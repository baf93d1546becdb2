from __future__ import annotations

import contextlib
import json
import zipfile
from pathlib import Path
from typing import Any

import pypdfium2
import pytest
import samples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexing.converters import FORMATS, convert
from indexing.converters.content import Content, ConversionError, pdf_date, plain_meta


def one(path: Path, kind: str = "") -> Content:
    [content] = convert(path, kind or FORMATS[path.suffix])
    return content


def written(path: Path, data: bytes | str) -> Path:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def titled(content: Content) -> list[tuple[int, str]]:
    for heading in content.headings:
        assert heading.title in " ".join(content.text[heading.start : heading.end].split())
    return [(heading.level, heading.title) for heading in content.headings]


@pytest.mark.parametrize(
    "data",
    [
        "Grüße, 世界".encode(),
        b"\xef\xbb\xbf" + "Grüße, 世界".encode(),
        "Grüße, 世界".encode("utf-16"),
        b"\xfe\xff" + "Grüße, 世界".encode("utf-16-be"),
        "Grüße, 世界".encode("utf-32"),
    ],
)
def test_a_byte_order_mark_decides_the_encoding(tmp_path: Path, data: bytes) -> None:
    assert one(written(tmp_path / "a.txt", data)).text == "Grüße, 世界"


def test_legacy_encodings_are_detected(tmp_path: Path) -> None:
    text = "Die Straße führt über die Brücke. Später hörte man Gelächter aus dem großen Gebäude. " * 5
    assert one(written(tmp_path / "a.txt", text.encode("cp1252"))).text.strip() == text.strip()
    assert "plain ascii" in one(written(tmp_path / "b.txt", "plain ascii".encode("utf-16-le"))).text


def test_utf8_with_a_few_bad_bytes_is_read_as_utf8(tmp_path: Path) -> None:
    data = "Übung macht den Meister, größer wird’s nicht. ".encode() * 4 + b"\xff\xfe bad" + b" Ende"
    assert one(written(tmp_path / "a.txt", data)).text.endswith("nicht. \ufffd\ufffd bad Ende")


def test_nuls_and_lone_surrogates_become_replacement_characters(tmp_path: Path) -> None:
    assert one(written(tmp_path / "a.txt", b"one\0two, three")).text == "one\ufffdtwo, three"
    assert one(written(tmp_path / "a.json", b'{"text": "a \\ud800 b\\u0000c"}')).text == "a \ufffd b\ufffdc"


def test_binary_data_with_a_text_ending_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="binary"):
        one(written(tmp_path / "a.txt", bytes(range(32)) * 100))


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(
        [
            ".txt",
            ".md",
            ".html",
            ".json",
            ".jsonl",
            ".csv",
            ".pdf",
            ".docx",
            ".pptx",
            ".xlsx",
            ".xls",
            ".ods",
            ".odt",
            ".odp",
            ".epub",
            ".eml",
            ".msg",
            ".mbox",
            ".mht",
            ".rst",
            ".rtf",
            ".tex",
            ".xml",
            ".ipynb",
            ".srt",
            ".ts",
        ]
    ),
    st.binary(max_size=300),
)
def test_converters_raise_only_conversion_errors(tmp_path: Path, suffix: str, data: bytes) -> None:
    with contextlib.suppress(ConversionError):
        for content in convert(written(tmp_path / f"a{suffix}", data), FORMATS[suffix]):
            content.text.encode()
            assert "\0" not in content.text
            json.dumps(content.to_json())
            assert Content.from_json(json.loads(json.dumps(content.to_json()))) == content


def test_underlined_lines_of_a_text_are_headings(tmp_path: Path) -> None:
    text = (
        'The "global" statement\n**********************\n\n   body\n\nNotes\n=====\n\nmore\n\nNot one\n---\n\na | b\n'
    )
    content = one(written(tmp_path / "global.txt", text))
    assert titled(content) == [(1, 'The "global" statement'), (2, "Notes")]
    assert content.title == 'The "global" statement'


MARKDOWN = """---
title: Bridges
author: Ada
date: 2024-05-01
lang: en-GB
tags: [steel, stone]
draft: false
---
# Building *bridges*

Steel is **strong** and [cheap](http://x.y); `code` stays,
as do <b>tags</b>' words.

## Kinds

- arch
- beam
  1. simple

| name | span |
|---|---|
| Golden | 1280 |

```python
print("# not a heading")
```

Setext
------
<div align="center">Block <script>alert(1)</script></div>
"""


def test_markdown_becomes_plain_text(tmp_path: Path) -> None:
    content = one(written(tmp_path / "a.md", MARKDOWN))
    assert titled(content) == [(1, "Building bridges"), (2, "Kinds"), (2, "Setext")]
    assert "Steel is strong and cheap; code stays, as do tags' words." in content.text
    assert "- arch\n- beam\n  1. simple" in content.text
    assert "name | span\nGolden | 1280" in content.text
    assert 'print("# not a heading")' in content.text
    assert "Block" in content.text
    assert "alert" not in content.text
    assert content.title == "Bridges"
    assert content.meta == {
        "title": "Bridges", "author": "Ada", "date": "2024-05-01", "language": "en-GB", "tags": ["steel", "stone"],
        "draft": False, "links": ["http://x.y"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("head", "meta", "bad"),
    [
        ("---\ntitle: Bees: a guide\nauthor: Ada\n---\n", {"title": "Bees: a guide", "author": "Ada"}, ["title"]),
        ("---\na: [\nauthor: Ada\ntags:\n  - x\n  - y\n---\n", {"a": "[", "author": "Ada", "tags": ["x", "y"]}, ["a"]),
        ("---\ntitle: [Bees, Hives]\n...\n", {"title": "Bees, Hives"}, []),
        ('+++\ntitle = "Bees"\ndate = 2025-04-01\n[extra]\nrating = 3\n+++\n',
         {"title": "Bees", "date": "2025-04-01", "extra.rating": 3}, []),
        ('+++\ntitle = Bees\nauthor = "Ada"\n+++\n', {"title": "Bees", "author": "Ada"}, ["title"]),
    ],
)  # fmt: skip
def test_one_bad_value_of_front_matter_costs_only_itself(
    tmp_path: Path, head: str, meta: dict[str, Any], bad: list[str]
) -> None:
    content = one(written(tmp_path / "a.md", head + "# Body\n"))
    assert (content.text, content.meta) == ("Body", meta)
    assert [warning.split()[0] for warning in content.warnings] == bad
    assert content.title == meta.get("title", "Body")


def test_a_rule_above_a_text_is_no_front_matter(tmp_path: Path) -> None:
    assert one(written(tmp_path / "a.md", "---\nOnly prose here.\n---\nBody")).text.startswith("Only prose here.")


def test_tables_of_markdown_have_a_header(tmp_path: Path) -> None:
    content = one(written(tmp_path / "a.md", "|Land|Rate|Note|\n|---|--:|---|\n|Peru|*46*||\n|Malta||a<br>B \\| c|\n"))
    [table] = content.tables
    assert (table.columns, table.header) == (("Land", "Rate", "Note"), 1)
    assert content.text.endswith("Peru | 46\nMalta |  | a, B | c")
    [table] = one(written(tmp_path / "b.md", "| | |\n|---|---|\n|Fax|none|\n|Hours|8 to 17|\n")).tables
    assert (table.header, len(table.rows)) == (0, 2)


def test_html_in_markdown_keeps_outer_cells_and_what_folds_out(tmp_path: Path) -> None:
    text = (
        "# Refunds\n\n<table><tr><td>Contact: Mirela</td>\n\n<td><table><tr><td>Fax</td><td>none</td></tr></table></td>"
        "</tr></table>\n\n<details>\n<summary>How long?</summary>\n\nThree **days**.\n\n</details>\n\nCall us."
    )
    content = one(written(tmp_path / "a.md", text))
    assert content.text == "Refunds\n\nContact: Mirela\n\nFax | none\n\nHow long?\n\nThree days.\n\nCall us."
    assert [heading.title for heading in content.headings] == ["Refunds", "How long?", "Refunds"]


def test_markdown_that_looks_like_markup_hides_nothing_after_it(tmp_path: Path) -> None:
    text = "The <title> tag.[^1]\n\n## Set it {#set .x}\n\n[^1]: Fees\n\nMail [us](mailto:a@x.org) <textarea> now."
    content = one(written(tmp_path / "a.md", text))
    assert content.text == "The tag.[^1]\n\nSet it\n\n[^1]: Fees\n\nMail us (a@x.org) now."


@pytest.mark.parametrize("name", ["a.md", "a.txt"])
def test_several_top_headings_are_siblings(tmp_path: Path, name: str) -> None:
    text = "Leave\n=====\n\nTwenty days.\n\nParking\n=======\n\nIn the yard.\n"
    content = one(written(tmp_path / name, text))
    assert (content.title, titled(content)) == ("", [(1, "Leave"), (1, "Parking")])


def test_huge_markdown_keeps_its_headings_without_being_parsed(tmp_path: Path) -> None:
    content = one(written(tmp_path / "a.md", "# Top\n\n" + "word " * 900_000 + "\n\n## Below\n\nend\n"))
    assert titled(content) == [(1, "Top"), (2, "Below")]
    assert content.text.endswith("end\n")


HTML = """<!DOCTYPE html><html lang="de"><head><title>Die Brücke</title><meta name="author" content="Ada">
<meta property="article:published_time" content="2024-05-01T10:00:00Z"><link rel="canonical" href="https://x.y/b">
<style>p{color:red}</style></head><body><nav><a href="/">Startseite</a></nav><main><h1>Die Brücke</h1>
<p>Ein <b>Bogen</b> trägt die Last &amp; leitet sie in die Pfeiler, und das schon seit zweitausend Jahren.</p>
<h2>Bau</h2><p>Zuerst kommt das Gerüst, dann kommen die Steine, und zuletzt wird das Gerüst abgebaut.</p>
<ul><li>Stein</li><li>Stahl</li></ul><table><tr><th>Name</th><th>Länge</th></tr><tr><td>Alte</td><td>90</td></tr></table>
<pre>x = 1
  y = 2</pre><script>alert("böse")</script><p onclick="alert(1)">&lt;script&gt; als Text</p></main>
<footer>Impressum</footer></body></html>"""


def test_html_becomes_text_with_headings_and_metadata(tmp_path: Path) -> None:
    content = one(written(tmp_path / "a.html", HTML))
    assert titled(content) == [(1, "Die Brücke"), (2, "Bau")]
    assert "Ein Bogen trägt die Last & leitet" in content.text
    assert "- Stein\n- Stahl" in content.text
    assert "Name | Länge\nAlte | 90" in content.text
    assert "x = 1\n  y = 2" in content.text
    assert "<script> als Text" in content.text
    assert "alert" not in content.text
    assert "color" not in content.text
    assert "Startseite" not in content.text
    assert content.meta == {
        "title": "Die Brücke", "author": "Ada", "date": "2024-05-01T10:00:00Z", "language": "de", "url": "https://x.y/b",
    }  # fmt: skip


def test_html_without_a_main_content_loses_nothing(tmp_path: Path) -> None:
    cells = "".join(f"<div><span>fact number {i}</span></div>" for i in range(200))
    content = one(written(tmp_path / "a.html", f"<html><body>{cells}</body></html>"))
    assert all(f"fact number {i}" in content.text for i in range(200))
    assert one(written(tmp_path / "b.html", "just words")).text == "just words"


@pytest.mark.parametrize("charset", ["iso-8859-1", "windows-1252", "utf-8", "klingon"])
def test_html_uses_its_declared_encoding_unless_it_is_utf8(tmp_path: Path, charset: str) -> None:
    real = "utf-8" if charset in ("utf-8", "klingon") else charset
    data = f'<html><head><meta charset="{charset}"></head><body><p>Übergröße café</p></body></html>'.encode(real)
    assert one(written(tmp_path / "a.html", data)).text == "Übergröße café"


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "page",
    [
        "<div>" * 1_000_000 + "deep",
        "<p>" + "&amp;" * 500_000 + "</p>",
        '<p title="' + "x" * 20_000_000 + '">shown</p>',
        "<b><i>" * 200_000 + "text",
    ],
    ids=["nested", "entities", "attribute", "unclosed"],
)
def test_hostile_html_ends_soon(tmp_path: Path, page: str) -> None:
    assert one(written(tmp_path / "a.html", page)).text is not None


def test_pdf_pages_headings_and_properties(tmp_path: Path) -> None:
    path = samples.pdf(
        tmp_path / "a.pdf", [["Engines", "Heat becomes work."], ["Valves", "They open."]],
        outline=True, title="The manual", author="Ada",
    )  # fmt: skip
    content = one(path)
    assert [(page.number, content.text[page.start : page.end].split()) for page in content.pages] == [
        (1, ["Engines", "Heat", "becomes", "work."]),
        (2, ["Valves", "They", "open."]),
    ]
    assert titled(content) == [(1, "Engines"), (1, "Valves")]
    assert (content.title, content.meta["author"], content.meta["pages"]) == ("The manual", "Ada", 2)
    assert str(content.meta["date"]).endswith("Z")


def test_characters_of_a_pdf_map_to_those_of_its_pages(tmp_path: Path) -> None:
    lines = ["Grüße from page one,", "a second line - with a dash", "and a third: 1234."]
    content = one(samples.pdf(tmp_path / "a.pdf", [lines, ["Another page."]]))
    mapped = 0
    with pypdfium2.PdfDocument(tmp_path / "a.pdf") as document:
        for page in content.pages:
            text_page = document[page.number - 1].get_textpage()
            for run in page.runs:
                for offset in range(run.length):
                    character = content.text[run.start + offset]
                    raw = text_page.get_text_range(run.raw_start + offset, 1)
                    assert raw == character
                    mapped += 1
                    if not character.isspace():
                        left, bottom, right, top = text_page.get_charbox(run.raw_start + offset)
                        assert right > left
                        assert top > bottom
            ordered = [(run.start, run.raw_start) for run in page.runs]
            assert ordered == sorted(ordered)
    assert mapped >= len(content.text.replace("\n", ""))


def test_a_page_without_text_is_reported(tmp_path: Path) -> None:
    content = one(samples.pdf(tmp_path / "a.pdf", [["words"], [], ["more"], []]))
    [warning] = content.warnings
    assert "pages 2, 4 of 4" in warning
    assert [page.number for page in content.pages] == [1, 2, 3, 4]


def test_unreadable_pdfs_give_a_reason(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "zip.pdf", "w") as archive:
        archive.writestr("a", "b")
    whole = samples.pdf(tmp_path / "whole.pdf", [["x"]]).read_bytes()
    for path, reason in [
        (samples.pdf(tmp_path / "locked.pdf", [["secret"]], password="pw"), "encrypted"),
        (samples.pdf_without_pages(tmp_path / "none.pdf"), "no pages"),
        (tmp_path / "zip.pdf", "ZIP"),
        (written(tmp_path / "cut.pdf", whole[:40]), "damaged"),
    ]:
        with pytest.raises(ConversionError, match=reason):
            one(path)


def test_docx_headings_lists_tables_and_properties(tmp_path: Path) -> None:
    content = one(samples.docx(tmp_path / "a.docx"))
    assert titled(content) == [(1, "Engines"), (2, "Diesel")]
    assert "- first point\n- second point\n\npart | price\nvalve | 12" in content.text
    assert (content.title, content.meta["author"]) == ("The manual", "Ada")


def test_slides_are_pages(tmp_path: Path) -> None:
    content = one(samples.pptx(tmp_path / "a.pptx"))
    texts = [content.text[page.start : page.end] for page in content.pages]
    assert texts[0] == "Results\n\nSales grew by nine percent.\n\n"
    assert "north | south" in texts[1]
    assert "Say it slowly." in texts[1]
    assert texts[2] == ""
    assert titled(content) == [(1, "Results"), (1, "Outlook")]
    assert content.warnings == ("no text on slide 3",)


@pytest.mark.parametrize("suffix", [".docx", ".pptx"])
def test_damaged_office_files_give_a_reason(tmp_path: Path, suffix: str) -> None:
    good = {".docx": samples.docx, ".pptx": samples.pptx}[suffix](tmp_path / f"good{suffix}").read_bytes()
    with zipfile.ZipFile(tmp_path / f"other{suffix}", "w") as archive:
        archive.writestr("hello.txt", "not an office file")
    for path in (
        written(tmp_path / f"a{suffix}", b"no zip"),
        written(tmp_path / f"b{suffix}", good[: len(good) // 2]),
        tmp_path / f"other{suffix}",
    ):
        with pytest.raises(ConversionError):
            one(path)


def test_a_zip_bomb_is_detected_by_its_decompressed_size(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="zip bomb"):
        one(samples.zip_bomb(tmp_path / "a.docx", 250))


@pytest.mark.parametrize(("suffix", "delimiter"), [(".csv", ","), (".csv", ";"), (".tsv", "\t")])
def test_a_csv_row_is_a_document(tmp_path: Path, suffix: str, delimiter: str) -> None:
    rows = [["name", "price", ""], ["Valve", "12", "x"], ["", "", ""], ['"A ""quoted""\nlong one"', "7"]]
    path = written(tmp_path / f"a{suffix}", "\r\n".join(delimiter.join(row) for row in rows))
    first, second = convert(path, "csv")
    assert first.text == "name: Valve\nprice: 12\ncolumn 3: x"
    assert (first.title, first.meta["row"]) == ("Valve", 2)
    assert second.text == 'name: A "quoted"\nlong one\nprice: 7'


def test_json_objects_with_text_are_documents_and_others_become_lines(tmp_path: Path) -> None:
    items: list[Any] = [
        {"text": "Body one", "title": "One", "author": "Ada", "year": 1843, "tags": ["a", "b"], "nested": {"x": 1.5}},
        {"size": {"h": 2, "w": 3}, "parts": ["cog", "axle"], "rows": [{"a": 1}, {"a": 2}], "none": None},
    ]
    first, second = convert(written(tmp_path / "a.json", json.dumps(items)), "json")
    assert (first.text, first.title) == ("Body one\n\nauthor: Ada\nyear: 1843\ntags: a, b\nnested.x: 1.5", "One")
    assert first.meta == {"title": "One", "author": "Ada", "year": 1843, "tags": ["a", "b"], "nested.x": 1.5}
    assert second.text == "size.h: 2\nsize.w: 3\nparts: cog, axle\nrows.1.a: 1\nrows.2.a: 2"
    lines = "\n".join(json.dumps(item) for item in items)
    assert list(convert(written(tmp_path / "a.jsonl", lines + "\n\n"), "jsonl")) == [first, second]


def test_a_squad_file_is_its_paragraphs(tmp_path: Path) -> None:
    found = list(convert(written(tmp_path / "dev.json", json.dumps(samples.SQUAD)), "json"))
    assert [(c.title, c.text, c.meta["paragraph"]) for c in found] == [
        ("Super Bowl 50", "Denver won.", 0),
        ("Super Bowl 50", "It was in 2016.", 1),
        ("Warsaw", "Warsaw is a city.", 2),
    ]


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.json", "{", "not JSON"),
        ("a.jsonl", "\n{oops\n", "line 2"),
        ("a.json", "[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ("a.json", json.dumps({"data": [{"title": "x", "paragraphs": [{}]}]}), "no context"),
    ],
)
def test_errors_in_records_name_the_line(tmp_path: Path, name: str, data: str, reason: str) -> None:
    path = written(tmp_path / name, data)
    with pytest.raises(ConversionError, match=reason):
        list(convert(path, FORMATS[path.suffix]))


def test_metadata_is_plain_and_typed() -> None:
    found = plain_meta(
        {"a b": 1, "n": float("nan"), "big": 2**70, "l": [1, None], "e": "", "d": {"x": {"y": {"z": 1}}}}
    )
    assert found == {"a_b": 1, "big": str(2**70), "l": ["1"]}


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("D:20260131120000+01'00'", "2026-01-31T11:00:00Z"),
        ("D:20260131", "2026-01-31"),
        ("D:2026", "2026-01-01"),
        ("D:20261399", ""),
        ("yesterday", ""),
    ],
)
def test_pdf_dates(text: str, iso: str) -> None:
    assert pdf_date(text) == iso
