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
from search_app.training import features


def _paragraph(name: str, words: int, *, answer: str = "") -> Paragraph:
    text = " ".join(f"{name}{i}" for i in range(words))
    answer = answer or f"{name}1"
    gold = (GoldAnswer(answer, text.find(answer)),)
    return Paragraph(text, (Question(f"q-{name}", f"What about {name}0 and {name}2?", gold),))


def _dataset(*sizes: int, articles: int = 1) -> Dataset:
    return Dataset(
        "made",
        tuple(
            Article(f"A{a}", tuple(_paragraph(f"p{a}x{i}y", size) for i, size in enumerate(sizes)))
            for a in range(articles)
        ),
    )


def _texts(dataset: Dataset) -> list[str]:
    return [paragraph.text for paragraph in dataset.paragraphs]


def test_whole_articles_are_held_out() -> None:
    dataset = _dataset(20, 20, articles=20)
    training, held = features.hold_out(dataset, 0.1, seed=1)
    assert sum(1 for _ in held.questions) == 4
    assert {a.title for a in training.articles}.isdisjoint(a.title for a in held.articles)
    assert sorted(_texts(training) + _texts(held)) == sorted(_texts(dataset))
    assert features.hold_out(dataset, 0.1, seed=1) == (training, held) != features.hold_out(dataset, 0.1, seed=2)


def test_one_huge_article_is_cut_by_paragraph() -> None:
    dataset = _dataset(*[20] * 50)
    training, held = features.hold_out(dataset, 0.1, seed=1)
    assert len(_texts(held)) == 5
    assert set(_texts(held)).isdisjoint(_texts(training))


def test_without_a_share_nothing_is_held_out() -> None:
    dataset = _dataset(20, 20)
    assert _texts(features.hold_out(dataset, 0.0, seed=1)[0]) == _texts(dataset)


def test_a_paragraph_quoted_in_an_evaluation_file_is_not_trained_on() -> None:
    training = _dataset(40, 40, 40)
    quoted = _texts(training)[1].split()[10:30]
    evaluation = Dataset("eval", (Article("E", (Paragraph("So they said: " + " ".join(quoted).upper(), ()),)),))
    kept, dropped = features.without_overlap(training, [evaluation])
    assert dropped == 1
    assert _texts(kept) == [_texts(training)[0], _texts(training)[2]]


def test_a_shared_phrase_is_no_overlap() -> None:
    training = _dataset(40)
    phrase = " ".join(_texts(training)[0].split()[:10])
    evaluation = Dataset("eval", (Article("E", (Paragraph(phrase + " and other things" * 10, ()),)),))
    assert features.without_overlap(training, [evaluation])[1] == 0


@given(sizes=st.lists(st.integers(3, 120), min_size=1, max_size=20), seed=st.integers(0, 99))
def test_joined_paragraphs_keep_their_order_their_length_and_their_answers(sizes: list[int], seed: int) -> None:
    dataset = _dataset(*sizes)
    joined = features.join_paragraphs(dataset, 100, random.Random(seed))
    assert " ".join(_texts(joined)) == " ".join(_texts(dataset))
    assert [q.id for _, q in joined.questions] == [q.id for _, q in dataset.questions]
    for paragraph, question in joined.questions:
        (answer,) = question.answers
        assert paragraph.text[answer.start :].startswith(answer.text)
    for text in _texts(joined):
        assert len(text.split()) <= 100 or text in _texts(dataset)
    long = {text for text in _texts(dataset) if len(text.split()) >= 30}
    assert long <= set(_texts(joined))


def test_sentences_become_passages() -> None:
    joined = features.join_paragraphs(_dataset(*[20] * 60), 140, random.Random(0))
    sizes = [len(text.split()) for text in _texts(joined)]
    assert 2 * 20 <= np.mean(sizes) <= 140


