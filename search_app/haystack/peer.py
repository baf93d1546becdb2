"""Haystack's own extractive reader, to be measured beside ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from search_app.errors import MissingExtra
from search_app.haystack.documents import hit_to_document, to_answer
from search_app.models.checkpoint import find_checkpoint
from search_app.types import Answer, Hit


class HaystackReader:
    """`TransformersExtractiveReader` of Haystack with its defaults, on the weights of `model` in float32.

    `confidence` is its score. An answer is reliable if Haystack ranks it before its own "no answer". Raises
    MissingExtra without the package, and ModelUnavailable for a checkpoint that cannot be read.
    """

    def __init__(self, model: str) -> None:
        try:
            from haystack_integrations.components.readers.transformers import TransformersExtractiveReader
        except ImportError as error:
            raise MissingExtra("transformers-haystack", "beside") from error
        location = find_checkpoint("reader", model).location
        self._reader = TransformersExtractiveReader(location, model_kwargs={"dtype": torch.float32})

    def read(self, questions: Sequence[str], hits: Sequence[Sequence[Hit]], *, top_k: int) -> list[list[Answer]]:
        """The `top_k` best answers to each question in its hits, "no answer" at its rank."""
        return [self._answers(question, found)[:top_k] for question, found in zip(questions, hits, strict=True)]

    def _answers(self, question: str, hits: Sequence[Hit]) -> list[Answer]:
        documents = [hit_to_document(hit) for hit in hits if hit.passage.text.strip()]
        found = self._reader.run(query=question, documents=documents)["answers"]
        answers = [replace(to_answer(one), confidence=one.score) for one in found]
        none = next((rank for rank, answer in enumerate(answers) if answer.span is None), len(answers))
        return [replace(answer, reliable=rank < none) for rank, answer in enumerate(answers)]
