"""From what was seen when an answer was marked to the probability that it is right. Applied with numpy, fitted elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from search_app.errors import ModelUnavailable

FILE = "reader.json"

ANSWER_FEATURES = ("logit", "above_null", "share", "margin", "retrieval")
"""Of one answer: its start and end logits, the same above its window's "no answer", its share of exp(score) among all
candidates of the question, its lead in score over the best other one (negative if behind), its hit's score."""

NO_ANSWER_FEATURES = ("logit", "above_null", "share", "margin", "retrieval")
"""The same of the question's best answer."""


@dataclass(frozen=True, slots=True)
class Logistic:
    """Logistic regression over named features (Platt 1999, with more than one of them)."""

    features: tuple[str, ...]
    weights: tuple[float, ...]
    bias: float

    def probability(self, values: Mapping[str, float]) -> float:
        """0..1; raises KeyError for a feature that is not among `values`."""
        x = sum(weight * values[name] for name, weight in zip(self.features, self.weights, strict=True)) + self.bias
        # tanh saturates where exp would overflow.
        return float(0.5 * (1 + np.tanh(0.5 * x)))


@dataclass(frozen=True, slots=True)
class Evidence:
    """How a reader's scores are weighed; what stands in `reader.json` beside the weights.

    An answer's score is logit - null_weight * null + retrieval_weight * hit.score, in logits; "no answer here" scores
    (1 - null_weight) * (lowest null) + no_answer + retrieval_weight * (best hit.score). The defaults are what SQuAD
    v2.0's baseline does with one passage and suit a checkpoint that nothing was measured for.
    """

    null_weight: float = 0.0
    retrieval_weight: float = 0.0
    no_answer: float = 0.0
    answer: Logistic | None = None
    none: Logistic | None = None
    fitted: Mapping[str, object] = field(default_factory=dict)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def load(cls, folder: Path) -> Evidence:
        """What stands beside the weights, or the defaults; ModelUnavailable where the file cannot be read."""
        path = folder / FILE
        if not path.is_file():
            return cls()
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                null_weight=float(data["null_weight"]),
                retrieval_weight=float(data["retrieval_weight"]),
                no_answer=float(data["no_answer"]),
                answer=_logistic(data.get("answer")),
                none=_logistic(data.get("none")),
                fitted=data.get("fitted") or {},
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelUnavailable(
                f"{path} cannot be read: {error!r}", hint="remove it (scores without confidence) or put it back"
            ) from error


def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shares that add up to 1."""
    powers = np.exp(scores - scores.max())
    shares: NDArray[np.float64] = powers / powers.sum()
    return shares


def _logistic(data: Mapping[str, object] | None) -> Logistic | None:
    if data is None:
        return None
    features, weights, bias = data["features"], data["weights"], data["bias"]
    if not isinstance(features, list) or not isinstance(weights, list) or not isinstance(bias, int | float):
        raise TypeError("a calibrator needs features, weights and bias")
    if len(features) != len(weights) or not set(features) <= set(ANSWER_FEATURES):
        raise ValueError(f"calibrator features {features} and weights {weights}")
    return Logistic(tuple(features), tuple(float(weight) for weight in weights), float(bias))
