"""Words of a question that no passage has count as those that differ by one typing mistake, as in the embedded store.

Elasticsearch is asked about the words that no hit has; most questions have none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from search_app.text import analysis
from search_app.text.spelling import near
from search_app.types import Hit

_MAX_ASKED = 10
"""Words of a question that are looked up."""
_MAX_CLAUSES = 3000
"""Below Elasticsearch's limit for a heap of half a gigabyte (indices.query.bool.max_clause_count)."""


def unseen(question: str, languages: Sequence[str], rules: int, hits: Sequence[Hit]) -> list[str]:
    """The long words of a question that are in none of the hits, and so perhaps in no passage."""
    text = "\n".join(f"{hit.passage.title}\n{hit.passage.text}\n{hit.passage.source}" for hit in hits).casefold()
    found = analysis.long_words(question, languages, rules)
    return [word for word, terms in found.items() if not any(term in text for term in terms)][:_MAX_ASKED]


def lookup(word: str, analyses: Sequence[str]) -> dict[str, Any]:
    """A search that finds one passage if any has the word."""
    query = {"bool": {"filter": [matching(word, analyses)]}}
    return {"query": query, "size": 0, "terminate_after": 1, "track_total_hits": True}


def matching(words: str, analyses: Sequence[str]) -> dict[str, Any]:
    """Passages with any of the words: each is indexed with the analysis of its language, and so is asked."""
    matches = [{"match": {f"words.{name}": {"query": words}}} for name in analyses]
    return {"bool": {"should": matches, "minimum_should_match": 1}}


def corrections(unknown: Sequence[str], analyses: Sequence[str]) -> list[str]:
    """The words that differ from an unknown one by one typing mistake."""
    words = dict.fromkeys(other for word in unknown for other in near(word))
    return list(words)[: _MAX_CLAUSES // max(1, len(analyses))]
