"""Two measurements of the same questions: differences with intervals, and the questions that changed."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from pathlib import Path

import pytest
from lxml import html

from search_app.errors import ConfigurationError
from search_app.evaluation.calibration import measure_calibration
from search_app.evaluation.compare import compare
from search_app.evaluation.measurement import Measurement
from search_app.evaluation.report import comparison_page, measurement_page
from search_app.evaluation.results import QuestionResult, Results, load_results


def _results(scores: list[float], *, measure: str = "answers", prefix: str = "q") -> Results:
    questions = [
        QuestionResult(f"{prefix}{i}", f"Question <{i}>?", ("gold",), f"answer {score}", {"em": score, "f1": score})
        for i, score in enumerate(scores)
    ]
    return Results(measure, "data.json", tuple(questions))


def test_a_clear_difference_has_an_interval_without_zero() -> None:
    rng = random.Random(0)
    before = [float(rng.random() < 0.5) for _ in range(1_000)]
    after = [max(score, float(rng.random() < 0.2)) for score in before]
    found = compare(_results(before), _results(after))
    em = found.differences[0]
    assert em.measure == "em"
    assert em.difference == pytest.approx((sum(after) - sum(before)) / 1_000)
    assert 0 < em.low < em.difference < em.high
    assert em.certain
    assert (len(found.better), len(found.worse)) == (round(sum(after) - sum(before)), 0)


def test_the_interval_is_that_of_the_mean_of_paired_differences() -> None:
    rng = random.Random(1)
    changes = [rng.choice([-1.0, 0.0, 0.0, 1.0]) for _ in range(2_000)]
    before = [max(0.0, -change) for change in changes]
    after = [max(0.0, change) for change in changes]
    em = compare(_results(before), _results(after)).differences[0]
    mean = sum(changes) / 2_000
    error = (sum((change - mean) ** 2 for change in changes) / 2_000**2) ** 0.5
    assert em.low == pytest.approx(mean - 1.96 * error, abs=0.002)
    assert em.high == pytest.approx(mean + 1.96 * error, abs=0.002)


def test_equal_results_do_not_differ() -> None:
    found = compare(_results([1.0, 0.0, 1.0]), _results([1.0, 0.0, 1.0]))
    assert not found.differences[0].certain
    assert (found.better, found.worse) == ((), ())


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (_results([1.0], measure="reader"), "one measured 'answers', the other 'reader'"),
        (_results([1.0], prefix="x"), "2 questions are in one file only, such as q0, x0"),
    ],
)
def test_other_questions_are_not_compared(second: Results, message: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        compare(_results([1.0]), second)


def test_results_are_read_as_they_were_saved(tmp_path: Path) -> None:
    results = replace(_results([1.0, 0.0]), numbers={"em": 50.0, "typos": {"em": 40.0}})
    results.save(tmp_path / "a.json")
    assert load_results(tmp_path / "a.json") == results


@pytest.mark.parametrize("text", ["", "[]", '{"measure": "reader"}', '{"questions": [{"id": 1}], "measure": "x"}'])
def test_a_file_that_is_no_result_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ConfigurationError, match=r"a\.json is not a file of results"):
        load_results(tmp_path / "a.json")


def test_the_pages_stand_alone_and_escape_what_they_show() -> None:
    found = compare(_results([1.0, 0.0, 0.0]), _results([0.0, 1.0, 1.0]))
    page = comparison_page("a and <b>", ("a", "<b>"), found)
    tree = html.document_fromstring(page)
    assert tree.xpath("//h1/text()") == ["a and <b>"]
    assert tree.xpath("//h2/text()") == ["Better: 2", "Worse: 1"]
    assert "Question <0>?" in tree.xpath("//td/text()")
    calibration = measure_calibration([0.9, 0.2, 0.5], [1, 0, 1])
    other = measurement_page("Answers", [Measurement({"em": 66.7}, calibration)])
    for text in (page, other):
        assert not re.search(r"(src|href)=|url\(|<script", text)
    assert len(html.document_fromstring(other).xpath("//figure")) == 2
