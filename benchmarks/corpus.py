"""The corpus and the questions of a benchmark, from a SQuAD file."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from search_app.evaluation.datasets import load_squad
from search_app.evaluation.squad import exact, f1

SQUAD = Path(__file__).resolve().parents[2] / "shared" / "data" / "eval" / "squad-v1.1-dev.json"


@dataclass(frozen=True, slots=True)
class Asked:
    id: str
    question: str
    gold: tuple[str, ...]

    def score(self, prediction: str) -> tuple[float, float]:
        """Exact match (0 or 1) and F1 (0 to 1)."""
        return exact(prediction, self.gold), f1(prediction, self.gold)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """`paragraphs` are the corpus, one document each, without titles; `asked` is a seeded sample of the questions."""

    paragraphs: tuple[str, ...]
    asked: tuple[Asked, ...]


def load(path: Path, *, questions: int, paragraphs: int | None, seed: int) -> Benchmark:
    """`paragraphs` limits the corpus and its questions, for a quick look."""
    every = list(load_squad(path).paragraphs)[:paragraphs]
    asked = [
        Asked(question.id, question.text, tuple(question.gold))
        for paragraph in every
        for question in paragraph.questions
    ]
    chosen = random.Random(seed).sample(asked, min(questions, len(asked)))
    return Benchmark(tuple(dict.fromkeys(paragraph.text for paragraph in every)), tuple(chosen))
