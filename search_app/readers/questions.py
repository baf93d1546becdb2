"""What kind of answer a question asks for: yes or no, several things, a person, a number. English only."""

from __future__ import annotations

import re

from search_app.text.analysis import terms

_YES_NO = re.compile(
    r"\W*(?:is|are|am|was|were|do|does|did|can|could|may|must|shall|should|will|would|has|have|had)"
    r"(?:n['’]t|not)?\b(?!.*\bor\b)",
    re.IGNORECASE,
)
_NAME = re.compile(r"\W*(?:may|will)\b", re.IGNORECASE)
"""In a few words without a question mark, a month or a person."""
_MANY = re.compile(
    r"\b(?:which|what)\s+(?:\w+\s+){0,2}?(?!\w*(?:ss|is|us)\b)\w{2,}s\b"
    r"|\b(?:what|who|which)\s+(?:\w+\s+)?(?:are|were)\b|\blist\b",
    re.IGNORECASE,
)
KINDS = ("who", "when", "where", "number", "why", "yes_no", "what")
"""Kinds of question; "what" is every other one."""
_KIND = (
    ("number", re.compile(r"\bhow (?:many|much|long|old|high|tall|large|big|far|heavy|deep|wide|fast|often)\b", re.I)),
    ("when", re.compile(r"\b(?:when|(?:what|which) (?:year|date|day|month|century|time))\b", re.I)),
    ("why", re.compile(r"\b(?:why|how)\b", re.I)),
    ("where", re.compile(r"\bwhere\b|\b(?:what|which) (?:city|country|place|town|state)\b", re.I)),
    ("who", re.compile(r"\bwho(?:m|se)?\b", re.I)),
)
_FUNCTION_WORDS = frozenset(
    word
    for line in (
        "a an the this that these those it its he him his she her they them their we us our you your i me my one",
        "and or but nor so if of in on at to for from by with as into about over under than then there here",
        "any some all",
        "who whom whose which what when where why how not no n t s",
        "is are am was were be been being has have had do does did will would can could may might must shall should",
    )
    for word in line.split()
)


def is_yes_no(question: str) -> bool:
    """Whether it asks if something is so: "Are dogs allowed in the garden?"."""
    return bool(_YES_NO.match(question)) and (question.rstrip().endswith("?") or not _NAME.match(question))


def kind_of(question: str) -> str:
    """One of KINDS."""
    if is_yes_no(question):
        return "yes_no"
    return next((kind for kind, pattern in _KIND if pattern.search(question)), "what")


def asks_for_many(question: str) -> bool:
    """Whether it asks for several things: "Which documents are needed?"."""
    return bool(_MANY.search(question))


def is_empty(answer: str) -> bool:
    """Whether an answer is function words and punctuation alone."""
    return all(word in _FUNCTION_WORDS for word in re.findall(r"\w+", answer.casefold()))


def subject(text: str) -> frozenset[str]:
    """The stems of what a text is about: its words without function words."""
    words = " ".join(word for word in re.findall(r"\w+", text.casefold()) if word not in _FUNCTION_WORDS)
    return frozenset(terms(words, "en"))
