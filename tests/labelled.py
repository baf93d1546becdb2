"""Small files of questions with answers, in the formats that trainings read."""

from __future__ import annotations

import json
import random
from itertools import combinations
from pathlib import Path
from typing import Any

WORDS = ["river", "treaty", "glacier", "library", "harbour", "map", "code", "block", "name", "state"]


def squad(*, articles: int, seed: int, prefix: str = "") -> dict[str, Any]:
    """SQuAD v1.1: in each article three paragraphs of 18 words, with a year that is the answer. Ids are unique."""
    rng = random.Random(seed)
    data = []
    for a in range(articles):
        paragraphs = []
        for p in range(3):
            words = [rng.choice(WORDS) for _ in range(18)]
            place = rng.randrange(18)
            words[place] = year = str(rng.randrange(1000, 2000))
            text = " ".join(words)
            answer = {"text": year, "answer_start": text.index(year)}
            question = {"id": f"{prefix}{a}-{p}", "question": f"When was it {a}?", "answers": [answer]}
            paragraphs.append({"context": text, "qas": [question]})
        data.append({"title": f"{prefix}article {a}", "paragraphs": paragraphs})
    return {"version": "1.1", "data": data}


def squad_file(path: Path, *, articles: int, seed: int, prefix: str = "") -> Path:
    """Write `squad` to a file."""
    path.write_text(json.dumps(squad(articles=articles, seed=seed, prefix=prefix)))
    return path


def pairs_file(path: Path, *, pairs: int, seed: int) -> Path:
    """JSON lines: a passage has three words, its question the words that follow them in WORDS. At most 120 pairs.

    So an encoder must learn which word means which.
    """
    picked = list(combinations(range(len(WORDS)), 3))
    random.Random(seed).shuffle(picked)
    with path.open("w") as lines:
        for numbers in picked[:pairs]:
            question = " ".join(WORDS[(number + 1) % len(WORDS)] for number in numbers)
            lines.write(json.dumps({"question": question, "passage": " ".join(WORDS[n] for n in numbers)}) + "\n")
    return path
