"""Fit `reader.json`: the weights of retrieval and "no answer", and the confidences.

The cases are labelled questions that the reader was not trained on, with hits from the search that it is used with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta
from sklearn.linear_model import LogisticRegression

from search_app.errors import ConfigurationError
from search_app.evaluation import squad
from search_app.evaluation.datasets import Paragraph, Question
from search_app.evaluation.evaluate import paragraph_id
from search_app.models import checksums
from search_app.readers.extractive import ExtractiveReader
from search_app.readers.scoring import FEATURES, FILE, AnswerScorer, Logistic, Promise, ScoredAnswer, comparable
from search_app.types import Hit, SpanCandidate

NULL_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
RETRIEVAL_WEIGHTS = (0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)
BATCH = 16
MIN_CASES = 50
UNANSWERABLE_SHARE = 0.2
"""Share of real questions that the documents do not answer: assumed where the data cannot tell."""
FOLDS = 5
ERROR_LEVEL = 0.05
"""The chance that a promise does not hold for questions like those of the calibration."""
COVERAGES = tuple(round(0.1 + 0.025 * step, 3) for step in range(37))
"""Shares of the answers, surest first, for which a promise is made."""

Search = Callable[[Sequence[str]], Sequence[Sequence[Hit]]]
"""The hits that the reader reads for each question, best first."""
Owns = Callable[[Paragraph, Question, Hit], bool]
"""Whether a hit has the answer to the question."""


@dataclass(frozen=True, slots=True)
class Case:
    """One held-out question: id, gold answers, span candidates, and the scores and texts of its hits."""

    question: str
    gold: tuple[str, ...]
    candidates: tuple[SpanCandidate, ...]
    retrieval: tuple[float, ...]
    texts: tuple[tuple[str, int], ...]
    answerable: bool

    def text(self, candidate: SpanCandidate) -> str:
        text, start = self.texts[candidate.hit]
        return text[candidate.start - start : candidate.end - start]

    def is_right(self, answer: ScoredAnswer | None) -> float:
        """Exact match; "no answer" is right if none of the hits is the gold paragraph."""
        if answer is None:
            return 0.0
        if answer.candidate is None:
            return float(not self.answerable)
        return squad.exact(self.text(answer.candidate), self.gold) if self.answerable else 0.0

    def misses(self, answer: ScoredAnswer) -> bool:
        """Whether the answer is wrong for a person: it is not close to a right one, let alone exactly right."""
        if answer.candidate is None or not self.answerable:
            return True
        return not squad.is_close(self.text(answer.candidate), self.gold)


Ranked = tuple[Case, list[ScoredAnswer]]
Calibrate = Callable[[Sequence[Ranked], Sequence[float]], Logistic]
"""A fit of the confidence to cases with weights."""


def is_paragraph(paragraph: Paragraph, question: Question, hit: Hit) -> bool:
    """Whether the hit is (a part of) the question's own paragraph."""
    return hit.passage.text.strip() in paragraph_id(paragraph)


def has_answer(paragraph: Paragraph, question: Question, hit: Hit) -> bool:
    """Whether the hit's text has one of the answers: for documents other than the paragraphs of the questions."""
    text = squad.normalise(hit.passage.text)
    return any(squad.normalise(gold) in text for gold in question.gold if gold)


def read_cases(
    reader: ExtractiveReader,
    asked: Sequence[tuple[Paragraph, Question]],
    search: Search,
    progress: Callable[[int, int], None] | None = None,
    owns: Owns = is_paragraph,
    *,
    withhold: bool = True,
) -> list[Case]:
    """Each question with the hits of `search`; it is answerable if it `owns` one.

    With `withhold`, also without those hits, as an unanswerable case.
    """
    cases: list[Case] = []
    for begin in range(0, len(asked), BATCH):
        part = asked[begin : begin + BATCH]
        questions = [question.text for _, question in part]
        found = search(questions)
        for (paragraph, question), hits, candidates in zip(part, found, reader.extract(questions, found), strict=True):
            own = {i for i, hit in enumerate(hits) if question.answers and owns(paragraph, question, hit)}
            cases.append(_case(question, hits, candidates, bool(own)))
            if own and withhold:
                cases += _without(own, question, hits, candidates)
        if progress:
            progress(min(begin + BATCH, len(asked)), len(asked))
    return cases


