"""`search-app evaluate reader` and `evaluate answers` on a small SQuAD v2.0 file, beside Haystack's reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from lxml import html

from search_app.cli import cli
from search_app.evaluation.results import load_results

OFFICES = (("Bergen", "Oslo"), ("Kyoto", "Nara"), ("Quito", "Ibarra"), ("Tartu", "Narva"))


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEARCH_APP_HOME", str(tmp_path / "home"))
    articles = []
    for office, city in OFFICES:
        text = f"The head of the {office} office lives in {city}. It has a large garden."
        asked = ((f"Where does the head of the {office} office live?", city), (f"Who sold the {office} office?", ""))
        questions = [
            {
                "id": f"{office}{i}",
                "question": question,
                "is_impossible": not gold,
                "answers": [{"text": gold, "answer_start": text.index(gold)}] if gold else [],
            }
            for i, (question, gold) in enumerate(asked)
        ]
        articles.append({"title": office, "paragraphs": [{"context": text, "qas": questions}]})
    path = tmp_path / "offices.json"
    path.write_text(json.dumps({"version": "2.0", "data": articles}))
    return path


def run(*arguments: str) -> str:
    done = CliRunner(catch_exceptions=False).invoke(cli, ["evaluate", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_reader_is_measured_with_changed_questions_and_beside_haystack(data: Path) -> None:
    found = json.loads(
        run("reader", "--data", str(data), "--beside", "haystack", "--perturb", "typos,distractors", "--json")
    )
    other = found["beside"]["haystack"]
    assert found["has_answer_em"] == other["has_answer_em"] == 100
    for part in ("typos", "distractors"):
        assert found[part]["em_drop"] == found["em"] - found[part]["em"]
        assert found[part]["beside"]["haystack"]["em_drop"] == other["em"] - found[part]["beside"]["haystack"]["em"]


@pytest.mark.slow
def test_answers_are_measured_under_the_same_names_everywhere(data: Path, tmp_path: Path) -> None:
    saved, page = tmp_path / "saved.json", tmp_path / "page.html"
    shown = run(
        "answers", "--data", str(data), "--beside", "haystack", "--perturb", "typos", "--perturb", "distractors",
        "--absent", "--save", str(saved), "--report", str(page),
    )  # fmt: skip
    numbers: dict[str, Any] = dict(load_results(saved).numbers)
    names = {"em", "f1", "has_answer_em", "no_answer_em", "coverage", "answered_unanswerable", "ece", "brier", "aurc"}
    assert names < numbers.keys()
    assert names < numbers["beside"]["haystack"].keys()
    assert numbers["absent"]["questions"] == numbers["absent"]["beside"]["haystack"]["questions"] == 4
    assert 0 <= numbers["absent"]["answered_unanswerable"] <= 1
    assert {"em_drop", "f1_drop", "coverage"} < numbers["distractors"].keys()
    first = [line.split()[0] for line in shown.splitlines()[1:] if line.strip()]
    cells = html.document_fromstring(page.read_text()).xpath("(//table)[1]//td[1]/text()")
    assert names < set(first) & set(cells)
    assert "absent: answered_unanswerable" in cells


def test_an_unknown_change_is_refused_with_the_known_ones(data: Path) -> None:
    done = CliRunner().invoke(cli, ["evaluate", "reader", "--data", str(data), "--perturb", "typos,noise"])
    assert done.exit_code == 2
    assert "'noise' is not one of typos, distractors." in done.output
