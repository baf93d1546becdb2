"""The indexing job into docs/benchmarks.md: throughput beside Haystack's own pipeline, memory, resuming.

Each measurement is kept as soon as it is made, and a run that was stopped goes on from there.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("HAYSTACK_TELEMETRY_ENABLED", "False")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import click

from benchmarks.jobs import files, memory, resume, throughput
from benchmarks.kept import Kept
from benchmarks.machine import code_digest, measured_line
from benchmarks.page import put_section
from search_app.hardware import detect, set_threads

TITLES = {
    "throughput": "The indexing job beside Haystack's pipeline",
    "memory": "The indexing job's memory",
    "resume": "The indexing job, killed and run again",
}


@dataclass(frozen=True, slots=True)
class Run:
    """What all parts are given; with `limit` everything is small, and no page is written."""

    folder: Path
    out: Path
    limit: int | None
    fresh: bool

    @property
    def work(self) -> Path:
        return self.folder / ("quick" if self.limit else "full")

    def kept(self, part: str, **sizes: Any) -> Kept:
        installed = {item.metadata["Name"]: item.version for item in importlib.metadata.distributions()}
        about = {
            "processor": detect().processor,
            "threads": set_threads(),
            "code": code_digest(),
            "versions": {name: installed.get(name) for name in ("haystack-ai", "sentence-transformers", "torch")},
            **sizes,
        }
        return Kept(self.work / f"{part}.jsonl", about, fresh=self.fresh)

    def write(self, part: str, text: str) -> None:
        click.echo(f"\n{text}\n")
        if not self.limit:
            put_section(self.out, TITLES[part], f"{measured_line(f'make bench-jobs PART={part}')}\n\n{text}")
            click.echo(f"written to {self.out}")


def measure_throughput(run: Run, *, rounds: int) -> None:
    made = files.make_files(run.folder / "corpus", limit=run.limit)
    number = sum(path.is_file() for path in made.rglob("*"))
    kept = run.kept("throughput", files=number)
    throughput.measure(made, run.work, kept, rounds=rounds)
    run.write("throughput", throughput.section(kept, number))


def measure_memory(run: Run, *, small: int, large: int, megabytes: Sequence[float], kinds: Sequence[str]) -> None:
    kept = run.kept("memory", small=small, large=large)
    memory.measure(run.work, kept, small=small, large=large, megabytes=megabytes, kinds=kinds)
    run.write("memory", memory.section(kept))


def measure_resume(run: Run, *, documents: int) -> None:
    kept = run.kept("resume", documents=documents)
    resume.measure(run.work, kept, documents=documents)
    run.write("resume", resume.section(kept))


@click.command(help=__doc__)
@click.argument("part", type=click.Choice(["all", *TITLES]), default="all")
@click.option("--rounds", default=3, show_default=True, help="throughput: of each system.")
@click.option("--small", default=2_000, show_default=True, help="memory: documents that others are held to.")
@click.option("--large", default=200_000, show_default=True, help="memory: documents of the large one.")
@click.option("--kinds", default=",".join(memory.KINDS), show_default=True, help="memory: how the documents lie there.")
@click.option("--megabytes", default=1_000, show_default=True, help="memory: size of the one big file, or 0.")
@click.option("--documents", default=20_000, show_default=True, help="resume: how many.")
@click.option("--limit", type=int, help="Only so many files, and documents to match: quick, and nothing is written.")
@click.option("--folder", type=click.Path(path_type=Path), default=Path(".bench/jobs"), show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("docs/benchmarks.md"), show_default=True)
@click.option("--fresh", is_flag=True, help="Forget measurements of an earlier run.")
def main(
    part: str,
    rounds: int,
    small: int,
    large: int,
    kinds: str,
    megabytes: int,
    documents: int,
    limit: int | None,
    folder: Path,
    out: Path,
    fresh: bool,
) -> None:
    run = Run(folder, out, limit, fresh)
    sizes = (0.1, 0.2) if limit else (files.WRITINGS_MB, megabytes) if megabytes else ()
    if limit:
        rounds, small, large, documents = 1, limit, 10 * limit, 50 * limit
    measures: dict[str, Callable[[], None]] = {
        "throughput": lambda: measure_throughput(run, rounds=rounds),
        "memory": lambda: measure_memory(run, small=small, large=large, megabytes=sizes, kinds=kinds.split(",")),
        "resume": lambda: measure_resume(run, documents=documents),
    }
    for name in TITLES if part == "all" else [part]:
        click.echo(f"{TITLES[name]} …", err=True)
        measures[name]()


if __name__ == "__main__":
    main()
