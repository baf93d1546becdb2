"""Reorder hits with a sequence classifier that reads question and passage together (a cross-encoder)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import torch
from sentence_transformers import CrossEncoder
from transformers import AutoModelForSequenceClassification

from search_app.hardware import Hardware
from search_app.models.batching import WIDTH_STEP
from search_app.models.checkpoint import find_checkpoint, load_sentence_transformers
from search_app.models.execution import Execution
from search_app.models.fingerprint import fingerprint_of
from search_app.settings import RankerSettings
from search_app.text.reading import reading
from search_app.types import Hit


class CrossEncoderRanker:
    """Any BERT-family checkpoint with a classification head; the score is the logit of its last label."""

    def __init__(self, settings: RankerSettings, hardware: Hardware) -> None:
        self._checkpoint = checkpoint = find_checkpoint("ranker", settings.model or "")
        execution = Execution.choose(settings, hardware)
        self._model = load_sentence_transformers(
            CrossEncoder, checkpoint, device=str(execution.device), dtype=execution.dtype
        )
        longest = self._model.max_seq_length or 1
        self._padding = {} if longest % WIDTH_STEP else {"pad_to_multiple_of": WIDTH_STEP}

    @cached_property
    def digest(self) -> str:
        """Fingerprint of weights and tokenizer."""
        return fingerprint_of(AutoModelForSequenceClassification, self._checkpoint)

    def rank(self, questions: Sequence[str], hits: Sequence[Sequence[Hit]]) -> list[list[Hit]]:
        """The same hits, best first, with the new score also in `scores["ranker"]`."""
        pairs = [
            (question, reading(hit.passage).text)
            for question, found in zip(questions, hits, strict=True)
            for hit in found
        ]
        if not pairs:
            return [[] for _ in hits]
        logits = torch.as_tensor(
            self._model.predict(
                pairs,
                activation_fn=torch.nn.Identity(),
                convert_to_tensor=True,
                processing_kwargs={"text": self._padding},
            )
        )
        scores = iter(logits.float().reshape(len(pairs), -1)[:, -1].tolist())
        ranked = []
        for found in hits:
            scored = [_scored(hit, score) for hit, score in zip(found, scores)]  # noqa: B905 - scores go on with the next question
            ranked.append(sorted(scored, key=lambda hit: -hit.score))
        return ranked


def _scored(hit: Hit, score: float) -> Hit:
    return replace(hit, score=score, scores={**hit.scores, "ranker": score})
