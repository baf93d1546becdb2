"""From span candidates to ranked answers with a confidence. `training.calibration` fits the numbers."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from search_app.errors import ModelUnavailable
from search_app.fusion import stretched
from search_app.readers.agreement import Agreement
from search_app.readers.questions import KINDS
from search_app.readers.spans import Floats, distinct
from search_app.types import Answer, Hit, Span, SpanCandidate

FILE = "reader.json"
_log = logging.getLogger(__name__)

FEATURES = (
    "logit", "above_null", "share", "margin", "retrieval", "agreement", "length",
    *(f"asks_{kind}" for kind in KINDS[:-1]),
)  # fmt: skip
"""What the confidence of an answer depends on: its logit; its logit minus that of "no answer" in the same window; its
share of exp(score) among the answers to the question; its lead in score over the best other answer (negative if
behind); the score of its hit; log(1 + other hits that give the same answer); log(1 + words of the answer); the kind
of question."""


@dataclass(frozen=True, slots=True)
class Logistic:
    """Logistic regression over named features: Platt scaling (Platt 1999) with more than one feature."""

    features: tuple[str, ...]
    weights: tuple[float, ...]
    bias: float

    def probability(self, values: Mapping[str, float]) -> float:
        """0..1; raises KeyError if `values` lacks a feature."""
        x = sum(weight * values[name] for name, weight in zip(self.features, self.weights, strict=True)) + self.bias
        # tanh saturates where exp would overflow.
        return float(0.5 * (1 + np.tanh(0.5 * x)))

    def rescaled(self, slope: float, shift: float) -> Logistic:
        """With its log-odds times `slope` plus `shift`."""
        return replace(self, weights=tuple(slope * weight for weight in self.weights), bias=slope * self.bias + shift)


@dataclass(frozen=True, slots=True)
class Promise:
    """At most `wrong` of the answers with at least `confidence` are wrong (an upper bound, as a share)."""

    confidence: float
    wrong: float


@dataclass(frozen=True, slots=True)
class ScoredAnswer:
    """A candidate with its score; `candidate` None is "no answer here", with the features of the best candidate."""

    candidate: SpanCandidate | None
    score: float
    confidence: float | None
    features: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class AnswerScorer:
    """How candidates are weighed and calibrated; `reader.json` beside the weights stores it.

    The score of an answer is logit - null_weight * null_logit + retrieval_weight * hit.score. The score of "no answer
    here" is that of the best answer minus its lead over its own null logit, plus `no_answer`; with confidences, "no
    answer here" comes before the best answer if its confidence is higher. The defaults equal the SQuAD v2.0 baseline
    (Devlin et al. 2019) for one passage, and suit a checkpoint without calibration.

    `promises` are by falling confidence. An answer is reliable if it comes before "no answer here", with at least the
    confidence `reliable_from`.
    """

    null_weight: float = 0.0
    retrieval_weight: float = 0.0
    no_answer: float = 0.0
    answer: Logistic | None = None
    none: Logistic | None = None
    promises: tuple[Promise, ...] = ()
    fitted: Mapping[str, object] = field(default_factory=dict)
    reliable_from: float = 0.0

    def promising(self, max_wrong: float) -> AnswerScorer:
        """The scorer whose reliable answers are wrong in at most `max_wrong` (a share) of the cases.

        The least confidence before the first promise that is broken is taken: fixed-sequence testing, which keeps the
        error level over all thresholds (Angelopoulos et al. 2021, "Learn then Test"). If no confidence keeps the
        promise, nothing is reliable. Without promises, or with `max_wrong` 1, everything is.
        """
        if not self.promises or max_wrong >= 1:
            return replace(self, reliable_from=0.0)
        kept = 0
        while kept < len(self.promises) and self.promises[kept].wrong <= max_wrong:
            kept += 1
        if not kept:
            least = self.promises[0].wrong
            _log.warning(
                "no answer of this reader keeps reader.max_wrong %.0f%%; the least it can promise is %.0f%%; "
                "raise it, or calibrate on your own questions: search-app calibrate --data FILE",
                100 * max_wrong,
                100 * least,
            )
            return replace(self, reliable_from=math.inf)
        return replace(self, reliable_from=self.promises[kept - 1].confidence)

    def answers(self, candidates: Sequence[SpanCandidate], hits: Sequence[Hit], *, top_k: int) -> list[Answer]:
        """The `top_k` best answers to one question; `hits` are those that the candidates were found in."""
        agreement = Agreement(candidates)
        scored = self._ranked(candidates, [hit.score for hit in hits], agreement)
        none = next((rank for rank, one in enumerate(scored) if one.candidate is None), 0)
        return [self._answer(one, hits, agreement, likely=rank < none) for rank, one in enumerate(scored[:top_k])]

    def rank(self, candidates: Sequence[SpanCandidate], retrieval: Sequence[float]) -> list[ScoredAnswer]:
        """Distinct answers to one question, best first, with "no answer here" at its rank; none without candidates.

        `retrieval` are the scores of the hits.
        """
        return self._ranked(candidates, retrieval, Agreement(candidates))

    def _ranked(
        self, candidates: Sequence[SpanCandidate], retrieval: Sequence[float], agreement: Agreement
    ) -> list[ScoredAnswer]:
        if not candidates:
            return []
        retrieval = comparable(retrieval)
        scores = self.scores(candidates, retrieval)
        kept = distinct(candidates, scores)
        best = scores[kept]
        shares = np.exp(best - best[0])
        shares /= shares.sum()
        scored = []
        for rank, i in enumerate(kept):
            rival = best[1] if rank == 0 and len(best) > 1 else best[0]
            candidate = candidates[i]
            features = {
                "logit": candidate.logit,
                "above_null": candidate.logit - candidate.null_logit,
                "share": float(shares[rank]),
                "margin": float(scores[i] - rival),
                "retrieval": retrieval[candidate.hit],
                "agreement": math.log1p(len(agreement.hits(candidate))),
                "length": math.log1p(len(candidate.normalized_text.split())),
            } | {f"asks_{kind}": float(candidate.kind == kind) for kind in KINDS[:-1]}
            confidence = self.answer.probability(features) if self.answer else None
            scored.append(ScoredAnswer(candidate, float(scores[i]), confidence, features))
        return self._with_no_answer(scored)

    def scores(self, candidates: Sequence[SpanCandidate], retrieval: Sequence[float]) -> Floats:
        """float32 (candidates,): what the candidates are ranked by; `retrieval` is `comparable`."""
        logits = np.array([candidate.logit for candidate in candidates], dtype=np.float32)
        nulls = np.array([candidate.null_logit for candidate in candidates], dtype=np.float32)
        found = np.array([retrieval[candidate.hit] for candidate in candidates], dtype=np.float32)
        scores: Floats = logits - np.float32(self.null_weight) * nulls + np.float32(self.retrieval_weight) * found
        return scores

    def _with_no_answer(self, scored: list[ScoredAnswer]) -> list[ScoredAnswer]:
        first = scored[0]
        score = first.score - first.features["above_null"] + self.no_answer
        confidence = self.none.probability(first.features) if self.none else None
        rank = sum(one.score >= score for one in scored)
        if confidence is not None and first.confidence is not None:
            # Both are probabilities, so the likelier one comes first.
            rank = 0 if confidence > first.confidence else max(1, rank)
        return [*scored[:rank], ScoredAnswer(None, score, confidence, first.features), *scored[rank:]]

    def _answer(self, scored: ScoredAnswer, hits: Sequence[Hit], agreement: Agreement, *, likely: bool) -> Answer:
        """`likely`: whether it comes before "no answer here"."""
        candidate = scored.candidate
        if candidate is None:
            return Answer("", None, scored.score, scored.confidence, None, reliable=False)
        hit = hits[candidate.hit]
        text = hit.passage.text[candidate.start - hit.passage.start : candidate.end - hit.passage.start]
        reliable = likely and (scored.confidence is None or scored.confidence >= self.reliable_from)
        span = Span(candidate.start, candidate.end)
        also = agreement.passages(candidate, hits)
        return Answer(text, span, scored.score, scored.confidence, hit, reliable, also)

    def to_json(self) -> str:
        """The content of `reader.json`."""
        values = asdict(self)
        del values["reliable_from"]  # set by the operator's promise
        return json.dumps(values, indent=1) + "\n"

    @classmethod
    def load(cls, folder: Path) -> AnswerScorer:
        """Read `reader.json`; the defaults if there is none. Raises ModelUnavailable if it is invalid."""
        path = folder / FILE
        return cls.read(path) if path.is_file() else cls()

    @classmethod
    def read(cls, path: Path) -> AnswerScorer:
        """Raises ModelUnavailable for a file that is not a calibration."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                null_weight=float(data["null_weight"]),
                retrieval_weight=float(data["retrieval_weight"]),
                no_answer=float(data["no_answer"]),
                answer=_logistic(data.get("answer")),
                none=_logistic(data.get("none")),
                promises=tuple(
                    Promise(float(one["confidence"]), float(one["wrong"])) for one in data.get("promises", ())
                ),
                fitted=data.get("fitted") or {},
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelUnavailable(
                f"cannot read {path}: {error!r}", hint="restore it, or delete it to get scores without confidence"
            ) from error


def comparable(retrieval: Sequence[float]) -> Sequence[float]:
    """Scores of hits on the scale that calibrations are fitted to: [0, 1], the best one from 0.5.

    Those of fusion are. Others (a ranker's logits, BM25's scores) are stretched from 0 to 1.
    """
    is_fused = min(retrieval, default=0.0) >= 0 and 0.5 <= max(retrieval, default=1.0) <= 1
    return retrieval if is_fused else stretched(retrieval)


def _logistic(data: Mapping[str, Any] | None) -> Logistic | None:
    if data is None:
        return None
    features, weights, bias = data["features"], data["weights"], data["bias"]
    if not isinstance(features, list) or not isinstance(weights, list) or not isinstance(bias, int | float):
        raise TypeError("a calibrator needs features, weights and bias")
    if len(features) != len(weights) or not set(features) <= set(FEATURES):
        raise ValueError(f"calibrator with features {features} and weights {weights}")
    return Logistic(tuple(features), tuple(float(weight) for weight in weights), float(bias))
