"""When an answer to a question of the demo is right, and the numbers of all of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from search_app.evaluation.calibration import measure_calibration
from search_app.evaluation.datasets import Question
from search_app.types import Answer

MORE_WORDS = 5
CLOSE = 0.8
_QUOTES = str.maketrans("", "", "\"'“”‘’`*")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The first answer with a span to one question: whether it is right and shown, and its confidence."""

    question: Question
    text: str = ""
    right: bool = False
    shown: bool = False
    confidence: float | None = None

    @classmethod
    def of(cls, question: Question, answers: Sequence[Answer]) -> Outcome:
        first = next((answer for answer in answers if answer.span), None)
        if first is None:
            return cls(question)
        right = is_right(first.text, question.gold)
        return cls(question, first.text, right, any(answer.reliable for answer in answers), first.confidence)


def is_right(answer: str, accepted: Sequence[str]) -> bool:
    """Whether an accepted text is in it with at most MORE_WORDS more words, or has an F1 of at least CLOSE with it."""
    words = _words(answer)
    return any(_holds(words, _words(text)) or _f1(words, _words(text)) >= CLOSE for text in accepted)


def summary(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Counts and shares (0..1); `ece` is nan for a reader without calibration."""
    answerable = [one for one in outcomes if one.question.gold]
    others = [one for one in outcomes if not one.question.gold]
    shown = [one for one in outcomes if one.shown]
    sure = [(one.confidence, float(one.right)) for one in outcomes if one.confidence is not None]
    return {
        "answerable": len(answerable),
        "unanswerable": len(others),
        "right": _share([one.right for one in answerable]),
        "right_and_shown": _share([one.right and one.shown for one in answerable]),
        "unanswerable_answered": _share([one.shown for one in others]),
        "shown": _share([one.shown for one in outcomes]),
        "wrong_among_shown": _share([not one.right for one in shown]),
        "ece": measure_calibration(*zip(*sure, strict=True)).ece if sure else float("nan"),
    }


def _holds(answer: list[str], accepted: list[str]) -> bool:
    more = len(answer) - len(accepted)
    return 0 <= more <= MORE_WORDS and any(answer[i : i + len(accepted)] == accepted for i in range(more + 1))


def _f1(answer: list[str], accepted: list[str]) -> float:
    return 2 * (Counter(answer) & Counter(accepted)).total() / max(1, len(answer) + len(accepted))


def _words(text: str) -> list[str]:
    """Lower case, without articles, quotes, and punctuation after a word; signs that are words of their own stay."""
    words = (re.sub(r"(?<=\w)[.,;:!?]+$", "", word) for word in text.lower().translate(_QUOTES).split())
    return [word for word in words if word not in ("a", "an", "the", "")]


def _share(values: Sequence[bool]) -> float:
    return sum(values) / len(values) if values else 0.0
