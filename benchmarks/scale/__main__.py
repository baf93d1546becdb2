"""Measure the embedded store from ten thousand to a million passages, for docs/benchmarks.md.

Real sentences with the bundled encoder's vectors come first, then derived ones. Every
measurement is saved at once; an interrupted run resumes. Systems take turns in one process.
"""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import numpy as np
from tqdm import tqdm

from benchmarks import process, sentences, synthetic
from benchmarks.run import Run, options, squad
from benchmarks.scale import ask, report
from benchmarks.scale.build import COLLECTION, build
from benchmarks.scale.rivals import RIVALS, WordRival, kinds, measure_kind
from benchmarks.sentences import Sentences
from search_app.encoders.sentence_transformer import SentenceTransformerEncoder
from search_app.evaluation.datasets import load_squad
from search_app.hardware import detect
from search_app.protocols import EncoderStamp
from search_app.settings import EncoderSettings, load_settings
from search_app.stores.catalog import open_catalog
from search_app.text import analysis

SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
_FEW = {"FTS5": 60}
"""Number of questions for engines that take a quarter of a second each."""
_KIND_QUESTIONS = 300
_KIND_PASSAGES = 300_000
"""Fewer than a million: building a graph over a million takes a quarter of an hour."""


def measure_size(folder: Path, data: Sentences, real: int, stamp: EncoderStamp, questions: list[str],
                 rivals: dict[str, tuple[WordRival, int]]) -> dict[str, Any]:  # fmt: skip
    home = folder / "home"
    shutil.rmtree(home, ignore_errors=True)
    settings = load_settings(home=home)
    found: dict[str, Any] = {"passages": len(data.passages), "real": min(real, len(data.passages))}
    found |= build(settings, data, stamp)
    found |= _probe(folder, home, data)
    flat = ask.flat_index(data.vectors)
    analysed = [list(dict.fromkeys(analysis.terms(question, "en"))) for question in questions]
    with closing(open_catalog(settings)) as catalog:
        found["about"] = catalog.describe(COLLECTION)
        with closing(catalog.open(COLLECTION)) as store:
            found |= ask.dense(store, data, real, flat)
            found |= ask.words(store, questions, rivals, analysed)
            found |= ask.both(store, data)
            found |= ask.filtered(store, data)
            found |= ask.living(settings, store, data, stamp)
    shutil.rmtree(home)
    return found


def _probe(folder: Path, home: Path, data: Sentences) -> dict[str, float]:
    asked = folder / "asked.npy"
    np.save(asked, data.asked[:100])
    return process.run(["-m", "benchmarks.scale.probe", str(home), str(asked)]).json()


def _rivals(folder: Path, data: Sentences) -> dict[str, tuple[WordRival, int]]:
    texts = [analysis.terms(passage.text, "en") for passage in tqdm(data.passages, desc="words", disable=None)]
    built: dict[str, tuple[WordRival, int]] = {}
    for make in RIVALS:
        rival = make(folder)
        rival.build(texts)
        built[rival.name] = rival, _FEW.get(rival.name, len(texts))
    return built


@click.command(help=__doc__)
@squad
@click.option("--sizes", default=",".join(map(str, SIZES)), show_default=True, help="Passages, comma-separated.")
@click.option("--questions", default=500, show_default=True)
@options(".bench/scale")
def main(data: Path, sizes: str, questions: int, **given: Any) -> None:
    run = Run("make bench-scale", **given)
    wanted = [run.limit] if run.limit else [int(size) for size in sizes.split(",")]
    kept = run.kept("scale", questions=questions)
    encoder = SentenceTransformerEncoder(EncoderSettings(), detect())
    loaded = sentences.load(encoder, Path(".bench/elasticsearch/vectors"), questions=questions)
    real = len(loaded.passages)
    todo = [size for size in wanted if not kept.has(what="size", size=size)]
    last = max(wanted)
    if todo or not kept.has(what="kind"):
        loaded = synthetic.extended(loaded, last)
    asked = list(dict.fromkeys(question.text for _, question in load_squad(data).questions))[::7][:questions]
    for size in tqdm(todo, desc="sizes", unit="size", disable=None):
        part = loaded.first(size)
        rivals = _rivals(run.work, part)
        kept.add(what="size", size=size, **measure_size(run.work, part, real, encoder.stamp, asked, rivals))
    if not kept.has(what="kind"):
        some = loaded.asked[:_KIND_QUESTIONS]
        vectors = loaded.vectors[:_KIND_PASSAGES]
        exact = synthetic.nearest(some, vectors, ask.K)[1]
        lists = 1 << round(float(np.log2(np.sqrt(len(vectors)))))
        for name, index, parameters in kinds(vectors.shape[1], lists):
            found = measure_kind(index, parameters, vectors, some, exact, candidates=500)
            kept.add(what="kind", name=name, passages=len(vectors), **found)
    rows = [row for size in wanted for row in kept.of(what="size", size=size)]
    text = report.section(rows, kept.of(what="kind"), run.measured_line(), pictures=not run.limit)
    if not run.limit:
        report.plots(rows, run.out.parent / "images")
    run.write(report.TITLE, text)


if __name__ == "__main__":
    main()
