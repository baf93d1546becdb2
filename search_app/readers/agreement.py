"""Other documents that give the same answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from search_app.readers.spans import words
from search_app.types import Hit, Passage, SpanCandidate


def best_by_hit(candidates: Sequence[SpanCandidate]) -> Mapping[int, SpanCandidate]:
    """The best candidate of each hit, in the order of the hits, unless "no answer here" is likelier there."""
    best: dict[int, SpanCandidate] = {}
    for candidate in sorted(candidates, key=lambda candidate: (candidate.hit, -candidate.logit)):
        best.setdefault(candidate.hit, candidate)
    return {hit: candidate for hit, candidate in best.items() if candidate.logit > candidate.null_logit}


def agreeing(answer: SpanCandidate, best: Mapping[int, SpanCandidate], hits: Sequence[Hit]) -> tuple[Passage, ...]:
    """A passage of each other document that gives the answer `answer`, and of those with the same text as one."""
    found = (passage for passage in _passages(answer, best, hits) if passage.document_id != answer.document_id)
    return tuple({passage.document_id: passage for passage in reversed(list(found))}.values())[::-1]


def _passages(answer: SpanCandidate, best: Mapping[int, SpanCandidate], hits: Sequence[Hit]) -> Iterator[Passage]:
    yield from hits[answer.hit].also
    for number, other in best.items():
        if number != answer.hit and _same(answer.normalized_text, other.normalized_text):
            yield from (hits[number].passage, *hits[number].also)


def _same(one: str, other: str) -> bool:
    """Whether the words of one are, in a row, in the other."""
    ours, theirs = words(one), words(other)
    return bool(ours and theirs) and (ours in theirs or theirs in ours)
