"""Ours beside Haystack and txtai: the same weights, the same SQuAD paragraphs and questions, the same run.

Each measurement is kept as soon as it is made, and a run that was stopped goes on from there. The systems take turns,
round by round and question by question, so that whatever else the machine does meets all of them.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

os.environ.setdefault("HAYSTACK_TELEMETRY_ENABLED", "False")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import click
from tqdm import tqdm

from benchmarks import corpus
from benchmarks.kept import Kept
from benchmarks.machine import code_digest, measured_line
from benchmarks.page import put_section
from benchmarks.systems import READ, System, make, prepare_weights
from search_app.hardware import detect, set_threads

TITLE = "Beside Haystack and txtai"
SYSTEMS = ("ours", "haystack", "txtai")
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
    """Markdown; ratios are to Haystack, where it was measured."""
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


def section(summaries: dict[str, Summary], data: corpus.Benchmark, about: dict[str, object], command: str) -> str:
    return f"""{measured_line(command)}

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


def _state(data: Path, systems: Sequence[str], threads: int, **sizes: object) -> dict[str, object]:
    packages = ("torch", "transformers", "sentence-transformers", "haystack-ai", "txtai")
    installed = {item.metadata["Name"]: item.version for item in importlib.metadata.distributions()}
    return {
        "processor": detect().processor,
        "threads": threads,
        "data": data.name,
        "code": code_digest(),
        "versions": {name: installed.get(name) for name in packages},
        "systems": list(systems),
        **sizes,
    }


@click.command(help=__doc__)
@click.option("--data", type=click.Path(path_type=Path, exists=True, dir_okay=False), default=corpus.SQUAD)
@click.option("--systems", default=",".join(SYSTEMS), show_default=True, help="Which, comma-separated.")
@click.option("--questions", default=600, show_default=True, help="Size of the sample.")
@click.option("--limit", type=int, help="Only so many paragraphs and questions: quick, and nothing is written.")
@click.option("--rounds", default=3, show_default=True, help="Rounds of encoding.")
@click.option("--seed", default=7, show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), default=Path(".bench"), show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("docs/benchmarks.md"), show_default=True)
@click.option("--fresh", is_flag=True, help="Forget measurements of an earlier run.")
def main(
    data: Path,
    systems: str,
    questions: int,
    limit: int | None,
    rounds: int,
    seed: int,
    folder: Path,
    out: Path,
    fresh: bool,
) -> None:
    names = systems.split(",")
    if unknown := set(names) - set(SYSTEMS):
        raise click.BadParameter(
            f"{', '.join(sorted(unknown))}: known are {', '.join(SYSTEMS)}", param_hint="--systems"
        )
    benchmark = corpus.load(data, questions=limit or questions, paragraphs=limit, seed=seed)
    about = _state(data, names, set_threads(), questions=len(benchmark.asked), limit=limit, rounds=rounds, seed=seed)
    work = folder / ("quick" if limit else "full") / "-".join(names)
    work.mkdir(parents=True, exist_ok=True)
    results = Kept(work / "results.jsonl", about, fresh=fresh)
    weights = prepare_weights(work)
    built = {name: make(name, work, weights) for name in tqdm(names, desc="loading", unit="system")}
    measure(built, benchmark, results, rounds=rounds)
    summaries = {name: summarise(name, system.name, benchmark, results) for name, system in built.items()}
    click.echo(table(summaries))
    if limit is None and set(names) == set(SYSTEMS):
        (work / "summary.json").write_text(
            json.dumps({name: asdict(item) for name, item in summaries.items()}, indent=1)
        )
        put_section(out, TITLE, section(summaries, benchmark, about, "make bench-peers"))
        click.echo(f"written to {out}")


if __name__ == "__main__":
    main()
