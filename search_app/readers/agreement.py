"""Other documents that give the same answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from search_app.readers.spans import words
from search_app.types import Hit, Passage, SpanCandidate


class Agreement:
    """What each hit answers: its best candidate, unless "no answer here" is likelier there."""

    def __init__(self, candidates: Sequence[SpanCandidate]) -> None:
        best: dict[int, SpanCandidate] = {}
        for candidate in sorted(candidates, key=lambda candidate: (candidate.hit, -candidate.logit)):
            best.setdefault(candidate.hit, candidate)
        self._answers = {hit: words(one.normalized_text) for hit, one in best.items() if one.logit > one.null_logit}

    def hits(self, answer: SpanCandidate) -> list[int]:
        """The other hits that give this answer: the words of one are, in a row, in the other."""
        own = words(answer.normalized_text)
        return [
            hit
            for hit, other in self._answers.items()
            if own and other and hit != answer.hit and (own in other or other in own)
        ]

    def passages(self, answer: SpanCandidate, hits: Sequence[Hit]) -> tuple[Passage, ...]:
        """A passage of each other document that gives this answer, and of those with the same text as one."""
        found = [one for one in self._passages(answer, hits) if one.document_id != answer.document_id]
        return tuple({passage.document_id: passage for passage in reversed(found)}.values())[::-1]

    def _passages(self, answer: SpanCandidate, hits: Sequence[Hit]) -> Iterator[Passage]:
        yield from hits[answer.hit].also
        for number in self.hits(answer):
            yield from (hits[number].passage, *hits[number].also)
