from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from fakes import FirstWordReader
from numpy.typing import NDArray

from search_app.errors import ConfigurationError
from search_app.evaluation.datasets import GoldAnswer, Paragraph, Question
from search_app.hardware import Hardware
from search_app.readers.extractive import ExtractiveReader
from search_app.readers.scoring import AnswerScorer
from search_app.settings import ReaderSettings
from search_app.training.calibration import Case, fit, make_promises, read_cases, write
from search_app.types import Hit, Passage, SpanCandidate


def _cases(count: int, seed: int) -> list[Case]:
    """Two passages per question. The right answer beats its null logit; the wrong one has a higher logit of its own."""
    rng = random.Random(seed)
    cases = []
    for i in range(count):
        answerable = i % 2 == 0
        strength = rng.gauss(4, 2) if answerable else rng.gauss(-3, 2)
        null = rng.uniform(0, 6)
        right = SpanCandidate("a", 0, 5, 0, null + strength, null)
        wrong = SpanCandidate("b", 0, 5, 1, 9.0 + rng.gauss(0, 1), 12.0)
        gold = "right" if rng.random() < 0.9 else "other"
        cases.append(Case(str(i), (gold,), (right, wrong), (0.8, 0.5), (("right", 0), ("wrong", 0)), answerable))
    return cases


def test_the_fit_weighs_answers_against_their_null_logit() -> None:
    scorer = fit(_cases(600, 1), {"files": ["made"]})
    assert scorer.null_weight > 0.5
    assert (scorer.fitted["files"], scorer.fitted["answerable"], scorer.fitted["unanswerable"]) == (["made"], 300, 300)
    firsts = [scorer.rank(case.candidates, case.retrieval)[0] for case in _cases(400, 2)]
    silent = [
        (first.candidate is None) == (not case.answerable) for first, case in zip(firsts, _cases(400, 2), strict=True)
    ]
    assert sum(silent) / len(silent) > 0.85


def test_fitted_confidences_match_the_share_of_right_answers_to_new_questions() -> None:
    scorer = fit(_cases(1000, 1), {})
    confidences, right = [], []
    for case in _cases(1000, 2):
        if case.answerable:
            first = next(one for one in scorer.rank(case.candidates, case.retrieval) if one.candidate)
            assert first.confidence is not None
            confidences.append(first.confidence)
            right.append(case.is_right(first))
    assert sum(confidences) / len(confidences) == pytest.approx(sum(right) / len(right), abs=0.05)
    none = [
        one for case in _cases(200, 3) for one in scorer.rank(case.candidates, case.retrieval) if one.candidate is None
    ]
    assert all(one.confidence is not None and 0 <= one.confidence <= 1 for one in none)


def test_a_promise_holds_for_new_questions() -> None:
    """Also where confidences are too high: the bound is on what was wrong, not on what was expected."""

    def drawn(seed: int, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        rng = np.random.default_rng(seed)
        confidences = rng.random(count)
        return confidences, (rng.random(count) < confidences**2).astype(float)

    confidences, right = drawn(0, 100_000)
    kept = []
    for seed in range(1, 201):
        made, hit = drawn(seed, 2000)
        promises = make_promises(made.tolist(), (hit == 0).tolist(), [True] * 2000, share=0.0)
        shown = confidences >= AnswerScorer(promises=promises).promising(0.3).reliable_from
        kept.append(right[shown].mean() >= 0.7)
        assert shown.mean() > 0.1
    assert sum(kept) >= 190 - 6  # 95 %, less two standard deviations


def test_promises_are_exact_bounds_over_the_stated_share_of_unanswerable_questions() -> None:
    confidences = [1 - i / 1000 for i in range(1000)]
    answerable = [i % 2 == 0 for i in range(1000)]
    first, *_, last = make_promises(confidences, [not kind for kind in answerable], answerable, share=0.2)
    assert last.confidence <= first.confidence
    assert last.wrong == pytest.approx(0.2 + 1.645 * (0.2 * 0.8 / 625) ** 0.5, abs=0.005)
    sure, *_ = make_promises(confidences, [False] * 1000, answerable, share=0.2)
    assert sure.wrong == pytest.approx(1 - 0.05 ** (1 / 62), abs=0.001)  # no wrong answer among 62: the rule of three


def test_too_few_questions_are_refused_with_the_option_that_helps() -> None:
    with pytest.raises(ConfigurationError, match=r"too few held-out questions.*--holdout"):
        fit(_cases(60, 1), {})


def test_a_real_reader_is_calibrated_on_its_own_answers(tmp_path: Path) -> None:
    places = ["Vienna", "Osaka", "Lima", "Weimar", "Essen", "Cairo", "Turin", "Porto", "Leeds", "Bergen"]
    things = ["treaty", "map", "letter", "contract", "peace", "protocol"]
    asked = []
    for thing in things:
        for place in places:
            text = f"The {thing} number {len(asked)} was signed in {place}. Many people came to see it."
            question = Question(str(len(asked)), f"Where was the {thing} signed?", (GoldAnswer(place, 0),))
            asked.append((Paragraph(text, (question,)), question))
    texts = [paragraph.text for paragraph, _ in asked]
    own = {id(question): paragraph.text for paragraph, question in asked}
    order = iter(asked)

    def search(questions: Sequence[str]) -> list[list[Hit]]:
        found = []
        for _ in questions:
            _, question = next(order)
            other = texts[(texts.index(own[id(question)]) + 13) % len(texts)]
            found.append(
                [
                    Hit(Passage(text[:20], text[:20], "", text, 0, len(text)), score)
                    for text, score in ((own[id(question)], 0.9), (other, 0.4))
                ]
            )
        return found

    reader = ExtractiveReader(ReaderSettings(), Hardware("test", 1, frozenset(), "cpu", "float32"))
    scorer = fit(read_cases(reader, asked, search), {"files": ["made"]})
    write(scorer, tmp_path)
    assert AnswerScorer.load(tmp_path) == scorer
    assert scorer.fitted["answerable"] == scorer.fitted["unanswerable"] == 60
    assert scorer.fitted["f1"] > 98
    assert "reader.json" in (tmp_path / "SHA256SUMS").read_text()


def test_a_question_whose_paragraph_was_not_found_stays_a_case() -> None:
    asked = []
    for number, answers in enumerate([(GoldAnswer("Lima", 0),), (GoldAnswer("Ulm", 0),), ()]):
        question = Question(str(number), f"Where is {number}?", answers)
        asked.append((Paragraph(f"Lima {number}", (question,)), question))
    text = asked[0][0].text
    hits = [Hit(Passage("p", "d", "", text, 0, len(text)), 0.9), Hit(Passage("q", "e", "", "Rome", 0, 4), 0.5)]
    found = read_cases(FirstWordReader(), asked, lambda questions: [hits for _ in questions], withhold=False)
    assert [(case.question, case.answerable) for case in found] == [("0", True), ("1", False), ("2", False)]
    more = read_cases(FirstWordReader(), asked, lambda questions: [hits for _ in questions])
    assert [(case.question, case.answerable) for case in more] == [
        ("0", True),
        ("0", False),
        ("1", False),
        ("2", False),
    ]
