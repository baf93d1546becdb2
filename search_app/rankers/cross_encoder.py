"""Re-ranking by a sequence classifier that reads question and passage together (sentence-transformers)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from sentence_transformers import CrossEncoder

from search_app.errors import ModelUnavailable
from search_app.hardware import Hardware
from search_app.settings import RankerSettings
from search_app.types import Hit

WIDTH_STEP = 8


class CrossEncoderRanker:
    """Any BERT-family checkpoint with a classification head; its score is the last label's logit, as trained."""

    def __init__(self, settings: RankerSettings, hardware: Hardware) -> None:
        name = settings.model or ""
        precision = hardware.precision if settings.precision == "auto" else settings.precision
        device = hardware.device if settings.device == "auto" else settings.device
        try:
            self._model = CrossEncoder(
                name,
                device=device,
                trust_remote_code=False,
                model_kwargs={"dtype": getattr(torch, precision), "use_safetensors": True},
            )
        except Exception as error:  # the library raises a different one for each way to fail
            first = (str(error).strip() or repr(error)).splitlines()[0]
            raise ModelUnavailable(
                f"ranker {Path(name).name} cannot be loaded: {first}",
                hint="give a folder or hub name of a sequence-classification checkpoint with safetensors weights",
            ) from error
        longest = self._model.max_seq_length or 1
        # oneDNN keeps kernels and memory for each shape that it has seen, for good.
        self._text = {} if longest % WIDTH_STEP else {"pad_to_multiple_of": WIDTH_STEP}

    def rank(self, questions: Sequence[str], hits: Sequence[Sequence[Hit]]) -> list[list[Hit]]:
        """Same hits, re-ordered; the new score also stands in `scores["ranker"]`."""
        pairs = [(question, hit.passage.text) for question, found in zip(questions, hits, strict=True) for hit in found]
        if not pairs:
            return [[] for _ in hits]
        logits = torch.as_tensor(
            self._model.predict(
                pairs,
                activation_fn=torch.nn.Identity(),
                convert_to_tensor=True,
                processing_kwargs={"text": self._text},
            )
        )
        scores = iter(logits.float().reshape(len(pairs), -1)[:, -1].tolist())
        ranked = []
        for found in hits:
            scored = [Hit(hit.passage, score, {**hit.scores, "ranker": score}) for hit, score in zip(found, scores)]  # noqa: B905 - scores go on with the next question
            ranked.append(sorted(scored, key=lambda hit: -hit.score))
        return ranked
