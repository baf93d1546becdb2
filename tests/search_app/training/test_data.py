from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from search_app.evaluation.datasets import Article, Dataset, GoldAnswer, Paragraph, Question
from search_app.training import data
from search_app.types import Matrix


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


def _same(texts: Sequence[str]) -> Matrix:
    """Vectors that make all texts equal, so that words decide."""
    return np.ones((len(texts), 1), dtype=np.float32)


def _texts(dataset: Dataset) -> list[str]:
    return [paragraph.text for paragraph in dataset.paragraphs]


def test_whole_articles_are_held_out() -> None:
    dataset = _dataset(20, 20, articles=20)
    training, held = data.hold_out(dataset, 0.1, seed=1)
    assert sum(1 for _ in held.questions) == 4
    assert {a.title for a in training.articles}.isdisjoint(a.title for a in held.articles)
    assert sorted(_texts(training) + _texts(held)) == sorted(_texts(dataset))
    assert data.hold_out(dataset, 0.1, seed=1) == (training, held) != data.hold_out(dataset, 0.1, seed=2)


def test_one_huge_article_is_split_by_paragraph() -> None:
    dataset = _dataset(*[20] * 50)
    training, held = data.hold_out(dataset, 0.1, seed=1)
    assert len(_texts(held)) == 5
    assert set(_texts(held)).isdisjoint(_texts(training))


def test_without_a_share_nothing_is_held_out() -> None:
    dataset = _dataset(20, 20)
    assert _texts(data.hold_out(dataset, 0.0, seed=1)[0]) == _texts(dataset)


def test_a_paragraph_quoted_in_an_evaluation_file_is_left_out() -> None:
    training = _dataset(40, 40, 40)
    quoted = _texts(training)[1].split()[10:30]
    evaluation = Dataset("eval", (Article("E", (Paragraph("So they said: " + " ".join(quoted).upper(), ()),)),))
    kept, dropped = data.without_overlap(training, [evaluation])
    assert dropped == 1
    assert _texts(kept) == [_texts(training)[0], _texts(training)[2]]


def test_a_shared_phrase_is_not_an_overlap() -> None:
    training = _dataset(40)
    phrase = " ".join(_texts(training)[0].split()[:10])
    evaluation = Dataset("eval", (Article("E", (Paragraph(phrase + " and other things" * 10, ()),)),))
    assert data.without_overlap(training, [evaluation])[1] == 0


@given(sizes=st.lists(st.integers(3, 120), min_size=1, max_size=20), seed=st.integers(0, 99))
def test_joined_paragraphs_keep_order_length_and_answers(sizes: list[int], seed: int) -> None:
    dataset = _dataset(*sizes)
    joined = data.join_paragraphs(dataset, 100, random.Random(seed))
    assert " ".join(_texts(joined)) == " ".join(_texts(dataset))
    assert [q.id for _, q in joined.questions] == [q.id for _, q in dataset.questions]
    for paragraph, question in joined.questions:
        (answer,) = question.answers
        assert paragraph.text[answer.start :].startswith(answer.text)
    for text in _texts(joined):
        assert len(text.split()) <= 100 or text in _texts(dataset)
    long = {text for text in _texts(dataset) if len(text.split()) >= 30}
    assert long <= set(_texts(joined))


def test_single_sentences_are_joined_to_paragraphs() -> None:
    joined = data.join_paragraphs(_dataset(*[20] * 60), 140, random.Random(0))
    sizes = [len(text.split()) for text in _texts(joined)]
    assert 2 * 20 <= np.mean(sizes) <= 140


def test_a_hard_negative_is_a_similar_paragraph_without_the_answer() -> None:
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
    negatives = data.hard_negatives(Dataset("rivers", (Article("Rivers", paragraphs),)), 0.99, random.Random(0), _same)
    assert len(negatives) == 4
    for negative in negatives:
        own = next(p for p in paragraphs if p.questions[0].text == negative.question)
        assert negative.text != own.text
        assert own.questions[0].gold[0] not in negative.text
        assert negative.title == "Rivers"


def test_a_share_of_zero_gives_no_hard_negatives() -> None:
    assert data.hard_negatives(_dataset(20, 20), 0.0, random.Random(0), _same) == []
    assert data.hard_negatives(_dataset(20), 0.5, random.Random(0), _same) == []


def test_a_limit_takes_the_first_questions() -> None:
    limited = data.limit_questions(_dataset(20, 20, 20), 2)
    assert [question.id for _, question in limited.questions] == ["q-p0x0y", "q-p0x1y"]
    assert len(_texts(limited)) == 2
