"""Change the questions of a dataset: typing mistakes, and sentences that resemble the one with the answer.

A change depends on the seed, the file and the question, so a sample has the same ones as the whole file.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from search_app.evaluation import squad
from search_app.evaluation.datasets import Article, Dataset, Paragraph, Question
from search_app.readers.questions import is_empty
from search_app.text.boundaries import BOUNDARY

_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_WORD = re.compile(r"[^\W\d_]{2,}")
_LONG = 4
"""Letters of a word that can still be read with a typing mistake."""
_NAME = re.compile(r"\b[A-Z][\w’'-]*(?:[ ](?:(?:of|the|and|de|von|van)[ ])?[A-Z][\w’'-]*)*")
_NAME_OR_NUMBER = re.compile(rf"{_NAME.pattern}|\b\d[\d,.]*\d\b|\b\d")
_TRIES = 20
_MONTH = re.compile(r"\b(?:January|February|March|April|May|June|July|August|September|October|November|December)\b")
_YEAR = re.compile(r"1\d\d\d|20\d\d")
_FAKES = {
    "name": ("Jeff Dean", "Ostrava", "Lake Mirren", "Ada Falk", "Tolmin Guild", "Kesh", "Prague", "Maria Voss"),
    "date": ("3 June", "19 March 1871", "November 1902", "August 14, 1660", "October"),
    "number": ("17", "238", "4,610", "1743", "95", "12.6"),
    "phrase": ("a wooden bridge", "salt and wool", "the smaller harbour", "glass beads", "an annual fair"),
}
"""Answers for a file that has no others of a kind. AddSent has such a list too."""
T = TypeVar("T")
Change = Callable[[Paragraph, Question], tuple[Paragraph, Question]]


def with_typos(dataset: Dataset, *, seed: int = 0) -> Dataset:
    """One typing mistake in one content word of each question; a question without such a word stays as it is."""
    return _changed(dataset, lambda paragraph, question: (paragraph, replace(question, text=_typo(question, seed))))


def with_distractors(dataset: Dataset, *, seed: int = 0) -> Dataset:
    """Each question has a paragraph of its own, with its distractor after the text."""
    distractors = Distractors.of(dataset, seed=seed)

    def append(paragraph: Paragraph, question: Question) -> tuple[Paragraph, Question]:
        sentence = distractors.sentence(paragraph, question)
        return (replace(paragraph, text=f"{paragraph.text} {sentence}") if sentence else paragraph), question

    return _changed(dataset, append)


def _changed(dataset: Dataset, change: Change) -> Dataset:
    return Dataset(dataset.name, tuple(replace(one, paragraphs=tuple(_each(one, change))) for one in dataset.articles))


def _each(article: Article, change: Change) -> Iterator[Paragraph]:
    for paragraph in article.paragraphs:
        for question in paragraph.questions:
            changed, asked = change(paragraph, question)
            yield replace(changed, questions=(asked,))


def _typo(question: Question, seed: int) -> str:
    rng = random.Random(f"{seed} typo {question.id}")
    words = [found for found in _WORD.finditer(question.text) if not is_empty(found[0])]
    words = [found for found in words if len(found[0]) >= _LONG] or words
    if not words:
        return question.text
    found = rng.choice(words)
    return question.text[: found.start()] + _mistyped(found[0], rng) + question.text[found.end() :]


def _mistyped(word: str, rng: random.Random) -> str:
    """Two letters swapped, one left out, one twice, or one from a key beside it. Never the same word."""
    at = rng.randrange(len(word) - 1)
    kinds = [
        word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        word[:at] + word[at + 1 :],
        word[: at + 1] + word[at:],
        word[:at] + _beside(word[at], rng) + word[at + 1 :],
    ]
    return rng.choice([kind for kind in kinds if kind != word])


def _beside(letter: str, rng: random.Random) -> str:
    """The letter itself if it is on none of these keys."""
    row = next((row for row in _KEYS if letter.lower() in row), letter)
    at = row.find(letter.lower())
    near = rng.choice([key for key in (row[max(0, at - 1) : at], row[at + 1 : at + 2]) if key] or [letter])
    return near.upper() if letter.isupper() else near


@dataclass(frozen=True, slots=True)
class Distractors:
    """Sentences that resemble the one with the answer, about other things and with another answer.

    In the manner of AddSent (Jia and Liang 2017, "Adversarial Examples for Evaluating Reading Comprehension Systems"),
    by rule, without its crowd workers: names and numbers of the sentence are exchanged, and its answer for one of the
    same kind and length. If none of the exchanged names is in the question, a word that both share is exchanged too.
    `others` are the answers of the file by kind and number of words, `words` the content words of its questions by
    their last two letters.
    """

    others: dict[tuple[str, int], list[str]]
    words: dict[str, list[str]]
    seed: int

    @classmethod
    def of(cls, dataset: Dataset, *, seed: int = 0) -> Distractors:
        """`dataset` is the whole file, so that a sample of its questions has the same distractors."""
        golds = {gold for _, question in dataset.questions for gold in question.gold[:1]}
        words = {word for _, question in dataset.questions for word in _common_words(question.text)}
        return cls(
            _grouped(golds, lambda gold: (_kind(gold), len(gold.split()))),
            _grouped(words, lambda word: word[-2:]),
            seed,
        )

    def sentence(self, paragraph: Paragraph, question: Question) -> str | None:
        """It contains none of the question's answers. None for a question without one, and if no try succeeds."""
        if not question.answers:
            return None
        rng = random.Random(f"{self.seed} distractor {question.id}")
        parts = _around_answer(paragraph.text, question)
        tries = (self._exchanged(*parts, question, rng) for _ in range(_TRIES))
        return next((text for text in tries if not any(holds(text, gold) for gold in question.gold)), None)

    def _exchanged(self, before: str, after: str, question: Question, rng: random.Random) -> str:
        known: dict[str, str] = {}

        def other(found: re.Match[str]) -> str:
            first = found.start() == 0 and found.string is before
            if is_empty(found[0]) or (first and " " not in found[0] and found[0] not in question.text):
                return found[0]  # only the first word of a sentence
            return known.setdefault(found[0], self._other(found[0], question, rng))

        parts = [_NAME_OR_NUMBER.sub(other, part) for part in (before, after)]
        if not any(name in question.text for name in known):
            parts = self._reworded(parts, question, rng)
        return self._other(question.gold[0], question, rng).join(parts).strip()

    def _other(self, text: str, question: Question, rng: random.Random) -> str:
        """Another one of the same kind: a number of the same shape, or an answer to another question."""
        if re.fullmatch(r"[\d,.]+", text):
            return _other_number(text, rng)
        kind = _kind(text)
        for pool in (self.others.get((kind, len(text.split())), ()), _FAKES[kind]):
            if found := [one for one in pool if one != text and one not in question.text]:
                return rng.choice(found)
        return _FAKES["phrase"][0]

    def _reworded(self, parts: list[str], question: Question, rng: random.Random) -> list[str]:
        """A word that question and sentence share, exchanged: the longest for which another word ends alike, if any."""
        asked = _common_words(question.text)
        shared = sorted(asked & _common_words(" ".join(parts)), key=lambda word: (-len(word), word))
        found = [(word, [other for other in self.words.get(word[-2:], ()) if other not in asked]) for word in shared]
        found.append((shared[0] if shared else "", ["bridge", "copper", "winter"]))
        word, others = next((word, others) for word, others in found if others)
        return [re.sub(rf"\b{re.escape(word)}\b", rng.choice(others), part) if word else part for part in parts]


