"""How far a confidence can be trusted: calibration error, Brier score, and risk against coverage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 15
_RESAMPLES = 1_000
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Calibration:
    """How well confidences match frequencies.

    `ece`: expected calibration error over bins of equal size (Nguyen and O'Connor 2015), with the 95 % bootstrap
    interval `ece_low`..`ece_high`. `aurc`: area under the risk-coverage curve (Geifman and El-Yaniv 2017), the mean
    share of wrong answers when only the surest are shown; lower is better. `bins` rows: mean confidence, share right,
    count. `risks` rows: share of the answers shown, share wrong among them.
    """

    brier: float
    ece: float
    ece_low: float
    ece_high: float
    aurc: float
    bins: tuple[tuple[float, float, int], ...]
    risks: tuple[tuple[float, float], ...]

    @property
    def numbers(self) -> dict[str, float]:
        """The measures by name, without the rows of the plots."""
        return {name: getattr(self, name) for name in ("ece", "ece_low", "ece_high", "brier", "aurc")}

    @property
    def rows(self) -> dict[str, Sequence[Sequence[float]]]:
        """The rows of the plots, `bins` and `risks`."""
        return {"bins": self.bins, "risks": self.risks}


def measure_calibration(
    confidences: Sequence[float], right: Sequence[float], *, bins: int = BINS, seed: int = 0
) -> Calibration:
    """`right` is 1 for a right answer, else 0. Both have one value per answer, at least one."""
    expected, actual = np.asarray(confidences, dtype=np.float64), np.asarray(right, dtype=np.float64)
    rng = np.random.default_rng(seed)
    draws = (rng.integers(0, len(expected), len(expected)) for _ in range(_RESAMPLES))
    low, high = np.quantile([_ece(_bins(expected[rows], actual[rows], bins)) for rows in draws], [0.025, 0.975])
    rows = _bins(expected, actual, bins)
    risks = _risks(expected, actual)
    return Calibration(
        brier=float(np.mean((expected - actual) ** 2)),
        ece=_ece(rows),
        ece_low=float(low),
        ece_high=float(high),
        aurc=float(risks.mean()),
        bins=tuple(rows),
        risks=tuple(_thinned(risks)),
    )


def _bins(expected: Floats, actual: Floats, bins: int) -> list[tuple[float, float, int]]:
    """Bins of equal size, from the least to the most confident."""
    order = np.argsort(expected, kind="stable")
    parts = np.array_split(order, min(bins, len(order)))
    return [(float(expected[part].mean()), float(actual[part].mean()), len(part)) for part in parts]


def _ece(rows: Sequence[tuple[float, float, int]]) -> float:
    return sum(count * abs(mean - share) for mean, share, count in rows) / sum(count for *_, count in rows)


def _risks(expected: Floats, actual: Floats) -> Floats:
    """float64 (n,): share wrong among the 1..n most confident answers."""
    order = np.argsort(-expected, kind="stable")
    risks: Floats = np.cumsum(1 - actual[order]) / np.arange(1, len(order) + 1)
    return risks


def _thinned(risks: Floats, points: int = 100) -> list[tuple[float, float]]:
    shown = np.unique(np.linspace(1, len(risks), min(points, len(risks))).round().astype(int))
    return [(float(count / len(risks)), float(risks[count - 1])) for count in shown]
