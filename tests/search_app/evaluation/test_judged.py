"""BEIR folders and TREC qrels: what is read, and which line is at fault."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from search_app.errors import ConfigurationError
from search_app.evaluation.evaluate import evaluate_ranking
from search_app.evaluation.judged import JudgedQuery, load_judged
from search_app.evaluation.results import QuestionResult
from search_app.types import Hit, Passage


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "qrels").mkdir()
    (tmp_path / "corpus.jsonl").write_text(
        '{"_id": "a", "title": "A", "text": "first"}\n{"_id": "b", "text": "second"}\n'
    )
    (tmp_path / "queries.jsonl").write_text('{"_id": "1", "text": "one?"}\n{"_id": "2", "text": "two?"}\n')
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n1\ta\t2\n1\tb\t1\n2\ta\t0\n")
    return tmp_path


def test_queries_have_their_grades_and_those_without_a_relevant_document_are_left_out(folder: Path) -> None:
    judged = load_judged(folder)
    assert judged.queries == (JudgedQuery("1", "one?", {"a": 2, "b": 1}),)
    assert list(judged.documents()) == [("a", "A", "first"), ("b", "", "second")]


def test_trec_qrels_and_tabbed_queries_are_read(folder: Path) -> None:
    (folder / "qrels" / "test.tsv").unlink()
    (folder / "qrels.txt").write_text("1 0 b 1\n2 Q0 a 3\n")
    (folder / "queries.jsonl").unlink()
    (folder / "queries.tsv").write_text("1\tone?\n2\ttwo?\n")
    assert [query.relevant for query in load_judged(folder).queries] == [{"b": 1}, {"a": 3}]


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        (
            "queries.jsonl",
            '{"_id": "1", "text": "x"}\n{"text": "no id"}\n',
            "queries.jsonl, line 2: expected an object",
        ),
        ("queries.jsonl", "{\n", "queries.jsonl, line 1: not JSON"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\n1\ta\n", "test.tsv, line 2: expected a query id"),
        ("qrels/test.tsv", "9\ta\t1\n", "no query of"),
    ],
)
def test_a_fault_is_named_with_its_file_and_line(folder: Path, file: str, text: str, message: str) -> None:
    (folder / file).write_text(text)
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        load_judged(folder)


@pytest.mark.parametrize("missing", ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"])
def test_a_missing_file_is_named(folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(ConfigurationError, match=re.escape(f"has no {missing}")):
        load_judged(folder)


def test_a_ranking_is_scored_by_grade() -> None:
    queries = [JudgedQuery("1", "one?", {"a": 2, "b": 1}), JudgedQuery("2", "two?", {"c": 1})]
    rankings = {"one?": ["b", "a"], "two?": ["x", "c"]}
    seen: list[QuestionResult] = []
    found = evaluate_ranking(
        lambda texts: [[Hit(Passage(id, id, "", "", 0, 0), 1.0) for id in rankings[text]] for text in texts],
        queries,
        document_key=lambda hit: hit.passage.document_id,
        record=seen.append,
    )
    assert found["success@1"] == 0.5
    assert found["mrr@10"] == 0.75
    log3 = 1.5849625
    ndcg = ((1 + 2 / log3) / (2 + 1 / log3), 1 / log3)
    assert [item.scores["ndcg@10"] for item in seen] == pytest.approx(ndcg)
    assert found["ndcg@10"] == pytest.approx(sum(ndcg) / 2)
    assert json.loads(json.dumps(found)) == found
