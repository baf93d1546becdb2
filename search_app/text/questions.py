"""Tell a question from a keyword query, and find its quoted phrases."""

from __future__ import annotations

import re
import unicodedata

_ASKING = """
who whom whose what which when where why how is are was were am do does did can could will would shall should may
might must has have had define explain describe list name
wer wen wem wessen was welche welcher welches welchen welchem wann wo woher wohin warum wieso weshalb wie wieviel
ist sind war waren hat haben kann darf muss soll wird gibt
qui que quoi quel quelle quels quelles quand pourquoi comment combien est sont
quien quienes cual cuales cuando donde cuanto cuantos cuanta cuantas como es son hay puede
chi cosa quale quali quando dove perche quanto quanti quanta quante come sono
quem qual quais onde porque quantos quantas
wie wat welke wanneer waar waarom hoe hoeveel zijn heeft kan mag moet
"""
_QUESTION_WORDS = frozenset(_ASKING.split())
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")
_QUOTED = re.compile(
    r'(?<!\w)"([^"]+)"(?!\w)|\u201c([^\u201d]+)\u201d|\u201e([^\u201c\u201d]+)[\u201c\u201d]|\u00ab([^\u00bb]+)\u00bb'
)
_FILE = re.compile(r"[^\n?]*\w\.[A-Za-z][A-Za-z0-9]{1,4}")
_WORDS = 3
"""A text of so many words may be answered without a question word: "capital of France"."""


def phrases(question: str) -> list[str]:
    """The quoted phrases, without their quotes."""
    found = (next(filter(None, match.groups())).strip() for match in _QUOTED.finditer(question))
    return [phrase for phrase in found if any(map(str.isalnum, phrase))]


def exact_phrases(question: str) -> list[str]:
    """What a passage should contain by the letter: quoted phrases; or the whole text, if it is an identifier."""
    text = question.strip()
    if quoted := phrases(text):
        return quoted
    return [text] if any(map(str.isalnum, text)) and _is_exact(text) and not is_question(text) else []


def _is_exact(text: str) -> bool:
    return not text.replace(" ", "").isalpha()


def is_question(text: str) -> bool:
    """Whether an answer can be marked; otherwise it is a keyword query, whose result is the passages themselves.

    A keyword query has one or two words and no question word among them, or it is an identifier, a file's name or a
    quoted phrase. Words are counted without identifiers.
    """
    stripped = text.strip()
    words = [word for word in _words(stripped) if word.isalpha()]
    asks = "?" in stripped or any(word in _QUESTION_WORDS for word in words)
    if not _QUOTED.sub(" ", stripped).strip(" .,;?!+-") or (_FILE.fullmatch(stripped) and not asks):
        return False
    if len(words) >= _WORDS or len(_UNSPACED.findall(stripped)) > 2 * _WORDS:
        return True
    return asks and (len(words) == 2 or (len(words) == 1 and any(map(str.isdigit, stripped))))


def _words(text: str) -> list[str]:
    """Folded words; a token with a digit or a sign inside is one word."""
    plain = re.sub(r"[\u0300-\u036f]", "", unicodedata.normalize("NFKD", text)).casefold()
    return [re.sub(r"['\u2019].*", "", token.strip('()[]{}.,;:!?"\u00bf\u00a1*')) for token in plain.split()]
