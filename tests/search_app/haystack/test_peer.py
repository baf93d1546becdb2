"""Haystack's own reader as one of ours: its answers, its scores, its "no answer"."""

from __future__ import annotations

import sys

import pytest

from search_app.errors import MissingExtra
from search_app.haystack.peer import HaystackReader
from search_app.types import Hit, Passage, Span

TEXT = "The treaty was signed in Vienna in 1815. The library keeps 4,200 old maps."


@pytest.fixture(scope="module")
def reader() -> HaystackReader:
    return HaystackReader("bundled")


def _hit(document: str, text: str, start: int = 0) -> Hit:
    return Hit(Passage(f"{document}-{start}", document, "", text, start, start + len(text)), 0.5)


def test_its_answers_have_their_places_and_its_score_as_confidence(reader: HaystackReader) -> None:
    hits = [_hit("a", "Owls hunt at night."), _hit("b", TEXT, start=100), _hit("c", "  ")]
    first, second = reader.read(["Where was the treaty signed?", "How many maps are kept?"], [hits, hits], top_k=3)
    assert [found[0].text for found in (first, second)] == ["Vienna", "4,200"]
    start = 100 + TEXT.index("Vienna")
    assert first[0].span == Span(start, start + len("Vienna"))
    assert first[0].hit is not None
    assert first[0].hit.passage.document_id == "b"
    confidences = [answer.confidence or 0 for answer in first]
    assert confidences == sorted(confidences, reverse=True)
    assert 0 < confidences[-1] < confidences[0] < 1
    assert (len(first), first[0].reliable) == (3, True)


def test_its_own_no_answer_is_at_its_rank_and_not_reliable(reader: HaystackReader) -> None:
    (found,) = reader.read(["Where was the treaty signed?"], [[_hit("b", TEXT)]], top_k=50)
    none = next(rank for rank, answer in enumerate(found) if answer.span is None)
    assert [answer.reliable for answer in found] == [rank < none for rank in range(len(found))]


def test_no_hits_give_no_answers(reader: HaystackReader) -> None:
    assert reader.read(["Where?"], [[]], top_k=3) == [[]]


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "haystack_integrations.components.readers.transformers", None)
    with pytest.raises(MissingExtra, match="transformers-haystack is not installed; run: pip install"):
        HaystackReader("bundled")
