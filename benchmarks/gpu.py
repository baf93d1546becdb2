"""Compare vector search on a GPU with both CPU indexes and an exact scan, for docs/benchmarks.md.

Real sentences with the bundled encoder's vectors come first, then derived ones. Exact vectors are in memory. Without a
GPU, --device cpu measures only the CPU's indexes and writes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
from tqdm import tqdm

from benchmarks import sentences, synthetic
from benchmarks.run import Run, options
from benchmarks.timing import percentiles, timed
from search_app.encoders.sentence_transformer import SentenceTransformerEncoder
from search_app.hardware import detect
from search_app.settings import EncoderSettings, VectorSettings
from search_app.stores.vectors import factory, gpu
from search_app.stores.vectors.index import Rows, VectorIndex
from search_app.types import Matrix

TITLE = "Vectors on a GPU"
K = 10
_BATCHES = (1, 64, 1024)
_BLOCK = 65_536
Row = dict[str, float | str]


def measure(
    name: str,
    make: Callable[[], VectorIndex],
    vectors: Matrix,
    asked: Matrix,
    products: Matrix,
    *,
    seconds: float = 5.0,
) -> Row:
    """Seconds to build, recall@10, and queries per second by batch size; p50 and p95 for single queries.

    Each measurement takes `seconds`, or one batch if that is longer.
    """
    start = time.perf_counter()
    index = make()
    row: Row = {"name": name, "passages": float(len(vectors)), "build": time.perf_counter() - start}

    def exact(rows: Rows) -> Matrix:
        found: Matrix = vectors[rows]
        return found

    scores, _ = index.search(asked, K, exact=exact)
    row["recall"] = float((scores >= products[:, -1:] - 1e-5).sum() / products.size)
    for size in _BATCHES:
        questions = np.resize(asked, (max(size, len(asked)), asked.shape[1]))
        times, end, place = list[float](), time.perf_counter() + seconds, 0
        while not times or time.perf_counter() < end:
            part = questions[place : place + size]
            place = place + size if place + 2 * size <= len(questions) else 0
            timed(times, index.search, part, K, exact=exact)
        row[f"rate_{size}"] = size * len(times) / sum(times)
        if size == 1:
            row |= percentiles("p", times)
    row["degraded"] = index.degraded
    return row


def section(rows: list[Row], measured: str) -> str:
    lines = [
        measured,
        "",
        "Ten best of real questions. The exact scan is the flat index of the CPU; recall@10 is against it.",
        "",
        "| passages | index | build, s | recall@10 | one question p50 / p95, ms | "
        + " | ".join(f"questions/s, {size} at once" for size in _BATCHES)
        + " |",
        "|---:|---|---:|---:|---:|" + "---:|" * len(_BATCHES),
    ]
    for row in rows:
        rates = " | ".join(f"{row[f'rate_{size}']:,.0f}" for size in _BATCHES)
        name = f"{row['name']} (degraded: {row['degraded']})" if row["degraded"] else row["name"]
        lines.append(
            f"| {row['passages']:,.0f} | {name} | {row['build']:.0f} | {row['recall']:.4f}"
            f" | {1000 * float(row['p50']):.2f} / {1000 * float(row['p95']):.2f} | {rates} |"
        )
    return "\n".join(lines)


def makers(vectors: Matrix, device: str) -> dict[str, Callable[[], VectorIndex]]:
    def batches() -> Iterator[tuple[Rows, Matrix]]:
        for start in range(0, len(vectors), _BLOCK):
            part = vectors[start : start + _BLOCK]
            yield np.arange(start, start + len(part)), part

    def on_cpu(settings: VectorSettings) -> VectorIndex:
        dim = vectors.shape[1]
        return factory.open_index(dim, len(vectors), batches, arrays=None, settings=settings, may_train=True)

    found: dict[str, Callable[[], VectorIndex]] = {
        "CPU, every vector": lambda: on_cpu(VectorSettings(device="cpu", index="flat")),
        "CPU, compressed": lambda: on_cpu(VectorSettings(device="cpu", index="compressed")),
    }
    if device != "cpu":
        for name, half in (("float32 or bfloat16", False), ("float16", True)):
            settings = VectorSettings.model_validate({"device": device, "float16": half})
            found[f"{device}, {name}"] = lambda settings=settings: gpu.open_gpu(  # type: ignore[misc]
                vectors.shape[1], len(vectors), batches, settings
            )
    return found


@click.command(help=__doc__)
@click.option("--sizes", default="1000000,10000000", show_default=True, help="Passages, comma-separated.")
@click.option("--device", default="cuda", show_default=True)
@click.option("--questions", default=1024, show_default=True)
@options(".bench/gpu")
def main(sizes: str, device: str, questions: int, **given: Any) -> None:
    run = Run("make bench-gpu", **given)
    tested = gpu.describe(VectorSettings.model_validate({"device": device}))
    kept = run.kept("gpu", gpu=tested)
    encoder = SentenceTransformerEncoder(EncoderSettings(), detect())
    real = sentences.load(encoder, Path(".bench/elasticsearch/vectors"), questions=questions)
    wanted = [run.limit] if run.limit else [int(size) for size in sizes.split(",")]
    for size in wanted:
        if all(kept.has(passages=float(size), name=name) for name in makers(real.vectors, device)):
            continue
        derived = synthetic.derived_vectors(real.vectors, max(0, size - len(real.vectors)), seed=5)
        vectors = np.concatenate([real.vectors, derived])[:size]
        products, _ = synthetic.nearest(real.asked, vectors, K)
        for name, make in tqdm(makers(vectors, device).items(), desc=f"{size:,}", unit="index", disable=None):
            if not kept.has(passages=float(size), name=name):
                kept.add(**measure(name, make, vectors, real.asked, products))
    shown = "; ".join(f"{name} {value}" for name, value in tested.items())
    run.write(TITLE, section(kept.rows, f"{run.measured_line()} {shown}."), write=device != "cpu")


if __name__ == "__main__":
    main()
