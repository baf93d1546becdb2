"""Questions made of plain text: a masked sentence asks for the words that the rest of the text repeats.

Recurring span selection: Ram et al., "Few-Shot Question Answering by Pretraining Span Selection" (Splinter), ACL 2021.
Splinter masks all occurrences of a span but one and asks at each mask. Here the sentence around one occurrence, with a
mask in its place, is the question, and the text without that sentence is the passage; so the same head learns that
answers the questions of users.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from search_app.evaluation.datasets import Article, Dataset, GoldAnswer, Paragraph, Question
from search_app.text.boundaries import BOUNDARY
from search_app.types import Span

WORDS = 200
"""Words of a passage."""
LONGEST = 10
"""Words of a span, as in Splinter."""
PER_PASSAGE = 3
"""Questions about a passage, at most."""
CONTEXT = 3
"""Words that a masked sentence must have beside the mask."""
_WORD = re.compile(r"\w+(?:[-'’.]\w+)*")


def recurring_questions(texts: Iterable[str], mask: str, seed: int) -> Dataset:
    """At most PER_PASSAGE questions about each passage of WORDS words; a text without repetition gives none."""
    rng = random.Random(seed)
    articles = tuple(Article("", tuple(_ask(passage, mask, rng))) for text in texts for passage in _passages(text))
    return Dataset("recurring", articles)


def recurring_spans(text: str, sentences: Sequence[Span]) -> list[list[Span]]:
    """Groups of at least two equal spans, the longest spans first; no two overlap.

    A span has 1 to LONGEST words of one sentence. Its first and last words are no (English) stop words.
    """
    words = [[Span(*m.span()) for m in _WORD.finditer(text, s.start, s.end)] for s in sentences]
    taken: set[int] = set()
    groups: list[list[Span]] = []
    for length in range(LONGEST, 0, -1):
        found: dict[str, list[Span]] = defaultdict(list)
        for line in words:
            for first, last in zip(line, line[length - 1 :], strict=False):
                if _is_content(text, first) and _is_content(text, last):
                    found[text[first.start : last.end]].append(Span(first.start, last.end))
        for spans in found.values():
            free = [span for span in _apart(spans) if taken.isdisjoint(range(span.start, span.end))]
            if len(free) > 1:
                groups.append(free)
                taken.update(place for span in free for place in range(span.start, span.end))
    return groups


def _ask(text: str, mask: str, rng: random.Random) -> Iterator[Paragraph]:
    sentences = _sentences(text)
    groups = recurring_spans(text, sentences)
    for spans in rng.sample(groups, min(PER_PASSAGE, len(groups))):
        span = rng.choice(spans)
        own = next(s for s in sentences if s.start <= span.start and span.end <= s.end)
        question = text[own.start : span.start] + mask + text[span.end : own.end]
        rest = text[: own.start] + text[own.end :]
        cut = own.end - own.start
        others = [other for other in spans if other.end <= own.start or other.start >= own.end]
        answers = tuple(
            GoldAnswer(text[other.start : other.end], other.start - (cut if other.start >= own.end else 0))
            for other in others
        )
        if answers and len(_WORD.findall(question.replace(mask, " "))) >= CONTEXT:
            yield Paragraph(rest, (Question(f"{span.start}", question.strip(), answers),))


def _passages(text: str) -> Iterator[str]:
    """The text in runs of whole sentences of about WORDS words."""
    begin = count = 0
    for sentence in _sentences(text):
        count += len(_WORD.findall(text, sentence.start, sentence.end))
        if count >= WORDS:
            yield text[begin : sentence.end]
            begin, count = sentence.end, 0
    if count:
        yield text[begin:]


def _sentences(text: str) -> list[Span]:
    """Sentences, lines and items, which cover the text."""
    ends = [match.end() for match in BOUNDARY.finditer(text)]
    return [Span(start, end) for start, end in zip([0, *ends], [*ends, len(text)], strict=True) if start < end]


def _is_content(text: str, word: Span) -> bool:
    return text[word.start : word.end].casefold() not in ENGLISH_STOP_WORDS


def _apart(spans: Sequence[Span]) -> list[Span]:
    """Those that do not overlap one before them, as "very very very" has two."""
    kept: list[Span] = []
    for span in spans:
        if not kept or span.start >= kept[-1].end:
            kept.append(span)
    return kept
