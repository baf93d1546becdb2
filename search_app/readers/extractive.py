"""The extractive reader: passages to windows, windows to logits, logits to spans, spans to answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from search_app.hardware import Hardware
from search_app.models.checkpoint import find_checkpoint
from search_app.readers.completion import complete
from search_app.readers.lists import whole_list
from search_app.readers.model import QuestionAnsweringModel
from search_app.readers.places import place_of, places
from search_app.readers.questions import asks_for_many, is_yes_no, subject
from search_app.readers.scoring import AnswerScorer
from search_app.readers.sentences import Mark, sentences
from search_app.readers.spans import Floats, best_spans, null_logit
from search_app.readers.windows import Window
from search_app.settings import ReaderSettings
from search_app.text.reading import Reading, reading
from search_app.types import Answer, Hit, Passage, SpanCandidate

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
        windows = self.model.make_windows(
            [questions[question] for question, _ in pairs],
            [reading(passage).text for passage in passages],
            [passage.title for passage in passages],
        )
        found: list[list[tuple[int, SpanCandidate]]] = [[] for _ in questions]
        for window, starts, ends in zip(windows, *self.model.logits(windows), strict=True):
            question, hit = pairs[window.pair]
            null = null_logit(starts, ends)
            for mark in self._marks(window, starts, ends, questions[question], passages[window.pair]):
                candidate = _candidate(mark, null, hit, passages[window.pair])
                found[question].append((mark.covered, candidate))
        return [_most_covered(marks) for marks in found]

    def score(self, candidates: Sequence[SpanCandidate], hits: Sequence[Hit], *, top_k: int) -> list[Answer]:
        """At most `top_k` answers to one question with calibrated confidence, best first; duplicates are merged."""
        return self.scorer.answers(candidates, hits, top_k=top_k)

    def _marks(self, window: Window, starts: Floats, ends: Floats, question: str, passage: Passage) -> Iterator[Mark]:
        read = reading(passage)
        if is_yes_no(question):
            marks = sentences(window, starts, ends, read, subject(question), subject(passage.title))
        else:
            marks = self._answers(window, starts, ends, read, many=asks_for_many(question))
        for mark in marks:
            own = read.span(mark.span.start, mark.span.end)
            if own:
                yield replace(mark, span=own)

    def _answers(self, window: Window, starts: Floats, ends: Floats, read: Reading, *, many: bool) -> Iterator[Mark]:
        within = places(read)
        place = place_of(window.offsets, within)
        best = best_spans(
            starts,
            ends,
            place,
            first=window.first,
            max_answer_tokens=self._max_answer_tokens,
            n=SPANS_PER_WINDOW,
        )
        for span in best:
            picked = window.characters(span.start, span.end, read.text)
            whole = within[place[span.start - window.first]]
            marked = whole_list(read.text, picked, many=many) or complete(read.text, picked, whole)
            if marked:
                yield Mark(marked, span.logit)


def _candidate(mark: Mark, null: float, hit: int, passage: Passage) -> SpanCandidate:
    text = " ".join(passage.text[mark.span.start : mark.span.end].casefold().split())
    start, end = passage.start + mark.span.start, passage.start + mark.span.end
    return SpanCandidate(passage.document_id, start, end, hit, mark.logit, null, text)


def _most_covered(marks: Sequence[tuple[int, SpanCandidate]]) -> list[SpanCandidate]:
    most = max((covered for covered, _ in marks), default=0)
    return [candidate for covered, candidate in marks if covered == most]