def fit(
    cases: Sequence[Case], about: Mapping[str, object], *, unanswerable: float = UNANSWERABLE_SHARE
) -> AnswerScorer:
    """Weights with the best F1 on the answerable cases, then the threshold of "no answer", then the confidences.

    `unanswerable` is the share of questions without an answer that the confidences are for. `about` becomes part of
    `fitted`. Raises ConfigurationError for too few cases.
    """
    answerable = [case for case in cases if case.answerable]
    others = [case for case in cases if not case.answerable]
    if len(answerable) < MIN_CASES or len(others) < MIN_CASES:
        raise ConfigurationError(
            f"too few held-out questions to calibrate: {len(answerable)} answerable and {len(others)} "
            f"unanswerable, at least {MIN_CASES} of each are needed",
            hint="train with a larger --holdout",
        )
    grid = [AnswerScorer(null_weight=n, retrieval_weight=r) for n in NULL_WEIGHTS for r in RETRIEVAL_WEIGHTS]
    f1 = [np.mean([_f1(case, scorer) for case in answerable]) for scorer in grid]
    scorer = grid[int(np.argmax(f1))]
    scorer = replace(scorer, no_answer=_threshold(answerable, others, scorer, unanswerable))

    ranked = first_spans(cases, scorer)
    weight = unanswerable / (1 - unanswerable) * len(answerable) / len(others)
    weights = [1.0 if case.answerable else weight for case, _ in ranked]
    facts = {
        "answerable": len(answerable), "unanswerable": len(others), "share unanswerable": round(unanswerable, 3),
        "f1": round(100 * float(max(f1)), 2),
    }  # fmt: skip
    return replace(
        scorer,
        answer=answer_calibrator(ranked, weights),
        none=_logistic(
            [answers[0].features for _, answers in ranked], [float(not case.answerable) for case, _ in ranked], weights
        ),
        promises=promises_of(ranked, out_of_fold(ranked, weights, answer_calibrator), unanswerable),
        fitted=dict(about) | facts,
    )


def first_spans(cases: Sequence[Case], scorer: AnswerScorer) -> list[Ranked]:
    """The cases with their answers, best first, without "no answer here"; those without any answer are left out."""
    return [(case, answers) for case in cases if (answers := _spans(case, scorer))]


def answer_calibrator(ranked: Sequence[Ranked], weights: Sequence[float]) -> Logistic:
    """Fitted on the three best answers of each case."""
    rows = [
        (case, answer, weight)
        for (case, answers), weight in zip(ranked, weights, strict=True)
        for answer in answers[:3]
    ]
    return _logistic([a.features for _, a, _ in rows], [case.is_right(a) for case, a, _ in rows], [w for *_, w in rows])


def out_of_fold(ranked: Sequence[Ranked], weights: Sequence[float], calibrate: Calibrate) -> list[float]:
    """For the first answer of each case its confidence by a fit without its fold.

    The case with and the case without the own passage of one question are in the same fold.
    """
    folds = {question: i % FOLDS for i, question in enumerate(dict.fromkeys(case.question for case, _ in ranked))}
    confidences = [0.0] * len(ranked)
    for fold in range(FOLDS):
        learnt = [i for i, (case, _) in enumerate(ranked) if folds[case.question] != fold]
        calibrator = calibrate([ranked[i] for i in learnt], [weights[i] for i in learnt])
        for i, (case, answers) in enumerate(ranked):
            if folds[case.question] == fold:
                confidences[i] = calibrator.probability(answers[0].features)
    return confidences


def promises_of(ranked: Sequence[Ranked], confidences: Sequence[float], unanswerable: float) -> tuple[Promise, ...]:
    """Promises about the first answer of each case."""
    misses = [case.misses(answers[0]) for case, answers in ranked]
    answerable = [case.answerable for case, _ in ranked]
    return make_promises(confidences, misses, answerable, share=unanswerable)


