"""From the logits of a window to marks in the passage that was read for a question."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from search_app.readers.completion import complete
from search_app.readers.lists import List, lists, whole_enumeration, whole_list
from search_app.readers.places import place_of, places
from search_app.readers.questions import asks_for_many, is_yes_no, subject
from search_app.readers.spans import Floats, best_spans
from search_app.readers.windows import Window
from search_app.text.reading import Reading, reading
from search_app.types import Passage, Span

SPANS_PER_WINDOW = 20


@dataclass(frozen=True, slots=True)
class Mark:
    """A span in a passage's own text with its logit.

    `covered`: words of a yes/no question that its sentence has; of other questions it is 0.
    """

    span: Span
    logit: float
    covered: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """A passage as it is read for a question, with the places of answers, which no answer leaves."""

    question: str
    passage: Passage
    read: Reading
    places: list[Span]
    lists: list[List]

    @classmethod
    def of(cls, question: str, passage: Passage) -> Asked:
        """For a yes/no question, the places are sentences."""
        read = reading(passage)
        return cls(question, passage, read, places(read, sentences=is_yes_no(question)), lists(read.text))

    def marks(self, window: Window, starts: Floats, ends: Floats, *, max_answer_tokens: int) -> Iterator[Mark]:
        """The best answers in a window of this passage; `starts` and `ends` are the window's logits."""
        if is_yes_no(self.question):
            return self._sentences(window, starts, ends)
        return self._spans(window, starts, ends, max_answer_tokens)

    def _spans(self, window: Window, starts: Floats, ends: Floats, longest: int) -> Iterator[Mark]:
        place = place_of(window.offsets, self.places)
        many = asks_for_many(self.question)
        for span in best_spans(starts, ends, place, first=window.first, max_answer_tokens=longest, n=SPANS_PER_WINDOW):
            picked = window.characters(span.start, span.end, self.read.text)
            whole = self.places[place[span.start - window.first]]
            marked = self._marked(picked, whole, many=many)
            own = self.read.span(marked.start, marked.end) if marked else None
            if own:
                yield Mark(own, span.logit)

    def _marked(self, picked: Span, place: Span, *, many: bool) -> Span | None:
        """What a person would mark for the tokens that were picked, None if that is nothing."""
        if whole := whole_list(picked, self.lists, many=many):
            return whole
        span = complete(self.read.text, picked, place)
        return whole_enumeration(self.read.text, span or picked, place, many=many) or span

    def _sentences(self, window: Window, starts: Floats, ends: Floats) -> Iterator[Mark]:
        """Every sentence, with its best start and end logit.

        A few words may say the opposite of their sentence, and a sentence about another thing the opposite of the right
        one. So sentences are marked whole, and the more of the question's words one has, the better.
        """
        place = place_of(window.offsets, self.places)
        starts, ends = starts[window.first : window.last], ends[window.first : window.last]
        asked, title = subject(self.question), subject(self.passage.title)
        for index in np.unique(place[place >= 0]).tolist():
            own = self.read.span(self.places[index].start, self.places[index].end)
            if own:
                logit = float(starts[place == index].max() + ends[place == index].max())
                yield Mark(own, logit, len(asked & (title | subject(self._line(self.places[index])))))

    def _line(self, place: Span) -> str:
        """The place, or the line around it if names were put in there: they are part of what a row says."""
        text = self.read.text
        if not self.passage.edits:
            return text[place.start : place.end]
        end = text.find("\n", place.end)
        return text[text.rfind("\n", 0, place.start) + 1 : end if end >= 0 else len(text)]
