"""Compare two measurements of the same questions by a paired bootstrap (Efron and Tibshirani 1993)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from search_app.errors import ConfigurationError
from search_app.evaluation.results import QuestionResult, Results

_RESAMPLES = 10_000


@dataclass(frozen=True, slots=True)
class Difference:
    """Means of one measure (0..1) over all questions; `low`..`high` is the 95 % interval of second minus first."""

    measure: str
    first: float
    second: float
    low: float
    high: float

    @property
    def difference(self) -> float:
        return self.second - self.first

    @property
    def certain(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """`better` and `worse` are the questions whose first measure rose or fell, each before and after."""

    questions: int
    differences: tuple[Difference, ...]
    better: tuple[tuple[QuestionResult, QuestionResult], ...]
    worse: tuple[tuple[QuestionResult, QuestionResult], ...]


def compare(first: Results, second: Results, *, seed: int = 0) -> Comparison:
    """Raises ConfigurationError unless both measured the same questions in the same way."""
    pairs = list(_pairs(first, second))
    names = list(pairs[0][0].scores)
    rows = np.random.default_rng(seed).integers(0, len(pairs), (_RESAMPLES, len(pairs)), dtype=np.int32)
    differences = []
    for name in names:
        before, after = (np.array([pair[side].scores[name] for pair in pairs]) for side in (0, 1))
        changes = after - before
        low, high = np.quantile([changes[draw].mean() for draw in rows], [0.025, 0.975])
        differences.append(Difference(name, float(before.mean()), float(after.mean()), float(low), float(high)))
    changed = [(one.scores[names[0]] - other.scores[names[0]], one, other) for one, other in pairs]
    return Comparison(
        len(pairs),
        tuple(differences),
        better=tuple((one, other) for change, one, other in changed if change < 0),
        worse=tuple((one, other) for change, one, other in changed if change > 0),
    )


def _pairs(first: Results, second: Results) -> Iterator[tuple[QuestionResult, QuestionResult]]:
    if first.measure != second.measure:
        raise _unlike(f"one measured '{first.measure}', the other '{second.measure}'")
    others = {item.id: item for item in second.questions}
    if missing := others.keys() ^ {item.id for item in first.questions}:
        shown = ", ".join(sorted(missing)[:3])
        raise _unlike(f"{len(missing)} questions are in one file only, such as {shown}")
    if not first.questions:
        raise _unlike("they have no questions")
    for item in first.questions:
        other = others[item.id]
        if item.scores.keys() != other.scores.keys():
            raise _unlike(f"question {item.id} has other measures")
        yield item, other


def _unlike(why: str) -> ConfigurationError:
    return ConfigurationError(
        f"the two results cannot be compared: {why}",
        hint="measure both with the same --data, --limit and --seed",
        field="results",
    )