def make_promises(
    confidences: Sequence[float], misses: Sequence[bool], answerable: Sequence[bool], *, share: float, seed: int = 0
) -> tuple[Promise, ...]:
    """For each of COVERAGES, the least confidence shown and an upper bound of the share of wrong answers.

    The bound is that of Clopper and Pearson (1934), exact for any number of answers, at ERROR_LEVEL. Cases are drawn so
    that `share` of them are unanswerable, as the bound is for equally likely cases.
    """
    rows = np.array(draw(answerable, share, seed), dtype=np.int64)
    sure, missed = np.asarray(confidences)[rows], np.asarray(misses, dtype=np.float64)[rows]
    order = np.argsort(-sure, kind="stable")
    wrong = np.cumsum(missed[order])
    counts = [max(1, round(coverage * len(rows))) for coverage in COVERAGES]
    return tuple(
        Promise(float(sure[order[count - 1]]), _upper_bound(float(wrong[count - 1]), count)) for count in counts
    )


def _upper_bound(wrong: float, count: int) -> float:
    return 1.0 if wrong >= count else float(beta.ppf(1 - ERROR_LEVEL, wrong + 1, count - wrong))


def draw(answerable: Sequence[bool], share: float, seed: int) -> list[int]:
    """As many rows as possible of which `share` are not answerable; all rows if they are of one kind."""
    kinds = [[i for i, kind in enumerate(answerable) if kind == wanted] for wanted in (True, False)]
    if not all(kinds):
        return list(range(len(answerable)))
    parts = (1 - share, share)
    most = min(len(rows) / part for rows, part in zip(kinds, parts, strict=True) if part)
    rng = np.random.default_rng(seed)
    drawn = [rng.permutation(rows)[: round(most * part)].tolist() for rows, part in zip(kinds, parts, strict=True)]
    return [int(i) for rows in drawn for i in rows]


def write(scorer: AnswerScorer, folder: Path) -> None:
    """Write `reader.json` into the reader's folder and renew its checksums."""
    (folder / FILE).write_text(scorer.to_json(), encoding="utf-8")
    checksums.write(folder)


def _case(question: Question, hits: Sequence[Hit], candidates: Sequence[SpanCandidate], answerable: bool) -> Case:
    return Case(
        question=question.id,
        gold=tuple(question.gold),
        candidates=tuple(candidates),
        retrieval=tuple(hit.score for hit in hits),
        texts=tuple((hit.passage.text, hit.passage.start) for hit in hits),
        answerable=answerable,
    )


def _without(own: set[int], question: Question, hits: Sequence[Hit], candidates: Sequence[SpanCandidate]) -> list[Case]:
    """The unanswerable case that remains without the hits `own`, if any candidate remains."""
    rank = {i: rank for rank, i in enumerate(i for i in range(len(hits)) if i not in own)}
    rest = [replace(candidate, hit=rank[candidate.hit]) for candidate in candidates if candidate.hit in rank]
    if not rest:
        return []
    # Scores are relative to the best hit: without it, the next one would have had its score.
    shifted = [replace(hits[i], score=hits[place].score) for i, place in rank.items()]
    return [_case(question, shifted, rest, False)]


def _spans(case: Case, scorer: AnswerScorer) -> list[ScoredAnswer]:
    return [answer for answer in scorer.rank(case.candidates, case.retrieval) if answer.candidate]


def _f1(case: Case, scorer: AnswerScorer) -> float:
    if not case.candidates:
        return 0.0
    best = case.candidates[int(np.argmax(scorer.scores(case.candidates, comparable(case.retrieval))))]
    return squad.f1(case.text(best), case.gold)


def _threshold(
    answerable: Sequence[Case], unanswerable: Sequence[Case], scorer: AnswerScorer, unanswerable_share: float
) -> float:
    """The `no_answer` that makes most first answers right, with `unanswerable_share` of unanswerable cases."""
    lead: list[float] = []
    gain: list[float] = []
    for cases in (answerable, unanswerable):
        for case in cases:
            ranked = scorer.rank(case.candidates, case.retrieval)
            none = next((answer for answer in ranked if answer.candidate is None), None)
            first = next((answer for answer in ranked if answer.candidate), None)
            if none is None or first is None:
                continue
            # Above this threshold "no answer" comes first: what that wins or loses.
            lead.append(first.score - none.score)
            share = 1 - unanswerable_share if cases is answerable else unanswerable_share
            gain.append((case.is_right(none) - case.is_right(first)) * share / len(cases))
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
    return Logistic(FEATURES, tuple(weights.tolist()), bias)
