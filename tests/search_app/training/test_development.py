"""Splits by document, and labelled data that no training takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labelled import pairs_file, squad

from search_app.errors import ConfigurationError
from search_app.evaluation.datasets import Article, Dataset, GoldAnswer, Paragraph, Question, load_squad
from search_app.training.development import require_disjoint, require_trainable, split_documents
from search_app.training.pairs import load_pairs


def _load(folder: Path, data: dict[str, Any], name: str = "data") -> Dataset:
    (folder / f"{name}.json").write_text(json.dumps(data))
    return load_squad(folder / f"{name}.json")


@given(sizes=st.lists(st.integers(1, 9), min_size=2, max_size=8), share=st.floats(0.05, 0.9), seed=st.integers(0, 5))
def test_a_split_keeps_documents_whole_and_both_sides_filled(sizes: list[int], share: float, seed: int) -> None:
    articles = [
        Article(f"title {number // 2}", (Paragraph(f"text {number}", (_question(f"{number}-{i}"),)),))
        for number, size in enumerate(sizes)
        for i in range(size)
    ]
    found = split_documents(Dataset("data", tuple(articles)), share, seed)
    held = {question.id for _, question in found.development.questions}
    kept = {question.id for _, question in found.training.questions}
    assert held
    assert kept
    assert len(held) + len(kept) == sum(sizes)
    if len(sizes) > 2:  # of one document, paragraphs are split
        require_disjoint([found.training], [found.development])


def test_without_a_share_nothing_is_held_out_and_the_order_stays(tmp_path: Path) -> None:
    data = _load(tmp_path, squad(articles=3, seed=1))
    assert split_documents(data, 0.0, 0).training == data
    assert not split_documents(data, 0.0, 0).development.articles


def test_one_document_is_split_by_paragraph(tmp_path: Path) -> None:
    found = split_documents(_load(tmp_path, squad(articles=1, seed=1)), 0.3, 0)
    assert [sum(1 for _ in side.questions) for side in (found.training, found.development)] == [2, 1]


def test_one_paragraph_cannot_be_split() -> None:
    data = Dataset("data", (Article("", (Paragraph("text", (_question("a"), _question("b"))),)),))
    with pytest.raises(ConfigurationError, match="only one paragraph"):
        split_documents(data, 0.1, 0)


def test_a_document_in_both_splits_is_refused_with_the_ids_of_its_questions(tmp_path: Path) -> None:
    training, other = squad(articles=3, seed=1), squad(articles=3, seed=2, prefix="other ")
    require_disjoint([_load(tmp_path, training)], [_load(tmp_path, other, "other")])
    by_text = squad(articles=3, seed=2, prefix="other ")
    by_text["data"][1]["paragraphs"][0]["context"] = training["data"][0]["paragraphs"][2]["context"] + "\n"
    with pytest.raises(
        ConfigurationError, match=r"questions other 1-0, other 1-1, other 1-2 of other article 1; remove"
    ):
        require_disjoint([_load(tmp_path, training)], [_load(tmp_path, by_text, "other")])
    by_title = squad(articles=1, seed=2)
    with pytest.raises(ConfigurationError, match=r"questions 0-0, 0-1, 0-2 of article 0"):
        require_disjoint([_load(tmp_path, training)], [_load(tmp_path, by_title, "other")])


def test_duplicate_ids_are_refused(tmp_path: Path) -> None:
    data = squad(articles=2, seed=1)
    for paragraph in data["data"][1]["paragraphs"]:
        paragraph["qas"][0]["id"] = "0-0"
    with pytest.raises(ConfigurationError, match="ids are used more than once: 0-0"):
        require_trainable([_load(tmp_path, data)])


def test_one_question_is_refused(tmp_path: Path) -> None:
    data = squad(articles=1, seed=1)
    data["data"][0]["paragraphs"][1:] = []
    with pytest.raises(ConfigurationError, match="one question is too little"):
        require_trainable([_load(tmp_path, data)])


def test_questions_without_any_answer_are_refused(tmp_path: Path) -> None:
    data = squad(articles=2, seed=1)
    for paragraph in (paragraph for article in data["data"] for paragraph in article["paragraphs"]):
        paragraph["qas"][0] |= {"answers": [], "is_impossible": True}
    with pytest.raises(ConfigurationError, match="none of the 6 questions has an answer"):
        require_trainable([_load(tmp_path, data)])


def test_pairs_are_read_with_their_titles(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(
        '{"question": "When?", "passage": "In 1815.", "title": "Vienna"}\n\n'
        '{"question": "Who?", "passage": "In 1815.", "title": "Vienna", "id": 7}\n'
        '{"question": "Why?", "passage": "War."}\n'
    )
    found = load_pairs(path)
    assert [(t, p.text, q.id, q.gold) for t, p, q in found.titled_questions] == [
        ("Vienna", "In 1815.", "line 1", ["In 1815."]),
        ("Vienna", "In 1815.", "7", ["In 1815."]),
        ("", "War.", "line 4", ["War."]),
    ]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{", "line 2 is not JSON"),
        ('{"question": "Who?"}', "line 2 has no text in 'passage'"),
        ('{"question": " ", "passage": "x"}', "line 2 has no text in 'question'"),
        ("[]", "line 2 has no text in 'question'"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, fault: str) -> None:
    path = pairs_file(tmp_path / "pairs.jsonl", pairs=1, seed=0)
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(ConfigurationError, match=fault):
        load_pairs(path)


def test_an_empty_file_and_a_binary_one_are_named(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n")
    with pytest.raises(ConfigurationError, match="has no questions"):
        load_pairs(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="is not UTF-8"):
        load_pairs(path)


def _question(id: str) -> Question:
    return Question(id, "Who?", (GoldAnswer("text", 0),))
