"""Search over labelled paragraphs in memory: it measures an encoder, and finds hard negatives."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search_app.evaluation.datasets import Dataset, Paragraph
from search_app.evaluation.evaluate import evaluate_retrieval, paragraph_id
from search_app.evaluation.squad import normalise
from search_app.manifest import encoded_text
from search_app.protocols import Encoder
from search_app.text.reading import titled
from search_app.training.data import word_runs
from search_app.types import Hit, Passage

Search = Callable[[Sequence[str]], Sequence[Sequence[Hit]]]
"""The hits of each question, best first."""

DEPTH = 40
HARDEST = 10
"""A negative is one of so many best hits that are no answer."""


class ParagraphSearch:
    """Dense search over all paragraphs of some datasets, each with the title of its article."""

    def __init__(self, encoder: Encoder, datasets: Sequence[Dataset]) -> None:
        found = {(a.title.replace("_", " "), p.text): None for d in datasets for a in d.articles for p in a.paragraphs}
        self._passages = [
            Passage(str(i), str(i), title, text, 0, len(text)) for i, (title, text) in enumerate(found)
        ]  # fmt: skip
        self._encoder = encoder
        self._vectors = encoder.encode_passages([titled(title, text) for title, text in found])

    def __call__(self, questions: Sequence[str]) -> list[list[Hit]]:
        """At most DEPTH hits for each question."""
        vectors = self._encoder.encode_queries(questions)
        return [self._hits(row @ self._vectors.T) for row in vectors]

    def _hits(self, scores: NDArray[np.float32]) -> list[Hit]:
        return [Hit(self._passages[i], float(scores[i])) for i in np.argsort(-scores, kind="stable")[:DEPTH]]


def measure(encoder: Encoder, development: Dataset, others: Sequence[Dataset] = ()) -> dict[str, float]:
    """Success@1, Success@10 and MRR@10 of the development questions, over its paragraphs and those of `others`."""
    found = evaluate_retrieval(
        ParagraphSearch(encoder, [development, *others]), development, document_key=lambda hit: hit.passage.text.strip()
    )
    return {name: value for name, value in found.items() if name != "seconds"}


@dataclass(frozen=True, slots=True)
class Triple:
    """A question, a passage that answers it, and one that looks as if it did; both with their titles."""

    question: str
    positive: str
    negative: str


def mine(dataset: Dataset, search: Search, cut: Callable[[str, Paragraph, int], str], seed: int) -> list[Triple]:
    """A triple for each answered question; the negative is a random one of the HARDEST hits that are no answer.

    A hit is an answer if it has one of the gold answers, or shares a run of words with the question's own paragraph.
    `cut` gives the part of a paragraph that the encoder reads, with its title, around a character. A question without
    a hit that may be a negative gets another question's passage.
    """
    rng = random.Random(seed)
    asked = [item for item in dataset.titled_questions if item[2].answers]
    found = search([question.text for *_, question in asked])
    positives = [cut(title, paragraph, question.answers[0].start) for title, paragraph, question in asked]
    triples: list[Triple] = []
    for i, ((_, paragraph, question), hits) in enumerate(zip(asked, found, strict=True)):
        wrong = [encoded_text(hit.passage) for hit in hits if not _answers(hit, paragraph, question.gold)][:HARDEST]
        triples.append(Triple(question.text, positives[i], rng.choice(wrong or _others(positives, i))))
    return triples


def _answers(hit: Hit, own: Paragraph, gold: Sequence[str]) -> bool:
    text = normalise(hit.passage.text)
    if hit.passage.text.strip() == paragraph_id(own) or any(normalise(answer) in text for answer in gold):
        return True
    return not set(word_runs(own.text)).isdisjoint(word_runs(hit.passage.text))


def _others(positives: Sequence[str], own: int) -> list[str]:
    return [text for text in positives if text != positives[own]] or [positives[own - 1]]
