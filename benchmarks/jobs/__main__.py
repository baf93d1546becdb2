"""Measure the indexing job for docs/benchmarks.md: throughput beside Haystack's pipeline, memory, resuming.

Every measurement is saved at once; an interrupted run resumes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from benchmarks.jobs import files, memory, resume, throughput
from benchmarks.run import Run, options, run_parts

TITLES = {
    "throughput": "The indexing job beside Haystack's pipeline",
    "memory": "The indexing job's memory",
    "resume": "The indexing job, killed and run again",
}


PACKAGES = ("haystack-ai", "sentence-transformers", "torch")


def write(run: Run, part: str, text: str) -> None:
    run.write(TITLES[part], f"{run.measured_line(part)}\n\n{text}")


def measure_throughput(run: Run, *, rounds: int) -> None:
    made = files.make_files(run.folder / "corpus", limit=run.limit)
    number = sum(path.is_file() for path in made.rglob("*"))
    kept = run.kept("throughput", *PACKAGES, files=number)
    throughput.measure(made, run.work, kept, rounds=rounds)
    write(run, "throughput", throughput.section(kept, number))


def measure_memory(run: Run, *, small: int, large: int, megabytes: Sequence[float], kinds: Sequence[str]) -> None:
    kept = run.kept("memory", *PACKAGES, small=small, large=large)
    memory.measure(run.work, kept, small=small, large=large, megabytes=megabytes, kinds=kinds)
    write(run, "memory", memory.section(kept))


def measure_resume(run: Run, *, documents: int) -> None:
    kept = run.kept("resume", *PACKAGES, documents=documents)
    resume.measure(run.work, kept, documents=documents)
    write(run, "resume", resume.section(kept))


@click.command(help=__doc__)
@click.argument("part", type=click.Choice(["all", *TITLES]), default="all")
@click.option("--rounds", default=3, show_default=True, help="throughput: rounds of each system.")
@click.option("--small", default=2_000, show_default=True, help="memory: documents of the small corpus.")
@click.option("--large", default=200_000, show_default=True, help="memory: documents of the large corpus.")
@click.option(
    "--kinds", default=",".join(memory.KINDS), show_default=True, help="memory: documents as files, as lines, or both."
)
@click.option("--megabytes", default=1_000, show_default=True, help="memory: size of the big file; 0 for none.")
@click.option("--documents", default=20_000, show_default=True, help="resume: number of documents.")
@options(".bench/jobs", limit="files, and documents to match")
def main(
    part: str, rounds: int, small: int, large: int, kinds: str, megabytes: int, documents: int, **given: Any
) -> None:
    run = Run("make bench-jobs", **given)
    limit = run.limit
    sizes = (0.1, 0.2) if limit else (files.WRITINGS_MB, megabytes) if megabytes else ()
    if limit:
        rounds, small, large, documents = 1, limit, 10 * limit, 50 * limit
    measures: dict[str, Callable[[], None]] = {
        "throughput": lambda: measure_throughput(run, rounds=rounds),
        "memory": lambda: measure_memory(run, small=small, large=large, megabytes=sizes, kinds=kinds.split(",")),
        "resume": lambda: measure_resume(run, documents=documents),
    }
    run_parts(TITLES, part, measures)


if __name__ == "__main__":
    main()
