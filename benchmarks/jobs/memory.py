"""How much memory a job takes as the corpus grows: one-sentence documents as files and as lines, and one big file.

FAISS holds vectors only at the very end of a job, when the index of an embedded collection above `vectors.flat_limit`
is made for its cache. So each corpus is indexed with `vectors.index` "flat", which makes none: this is the memory
without. A second job then finds nothing new and makes that index: this is the memory with.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks import process
from benchmarks.jobs import files
from benchmarks.kept import Kept
from search_app.settings import load_settings
from search_app.stores.catalog import open_catalog

FLAT = {"SEARCH_APP_VECTORS__INDEX": "flat"}
KINDS = ("files", "lines")
_ABOUT = """Peak memory of `search-index apply`, in MB. The main process: the most that it ever held (VmHWM). With its
converters: the most that all of them held at one look, twenty a second, pages that they share counted for each.

FAISS holds vectors only at the end of a job, when a collection above `vectors.flat_limit` gets its index for searching.
The job is measured with `vectors.index` set to "flat", which makes none; a second one, which finds nothing new, makes
it.
"""


def measure(
    folder: Path, kept: Kept, *, small: int, large: int, megabytes: Sequence[float], kinds: Sequence[str] = KINDS
) -> None:
    for kind in kinds:
        for documents in (small, large):
            if not kept.has(kind=kind, documents=documents):
                make = files.make_sentences if kind == "files" else files.make_sentence_lines
                corpus = make(folder / "corpus", documents=documents)
                kept.add(kind=kind, documents=documents, **_indexed(corpus, folder / "home", again=True))
    for size in megabytes:
        if not kept.has(kind="big", megabytes=size):
            corpus = files.make_big_lines(folder / "corpus", megabytes=size)
            kept.add(kind="big", megabytes=size, **_indexed(corpus, folder / "home", again=False))
            corpus.unlink()
    shutil.rmtree(folder / "home", ignore_errors=True)


def _indexed(corpus: Path, home: Path, *, again: bool) -> dict[str, Any]:
    shutil.rmtree(home, ignore_errors=True)
    first = process.apply(corpus, home, environment=FLAT)
    summary = first.json()
    assert summary["failed"] == 0, summary["problems"][:3]
    found = {
        "passages": summary["passages"],
        "encoded": summary["passages_encoded"],
        "seconds": first.seconds,
        "peak": first.peak,
        "peak_tree": first.peak_tree,
    }
    if again:
        second = process.apply(corpus, home)
        found |= {"again_seconds": second.seconds, "again_peak": second.peak, "vectors": _vectors_held(home)}
    return found


def _vectors_held(home: Path) -> int:
    """Bytes of the vector index that the last job built; 0 if it built none."""
    with closing(open_catalog(load_settings(home=home))) as catalog:
        caches: Any = catalog.describe("default")["caches"]
    return int(caches.get("vectors", {}).get("bytes", 0))


def section(kept: Kept) -> str:
    lines = [
        _ABOUT,
        "| corpus | passages | s | main process | with converters | second job | of that, vectors |",
        "|---|---:|---:|---:|---:|---:|---:|",
        *map(_line, kept.rows),
        "",
    ]
    for kind in dict.fromkeys(row["kind"] for row in kept.rows if row["kind"] in KINDS):
        small, large = sorted(kept.of(kind=kind), key=lambda row: row["documents"])
        growth = {what: large[what] / small[what] for what in ("peak", "peak_tree")}
        with_vectors = max(large["peak"], large["again_peak"]) / max(small["peak"], small["again_peak"])
        lines.append(
            f"- {large['documents']:,} documents over {small['documents']:,}, as {kind}: the main process "
            f"{growth['peak']:.2f} times, with converters {growth['peak_tree']:.2f} times, with FAISS's vectors "
            f"{with_vectors:.2f} times."
        )
    if kept.has(kind="big"):
        base, *others = sorted(kept.of(kind="big"), key=lambda row: row["megabytes"])
        lines += [
            f"- One file of {row['megabytes']:,} MB over one of {base['megabytes']:,} MB, whose texts come again and "
            f"again in it, so that each is encoded but once: the main process {row['peak'] / base['peak']:.2f} times, "
            f"with converters {row['peak_tree'] / base['peak_tree']:.2f} times."
            for row in others
        ]
    return "\n".join(lines)


def _line(row: dict[str, Any]) -> str:
    name = f"{row['megabytes']:,} MB, one file" if row["kind"] == "big" else f"{row['documents']:,} as {row['kind']}"
    again = (f"{row['again_peak'] / 1e6:,.0f}", f"{row['vectors'] / 1e6:,.0f}") if "again_peak" in row else ("–", "–")
    return (
        f"| {name} | {row['passages']:,} | {row['seconds']:,.0f} | {row['peak'] / 1e6:,.0f} "
        f"| {row['peak_tree'] / 1e6:,.0f} | {again[0]} | {again[1]} |"
    )
