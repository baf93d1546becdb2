"""The extractive reader: passages to windows, windows to logits, logits to spans, spans to answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from search_app.hardware import Hardware
from search_app.models.checkpoint import find_checkpoint
from search_app.readers.model import QuestionAnsweringModel
from search_app.readers.places import places
from search_app.readers.scoring import AnswerScorer
from search_app.readers.spans import Floats, best_spans, null_logit
from search_app.readers.windows import Window
from search_app.settings import ReaderSettings
from search_app.text.reading import Reading, reading
from search_app.types import Answer, Hit, Passage, Span, SpanCandidate

SPANS_PER_WINDOW = 20


class ExtractiveReader:
    """Any BERT-family checkpoint with a question-answering head.

    Raises ModelUnavailable if it cannot be loaded or was not trained to answer questions.
    """

    def __init__(self, settings: ReaderSettings, hardware: Hardware) -> None:
        checkpoint = find_checkpoint("reader", settings.model)
        self.model = QuestionAnsweringModel(checkpoint, settings, hardware)
        self.scorer = AnswerScorer.load(checkpoint.folder) if checkpoint.folder else AnswerScorer()
        if settings.retrieval_weight is not None:
            self.scorer = replace(self.scorer, retrieval_weight=settings.retrieval_weight)
        self._max_answer_tokens = settings.max_answer_tokens

    def read(self, questions: Sequence[str], hits: Sequence[Sequence[Hit]], *, top_k: int) -> list[list[Answer]]:
        """`extract` and `score` in a row: at most `top_k` answers to each question, best first."""
        extracted = self.extract(questions, hits)
        return [self.score(candidates, found, top_k=top_k) for candidates, found in zip(extracted, hits, strict=True)]

    def extract(self, questions: Sequence[str], hits: Sequence[Sequence[Hit]]) -> list[list[SpanCandidate]]:
        """The best spans in each question's hits, not yet compared with each other; all hits share forward passes."""
        pairs = [(question, hit) for question, found in enumerate(hits) for hit in range(len(found))]
        passages = [hits[question][hit].passage for question, hit in pairs]
        read = [reading(passage) for passage in passages]
        windows = self.model.make_windows(
            [questions[question] for question, _ in pairs],
            [passage.text for passage in read],
            [passage.title for passage in passages],
        )
        candidates: list[list[SpanCandidate]] = [[] for _ in questions]
        for window, starts, ends in zip(windows, *self.model.logits(windows), strict=True):
            question, hit = pairs[window.pair]
            spans = self._spans(window, starts, ends, read[window.pair])
            null = null_logit(starts, ends)
            candidates[question] += [_candidate(*span, null, hit, passages[window.pair]) for span in spans]
        return candidates

    def score(self, candidates: Sequence[SpanCandidate], hits: Sequence[Hit], *, top_k: int) -> list[Answer]:
        """At most `top_k` answers to one question with calibrated confidence, best first; duplicates are merged."""
        return self.scorer.answers(candidates, hits, top_k=top_k)

    def _spans(self, window: Window, starts: Floats, ends: Floats, read: Reading) -> Iterator[tuple[Span, float]]:
        """The best spans of a window in the passage's own text, with their logits."""
        for span in best_spans(
            starts,
            ends,
            places(window.offsets, read),
            first=window.first,
            max_answer_tokens=self._max_answer_tokens,
            n=SPANS_PER_WINDOW,
        ):
            marked = window.characters(span.start, span.end, read.text)
            found = read.span(marked.start, marked.end)
            if found:
                yield found, span.logit


def _candidate(span: Span, logit: float, null: float, hit: int, passage: Passage) -> SpanCandidate:
    text = " ".join(passage.text[span.start : span.end].casefold().split())
    start, end = passage.start + span.start, passage.start + span.end
    return SpanCandidate(passage.document_id, start, end, hit, logit, null, text)
