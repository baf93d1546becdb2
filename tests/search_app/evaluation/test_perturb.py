"""Typing mistakes and distracting sentences: what they change, and what they never contain."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_app.evaluation.datasets import Article, Dataset, GoldAnswer, Paragraph, Question
from search_app.evaluation.evaluate import sample
from search_app.evaluation.perturb import Distractors, holds, with_distractors, with_typos

TEXT = (
    "Nikola Tesla was born in Smiljan in 1856. The castle, which Karl Weber built on 12 May 1723, has 4,210 windows. "
    "Plants turn light into sugar by photosynthesis."
)


def _question(id: str, text: str, *answers: str) -> Question:
    return Question(id, text, tuple(GoldAnswer(answer, TEXT.index(answer)) for answer in answers))


QUESTIONS = (
    _question("1", "Where was Nikola Tesla born?", "Smiljan", "in Smiljan"),
    _question("2", "How many windows does the castle have?", "4,210", "4,210 windows"),
    _question("3", "How do plants turn light into sugar?", "photosynthesis", "by photosynthesis"),
    _question("4", "Who built the castle?", "Karl Weber"),
    _question("5", "Who sold the castle?"),
)
DATASET = Dataset("d", (Article("A", (Paragraph(TEXT, QUESTIONS),)),))


def _asked(text: str) -> Dataset:
    return Dataset("d", (Article("A", (Paragraph("x", (Question("1", text, ()),)),)),))


def _only(dataset: Dataset) -> str:
    return next(question.text for _, question in dataset.questions)


WORDS = st.lists(st.text(st.characters(categories=["L", "Nd", "Pd", "Po"]), min_size=1, max_size=9), max_size=8)


@given(st.one_of(WORDS.map(" ".join), st.sampled_from([question.text for question in QUESTIONS])), st.integers(0, 99))
def test_a_typo_changes_one_word_of_a_question_or_none_if_it_has_no_content_word(text: str, seed: int) -> None:
    before, after = text.split(), _only(with_typos(_asked(text), seed=seed)).split()
    changed = [(one, other) for one, other in zip(before, after, strict=True) if one != other]
    assert len(changed) <= 1
    if any(len(word) >= 6 and word.isascii() and word.isalpha() for word in before):
        assert len(changed) == 1


@pytest.mark.parametrize("seed", range(20))
def test_function_words_are_not_mistyped(seed: int) -> None:
    words = _only(with_typos(_asked("Where was the castle that they have built?"), seed=seed)).split()
    assert [word for word in words if word in {"Where", "was", "the", "that", "they", "have"}] == [
        "Where", "was", "the", "that", "they", "have",
    ]  # fmt: skip


@given(st.integers(0, 10_000))
def test_a_distractor_holds_no_answer_to_its_question_and_differs_from_the_sentence(seed: int) -> None:
    distractors = Distractors.of(DATASET, seed=seed)
    for paragraph, question in DATASET.questions:
        sentence = distractors.sentence(paragraph, question)
        if not question.answers:
            assert sentence is None
        elif sentence:
            assert sentence not in TEXT
            assert not any(holds(sentence, answer) for answer in question.gold)


def test_nearly_every_question_has_a_distractor_that_shares_words_with_its_sentence() -> None:
    distractors = Distractors.of(DATASET, seed=1)
    paragraph = next(DATASET.paragraphs)
    for question, kept in zip(QUESTIONS, ("was born", "built on", "Plants", "built on"), strict=False):
        assert kept in (distractors.sentence(paragraph, question) or "")


def test_names_and_numbers_of_the_sentence_are_exchanged() -> None:
    sentence = Distractors.of(DATASET, seed=3).sentence(next(DATASET.paragraphs), QUESTIONS[0])
    assert sentence
    assert not any(name in sentence for name in ("Tesla", "Smiljan", "1856"))
    assert any(character.isdigit() for character in sentence)


def test_a_question_without_names_gets_a_sentence_about_another_thing() -> None:
    """Otherwise the sentence would answer the question, with another answer."""
    more = replace(QUESTIONS[4], id="6", text="Why did they burn the fright?")
    dataset = Dataset("d", (Article("A", (Paragraph(TEXT, (*QUESTIONS, more)),)),))
    sentence = Distractors.of(dataset, seed=0).sentence(next(dataset.paragraphs), QUESTIONS[2])
    assert sentence
    assert "fright" in sentence
    assert "light" not in sentence


def test_the_answers_stay_where_they_were_and_the_distractor_follows() -> None:
    changed = with_distractors(DATASET, seed=1)
    assert [question for _, question in changed.questions] == list(QUESTIONS)
    for paragraph, question in changed.questions:
        assert paragraph.text.startswith(TEXT)
        assert (paragraph.text != TEXT) == bool(question.answers)


@pytest.mark.parametrize("change", [with_typos, with_distractors])
def test_changes_depend_on_the_seed_and_are_those_of_a_sample_too(change) -> None:  # type: ignore[no-untyped-def]
    assert change(DATASET, seed=1) == change(DATASET, seed=1)
    assert any(change(DATASET, seed=seed) != change(DATASET, seed=1) for seed in range(2, 5))
    whole = sample(change(DATASET, seed=1))
    few = sample(change(DATASET, seed=1), limit=2, seed=3)
    assert [question.id for _, question in few] == [question.id for _, question in sample(DATASET, limit=2, seed=3)]
    assert set(few) <= set(whole)
