from __future__ import annotations

import json
from pathlib import Path

import pytest

from search_app.errors import ConfigurationError
from search_app.evaluation.datasets import load_squad

GOOD = {
    "data": [
        {
            "title": "A",
            "paragraphs": [
                {
                    "context": "Ann met Bob.",
                    "qas": [
                        {"id": "1", "question": "Who?", "answers": [{"text": "Bob", "answer_start": 8}]},
                        {
                            "id": "2",
                            "question": "When?",
                            "is_impossible": True,
                            "answers": [],
                            "plausible_answers": [{"text": "Ann", "answer_start": 0}],
                        },
                    ],
                }
            ],
        }
    ]
}


def test_answerable_and_unanswerable_questions_survive_a_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(GOOD))
    dataset = load_squad(path)
    (first, second) = [question for _, question in dataset.questions]
    assert (dataset.name, first.gold, second.gold) == ("mine", ["Bob"], [])
    again = tmp_path / "mine" / "mine.json"
    again.parent.mkdir()
    again.write_text(dataset.to_json())
    assert load_squad(again) == dataset


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[]",
        '{"data": 3}',
        '{"data": [{"title": "A"}]}',
        '{"data": [{"paragraphs": [{"context": 1, "qas": []}]}]}',
        '{"data": [{"paragraphs": [{"context": "x", "qas": [{"id": 1, "question": "q", "answers": [3]}]}]}]}',
    ],
)
def test_a_file_in_another_format_is_named_with_the_expected_one(tmp_path: Path, content: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=r"other\.json is not SQuAD JSON.*data/paragraphs/qas"):
        load_squad(path)


def test_a_file_without_questions_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "none.json").write_text('{"data": []}')
    with pytest.raises(ConfigurationError, match="has no questions"):
        load_squad(tmp_path / "none.json")
    with pytest.raises(ConfigurationError, match="cannot read"):
        load_squad(tmp_path / "missing.json")
