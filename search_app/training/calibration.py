"""Fits what stands in `reader.json`: how retrieval and "no answer" weigh, and the confidences.

Fitted on held-out questions whose hits come from the search that the reader is served with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from search_app.errors import ConfigurationError
from search_app.evaluation import squad
from search_app.evaluation.datasets import Paragraph, Question
from search_app.evaluation.evaluate import paragraph_id
from search_app.readers import checksums
from search_app.readers.calibration import FEATURES, FILE, Evidence, Logistic, Ranked
from search_app.readers.extractive import ExtractiveReader
from search_app.readers.spans import Mark
from search_app.types import Hit

NULL_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
RETRIEVAL_WEIGHTS = (0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)
BATCH = 16
FEWEST = 50
UNANSWERABLE_SHARE = 0.2
"""Of the questions that people ask, how many their documents do not answer: an assumption, as good as one can be."""

Search = Callable[[Sequence[str]], Sequence[Sequence[Hit]]]
"""As many hits for each question as the reader is to read, best first."""


@dataclass(frozen=True, slots=True)
class Case:
    """One held-out question as served: gold answers, marks not yet ranked, scores and texts of its hits."""

    gold: tuple[str, ...]
    marks: tuple[Mark, ...]
    retrieval: tuple[float, ...]
    texts: tuple[tuple[str, int], ...]
    answerable: bool

    def text(self, mark: Mark) -> str:
        text, start = self.texts[mark.hit]
        return text[mark.start - start : mark.end - start]

    def right(self, ranked: Ranked | None) -> float:
        """Exact match; "no answer" is right where none of the hits is the gold paragraph."""
        if ranked is None:
            return 0.0
        if ranked.mark is None:
            return float(not self.answerable)
        return squad.exact(self.text(ranked.mark), self.gold) if self.answerable else 0.0


def read_cases(
    reader: ExtractiveReader,
    asked: Sequence[tuple[Paragraph, Question]],
    search: Search,
    progress: Callable[[int, int], None] | None = None,
) -> list[Case]:
    """Every question with the hits that `search` finds; and once more without its own paragraph, as unanswerable."""
    cases: list[Case] = []
    for begin in range(0, len(asked), BATCH):
        part = asked[begin : begin + BATCH]
        questions = [question.text for _, question in part]
        hits = search(questions)
        marks = reader.mark(questions, hits)
        for (paragraph, question), found, seen in zip(part, hits, marks, strict=True):
            own = {rank for rank, hit in enumerate(found) if hit.passage.text.strip() in paragraph_id(paragraph)}
            cases.append(_case(question, found, seen, bool(own)))
            if own:
                without = {rank: place for place, rank in enumerate(r for r in range(len(found)) if r not in own)}
                rest = [replace(mark, hit=without[mark.hit]) for mark in seen if mark.hit in without]
                if rest:
                    # Scores are relative to the best hit, so without it the next one would have got its score.
                    shifted = [replace(found[rank], score=found[place].score) for rank, place in without.items()]
                    cases.append(_case(question, shifted, rest, False))
        if progress:
            progress(min(begin + BATCH, len(asked)), len(asked))
    return cases


def fit(cases: Sequence[Case], about: Mapping[str, object]) -> Evidence:
    """The weights with the best exact match on the answerable cases, then the threshold, then the confidences.

    `about` is kept in the result: on what it was fitted. Raises ConfigurationError for too few cases.
    """
    answerable = [case for case in cases if case.answerable]
    unanswerable = [case for case in cases if not case.answerable]
    if len(answerable) < FEWEST or len(unanswerable) < FEWEST:
        raise ConfigurationError(
            f"{len(answerable)} answerable and {len(unanswerable)} unanswerable held-out questions are too few "
            f"to calibrate on (at least {FEWEST} of each)",
            hint="train with a larger --holdout",
        )
    grid = [Evidence(null_weight=n, retrieval_weight=r) for n in NULL_WEIGHTS for r in RETRIEVAL_WEIGHTS]
    f1 = [np.mean([_marked_f1(case, evidence) for case in answerable]) for evidence in grid]
    evidence = grid[int(np.argmax(f1))]
    evidence = replace(evidence, no_answer=_threshold(answerable, unanswerable, evidence))

    ranked = [(case, found) for case in cases if (found := _marked(case, evidence))]
    share = UNANSWERABLE_SHARE / (1 - UNANSWERABLE_SHARE) * len(answerable) / len(unanswerable)
    weights = [1.0 if case.answerable else share for case, _ in ranked]
    seen = [
        (case, answer, weight) for (case, found), weight in zip(ranked, weights, strict=True) for answer in found[:3]
    ]
    answer = _logistic([a.features for _, a, _ in seen], [case.right(a) for case, a, _ in seen], [w for *_, w in seen])
    none = _logistic(
        [found[0].features for _, found in ranked], [float(not case.answerable) for case, _ in ranked], weights
    )
    facts = {"answerable": len(answerable), "unanswerable": len(unanswerable), "f1": round(100 * float(max(f1)), 2)}
    return replace(evidence, answer=answer, none=none, fitted=dict(about) | facts)


def write(evidence: Evidence, folder: Path) -> None:
    """As `reader.json` into the reader's folder, with new checksums."""
    (folder / FILE).write_text(evidence.to_json(), encoding="utf-8")
    checksums.write(folder)


