"""Calibration error, Brier score and risk-coverage on answers whose measures are known."""

from __future__ import annotations

import numpy as np
import pytest

from search_app.evaluation.calibration import measure_calibration


def test_confidences_that_match_frequencies_have_no_calibration_error() -> None:
    calibrated = measure_calibration([0.25] * 4 + [0.75] * 4, [1, 0, 0, 0, 1, 1, 1, 0], bins=2)
    assert calibrated.ece == pytest.approx(0)
    assert calibrated.bins == ((0.25, 0.25, 4), (0.75, 0.75, 4))
    overconfident = measure_calibration([1.0] * 4, [1, 0, 0, 0], bins=1)
    assert overconfident.ece == pytest.approx(0.75)
    assert overconfident.brier == pytest.approx(0.75)


def test_bins_have_equal_size() -> None:
    rng = np.random.default_rng(0)
    confidences = rng.random(3_000) ** 4
    found = measure_calibration(confidences.tolist(), (rng.random(3_000) < confidences).tolist())
    assert [count for *_, count in found.bins] == [200] * 15
    assert [mean for mean, *_ in found.bins] == sorted(mean for mean, *_ in found.bins)
    assert found.ece < 0.03
    assert found.ece_low <= found.ece <= found.ece_high


def test_risk_falls_when_the_surest_answers_are_right() -> None:
    surest_first = measure_calibration([0.9, 0.8, 0.2, 0.1], [1, 1, 0, 0])
    assert surest_first.risks == ((0.25, 0.0), (0.5, 0.0), (0.75, pytest.approx(1 / 3)), (1.0, 0.5))
    assert surest_first.aurc == pytest.approx((0 + 0 + 1 / 3 + 1 / 2) / 4)
    assert measure_calibration([0.1, 0.2, 0.8, 0.9], [1, 1, 0, 0]).aurc > surest_first.aurc


def test_one_answer_is_enough() -> None:
    found = measure_calibration([0.5], [1])
    assert (found.brier, found.aurc, len(found.bins)) == (0.25, 0.0, 1)
