from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from search_app.evaluation.datasets import Article, Dataset, GoldAnswer, Paragraph, Question
from search_app.models.checkpoint import BUNDLED_READER
from search_app.readers.windows import WindowMaker
from search_app.training.examples import NO_ANSWER, Pair, make_examples, make_schedule, padded_tokens


@pytest.fixture(scope="module")
def windows() -> WindowMaker:
    return WindowMaker(AutoTokenizer.from_pretrained(BUNDLED_READER), max_tokens=64, stride=16)


def test_targets_are_the_tokens_of_the_answers_or_the_first_token_without_one(windows: WindowMaker) -> None:
    text = "The treaty was signed in Vienna in 1815. " + "Many years passed quietly by the river. " * 8
    gold = (GoldAnswer("Vienna", 25), GoldAnswer("signed in Vienna", 15))
    questions = (
        Question("1", "Where?", gold),
        Question("2", "Who?", ()),
    )
    dataset = Dataset("d", (Article("", (Paragraph(text, questions),)),))
    rows = make_examples(dataset, [Pair("Where?", "Nothing here.", "")], windows, random.Random(0))
    by_pair = Counter(row.window.pair for row in rows)
    assert set(by_pair) == {0, 1, 2}
    with_answer = [row for row in rows if row.targets != (NO_ANSWER,)]
    assert {row.window.pair for row in with_answer} == {0}
    for row in with_answer:
        marked = [row.window.characters(*target, text) for target in row.targets]
        assert {text[span.start : span.end] for span in marked} == {"Vienna", "signed in Vienna"}
    assert by_pair[0] > len(with_answer)


def test_a_share_of_the_questions_sees_its_passage_without_title(windows: WindowMaker) -> None:
    questions = tuple(Question(str(i), "Where?", (GoldAnswer("Vienna", 0),)) for i in range(200))
    dataset = Dataset("d", (Article("The_treaty", (Paragraph("Vienna.", questions),)),))
    rows = make_examples(dataset, [], windows, random.Random(0), title_dropout=0.25)
    lengths = Counter(len(row.window) for row in rows)
    assert len(lengths) == 2
    assert 30 < lengths[min(lengths)] < 70
    assert all(row.window.tokens(0, 6) in row.targets for row in rows)


@given(
    count=st.integers(1, 400),
    batch=st.integers(1, 16),
    epochs=st.sampled_from([0.3, 1.0, 1.5, 2.0]),
    seed=st.integers(0, 9),
)
def test_a_schedule_holds_each_example_once_per_epoch_and_is_repeatable(
    count: int, batch: int, epochs: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    lengths, targets = rng.integers(10, 300, count), rng.integers(1, 4, count)
    plan = make_schedule(lengths, targets, batch_size=batch, epochs=epochs, seed=seed)
    assert len(plan.example) == max(1, round(epochs * count))
    assert (Counter(plan.example[:count].tolist()).most_common(1)[0][1]) == 1
    assert (plan.target < targets[plan.example]).all()
    again = make_schedule(lengths, targets, batch_size=batch, epochs=epochs, seed=seed)
    assert (again.example == plan.example).all()
    assert (again.target == plan.target).all()


def test_rows_of_similar_length_share_a_batch() -> None:
    lengths = np.random.default_rng(0).integers(20, 380, 6400)
    plan = make_schedule(lengths, np.ones(6400, dtype=np.int64), batch_size=32, epochs=1, seed=0)
    assert plan.steps == 200
    assert padded_tokens(plan, lengths) < 1.05 * lengths.sum()
