"""Refit the confidence of a reader on the user's own labelled questions."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from search_app.errors import ConfigurationError
from search_app.evaluation.calibration import Calibration, measure_calibration
from search_app.readers.scoring import AnswerScorer, Logistic
from search_app.training.calibration import (
    MIN_CASES,
    Calibrate,
    Case,
    Ranked,
    answer_calibrator,
    draw,
    first_spans,
    fit,
    out_of_fold,
    promises_of,
)

LEAST_QUESTIONS = 20
FULL_FIT = 300
"""Questions from which all weights are fitted; below it, only the scale of the old confidence."""


@dataclass(frozen=True, slots=True)
class Recalibration:
    """The new scorer, and how well the old and the new confidence match the questions (the new one out of fold)."""

    scorer: AnswerScorer
    before: Calibration | None
    after: Calibration
    questions: int
    unanswerable: float
    refitted: bool


def recalibrate(old: AnswerScorer, cases: Sequence[Case], *, unanswerable: float, reader: str) -> Recalibration:
    """`unanswerable` is the share of questions without an answer. `reader` names what the confidence is for.

    With FULL_FIT questions or more, every weight is fitted again. With fewer, the old log-odds are scaled and shifted
    (Platt 1999): two numbers, which some tens of questions suffice for. Raises ConfigurationError for fewer than
    LEAST_QUESTIONS, and for questions that are all answered right or all wrong.
    """
    answerable = sum(case.answerable for case in cases)
    if answerable < LEAST_QUESTIONS:
        raise ConfigurationError(
            f"{answerable} questions with an answer are too few to calibrate, at least {LEAST_QUESTIONS} are needed",
            hint="add labelled questions",
            field="data",
        )
    about = {"reader": reader, "questions": answerable}
    whole = answerable >= FULL_FIT and len(cases) - answerable >= MIN_CASES
    scorer = fit(cases, about, unanswerable=unanswerable) if whole else old
    ranked = first_spans(cases, scorer)
    weights = _weights(ranked, unanswerable)
    calibrate: Calibrate = answer_calibrator if whole else _rescaling(old.answer)
    confidences = out_of_fold(ranked, weights, calibrate)
    right = [case.is_right(answers[0]) for case, answers in ranked]
    if not whole:
        _require_both(right)
        scorer = replace(
            old,
            answer=calibrate(ranked, weights),
            promises=promises_of(ranked, confidences, unanswerable),
            fitted=dict(about) | {"share unanswerable": round(unanswerable, 3)},
        )
    drawn = draw([case.answerable for case, _ in ranked], unanswerable, 0)
    return Recalibration(
        scorer,
        before=_before(old, cases, unanswerable),
        after=measure_calibration([confidences[i] for i in drawn], [right[i] for i in drawn]),
        questions=answerable,
        unanswerable=unanswerable,
        refitted=whole,
    )


def install(scorer: AnswerScorer, file: Path) -> None:
    """Write the calibration. The one before it is kept for `restore`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    new.write_text(scorer.to_json(), encoding="utf-8")
    if file.exists():
        os.replace(file, previous(file))
    else:
        previous(file).unlink(missing_ok=True)
    os.replace(new, file)


def restore(file: Path) -> bool:
    """Bring back the calibration before the last `install`; False if it is that of the checkpoint itself."""
    if not file.exists():
        raise ConfigurationError(f"{file} does not exist: the reader has its own calibration", field="rollback")
    if previous(file).exists():
        os.replace(previous(file), file)
        return True
    file.unlink()
    return False


def previous(file: Path) -> Path:
    """Where the calibration before the last one is."""
    return file.with_suffix(".previous.json")


def _before(old: AnswerScorer, cases: Sequence[Case], unanswerable: float) -> Calibration | None:
    ranked = first_spans(cases, old)
    confidences = [answers[0].confidence for _, answers in ranked]
    right = [case.is_right(answers[0]) for case, answers in ranked]
    drawn = draw([case.answerable for case, _ in ranked], unanswerable, 0)
    known = [(confidence, right[i]) for i in drawn if (confidence := confidences[i]) is not None]
    return measure_calibration([one for one, _ in known], [hit for _, hit in known]) if known else None


def _weights(ranked: Sequence[Ranked], unanswerable: float) -> list[float]:
    """Such that the unanswerable cases count as `unanswerable` of all."""
    answerable = sum(case.answerable for case, _ in ranked)
    weight = unanswerable / (1 - unanswerable) * answerable / max(1, len(ranked) - answerable)
    return [1.0 if case.answerable else weight for case, _ in ranked]


def _rescaling(old: Logistic | None) -> Calibrate:
    if old is None:
        raise ConfigurationError(
            f"this reader has no calibration to adjust, so at least {FULL_FIT} labelled questions are needed",
            hint="add labelled questions",
            field="data",
        )

    def calibrate(ranked: Sequence[Ranked], weights: Sequence[float]) -> Logistic:
        odds = np.array([[_log_odds(old.probability(answers[0].features))] for _, answers in ranked])
        right = np.array([case.is_right(answers[0]) for case, answers in ranked]) > 0.5
        if right.all() or not right.any():
            return old
        model = LogisticRegression(C=10.0).fit(odds, right, sample_weight=np.asarray(weights))
        return old.rescaled(float(model.coef_[0, 0]), float(model.intercept_[0]))

    return calibrate


def _require_both(right: Sequence[float]) -> None:
    if len(set(right)) < 2:
        kind = "right" if right and right[0] else "wrong"
        raise ConfigurationError(
            f"every answer to these questions is {kind}, which tells nothing about the confidence",
            hint="add other labelled questions; check that the answers are written as in the documents",
            field="data",
        )


def _log_odds(probability: float) -> float:
    bounded = min(max(probability, 1e-6), 1 - 1e-6)
    return float(np.log(bounded / (1 - bounded)))
