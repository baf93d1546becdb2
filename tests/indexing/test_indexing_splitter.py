from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest
from fakes import HashEncoder
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from indexing.converters.content import TextBuilder
from indexing.splitter import Splitter, segments, version
from search_app.manifest import encoded_text
from search_app.text.reading import reading
from search_app.types import Cell, Document, Heading, Page, Passage, Table

WORDS = (
    "alpha",
    "beta",
    "gamma",
    "delta",
    "river",
    "mountain",
    "signal",
    "theory",
    "engine",
    "paper",
    "window",
    "morning",
)


def by_word(texts: Sequence[str]) -> list[NDArray[np.int64]]:
    return HashEncoder().token_spans(texts)


def by_character(texts: Sequence[str]) -> list[NDArray[np.int64]]:
    return [
        np.array([(i, i + 1) for i, c in enumerate(text) if not c.isspace()], dtype=np.int64).reshape(-1, 2)
        for text in texts
    ]


def by_byte(texts: Sequence[str]) -> list[NDArray[np.int64]]:
    """As byte-level BPE without merges: a character is up to four tokens with the same place."""
    return [
        np.array([(i, i + 1) for i, c in enumerate(text) for _ in c.encode()], dtype=np.int64).reshape(-1, 2)
        for text in texts
    ]


def wordpiece(texts: Sequence[str]) -> list[NDArray[np.int64]]:
    """Three characters a token, and one token for a word of more than 100, as in BERT."""
    found = []
    for text in texts:
        spans = []
        for match in re.finditer(r"\S+", text):
            start, end = match.span()
            spans += [(start, end)] if end - start > 100 else [(i, min(i + 3, end)) for i in range(start, end, 3)]
        found.append(np.array(spans, dtype=np.int64).reshape(-1, 2))
    return found


TOKENIZERS = [by_word, by_character, by_byte, wordpiece]

fragments = st.one_of(
    st.sampled_from(WORDS),
    st.sampled_from(
        [
            ". ",
            "! ",
            "? ",
            "\n",
            "\n\n",
            " ",
            "   ",
            "\t",
            "- ",
            "1. ",
            "Mr. ",
            "e.g. ",
            "。",
            "؟ ",
            "। ",
            "…",
            "\u3000",
        ]
    ),
    st.sampled_from(
        [
            "日本語の文章です",
            "这是一个句子",
            "هذا نص عربي",
            "यह एक वाक्य है",
            "Übergrößenträger",
            "👩‍👩‍👧",
            "e\u0301",
            "\u200b",
            "\ufffd",
        ]
    ),
    st.sampled_from(["x" * 150, "ab" * 400, "\u0301" * 200]),
    st.text(max_size=12).filter(lambda text: "\0" not in text),
)
cells = st.sampled_from(["", "", "Country", "EUR 46", "Daily allowance", "x" * 90, "two or three words more", "日本語"])
texts = st.lists(fragments, max_size=120).map("".join)


@st.composite
def documents(draw: st.DrawFn) -> Document:
    blocks = draw(st.lists(texts, min_size=1, max_size=5))
    text = ""
    headings, pages, tables = [], [], list[Table]()
    with_pages = draw(st.booleans())
    for number, block in enumerate(blocks, start=1):
        start = len(text)
        if draw(st.integers(0, 3)) == 0:
            builder = TextBuilder()
            builder.table(draw(st.lists(st.lists(st.one_of(st.none(), cells), min_size=1, max_size=6), max_size=12)))
            tables += [
                Table(
                    table.start + len(text),
                    table.end + len(text),
                    table.columns,
                    table.header,
                    tuple(
                        tuple(Cell(cell.start + len(text), cell.end + len(text), cell.column) for cell in row)
                        for row in table.rows
                    ),
                )
                for table in builder.tables
            ]
            text += builder.text() + "\n\n"
        if draw(st.booleans()):
            title = draw(st.sampled_from(["Intro", "Install", "Ein längerer Titel über vieles " * 3, "日本語"]))
            text += title
            headings.append(Heading(draw(st.integers(1, 4)), title, start, len(text)))
            text += "\n\n"
        text += block
        if with_pages:
            pages.append(Page(number, start, len(text)))
    title = draw(st.sampled_from(["", "A title", "Very long title " * 40]))
    return Document("doc", title, text, "a.txt", headings=tuple(headings), pages=tuple(pages), tables=tuple(tables))


def split(document: Document, spans: Callable[..., list[NDArray[np.int64]]] = by_word, **sizes: int) -> list[Passage]:
    sizes = {"passage_tokens": 60, "overlap_tokens": 10, "max_tokens": 80} | sizes
    return list(Splitter(spans, **sizes).passages(document))


