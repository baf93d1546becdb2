from __future__ import annotations

import pytest

from search_app.readers.questions import asks_for_many, is_yes_no, subject


@pytest.mark.parametrize("question", ["Are dogs allowed?", "can I park here", "Isn't it free?", "Has it been paid?"])
def test_a_yes_no_question_begins_with_its_verb(question: str) -> None:
    assert is_yes_no(question)


@pytest.mark.parametrize(
    "question",
    [
        "Is it red or blue?",
        "Which dogs are allowed?",
        "May 3 events",
        "will smith",
        "Island names",
        "Canada",
        "",
        "???",
    ],
)
def test_other_questions_are_none(question: str) -> None:
    assert not is_yes_no(question)


@pytest.mark.parametrize(
    "question", ["Which documents are needed?", "What are the steps?", "List the rooms", "Who were the founders?"]
)
def test_questions_for_several_things(question: str) -> None:
    assert asks_for_many(question)


@pytest.mark.parametrize(
    "question", ["Which document is needed?", "What is this?", "Who leads it?", "What class is it?"]
)
def test_questions_for_one_thing(question: str) -> None:
    assert not asks_for_many(question)


def test_the_subject_is_the_stems_of_words_with_content() -> None:
    assert subject("Are the dogs allowed in our garden?") == subject("Garden: a dog is allowed")
