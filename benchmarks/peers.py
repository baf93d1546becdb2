"""Compare this program with Haystack and txtai: the same weights, SQuAD paragraphs and questions, in one run.

Every measurement is saved at once; an interrupted run resumes. The systems take turns, so
that other load on the machine affects all of them.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from benchmarks import corpus
from benchmarks.kept import Kept
from benchmarks.run import Run, options, squad
from benchmarks.systems import READ, System, make, prepare_weights

TITLE = "Beside Haystack and txtai"
SYSTEMS = ("ours", "haystack", "txtai")
PACKAGES = ("torch", "transformers", "sentence-transformers", "haystack-ai", "txtai")
_WARM_UP = 3


@dataclass(frozen=True, slots=True)
class Summary:
    """One system's figures; `encoding` in passages/s and `latency` in ms are medians."""

    name: str
    exact: float
    f1: float
    encoding: float
    latency: float


def measure(systems: dict[str, System], data: corpus.Benchmark, results: Kept, *, rounds: int) -> None:
    texts = data.paragraphs
    for system in systems.values():
        system.encode(texts[:32])
    todo = [
        (system, str(number))
        for number in range(rounds)
        for system in systems
        if not results.has(phase="encode", system=system, item=str(number))
    ]
    for name, item in tqdm(todo, desc="encoding", unit="round"):
        start = time.perf_counter()
        systems[name].encode(texts)
        results.add(phase="encode", system=name, item=item, seconds=time.perf_counter() - start)

    questions = [
        (name, asked)
        for asked in data.asked
        for name in systems
        if not results.has(phase="answer", system=name, item=asked.id)
    ]
    if not questions:
        return
    for system in tqdm(systems.values(), desc="indexing", unit="system"):
        system.index(texts)
    for system in systems.values():
        for asked in data.asked[:_WARM_UP]:
            system.answer(asked.question)
    for name, asked in tqdm(questions, desc="answering", unit="answer"):
        start = time.perf_counter()
        prediction = systems[name].answer(asked.question)
        seconds = time.perf_counter() - start
        results.add(phase="answer", system=name, item=asked.id, seconds=seconds, prediction=prediction)


def summarise(name: str, label: str, data: corpus.Benchmark, results: Kept) -> Summary:
    by_id = {asked.id: asked for asked in data.asked}
    answers = results.of(phase="answer", system=name)
    scores = [by_id[row["item"]].score(row["prediction"]) for row in answers]
    encoding = statistics.median(row["seconds"] for row in results.of(phase="encode", system=name))
    return Summary(
        label,
        100 * statistics.fmean(score for score, _ in scores),
        100 * statistics.fmean(score for _, score in scores),
        len(data.paragraphs) / encoding,
        1000 * statistics.median(row["seconds"] for row in answers),
    )


def table(summaries: dict[str, Summary]) -> str:
    """A Markdown table; ratios are to Haystack, if it was measured."""
    base = summaries.get("haystack")
    lines = [
        "| | EM | F1 | encoding, passages/s | ratio | question to answer, median ms | ratio |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for summary in summaries.values():
        faster, slower = (
            (f"{summary.encoding / base.encoding:.2f}", f"{summary.latency / base.latency:.2f}") if base else ("–", "–")
        )
        lines.append(
            f"| {summary.name} | {summary.exact:.1f} | {summary.f1:.1f} | {summary.encoding:.1f} | {faster} "
            f"| {summary.latency:.0f} | {slower} |"
        )
    return "\n".join(lines)


def section(summaries: dict[str, Summary], data: corpus.Benchmark, about: dict[str, Any], measured: str) -> str:
    return f"""{measured}

The same weights for all: all-MiniLM-L6-v2 as the encoder, the bundled reader. The corpus: the {len(data.paragraphs):,}
paragraphs of `{about["data"]}`, each one document, without titles.

- EM and F1 end to end: each of {len(data.asked)} sampled questions (seed {about["seed"]}) is asked over the whole
  corpus; its best answer counts.
- Latency: the same questions, one at a time, the systems taking turns.
- Encoding: the median of {about["rounds"]} rounds over all paragraphs, the systems taking turns.
- Ratios are to Haystack.

Haystack and ours read the best {READ} hits; txtai its default of 3, for it joins them into one text of at most 512
tokens. The others run as their documentation builds them, in float32; ours in the precision that it chooses itself.

{table(summaries)}
"""


@click.command(help=__doc__)
@squad
@click.option("--systems", default=",".join(SYSTEMS), show_default=True, help="Systems to measure, comma-separated.")
@click.option("--questions", default=600, show_default=True, help="Size of the sample.")
@click.option("--rounds", default=3, show_default=True, help="Rounds of encoding.")
@click.option("--seed", default=7, show_default=True)
@options(".bench", limit="paragraphs and questions")
def main(data: Path, systems: str, questions: int, rounds: int, seed: int, **given: Any) -> None:
    run = Run("make bench-peers", **given)
    names = systems.split(",")
    if unknown := set(names) - set(SYSTEMS):
        raise click.BadParameter(
            f"{', '.join(sorted(unknown))}: known are {', '.join(SYSTEMS)}", param_hint="--systems"
        )
    benchmark = corpus.load(data, questions=run.limit or questions, paragraphs=run.limit, seed=seed)
    about = {"data": data.name, "rounds": rounds, "seed": seed}
    work = run.work / "-".join(names)
    work.mkdir(exist_ok=True)
    results = run.kept(f"{work.name}/results", *PACKAGES, systems=names, questions=len(benchmark.asked), **about)
    weights = prepare_weights(work)
    built = {name: make(name, work, weights) for name in tqdm(names, desc="loading", unit="system")}
    measure(built, benchmark, results, rounds=rounds)
    summaries = {name: summarise(name, system.name, benchmark, results) for name, system in built.items()}
    every = set(names) == set(SYSTEMS)
    text = section(summaries, benchmark, about, run.measured_line()) if every else table(summaries)
    run.write(TITLE, text, write=every)


if __name__ == "__main__":
    main()
