"""Exact match and F1, as in the official SQuAD script (Rajpurkar et al. 2016, 2018)."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(text: str) -> str:
    """Lower-case, without ASCII punctuation and English articles, with single spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact(prediction: str, gold: Sequence[str]) -> float:
    """1 if the prediction equals a gold answer, else 0; without gold answers, "" is right."""
    return float(normalise(prediction) in {normalise(answer) for answer in gold or [""]})


def is_close(prediction: str, gold: Sequence[str]) -> bool:
    """Whether the prediction agrees with one of the gold answers in at least half of the words: F1 of 0.5."""
    return f1(prediction, gold) >= 0.5


def f1(prediction: str, gold: Sequence[str]) -> float:
    """Word overlap with the most similar gold answer, 0..1."""
    return max(_f1(normalise(prediction).split(), normalise(answer).split()) for answer in gold or [""])


def _f1(prediction: list[str], gold: list[str]) -> float:
    if not prediction or not gold:
        return float(prediction == gold)
    shared = sum((Counter(prediction) & Counter(gold)).values())
    if not shared:
        return 0.0
    precision, recall = shared / len(prediction), shared / len(gold)
    return 2 * precision * recall / (precision + recall)
