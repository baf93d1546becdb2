from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click
import pytest

from benchmarks import corpus
from benchmarks.evaluation import table as evaluation_table
from benchmarks.kept import Kept
from benchmarks.peers import measure, summarise, table


class Knows:
    """Answers from a dictionary and records its calls."""

    def __init__(self, answers: dict[str, str]) -> None:
        self.name = "knows"
        self.answers = answers
        self.calls: list[str] = []

    def encode(self, texts: Sequence[str]) -> None:
        self.calls.append(f"encode {len(texts)}")

    def index(self, texts: Sequence[str]) -> None:
        self.calls.append("index")

    def answer(self, question: str) -> str:
        self.calls.append(question)
        return self.answers.get(question, "")


@pytest.fixture
def data(tmp_path: Path) -> corpus.Benchmark:
    paragraphs = [
        {
            "context": f"{name} was built in {year}.",
            "qas": [
                {"id": name, "question": f"When was {name} built?", "answers": [{"text": year, "answer_start": 0}]}
            ],
        }
        for name, year in (("Ely", "1083"), ("Ulm", "1377"), ("Metz", "1220"), ("Bari", "1087"))
    ]
    path = tmp_path / "squad.json"
    path.write_text(json.dumps({"version": "1.1", "data": [{"title": "", "paragraphs": paragraphs}]}))
    return corpus.load(path, questions=3, paragraphs=None, seed=1)


def test_questions_are_sampled_and_the_corpus_is_complete(data: corpus.Benchmark) -> None:
    assert len(data.paragraphs) == 4
    assert len({asked.id for asked in data.asked}) == 3


def test_an_interrupted_run_measures_only_what_is_missing(tmp_path: Path, data: corpus.Benchmark) -> None:
    path, about = tmp_path / "results.jsonl", {"processor": "x"}
    first = Kept(path, about, fresh=True)
    for asked in data.asked[:2]:
        first.add(phase="answer", system="a", item=asked.id, seconds=0.5, prediction="1083")
    first.add(phase="encode", system="a", item="0", seconds=2.0, prediction="")
    system = Knows({asked.question: asked.gold[0] for asked in data.asked})
    again = Kept(path, about, fresh=False)
    measure({"a": system}, data, again, rounds=2)
    assert [row["item"] for row in again.of(phase="encode", system="a")] == ["0", "1"]
    assert [row["item"] for row in again.of(phase="answer", system="a")] == [asked.id for asked in data.asked]
    assert Kept(path, about, fresh=False).rows == again.rows
    system.calls.clear()
    measure({"a": system}, data, again, rounds=2)
    assert "index" not in system.calls


def test_measurements_from_another_machine_or_code_are_refused(tmp_path: Path) -> None:
    Kept(tmp_path / "results.jsonl", {"processor": "x"}, fresh=True)
    with pytest.raises(click.ClickException, match="--fresh"):
        Kept(tmp_path / "results.jsonl", {"processor": "y"}, fresh=False)


def test_the_table_shows_scores_and_ratios_to_haystack(tmp_path: Path, data: corpus.Benchmark) -> None:
    results = Kept(tmp_path / "results.jsonl", {}, fresh=True)
    for system, encoding, latency, share in (("ours", 1.0, 0.1, 1.0), ("haystack", 4.0, 0.5, 0.0)):
        for number in range(3):
            results.add(phase="encode", system=system, item=str(number), seconds=encoding, prediction="")
        for asked in data.asked:
            prediction = f"the {asked.gold[0]}." if share else "no idea"
            results.add(phase="answer", system=system, item=asked.id, seconds=latency, prediction=prediction)
    lines = table({name: summarise(name, name, data, results) for name in ("ours", "haystack")}).splitlines()
    assert lines[2] == "| ours | 100.0 | 100.0 | 4.0 | 4.00 | 100 | 0.20 |"
    assert lines[3] == "| haystack | 0.0 | 0.0 | 1.0 | 1.00 | 500 | 1.00 |"


def test_the_evaluation_table_shows_percentages_and_fractions_unchanged() -> None:
    found = {"reader": {"questions": 1234.0, "em": 0.5, "f1": 71.25}}
    assert "| 1,234 | EM | 0.5 |" in evaluation_table(found)
    shares = {"retrieval": {"questions": 8.0, "success@1": 1.0, "success@10": 1.0, "mrr@10": 0.9167}}
    assert "| MRR@10 | 0.917 |" in evaluation_table(shares)
