from __future__ import annotations

from search_app.readers.scoring import AnswerScorer
from search_app.types import Hit, Passage, SpanCandidate


def _hit(document: str, *also: Passage) -> Hit:
    return Hit(_passage(document), 0.0, also=also)


def _passage(document: str) -> Passage:
    text = "It was signed in Vienna."
    return Passage(document, document, "", text, 0, len(text), source=f"{document}.md")


def _candidate(hit: int, document: str, text: str, logit: float, null: float = 0.0) -> SpanCandidate:
    return SpanCandidate(document, 17, 17 + len(text), hit, logit, null, text)


HITS = [_hit("a"), _hit("b"), _hit("c"), _hit("d", _passage("e"))]


def _agreeing(*candidates: SpanCandidate) -> list[str]:
    (first, *_) = AnswerScorer().answers(candidates, HITS, top_k=1)
    return [passage.document_id for passage in first.also]


def test_documents_whose_best_answer_has_the_same_words_agree() -> None:
    found = _agreeing(
        _candidate(0, "a", "vienna", 9.0), _candidate(1, "b", "in vienna,", 5.0), _candidate(2, "c", "1815", 4.0)
    )
    assert found == ["b"]


def test_a_document_that_rather_gives_another_answer_or_none_does_not_agree() -> None:
    found = _agreeing(
        _candidate(0, "a", "vienna", 9.0),
        _candidate(1, "b", "vienna", 2.0),
        _candidate(1, "b", "rome", 3.0),
        _candidate(2, "c", "vienna", 1.0, null=2.0),
    )
    assert found == []


def test_the_documents_that_a_hit_stands_for_agree_too_and_each_is_named_once() -> None:
    found = _agreeing(
        _candidate(3, "d", "vienna", 9.0), _candidate(0, "a", "vienna", 5.0), _candidate(1, "a", "vienna", 4.0)
    )
    assert found == ["e", "a", "b"]


def test_words_of_other_numbers_do_not_agree() -> None:
    assert _agreeing(_candidate(0, "a", "12", 9.0), _candidate(1, "b", "120", 5.0)) == []
