from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from search_app.errors import ConfigurationError
from search_app.readers.scoring import AnswerScorer, Logistic
from search_app.training.calibration import Case
from search_app.training.recalibration import install, previous, recalibrate, restore
from search_app.types import SpanCandidate

OVERCONFIDENT = AnswerScorer(
    answer=Logistic(("above_null",), (3.0,), 4.0), none=Logistic(("above_null",), (-1.0,), 0.0)
)


def _cases(count: int, seed: int = 0) -> list[Case]:
    """The likelier an answer is right, the more its logit is above that of "no answer"."""
    rng = random.Random(seed)
    cases = []
    for i in range(count):
        lead = rng.gauss(0, 2)
        right = rng.random() < 1 / (1 + 2.718**-lead)
        answerable = i % 5 > 0
        candidate = SpanCandidate("a", 0, 5, 0, lead, 0.0)
        cases.append(Case(str(i), ("right" if right else "other",), (candidate,), (1.0,), (("right", 0),), answerable))
    return cases


def test_few_questions_scale_the_old_confidence() -> None:
    done = recalibrate(OVERCONFIDENT, _cases(120), unanswerable=0.2, reader="r")
    assert done.before is not None
    assert done.before.ece > 0.3 > 0.15 > done.after.ece
    assert not done.refitted
    assert done.scorer.answer is not None
    assert done.scorer.answer.features == ("above_null",)
    assert done.scorer.fitted["reader"] == "r"


def test_many_questions_fit_all_weights() -> None:
    done = recalibrate(OVERCONFIDENT, _cases(2000), unanswerable=0.2, reader="r")
    assert done.refitted
    assert done.after.ece < 0.1
    assert done.scorer.answer is not None
    assert "share" in done.scorer.answer.features


def test_a_promise_of_few_questions_is_careful() -> None:
    few = recalibrate(OVERCONFIDENT, _cases(60), unanswerable=0.2, reader="r").scorer
    many = recalibrate(OVERCONFIDENT, _cases(2000), unanswerable=0.2, reader="r").scorer
    assert min(one.wrong for one in few.promises) > min(one.wrong for one in many.promises)


def test_questions_that_are_all_answerable_are_enough() -> None:
    cases = [replace(case, answerable=True) for case in _cases(120)]
    done = recalibrate(OVERCONFIDENT, cases, unanswerable=0.2, reader="r")
    assert sum(count for *_, count in done.after.bins) == 120


def test_too_few_and_one_sided_questions_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="8 questions with an answer are too few to calibrate, at least 20"):
        recalibrate(OVERCONFIDENT, _cases(10), unanswerable=0.2, reader="r")
    with pytest.raises(ConfigurationError, match="no calibration to adjust, so at least 300 labelled questions"):
        recalibrate(AnswerScorer(), _cases(100), unanswerable=0.2, reader="r")
    wrong = [Case(c.question, ("never",), c.candidates, c.retrieval, c.texts, c.answerable) for c in _cases(100)]
    with pytest.raises(ConfigurationError, match="every answer to these questions is wrong"):
        recalibrate(OVERCONFIDENT, wrong, unanswerable=0.2, reader="r")


def test_the_calibration_before_the_last_one_can_be_brought_back(tmp_path: Path) -> None:
    file = tmp_path / "home" / "calibration.json"
    first, second = AnswerScorer(no_answer=1.0), AnswerScorer(no_answer=2.0)
    install(first, file)
    install(second, file)
    assert AnswerScorer.read(file) == second
    assert restore(file)
    assert AnswerScorer.read(file) == first
    assert not previous(file).exists()
    assert not restore(file)  # the checkpoint's own
    with pytest.raises(ConfigurationError, match=r"calibration\.json does not exist"):
        restore(file)
