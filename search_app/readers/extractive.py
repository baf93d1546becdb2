"""The extractive reader: passages to windows, windows to logits, logits to spans, spans to answers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from search_app.hardware import Hardware
from search_app.models.checkpoint import Checkpoint, find_checkpoint, identity
from search_app.readers.marks import Asked, Mark
from search_app.readers.model import QuestionAnsweringModel
from search_app.readers.questions import kind_of
from search_app.readers.scoring import AnswerScorer
from search_app.readers.spans import null_logit
from search_app.settings import ReaderSettings
from search_app.types import Answer, Hit, Passage, SpanCandidate

_log = logging.getLogger(__name__)


class ExtractiveReader:
    """Any BERT-family checkpoint with a question-answering head.

    Raises ModelUnavailable if it cannot be loaded or was not trained to answer questions.
    """

    def __init__(self, settings: ReaderSettings, hardware: Hardware) -> None:
        checkpoint = find_checkpoint("reader", settings.model)
        self.model = QuestionAnsweringModel(checkpoint, settings, hardware)
        self.scorer = _scorer(checkpoint, settings.calibration).promising(settings.max_wrong)
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
        asked = [Asked.of(questions[question], hits[question][hit].passage) for question, hit in pairs]
        windows = self.model.make_windows(
            [one.question for one in asked], [one.read.text for one in asked], [_title(one.passage) for one in asked]
        )
        kinds = [kind_of(question) for question in questions]
        found: list[list[tuple[int, SpanCandidate]]] = [[] for _ in questions]
        for window, starts, ends in zip(windows, *self.model.logits(windows), strict=True):
            question, hit = pairs[window.pair]
            one, null = asked[window.pair], null_logit(starts, ends)
            for mark in one.marks(window, starts, ends, max_answer_tokens=self._max_answer_tokens):
                found[question].append((mark.covered, _candidate(mark, null, hit, one.passage, kinds[question])))
        return [_most_covered(marks) for marks in found]

    def score(self, candidates: Sequence[SpanCandidate], hits: Sequence[Hit], *, top_k: int) -> list[Answer]:
        """At most `top_k` answers to one question with calibrated confidence, best first; duplicates are merged."""
        return self.scorer.answers(candidates, hits, top_k=top_k)


def _scorer(checkpoint: Checkpoint, calibration: Path | None) -> AnswerScorer:
    """That of the calibration file if it is for this reader, else the checkpoint's own."""
    if calibration is not None:
        scorer = AnswerScorer.read(calibration)
        if scorer.fitted.get("reader") == identity(checkpoint):
            return scorer
        _log.warning(
            "%s is the calibration of another reader and is not used; run search-app calibrate again", calibration
        )
    return AnswerScorer.load(checkpoint.folder) if checkpoint.folder else AnswerScorer()


def _title(passage: Passage) -> str:
    """Its title path; the bare name of a file, which all records in it share, tells the reader nothing."""
    return "" if passage.title == PurePosixPath(passage.source).stem else passage.title


def _candidate(mark: Mark, null: float, hit: int, passage: Passage, kind: str) -> SpanCandidate:
    text = " ".join(passage.text[mark.span.start : mark.span.end].casefold().split())
    start, end = passage.start + mark.span.start, passage.start + mark.span.end
    return SpanCandidate(passage.document_id, start, end, hit, mark.logit, null, text, kind)


def _most_covered(marks: Sequence[tuple[int, SpanCandidate]]) -> list[SpanCandidate]:
    most = max((covered for covered, _ in marks), default=0)
    return [candidate for covered, candidate in marks if covered == most]