def _case(question: Question, hits: Sequence[Hit], marks: Sequence[Mark], answerable: bool) -> Case:
    return Case(
        gold=tuple(question.gold),
        marks=tuple(marks),
        retrieval=tuple(hit.score for hit in hits),
        texts=tuple((hit.passage.text, hit.passage.start) for hit in hits),
        answerable=answerable,
    )


def _marked(case: Case, evidence: Evidence) -> list[Ranked]:
    return [ranked for ranked in evidence.rank(case.marks, case.retrieval) if ranked.mark]


def _marked_f1(case: Case, evidence: Evidence) -> float:
    first = next((ranked.mark for ranked in _marked(case, evidence)), None)
    return squad.f1(case.text(first), case.gold) if first else 0.0


def _threshold(answerable: Sequence[Case], unanswerable: Sequence[Case], evidence: Evidence) -> float:
    """The `no_answer` at which most first places are right, with UNANSWERABLE_SHARE of unanswerable cases."""
    lead: list[float] = []
    gain: list[float] = []
    for cases in (answerable, unanswerable):
        for case in cases:
            ranked = evidence.rank(case.marks, case.retrieval)
            none = next((one for one in ranked if one.mark is None), None)
            first = next((one for one in ranked if one.mark), None)
            if none is None or first is None:
                continue
            # From here on "no answer" comes first: what that wins or loses.
            lead.append(first.score - none.score)
            share = 1 - UNANSWERABLE_SHARE if cases is answerable else UNANSWERABLE_SHARE
            gain.append((case.right(none) - case.right(first)) * share / len(cases))
    order = np.argsort(lead)
    total = np.concatenate([[0.0], np.cumsum(np.array(gain)[order])])
    best = int(np.argmax(total))
    at = np.array(lead)[order]
    if best == 0:
        return float(at[0]) - 1
    return float(at[best - 1] + at[min(best, len(at) - 1)]) / 2


def _logistic(
    rows: Sequence[Mapping[str, float]], labels: Sequence[float], sample_weights: Sequence[float]
) -> Logistic:
    """Fitted on standardised features; the scaling is folded into the weights."""
    x: NDArray[np.float64] = np.array([[row[name] for name in FEATURES] for row in rows])
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    deviation[deviation == 0] = 1
    model = LogisticRegression(C=1.0, max_iter=1000)
    model.fit((x - mean) / deviation, np.array(labels) > 0.5, sample_weight=np.array(sample_weights))
    weights = model.coef_[0] / deviation
    bias = float(model.intercept_[0] - weights @ mean)
    return Logistic(FEATURES, tuple(float(weight) for weight in weights), bias)
