"""Size, memory, latency and recall of every way to store vectors, on a hundred thousand passages."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from tqdm import tqdm

from benchmarks.elasticsearch.bulk import PREFIX, WARM_UP, Ours, warm_up
from benchmarks.elasticsearch.server import Server
from benchmarks.kept import Kept
from benchmarks.recall import recall, recall_on
from benchmarks.sentences import Sentences
from benchmarks.synthetic import QUANTILES, nearest, neighbour_quantiles, term_statistics
from benchmarks.timing import percentiles, timed
from search_app.fusion import fuse
from search_app.protocols import EncoderStamp
from search_app.settings import RetrievalSettings, load_settings
from search_app.stores.catalog import open_catalog
from search_app.types import Hit, Matrix

TYPES = ("flat", "hnsw", "int8_hnsw", "int4_hnsw", "bbq_flat", "bbq_hnsw")
K = 10
ENOUGH = 0.95
"""Minimum recall@10 of a recommended type."""
_WARM_UP = 50
_LINKS = 16
"""Links per node of a graph; Elasticsearch calls it m."""


def measure(
    server: Server, data: Sentences, real: int, stamp: EncoderStamp, kept: Kept, *, types: Sequence[str]
) -> None:
    """Build, search and remove one type after another; the first `real` passages are real ones."""
    if not kept.has(what="data"):
        kept.add(what="data", **_describe(data, real))
    todo = [vectors for vectors in types if not kept.has(what="type", vectors=vectors)]
    if not todo:
        return
    warm_up(server, [Ours(server, data.first(WARM_UP), stamp, "int8_hnsw")])
    for vectors in tqdm(todo, desc="vectors", unit="type", disable=None):
        server.settle()
        system = Ours(server, data, stamp, vectors)
        start = time.perf_counter()
        system.write()
        seconds = time.perf_counter() - start
        server.settle()
        kept.add(
            what="type",
            vectors=vectors,
            passages=system.found(),
            build=seconds,
            **_sizes(server),
            memory=memory_bytes(vectors, *data.vectors.shape),
            **_ask(server, data, real, vectors),
        )
        server.remove(PREFIX)


def memory_bytes(vectors: str, count: int, dim: int) -> int:
    """Bytes that a search reads, by the formulas of Elasticsearch's manual (kNN tuning guide)."""
    kind = vectors.split("_")[0]
    each = {"int8": dim + 4, "int4": dim // 2 + 4, "bbq": dim // 8 + 14}.get(kind, 4 * dim)
    return count * (each + (4 * _LINKS if vectors.endswith("hnsw") else 0))


def section(kept: Kept) -> str:
    (about,) = kept.of(what="data")
    rows = [row for vectors in TYPES for row in kept.of(what="type", vectors=vectors)]
    lines = [
        f"{about['passages']:,} passages in one shard: {about['real']:,} real sentences of English Wikipedia, reviews,"
        f" Reddit and tales with the bundled encoder's vectors, and {about['passages'] - about['real']:,} derived ones"
        f" (below). {about['questions']} real questions, one at a time, after {_WARM_UP} to warm up. Recall@10: of the"
        " ten nearest passages by exact inner product, the share that is found; on the real part, of those among the"
        " ten that are real. The settings are the product's (200 candidates, oversampling 3).",
        "",
        "- dense: the nearest 10. hybrid: the best 100 by vectors and by BM25 in one request, fused, as for each"
        " question; its recall is that of the first ten by vectors.",
        "- to search: bytes that a search goes through, off the heap in the page cache, by the formulas of"
        " Elasticsearch's manual; of quantised ones the whole vectors stay on disk, read for the few that are"
        " re-ranked. heap: the least that the Java heap held while it answered.",
        "- index: on disk after the last merge. Of it, `recovery` is the entry as it was sent, which Elasticsearch"
        " keeps for replicas that fell behind and drops with later merges.",
        "",
        "| vectors | build, s | index, MB | of it recovery | of it vectors | to search, MB | heap, MB | dense p50, ms"
        " | p95 | hybrid p50, ms | p95 | recall@10 | on the real part | in hybrid |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        sizes = " | ".join(f"{row[name] / 1e6:,.0f}" for name in ("index", "recovery", "raw", "memory", "heap"))
        times = " | ".join(f"{1000 * row[name]:.1f}" for name in ("dense_50", "dense_95", "hybrid_50", "hybrid_95"))
        recall = " | ".join(f"{row[name]:.3f}" for name in ("recall", "recall_real", "recall_hybrid"))
        lines.append(f"| {row['vectors']} | {row['build']:,.0f} | {sizes} | {times} | {recall} |")
    lines += ["", recommendation(rows), "", *_synthetic(about)]
    return "\n".join(lines)


def recommendation(rows: Sequence[dict[str, Any]]) -> str:
    good = [row for row in rows if row["recall"] >= ENOUGH and not row["vectors"].endswith("flat")]
    if not good:
        return (
            f"No graph reaches a recall@10 of {ENOUGH}: raise `elasticsearch.candidates` or `oversample`, or use flat."
        )
    least, fastest = min(good, key=lambda row: row["memory"]), min(good, key=lambda row: row["hybrid_50"])
    text = (
        f"Recommended where memory counts: `{least['vectors']}`, of the graphs with a recall@10 of at least {ENOUGH}"
        f" the one with the least to keep in memory ({least['memory'] / 1e6:,.0f} MB, recall {least['recall']:.3f})."
    )
    if fastest is not least:
        text += (
            f" The fastest of them: `{fastest['vectors']}` (hybrid p50 {1000 * fastest['hybrid_50']:.1f} ms, recall"
            f" {fastest['recall']:.3f})."
        )
    return text


def _synthetic(about: dict[str, Any]) -> list[str]:
    lines = [
        "### The derived passages",
        "",
        "A derived vector is a real one turned towards its ten nearest neighbours, weighted at random, and into a"
        " random direction, by as much as that real one lies away from its nearest neighbour. A derived text is a walk"
        " over the pairs of words of the real sentences, as long as one of them"
        " (`benchmarks/synthetic.py`).",
        "",
        "| cosine distance, quantiles | " + " | ".join(f"{value} %" for value in QUANTILES) + " |",
        "|---|" + "---:|" * len(QUANTILES),
    ]
    for name, label in (
        ("real_real", "real to the {} real one"),
        ("derived_all", "derived to the {} of all"),
        ("real_all", "real to the {} of all"),
    ):
        for place, values in zip(("nearest", "tenth nearest"), about[name], strict=True):
            lines.append(f"| {label.format(place)} | " + " | ".join(f"{value:.3f}" for value in values) + " |")
    lines += [
        "",
        "| texts, as many of both | words | characters | vocabulary | share of the 100 commonest | come once |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name in ("real", "derived"):
        terms = about[f"{name}_terms"]
        lines.append(
            f"| {name} | {terms['words']:.1f} | {terms['characters']:.0f} | {terms['vocabulary']:,}"
            f" | {100 * terms['common']:.0f} % | {100 * terms['once']:.0f} % |"
        )
    return lines


def _describe(data: Sentences, real: int) -> dict[str, Any]:
    count = len(data.passages)
    texts = [passage.text for passage in data.passages]
    same = min(real, count - real)
    found: dict[str, Any] = {"passages": count, "real": real, "questions": len(data.questions)}
    found["real_real"] = neighbour_quantiles(range(real), data.vectors[:real])
    found["real_all"] = neighbour_quantiles(range(real), data.vectors)
    found["derived_all"] = neighbour_quantiles(range(real, count), data.vectors)
    for name, chosen in (("real_terms", texts[:same]), ("derived_terms", texts[real : real + same])):
        terms = term_statistics(chosen)
        found[name] = {field: getattr(terms, field) for field in terms.__slots__}
    return found


def _sizes(server: Server) -> dict[str, int]:
    index = server.get(f"/{PREFIX}.bulk/_stats/store")["_all"]["primaries"]["store"]["size_in_bytes"]
    usage = server.post(f"/{PREFIX}.bulk/_disk_usage", run_expensive_tasks="true")
    (found,) = [value for value in usage.values() if "all_fields" in value]
    recovery = found["fields"].get("_recovery_source", {}).get("total_in_bytes", 0)
    return {"index": index, "recovery": recovery, "raw": found["all_fields"]["knn_vectors_in_bytes"]}


def _ask(server: Server, data: Sentences, real: int, vectors: str) -> dict[str, float]:
    settings = load_settings(store="elasticsearch", elasticsearch={"urls": (server.url,), "prefix": PREFIX})
    fusion = RetrievalSettings()
    row_of = {passage.id: row for row, passage in enumerate(data.passages)}
    products, exact = nearest(data.asked, data.vectors, K)
    times: dict[str, list[float]] = {"dense": [], "hybrid": []}
    rows: dict[str, list[list[int]]] = {"dense": [], "hybrid": []}
    heap: list[int] = []
    with closing(open_catalog(settings)) as catalog, closing(catalog.open("bulk")) as store:

        def dense(question: str, vector: Matrix) -> Sequence[Hit]:
            return store.search_dense(vector, k=K)[0]

        def hybrid(question: str, vector: Matrix) -> Sequence[Hit]:
            (both,) = store.search_both([question], vector, k=fusion.candidates)
            fuse(both.dense, both.keyword, fusion, k=K)
            return both.dense[:K]

        asks = {"dense": dense, "hybrid": hybrid}
        for question, vector in list(zip(data.questions, data.asked, strict=True))[:_WARM_UP]:
            for ask in asks.values():
                ask(question, vector[None])
        for number, (question, vector) in enumerate(zip(data.questions, data.asked, strict=True)):
            for name, ask in asks.items():
                hits = timed(times[name], ask, question, vector[None])
                rows[name].append([row_of[hit.passage.id] for hit in hits])
            if number % 10 == 0:
                heap.append(server.heap_bytes())
    return {
        "heap": min(heap),
        **percentiles("dense_", times["dense"]),
        **percentiles("hybrid_", times["hybrid"]),
        "recall": recall(data.vectors, data.asked, rows["dense"], products),
        "recall_real": recall_on(range(real), rows["dense"], exact),
        "recall_hybrid": recall(data.vectors, data.asked, rows["hybrid"], products),
    }