def document(text: str, **fields: object) -> Document:
    return Document("doc", "", text, "a.txt", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("spans", TOKENIZERS)
@settings(max_examples=150, deadline=None)
@given(doc=documents(), size=st.integers(8, 80), overlap=st.integers(0, 20), room=st.integers(-40, 40))
def test_passages_have_right_offsets_cover_the_text_and_fit_the_model(
    spans: Callable[..., list[NDArray[np.int64]]], doc: Document, size: int, overlap: int, room: int
) -> None:
    limit = max(4, size + room)
    passages = split(doc, spans, passage_tokens=size, overlap_tokens=overlap, max_tokens=limit)
    covered = bytearray(len(doc.text))
    for passage in passages:
        assert doc.text[passage.start : passage.end] == passage.text
        assert passage.text == passage.text.strip() != ""
        covered[passage.start : passage.end] = b"\1" * (passage.end - passage.start)
        assert len(spans([encoded_text(passage)])[0]) <= limit or len(passage.text) == 1
        begins = [page for page in doc.pages if page.start <= passage.start < page.end]
        assert [passage.page] == [page.number for page in begins] if doc.pages else passage.page is None
        over = [page.end for page in doc.pages if passage.start < page.end < passage.end]
        assert all(doc.text[end - 1] != "\n" for end in over), "a page that ends with a line ends the passage"
    missing = [character for character, mark in zip(doc.text, covered, strict=True) if not mark]
    assert "".join(missing).strip() == ""
    assert len({passage.id for passage in passages}) == len(passages)
    assert [passage.start for passage in passages] == sorted(passage.start for passage in passages)
    assert passages == split(doc, spans, passage_tokens=size, overlap_tokens=overlap, max_tokens=limit)


def test_a_table_is_cut_between_rows_and_each_piece_has_the_names() -> None:
    builder = TextBuilder()
    builder.table([["Model", "Weight", "Price"], *([f"B{row}", f"{row} kg", f"EUR {7 * row}"] for row in range(80))])
    doc = document(builder.text(), tables=tuple(builder.tables))
    passages = split(doc)
    assert len(passages) > 5
    for passage in passages:
        rows = [line for line in reading(passage).text.split("\n") if line]
        assert all(re.fullmatch(r"Model: B(\d+); Weight: \1 kg; Price: EUR \d+", row) for row in rows), rows


def test_no_piece_of_a_table_begins_inside_of_a_row_that_fits() -> None:
    builder = TextBuilder()
    names = ["Model", "Weight with all of its parts", "Price without tax", "Needs approval of"]
    builder.table([names, *([f"B{row}", f"{row} kg", f"EUR {7 * row}", "head of department"] for row in range(40))])
    doc = document(builder.text(), tables=tuple(builder.tables))
    starts = {row[0].start for row in builder.tables[0].rows}
    passages = split(doc)
    assert len(passages) > 10
    assert {passage.start for passage in passages} <= starts


def test_a_row_that_is_cut_keeps_its_name() -> None:
    builder = TextBuilder()
    names = [f"Column {number}" for number in range(40)]
    builder.table([names, ["Kestrel 61", *(f"value {number}" for number in range(39))]])
    doc = document(builder.text(), tables=tuple(builder.tables))
    found = [reading(passage).text for passage in split(doc) if "value" in passage.text]
    assert len(found) > 3
    assert all(text.startswith("Column 0: Kestrel 61; Column ") for text in found)


def prose(sentences: int, seed: int = 0, paragraph: int = 5) -> str:
    rng = random.Random(seed)
    lines = [" ".join(rng.choices(WORDS, k=rng.randint(4, 14))).capitalize() + "." for _ in range(sentences)]
    return "\n\n".join(" ".join(lines[i : i + paragraph]) for i in range(0, len(lines), paragraph))


def test_a_short_document_is_one_passage() -> None:
    [passage] = split(document("  Just this.\n"))
    assert (passage.text, passage.start, passage.end, passage.page) == ("Just this.", 2, 12, None)


@pytest.mark.parametrize("text", ["", " \n\t\n", "\u3000"])
def test_blank_text_has_no_passages(text: str) -> None:
    assert split(document(text)) == []


def test_passages_end_at_the_ends_of_sentences() -> None:
    passages = split(document(prose(200, paragraph=7)), overlap_tokens=20)
    assert len(passages) > 10
    assert all(passage.text.endswith(".") for passage in passages)
    assert all(passage.text[0].isupper() for passage in passages)


@pytest.mark.parametrize(
    "sentence",
    [
        "今日は天気がいいです。",
        "这是一个很长的句子。",
        "هل هذا سؤال طويل؟ ",
        "यह एक लंबा वाक्य है। ",
        "Dr. Smith met Mr. J. Brown, e.g. here. ",
    ],
)
def test_sentence_ends_of_other_scripts_are_found(sentence: str) -> None:
    passages = split(document(sentence * 60), by_character, passage_tokens=80, overlap_tokens=0, max_tokens=90)
    assert len(passages) > 3
    assert all(passage.text.endswith(sentence.strip()) for passage in passages)
    assert all(passage.text.startswith(sentence[:5]) for passage in passages)


def test_neighbouring_passages_overlap_by_whole_sentences() -> None:
    passages = split(document(prose(100, paragraph=100)), overlap_tokens=20)
    for left, right in pairwise(passages):
        shared = left.text[right.start - left.start :]
        assert right.start < left.end
        assert shared.endswith(".")
        assert shared[0].isupper()
        assert len(by_word([shared])[0]) <= 20


def test_a_heading_starts_a_passage_with_the_heading_path_as_title() -> None:
    text = "Guide\n\nHello.\n\nInstall\n\nLinux\n\nRun it.\n\nUse\n\nType it."
    places = [(1, "Guide"), (2, "Install"), (3, "Linux"), (2, "Use")]
    headings = tuple(Heading(level, t, text.index(t), text.index(t) + len(t)) for level, t in places)
    passages = split(Document("d", "Guide", text, "g.md", headings=headings))
    assert [(passage.title, passage.text) for passage in passages] == [
        ("Guide", "Guide\n\nHello."),
        ("Guide › Install › Linux", "Install\n\nLinux\n\nRun it."),
        ("Guide › Use", "Use\n\nType it."),
    ]


def test_outer_levels_of_a_long_title_are_dropped_first() -> None:
    text = "A\n\nB\n\nText."
    headings = (Heading(1, "outer " * 30 + "end", 0, 1), Heading(2, "inner title", 3, 4))
    [passage] = split(Document("d", "Book", text, "g.md", headings=headings), max_tokens=76)
    assert passage.title == "inner title"


def test_no_passage_crosses_the_end_of_a_page_that_is_the_end_of_a_line() -> None:
    text = prose(30)
    middle = text.index("\n\n", len(text) // 2) + 2
    passages = split(document(text, pages=(Page(1, 0, middle), Page(2, middle, len(text)))))
    assert {passage.page for passage in passages} == {1, 2}
    assert all(passage.end <= middle if passage.page == 1 else passage.start >= middle for passage in passages)


def test_a_sentence_that_runs_over_a_page_stays_whole() -> None:
    text = prose(30)
    middle = text.index(" ", text.index(".", len(text) // 2) + 20)
    sentence = slice(text.rindex(". ", 0, middle) + 2, text.index(".", middle))
    passages = split(document(text, pages=(Page(1, 0, middle), Page(2, middle, len(text)))))
    assert any(text[sentence] in passage.text for passage in passages)
    assert {passage.page for passage in passages} == {1, 2}
    assert all(passage.page == (1 if passage.start < middle else 2) for passage in passages)


@pytest.mark.parametrize("spans", TOKENIZERS)
def test_a_word_of_200_000_characters_is_split_inside(spans: Callable[..., list[NDArray[np.int64]]]) -> None:
    passages = split(document("Before. " + "w" * 200_000 + " after."), spans)
    assert len(passages) > 20
    assert max(len(passage.text) for passage in passages) < 60 * 64
    assert passages[0].start == 0
    assert passages[-1].text.endswith("after.")


def test_an_edited_paragraph_changes_only_its_own_passages() -> None:
    paragraphs = prose(3000, paragraph=4).split("\n\n")
    before = {encoded_text(passage) for passage in split(document("\n\n".join(paragraphs)))}
    costs = []
    for place in random.Random(1).sample(range(len(paragraphs)), 40):
        edited = [*paragraphs]
        edited[place] = "A new first sentence. " + edited[place]
        after = {encoded_text(passage) for passage in split(document("\n\n".join(edited)))}
        costs.append(len(after - before))
    assert min(costs) >= 1
    assert sum(costs) / len(costs) < 2
    assert max(costs) <= 12
    assert len(before) > 500


def test_a_text_of_50_mb_takes_linear_time_and_no_more_memory_than_it_needs() -> None:
    unit = prose(4000)
    small, large = unit * 4, unit * 32

    def seconds(text: str) -> float:
        began = time.process_time()
        longest = max(segment.end - segment.lead for segment in segments(document(text), overlap=32))
        assert longest < 70_000
        return time.process_time() - began

    assert seconds(large) < 8 * 3 * seconds(small) + 1
    doc = document("".join([unit] * (50_000_000 // len(unit))))
    found = list(segments(doc, overlap=32))
    assert found[0].start == 0
    assert found[-1].end == len(doc.text) > 49_000_000
    assert all(left.end == right.start for left, right in pairwise(found))


def test_the_version_names_the_sizes() -> None:
    assert version(224, 32) == "v1 224/32"
