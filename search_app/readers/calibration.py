"""From what was seen when an answer was marked to the probability that it is right; fitted in training.calibration."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from search_app.errors import ModelUnavailable
from search_app.readers.spans import Mark, merge

FILE = "reader.json"

FEATURES = ("logit", "above_null", "share", "margin", "retrieval")
"""Of one answer: its start and end logits, the same above its window's "no answer", its share of exp(score) among all
answers of the question, its lead in score over the best other one (negative if behind), its hit's score."""


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
class Ranked:
    """An answer in its place; `mark` None is "no answer here", whose `features` are those of the best mark."""

    mark: Mark | None
    score: float
    confidence: float | None
    features: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Evidence:
    """How a reader's scores are weighed; what stands in `reader.json` beside the weights.

    An answer's score is logit - null_weight * null + retrieval_weight * hit.score, in logits; "no answer here" scores
    (1 - null_weight) * (lowest null) + no_answer + retrieval_weight * (best hit.score), and stands before the best
    answer if its confidence is higher, where there are confidences. The defaults are what SQuAD v2.0's baseline does
    with one passage and suit a checkpoint that nothing was measured for.
    """

    null_weight: float = 0.0
    retrieval_weight: float = 0.0
    no_answer: float = 0.0
    answer: Logistic | None = None
    none: Logistic | None = None
    fitted: Mapping[str, object] = field(default_factory=dict)

    def rank(self, marks: Sequence[Mark], retrieval: Sequence[float]) -> list[Ranked]:
        """Answers of one question, best first, overlaps merged, "no answer here" where it ranks.

        `retrieval` are the scores of its hits. Without a mark there is nothing to rank.
        """
        if not marks:
            return []
        logits = np.array([mark.logit for mark in marks], dtype=np.float32)
        nulls = np.array([mark.null for mark in marks], dtype=np.float32)
        found = np.array([retrieval[mark.hit] for mark in marks], dtype=np.float32)
        scores = logits - np.float32(self.null_weight) * nulls + np.float32(self.retrieval_weight) * found
        kept = merge(marks, scores)
        best = scores[kept]
        shares = np.exp(best - best[0])
        shares /= shares.sum()
        ranked = []
        for place, i in enumerate(kept):
            rival = best[1] if place == 0 and len(best) > 1 else best[0]
            seen = (logits[i], logits[i] - nulls[i], shares[place], scores[i] - rival, found[i])
            features = {name: float(value) for name, value in zip(FEATURES, seen, strict=True)}
            confidence = self.answer.probability(features) if self.answer else None
            ranked.append(Ranked(marks[i], float(scores[i]), confidence, features))
        first = ranked[0].features
        score = ranked[0].score - first["above_null"] + self.no_answer
        none = Ranked(None, score, self.none.probability(first) if self.none else None, first)
        place = sum(one.score >= score for one in ranked)
        if none.confidence is not None and ranked[0].confidence is not None:
            # Where both are probabilities, what comes first is what is likelier to be right.
            place = 0 if none.confidence > ranked[0].confidence else max(1, place)
        ranked.insert(place, none)
        return ranked

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


def _logistic(data: Mapping[str, object] | None) -> Logistic | None:
    if data is None:
        return None
    features, weights, bias = data["features"], data["weights"], data["bias"]
    if not isinstance(features, list) or not isinstance(weights, list) or not isinstance(bias, int | float):
        raise TypeError("a calibrator needs features, weights and bias")
    if len(features) != len(weights) or not set(features) <= set(FEATURES):
        raise ValueError(f"calibrator features {features} and weights {weights}")
    return Logistic(tuple(features), tuple(float(weight) for weight in weights), float(bias))
