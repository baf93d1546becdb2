"""Synthetic passages for large benchmarks: vectors as near to each other as real ones, texts of real words.

A vector is a real one turned towards its ten nearest neighbours, weighted at random, and into a random direction, by
as much as that real vector lies away from its own nearest neighbour. The share of the random direction was chosen so
that distances to the nearest and to the tenth neighbour come out as among real vectors; `neighbour_quantiles` tells.

A text is a walk over the pairs of words of the real sentences, as long as one of them.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from benchmarks.sentences import Sentences
from search_app.types import Document, Matrix, Passage

QUANTILES = (5, 25, 50, 75, 95)
NEIGHBOURS = 10
RANDOM_SHARE = 0.75
_SHARES = np.sqrt(np.array([1 - RANDOM_SHARE, RANDOM_SHARE], dtype=np.float32))
_BLOCK = 2_000
_SENTENCES_IN_DOCUMENT = 6
_WORD = re.compile(r"\w+")


def extended(data: Sentences, passages: int, *, seed: int = 5) -> Sentences:
    """The real passages, then derived ones up to that number."""
    wanted = passages - len(data.passages)
    if wanted <= 0:
        return data
    derived = list(_passages(_texts([passage.text for passage in data.passages], wanted, seed)))
    vectors = derived_vectors(data.vectors, wanted, seed)
    return Sentences(
        data.documents + tuple(document for document, _ in derived),
        data.passages + tuple(passage for _, found in derived for passage in found),
        data.questions,
        np.concatenate([data.vectors, vectors]),
        data.asked,
    )


def derived_vectors(real: Matrix, count: int, seed: int) -> Matrix:
    """float32 (count, dim), unit length."""
    rng = np.random.default_rng(seed)
    bases = rng.choice(len(real), count)
    distinct, place = np.unique(bases, return_inverse=True)
    near, rows_near = nearest(real[distinct], real, NEIGHBOURS + 1)
    similar, found = near[place], rows_near[place]
    vectors = np.empty((count, real.shape[1]), dtype=np.float32)
    for start in range(0, count, _BLOCK):
        rows = slice(start, start + _BLOCK)
        base = real[bases[rows]]
        towards = real[found[rows, 1:]] - base[:, None]
        weights = rng.exponential(size=towards.shape[:2]).astype(np.float32)
        inward = _beside(np.einsum("nk,nkd->nd", weights, towards), base)
        outward = _beside(rng.normal(size=base.shape).astype(np.float32), base)
        direction = _beside(_SHARES[0] * inward + _SHARES[1] * outward, base)
        cosine = np.clip(similar[rows, 1:2], -1, 1).astype(np.float32)
        vectors[rows] = _unit(cosine * base + np.sqrt(1 - cosine**2) * direction)
    return vectors


def nearest(vectors: Matrix, among: Matrix, k: int) -> tuple[Matrix, NDArray[np.int64]]:
    """Inner products and rows of the k exact nearest neighbours."""
    products, rows = faiss.knn(
        np.ascontiguousarray(vectors), np.ascontiguousarray(among), k, metric=faiss.METRIC_INNER_PRODUCT
    )
    return products, rows


def neighbour_quantiles(rows: Sequence[int], among: Matrix, *, sample: int = 2_000) -> tuple[list[float], list[float]]:
    """QUANTILES of the cosine distances from a sample of `rows` to their nearest and tenth neighbours."""
    chosen = np.random.default_rng(1).choice(np.asarray(rows), min(sample, len(rows)), replace=False)
    distances = 1 - nearest(among[chosen], among, 11)[0][:, 1:]
    first, tenth = np.percentile(distances[:, 0], QUANTILES), np.percentile(distances[:, -1], QUANTILES)
    return [float(value) for value in first], [float(value) for value in tenth]


@dataclass(frozen=True, slots=True)
class TermStatistics:
    """`common` is the share of the hundred most frequent words, `once` the share of distinct words that occur once."""

    words: float
    characters: float
    vocabulary: int
    common: float
    once: float


def term_statistics(texts: Sequence[str]) -> TermStatistics:
    """Words and characters are means per text."""
    counts = Counter(word for text in texts for word in _WORD.findall(text.lower()))
    total = counts.total()
    return TermStatistics(
        total / len(texts),
        sum(map(len, texts)) / len(texts),
        len(counts),
        sum(count for _, count in counts.most_common(100)) / total,
        sum(count == 1 for count in counts.values()) / len(counts),
    )


def _texts(real: Sequence[str], count: int, seed: int) -> Iterator[str]:
    followers: dict[str, list[str]] = {}
    for text in real:
        for word, following in pairwise(["", *text.split()]):
            followers.setdefault(word, []).append(following)
    draw = random.Random(seed)
    for _ in range(count):
        words: list[str] = []
        last = ""
        for _ in range(len(draw.choice(real).split())):
            last = draw.choice(followers.get(last) or followers[""])
            words.append(last)
        yield " ".join(words)


def _passages(texts: Iterator[str]) -> Iterator[tuple[Document, list[Passage]]]:
    number = 0
    while sentences := [text for _, text in zip(range(_SENTENCES_IN_DOCUMENT), texts, strict=False)]:
        id = f"derived-{number}"
        passages: list[Passage] = []
        start = 0
        for text in sentences:
            place = (start, start + len(text))
            passages.append(Passage(f"{id}-{start}", id, "", text, *place, None, f"{id}.txt"))
            start += len(text) + 1
        yield Document(id, "", " ".join(sentences), f"{id}.txt", language="en"), passages
        number += 1


def _beside(vectors: NDArray[np.floating[Any]], base: Matrix) -> Matrix:
    """The components orthogonal to `base`, at unit length."""
    return _unit(vectors - (vectors * base).sum(axis=1, keepdims=True) * base)


def _unit(vectors: NDArray[np.floating[Any]]) -> Matrix:
    found: Matrix = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return found
