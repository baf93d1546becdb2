"""Damage the files of this store and of Haystack's FAISS store in the same way, for docs/reliability.md.

A separate process, which may crash, opens and searches each damaged copy.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import random
import shutil
import signal
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import click
from tqdm import tqdm

from benchmarks.machine import measured_line
from benchmarks.reliability import damage
from benchmarks.reliability.stores import Answers, Haystack, Ours, Store, write_topics
from search_app.encoders.sentence_transformer import SentenceTransformerEncoder
from search_app.hardware import detect, set_threads
from search_app.settings import EncoderSettings

BEGIN, END = "<!-- damage: make bench-reliability -->", "<!-- end of damage -->"
_OUTCOMES = ("same", "refused", "changed", "died")
_TOLERANCE = 1e-5
_SECONDS = 60


@dataclass
class Tally:
    """Outcomes of damage to one store: same answers, an error, other answers without an error, or a crashed process."""

    store: str
    kind: str
    counts: Counter[str] = field(default_factory=Counter)

    def line(self) -> str:
        counted = " | ".join(str(self.counts[outcome]) for outcome in _OUTCOMES)
        return f"| {self.kind} | {self.store} | {self.counts.total()} | {counted} |"


def damaged(store: Store, saved: Path, copy: Path, kind: str, chance: random.Random, expected: Answers) -> str:
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(saved, copy)
    path = chance.choice(store.files(copy))
    before = path.read_bytes()
    while (after := damage.KINDS[kind](before, chance)) == before:
        pass
    path.write_bytes(after)
    return _asked(store, copy, expected)


def _asked(store: Store, folder: Path, expected: Answers) -> str:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        _answer(store, folder, expected, write)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return said or "died"


def _answer(store: Store, folder: Path, expected: Answers, write: int) -> None:
    signal.alarm(_SECONDS)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        outcome = "same" if _same(store.answers(folder), expected) else "changed"
    except Exception:
        outcome = "refused"
    os.write(write, outcome.encode())
    os._exit(0)


def _same(found: Answers, expected: Answers) -> bool:
    if [len(items) for items in found] != [len(items) for items in expected]:
        return False
    pairs = [pair for ours, theirs in zip(found, expected, strict=True) for pair in zip(ours, theirs, strict=True)]
    return all(a[:2] == b[:2] and abs(a[2] - b[2]) <= _TOLERANCE for a, b in pairs)


def page(text: str, tallies: list[Tally], passages: int, command: str) -> str:
    """`text` with the new table between BEGIN and END."""
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    lines = [
        f"{measured_line(command).removesuffix('; not edited by hand.')}; faiss-haystack "
        f"{importlib.metadata.version('faiss-haystack')}, faiss-cpu {importlib.metadata.version('faiss-cpu')}. "
        f"{passages} passages, each asked for by its own vector.",
        "",
        "| damage | store | times | same answers | an error | **other answers, no error** | process died |",
        "|---|---|---:|---:|---:|---:|---:|",
        *(tally.line() for tally in tallies),
    ]
    return f"{head}{BEGIN}\n{chr(10).join(lines)}\n{END}{tail}"


@click.command()
@click.option("--times", default=100, show_default=True, help="Number of times for each kind of damage and store.")
@click.option("--topics", default=12, show_default=True, help="Topics of Python's language reference to index.")
@click.option("--seed", default=1, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("docs/reliability.md"), show_default=True)
@click.option("--keep/--write", default=False, help="Only print the table.")
def main(times: int, topics: int, seed: int, out: Path, keep: bool) -> None:
    """Damage the files of both stores and count what they answer."""
    logging.disable(logging.WARNING)
    set_threads(1)
    encoder = SentenceTransformerEncoder(EncoderSettings(), detect())
    with tempfile.TemporaryDirectory(prefix="search-app-") as name:
        folder = Path(name)
        write_topics(folder / "docs", count=topics)
        ours = Ours(encoder, folder / "docs")
        saved = {store_name: folder / store_name for store_name in ("ours", "haystack")}
        for path in saved.values():
            path.mkdir()
        ours.save(saved["ours"])
        haystack = Haystack(ours.passages, ours.vectors)
        haystack.save(saved["haystack"])
        stores: dict[str, Store] = {"ours": ours, "haystack": haystack}
        expected = {key: store.answers(saved[key]) for key, store in stores.items()}
        tallies = []
        for kind in damage.KINDS:
            for key, store in stores.items():
                tally = Tally(store.name, kind)
                for number in tqdm(range(times), desc=f"{kind}, {store.name}"):
                    chance = random.Random(f"{seed}:{kind}:{number}")
                    tally.counts[damaged(store, saved[key], folder / "copy", kind, chance, expected[key])] += 1
                tallies.append(tally)
    command = "make bench-reliability"
    for tally in tallies:
        click.echo(json.dumps({"store": tally.store, "kind": tally.kind, **tally.counts}))
    if not keep:
        out.write_text(page(out.read_text(encoding="utf-8"), tallies, len(ours.passages), command), encoding="utf-8")
        click.echo(f"written to {out}")


if __name__ == "__main__":
    main()
