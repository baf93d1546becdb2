"""Searches of a collection with known vectors: recall against an exact scan, and latencies."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from benchmarks.recall import recall, recall_on
from benchmarks.scale.build import BUCKETS, COLLECTION, batches, manifest
from benchmarks.scale.rivals import WordRival
from benchmarks.sentences import Sentences
from benchmarks.timing import percentiles, timed
from search_app.protocols import EncoderStamp
from search_app.settings import Settings
from search_app.stores.catalog import open_catalog
from search_app.stores.filters import parse_where
from search_app.stores.index import Index
from search_app.types import Matrix

K = 10
CANDIDATES = 100
"""Default number of hits per retriever before fusion."""
BATCH = 64
_WARM_UP = 10
_FILTERED = 40
_LIVING = 2_000


def dense(store: Index, data: Sentences, real: int, flat: Any) -> dict[str, float]:
    """Single queries, alternating with an exact scan; then batches of 64."""
    ids = {passage.id: row for row, passage in enumerate(data.passages)}
    products, exact = flat.search(data.asked, K)
    ours, scan = list[float](), list[float]()
    found = list[list[int]]()
    for number, vector in enumerate(data.asked):
        hits = timed(ours, store.search_dense, vector[None], k=K)[0]
        timed(scan, flat.search, vector[None], K)
        found.append([ids[hit.passage.id] for hit in hits])
        if number == _WARM_UP:
            ours.clear()
            scan.clear()
    whole = len(data.asked) // BATCH * BATCH
    many, scanned = list[float](), list[float]()
    for start in range(0, whole, BATCH):
        part = data.asked[start : start + BATCH]
        timed(many, store.search_dense, part, k=K)
        timed(scanned, flat.search, part, K)
    return {
        "recall": recall(data.vectors, data.asked, found, products),
        "recall_real": recall_on(range(real), found, exact),
        **percentiles("dense_", ours),
        **percentiles("scan_", scan),
        "dense_batched": whole / sum(many),
        "scan_batched": whole / sum(scanned),
    }


def words(store: Index, questions: Sequence[str], rivals: dict[str, tuple[WordRival, int]],
          analysed: Sequence[Sequence[str]]) -> dict[str, float]:  # fmt: skip
    """BM25, all engines in turns; slow engines get fewer questions."""
    ours = list[float]()
    theirs: dict[str, list[float]] = {name: [] for name in rivals}
    for number, (question, asked) in enumerate(zip(questions, analysed, strict=True)):
        timed(ours, store.search_keyword, [question], k=CANDIDATES)
        for name, (rival, most) in rivals.items():
            if number < most:
                timed(theirs[name], rival.ask, asked, CANDIDATES)
        if number == _WARM_UP:
            ours.clear()
            for times in theirs.values():
                times.clear()
    found = percentiles("words_", ours)
    for name, times in theirs.items():
        found |= percentiles(f"words_{name}_", times)
    return found


def both(store: Index, data: Sentences) -> dict[str, float]:
    times = list[float]()
    for question, vector in zip(data.questions, data.asked, strict=True):
        timed(times, store.search_both, [question], vector[None], k=CANDIDATES)
    return percentiles("both_", times[_WARM_UP:])


def filtered(store: Index, data: Sentences) -> dict[str, float]:
    """Four selectivities: the first question with a new filter, the following ones, and recall."""
    bucket = {}
    for changes in batches(data):
        for change in changes:
            (document,) = change.documents
            bucket[document.id] = document.meta["bucket"]
    buckets = np.array([bucket[passage.document_id] for passage in data.passages])
    ids = {passage.id: row for row, passage in enumerate(data.passages)}
    found: dict[str, float] = {}
    for share in (0.001, 0.01, 0.1, 0.5):
        where = parse_where(f"bucket < {round(BUCKETS * share)}")
        allowed = np.flatnonzero(buckets < round(BUCKETS * share))
        first, later, word = list[float](), list[float](), list[float]()
        right = wanted = short = 0
        for number in range(_FILTERED):
            vector, question = data.asked[number], data.questions[number]
            times = later if number else first
            hits = timed(times, store.search_dense, vector[None], k=K, where=where)[0]
            timed(word, store.search_keyword, [question], k=K, where=where)
            best = _best(data.vectors, vector, allowed)
            right += len(best & {ids[hit.passage.id] for hit in hits})
            wanted += len(best)
            short += len(hits) < len(best)
        name = f"filter_{100 * share:g}"
        found |= {
            f"{name}_first": first[0],
            f"{name}_recall": right / wanted if wanted else 1.0,
            f"{name}_short": float(short),
        }
        found |= percentiles(f"{name}_", later) | percentiles(f"{name}_words_", word)
    return found


def living(settings: Settings, store: Index, data: Sentences, stamp: EncoderStamp) -> dict[str, float]:
    """Passages added and deleted per second, and the latency of an open reader's first question after a commit."""
    part = data.first(_LIVING)
    seen = list[float]()
    with closing(open_catalog(settings)) as catalog, catalog.writer(COLLECTION, manifest(stamp)) as writer:
        spent = 0.0
        for changes in batches(part, prefix="again-"):
            start = time.perf_counter()
            writer.write(changes)
            spent += time.perf_counter() - start
            timed(seen, store.search_both, [data.questions[0]], data.asked[:1], k=K)
        start = time.perf_counter()
        gone = writer.remove_documents([f"again-{document.id}" for document in part.documents])
        deleting = time.perf_counter() - start
        timed(seen, store.search_both, [data.questions[0]], data.asked[:1], k=K)
    assert gone == len(part.documents)
    return {
        "added_per_second": len(part.passages) / spent,
        "deleted_per_second": len(part.passages) / deleting,
        **percentiles("after_commit_", seen),
    }


def _best(vectors: Matrix, question: NDArray[np.float32], allowed: NDArray[np.int64]) -> set[int]:
    scores = vectors[allowed] @ question
    return {int(row) for row in allowed[np.argsort(-scores, kind="stable")[:K]]}


def flat_index(vectors: Matrix) -> Any:
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return index