def test_a_near_miss_is_a_like_paragraph_without_the_answer() -> None:
    about = "The river {} crosses the old town of {} before it reaches the sea."
    paragraphs = tuple(
        Paragraph(
            about.format(river, town),
            (
                Question(
                    river, f"Which town does the river {river} cross?", (GoldAnswer(town, about.index("{} before")),)
                ),
            ),
        )
        for river, town in (("Ilm", "Weimar"), ("Ruhr", "Essen"), ("Isar", "Munich"), ("Elz", "Weimar"))
    )
    misses = features.near_misses(Dataset("rivers", (Article("", paragraphs),)), 0.99, random.Random(0))
    assert len(misses) == 4
    for question, text in misses:
        own = next(p for p in paragraphs if p.questions[0].text == question)
        assert text != own.text
        assert own.questions[0].gold[0] not in text


def test_a_share_of_nothing_gives_no_near_misses() -> None:
    assert features.near_misses(_dataset(20, 20), 0.0, random.Random(0)) == []
    assert features.near_misses(_dataset(20), 0.5, random.Random(0)) == []


@pytest.fixture(scope="module")
def windows() -> WindowMaker:
    return WindowMaker(AutoTokenizer.from_pretrained(BUNDLED_READER), max_tokens=64, stride=16)


def test_targets_are_the_answers_tokens_and_the_first_token_where_there_is_none(windows: WindowMaker) -> None:
    text = "The treaty was signed in Vienna in 1815. " + "Many years passed quietly by the river. " * 8
    gold = (GoldAnswer("Vienna", 25), GoldAnswer("signed in Vienna", 15), GoldAnswer("nowhere", 3))
    questions = (
        Question("1", "Where?", gold),
        Question("2", "Who?", ()),
        Question("3", "Lost?", (GoldAnswer("xyz", 0),)),
    )
    dataset = Dataset("d", (Article("", (Paragraph(text, questions),)),))
    rows, misplaced = features.examples(dataset, [("Where?", "Nothing here.")], windows)
    assert misplaced == 2
    by_pair = Counter(row.window.pair for row in rows)
    assert set(by_pair) == {0, 1, 2}
    with_answer = [row for row in rows if row.targets != (features.NO_ANSWER,)]
    assert {row.window.pair for row in with_answer} == {0}
    for row in with_answer:
        marked = [row.window.characters(*target, text) for target in row.targets]
        assert {text[span.start : span.end] for span in marked} == {"Vienna", "signed in Vienna"}
    assert by_pair[0] > len(with_answer)


@given(
    count=st.integers(1, 400),
    batch=st.integers(1, 16),
    epochs=st.sampled_from([0.3, 1.0, 1.5, 2.0]),
    seed=st.integers(0, 9),
)
def test_a_schedule_is_each_epoch_once_and_the_same_every_time(
    count: int, batch: int, epochs: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    lengths, targets = rng.integers(10, 300, count), rng.integers(1, 4, count)
    plan = features.schedule(lengths, targets, batch_size=batch, epochs=epochs, seed=seed)
    assert len(plan.example) == max(1, round(epochs * count))
    assert (Counter(plan.example[:count].tolist()).most_common(1)[0][1]) == 1
    assert (plan.target < targets[plan.example]).all()
    again = features.schedule(lengths, targets, batch_size=batch, epochs=epochs, seed=seed)
    assert (again.example == plan.example).all()
    assert (again.target == plan.target).all()


def test_rows_of_like_length_share_a_batch() -> None:
    lengths = np.random.default_rng(0).integers(20, 380, 6400)
    plan = features.schedule(lengths, np.ones(6400, dtype=np.int64), batch_size=32, epochs=1, seed=0)
    assert plan.steps == 200
    assert features.padded_tokens(plan, lengths) < 1.05 * lengths.sum()


def test_a_limit_takes_the_first_questions() -> None:
    limited = features.limit_questions(_dataset(20, 20, 20), 2)
    assert [question.id for _, question in limited.questions] == ["q-p0x0y", "q-p0x1y"]
    assert len(_texts(limited)) == 2
