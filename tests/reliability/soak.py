"""Thousands of kills, damaged indexes and damaged documents: `make soak ROUNDS=1000`. An interrupted run resumes.

`make soak PARTS=queue ROUNDS=10` kills API and worker while they do ten jobs, three times a round.
Each round is one line of JSON in .bench/soak; a round that breaks a promise is printed with its seed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import secrets
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

os.environ.setdefault("HAYSTACK_TELEMETRY_ENABLED", "False")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import damaged_documents
import index_damage
import index_kills
import queue_kills
from living_index import fast_folder

BEGIN, END = "<!-- soak: make soak ARGS='--report docs/reliability.md' -->", "<!-- end of soak -->"
BLOCK = 50
"""Rounds per index."""


def kills(seed: int, numbers: range) -> Iterator[dict[str, Any]]:
    with fast_folder() as folder:
        bench = index_kills.Bench(folder, random.Random(f"{seed}:{numbers.start}"))
        for number in numbers:
            played = bench.play(index_kills.pick(random.Random(f"{seed}:{number}"), number))
            yield asdict(played)
            if played.problems:
                return


def damage(seed: int, numbers: range) -> Iterator[dict[str, Any]]:
    with fast_folder() as folder:
        patients = index_damage.Patients(folder, random.Random(f"{seed}:{numbers.start}"))
        for number in numbers:
            yield asdict(patients.examine(random.Random(f"{seed}:{number}")))


def documents(seed: int, numbers: range) -> Iterator[dict[str, Any]]:
    with fast_folder() as folder, damaged_documents.Patients(folder) as patients:
        for number in numbers:
            yield asdict(patients.examine(random.Random(f"{seed}:{number}")))


def queue(seed: int, numbers: range) -> Iterator[dict[str, Any]]:
    return map(asdict, queue_kills.rounds(seed, numbers))


PARTS: dict[str, Callable[[int, range], Iterator[dict[str, Any]]]] = {
    "kills": kills,
    "damage": damage,
    "documents": documents,
    "queue": queue,
}
BY_DEFAULT = ("kills", "damage", "documents")
"""Without the queue, whose rounds take half a minute each."""


def run(part: str, rounds: int, seed: int | None, folder: Path) -> bool:
    """Whether every round kept every guarantee."""
    path = folder / f"{part}.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    if seed is None:
        seed = lines[-1]["seed"] if lines and lines[-1]["number"] + 1 < rounds else secrets.randbits(31)
    ours = [line for line in lines if line["seed"] == seed and line["number"] < rounds]
    done = len(ours)
    print(f"{part}: seed {seed}, {done} of {rounds} rounds done before", flush=True)
    began = time.monotonic()
    with path.open("a") as file:
        while done < rounds:
            block = range(done, min(rounds, done + BLOCK - done % BLOCK))
            for result in PARTS[part](seed, block):
                line = {"seed": seed, "number": done, **result}
                file.write(json.dumps(line) + "\n")
                file.flush()
                ours.append(line)
                done += 1
                for problem in result["problems"]:
                    print(f"  round {line['number']}: {problem}", flush=True)
            print(f"  {done} rounds, {time.monotonic() - began:.0f} s", flush=True)
    print(tally(part, ours))
    return not any(line["problems"] for line in ours)


def tally(part: str, lines: list[dict[str, Any]]) -> str:
    """Counts by job, or by file and kind of damage."""
    names = {"damage": ("file", "kind"), "documents": ("format",)}.get(part, ("job",))

    def of(line: dict[str, Any]) -> tuple[str, ...]:
        return tuple(str(line[name]) for name in names)

    rows = []
    for key, group in groupby(sorted(lines, key=of), of):
        found = list(group)
        broken = sum(bool(line["problems"]) for line in found)
        if "kills" in found[0]:
            what = f"{sum(line['kills'] for line in found)} kills"
        else:
            counts = Counter(line["answers"] for line in found)
            what = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
            if part == "damage":
                what += f", verify found {sum(line['verify'] == 'found' for line in found)}"
        rows.append(f"  {' · '.join(key):<42} {len(found):>5} rounds, {what}, {broken} with a broken promise")
    total = sum(bool(line["problems"]) for line in lines)
    kills = f", {sum(line['kills'] for line in lines)} kills" if names == ("job",) else ""
    return "\n".join([*rows, f"{part}: {len(lines)} rounds{kills}, {total} with a broken promise"])


def tables(folder: Path) -> str:
    """A table of the last run of each part."""
    parts = []
    for part, names in (("kills", ("job",)), ("damage", ("file",)), ("queue", ("job",))):
        path = folder / f"{part}.jsonl"
        if not path.exists():
            continue
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        lines = [line for line in lines if line["seed"] == lines[-1]["seed"]]
        shown = (
            ["kills"]
            if part != "damage"
            else ["same answers", "an error", "**other answers, no error**", "changed what it holds", "found by verify"]
        )
        rows = [
            f"| {names[0]} | rounds | {' | '.join(shown)} | broken promises |",
            "|---|" + "---:|" * (len(shown) + 2),
        ]
        for key in [*sorted({str(line[names[0]]) for line in lines}), None]:
            of = [line for line in lines if key is None or line[names[0]] == key]
            counts = (
                [sum(line["kills"] for line in of)]
                if part != "damage"
                else [
                    *(sum(line["answers"] == answer for line in of) for answer in ("same", "refused", "SILENT")),
                    sum(line["matters"] for line in of),
                    sum(line["matters"] and line["verify"] == "found" for line in of),
                ]
            )
            broken = sum(bool(line["problems"]) for line in of)
            rows.append(f"| {key or 'all'} | {len(of)} | {' | '.join(map(str, counts))} | {broken} |")
        parts.append(f"`make soak PARTS={part}`, seed {lines[-1]['seed']}:\n\n" + "\n".join(rows))
    return "\n\n".join(parts)


def report(page: Path, folder: Path) -> None:
    head, rest = page.read_text(encoding="utf-8").split(BEGIN)
    _, tail = rest.split(END)
    page.write_text(f"{head}{BEGIN}\n{tables(folder)}\n{END}{tail}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        help=f"{', '.join(PARTS)}; by default {', '.join(BY_DEFAULT)}",
    )
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--folder", type=Path, default=Path(".bench/soak"))
    parser.add_argument(
        "--report", type=Path, metavar="PAGE", help="write the tables of the last runs into it, no more"
    )
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(unknown)}")
    given.folder.mkdir(parents=True, exist_ok=True)
    if given.report:
        report(given.report, given.folder)
        return
    kept = [run(part, given.rounds, given.seed, given.folder) for part in given.parts or BY_DEFAULT]
    sys.exit(0 if all(kept) else 1)


if __name__ == "__main__":
    main()