def _grouped(texts: Iterable[str], key: Callable[[str], T]) -> dict[T, list[str]]:
    groups: dict[T, list[str]] = {}
    for text in sorted(texts):
        groups.setdefault(key(text), []).append(text)
    return groups


def _other_number(text: str, rng: random.Random) -> str:
    """Of the same shape; a year stays in its century."""
    kept = 2 if _YEAR.fullmatch(text) else 0
    first = rng.choice("0123456789"[1 - kept // 2 :].replace(text[kept], ""))
    return text[:kept] + first + re.sub(r"\d", lambda _: str(rng.randrange(10)), text[kept + 1 :])


def holds(text: str, answer: str) -> bool:
    """Whether the answer is in the text, by its letters or as the words that EM compares."""
    words = squad.normalise(answer)
    return answer.casefold() in text.casefold() or bool(words and f" {words} " in f" {squad.normalise(text)} ")


def _common_words(text: str) -> set[str]:
    return {word for word in _WORD.findall(text) if len(word) >= _LONG and word.islower() and not is_empty(word)}


def _kind(text: str) -> str:
    if _MONTH.search(text):
        return "date"
    if any(map(str.isdigit, text)):
        return "number"
    return "name" if _NAME.search(text) else "phrase"


def _around_answer(text: str, question: Question) -> tuple[str, str]:
    """The sentence with the first answer: what is before the answer, and what is after it.

    Other answers that overlap the first are taken with it: they are longer or shorter marks of the same one.
    """
    marks = [(one.start, one.start + len(one.text)) for one in question.answers]
    first, last = marks[0]
    alike = [(start, end) for start, end in marks if start < last and first < end]
    first, last = min(start for start, _ in alike), max(end for _, end in alike)
    start, end = 0, len(text)
    for found in BOUNDARY.finditer(text):
        if found.end() > first:
            end = max(found.end(), last)
            break
        start = found.end()
    return text[start:first], text[last:end]
