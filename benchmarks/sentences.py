"""Real sentences with the bundled encoder's vectors; each is a passage of its paragraph."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.corpus import SQUAD
from search_app.evaluation.datasets import load_squad
from search_app.protocols import Encoder
from search_app.types import Document, Matrix, Passage

TRAIN = SQUAD.parents[1] / "train"
_SENTENCE = re.compile(r"\S.*?(?:[.!?][\"'”’)]*(?=\s)|$)", re.DOTALL)
_SHORTEST = 25
_PART = 4_000


@dataclass(frozen=True, slots=True)
class Sentences:
    """`vectors` belong to the passages and `asked` to the questions, row by row; no text is repeated."""

    documents: tuple[Document, ...]
    passages: tuple[Passage, ...]
    questions: tuple[str, ...]
    vectors: Matrix
    asked: Matrix

    def first(self, passages: int) -> Sentences:
        """The first documents with at least that many passages, or all."""
        last = self.passages[min(passages, len(self.passages)) - 1].document_id
        end = max(row for row, passage in enumerate(self.passages) if passage.document_id == last) + 1
        used = {passage.document_id for passage in self.passages[:end]}
        documents = tuple(document for document in self.documents if document.id in used)
        return Sentences(documents, self.passages[:end], self.questions, self.vectors[:end], self.asked)


def load(
    encoder: Encoder, cache: Path, *, folder: Path = TRAIN, sentences: int | None = None, questions: int = 500
) -> Sentences:
    """Load paragraphs in a seeded random order; vectors in `cache` are reused."""
    datasets = [load_squad(path) for path in sorted(folder.glob("*.json"))]
    paragraphs = list(dict.fromkeys(paragraph.text for dataset in datasets for paragraph in dataset.paragraphs))
    asked = list(dict.fromkeys(question.text.strip() for dataset in datasets for _, question in dataset.questions))
    random.Random(1).shuffle(paragraphs)
    documents: list[Document] = []
    passages: list[Passage] = []
    seen: set[str] = set()
    for text in paragraphs:
        if sentences is not None and len(passages) >= sentences:
            break
        document = Document(_id(text), "", text, f"{_id(text)}.txt", language="en")
        found = [
            Passage(
                _id(document.id, match.start()), document.id, "", match.group(), *match.span(), None, document.source
            )
            for match in _SENTENCE.finditer(text)
            if len(match.group()) >= _SHORTEST and match.group() not in seen
        ]
        # A sentence that comes twice in one paragraph counts once.
        found = list({passage.text: passage for passage in found}.values())
        seen.update(passage.text for passage in found)
        passages += found
        documents += [document] if found else []
    chosen = random.Random(2).sample(asked, min(questions, len(asked)))
    texts = [passage.text for passage in passages]
    vectors = _encoded(encoder.encode_passages, texts, cache, encoder.stamp.digest)
    return Sentences(tuple(documents), tuple(passages), tuple(chosen), vectors, encoder.encode_queries(chosen))


def _encoded(encode: Callable[[Sequence[str]], Matrix], texts: Sequence[str], cache: Path, encoder: str) -> Matrix:
    cache.mkdir(parents=True, exist_ok=True)
    found: list[Matrix] = []
    for start in tqdm(range(0, len(texts), _PART), desc="encoding", unit="part", disable=None):
        part = texts[start : start + _PART]
        path = cache / f"{_id(encoder, *part)}.npy"
        if not path.exists():
            unfinished = path.with_suffix(".part.npy")
            np.save(unfinished, encode(part))
            unfinished.replace(path)
        found.append(np.load(path))
    return np.concatenate(found)


def _id(*parts: object) -> str:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:32]
