"""Tables and plots of the measured sizes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

TITLE = "From ten thousand to a million passages"
Row = dict[str, Any]
_PICTURES = {"scale-latency": "Latency by number of passages", "scale-costs": "Memory, disk and time to open"}


def section(rows: Sequence[Row], kinds: Sequence[Row], measured: str, *, pictures: bool) -> str:
    big = rows[-1]
    parts = [
        measured,
        f"The embedded store, with its own choice of index. The first {big['real']:,} passages are real sentences with"
        " the bundled encoder's vectors, the others derived from them (`benchmarks/synthetic.py`; how near they come"
        " to real ones is in [benchmarks-elasticsearch.md](benchmarks-elasticsearch.md)). An exact scan and the rivals"
        " answer the same questions in turns in the same process. Times are medians in ms, with the 95th percentile"
        " behind.",
        *([f"![{text}](images/{name}.svg)" for name, text in _PICTURES.items()] if pictures else []),
        _targets(big),
        "### Vectors\n\nTen best of real questions. Recall@10 is against the exact scan, on all passages and on the"
        " real ones.",
        _table(
            rows,
            {
                "passages": lambda r: f"{r['passages']:,}",
                "one question": lambda r: _ms(r, "dense"),
                "exact scan": lambda r: _ms(r, "scan"),
                "ratio": lambda r: f"{r['dense_50'] / r['scan_50']:.3f}",
                "questions/s in batches of 64": lambda r: f"{r['dense_batched']:,.0f}",
                "exact scan, questions/s": lambda r: f"{r['scan_batched']:,.0f}",
                "recall@10": lambda r: f"{r['recall']:.4f}",
                "on the real part": lambda r: f"{r['recall_real']:.4f}",
            },
        ),
        "### Words\n\nBM25, a hundred best, questions of SQuAD dev. bm25s, FTS5 and tantivy get the same analysed"
        " words; theirs is the search alone, ours includes reading the passages.",
        _table(
            rows,
            {
                "passages": lambda r: f"{r['passages']:,}",
                "ours": lambda r: _ms(r, "words"),
                **{name: lambda r, name=name: _ms(r, f"words_{name}") for name in ("bm25s", "FTS5", "tantivy")},
                "both retrievers, as for each question": lambda r: _ms(r, "both"),
            },
        ),
        "### Filters\n\nDense, ten best; in brackets the first question under a filter that is new. Recall@10 against"
        " a numpy scan of what matches.",
        _table(
            rows,
            {
                "passages": lambda r: f"{r['passages']:,}",
                **{
                    f"{share} %": lambda r, share=share: (
                        f"{_ms(r, f'filter_{share}')} ({1000 * r[f'filter_{share}_first']:.0f})"
                    )
                    for share in ("0.1", "1", "10", "50")
                },
                "recall@10": lambda r: " / ".join(
                    f"{r[f'filter_{share}_recall']:.3f}" for share in ("0.1", "1", "10", "50")
                ),
                "words under 1 %": lambda r: _ms(r, "filter_1_words"),
            },
        ),
        "### Building, opening, changing\n\nWriting is the truth (documents, passages, ready vectors, words), finishing"
        " makes and writes what is derived. Opening is a new process up to its first answer. Added and deleted in"
        " transactions of a thousand passages while a reader is open; after a commit is that reader's next question."
        " Resident is what the process grew by: at its first answer by vectors, after a hundred (SQLite's page cache"
        " fills, at most 32 MiB a connection), and with words.",
        _table(
            rows,
            {
                "passages": lambda r: f"{r['passages']:,}",
                "write, s": lambda r: f"{r['write']:.1f}",
                "finish, s": lambda r: f"{r['finish']:.1f}",
                "open for vectors, s": lambda r: f"{r['open_dense']:.2f}",
                "and for words, s": lambda r: f"{r['open_keyword']:.2f}",
                "of building": lambda r: f"1/{_building(r):.0f}",
                "on disk, MB": lambda r: f"{r['about']['bytes'] / 1e6:,.0f}",
                "resident for vectors, bytes a passage": lambda r: f"{r['resident_dense'] / r['passages']:,.0f}",
                "after 100 questions": lambda r: f"{r['resident_asked'] / r['passages']:,.0f}",
                "with words": lambda r: f"{r['resident'] / r['passages']:,.0f}",
                "added/s": lambda r: f"{r['added_per_second']:,.0f}",
                "deleted/s": lambda r: f"{r['deleted_per_second']:,.0f}",
                "after a commit": lambda r: _ms(r, "after_commit"),
            },
        ),
    ]
    if kinds:
        parts += [
            f"### Why this index\n\nFAISS's own kinds on {kinds[0]['passages']:,} of these vectors: 500 candidates,"
            " re-ranked with exact vectors in memory.",
            "| | build, s | bytes a vector | p50, ms | p95, ms | recall@10 |\n|---|---:|---:|---:|---:|---:|\n"
            + "\n".join(
                f"| {row['name']} | {row['build']:.0f} | {row['bytes']:.0f} | {1000 * row['p50']:.1f}"
                f" | {1000 * row['p95']:.1f} | {row['recall']:.4f} |"
                for row in kinds
            ),
        ]
    return "\n\n".join(parts)


def _targets(row: Row) -> str:
    vectors = row["resident_dense"] / row["passages"]
    lines = [
        ("recall@10 after re-ranking, against exact", "≥ 0.98", f"{row['recall']:.4f}"),
        ("one question, dense, p50, of an exact scan", "≤ 1/10", f"1/{row['scan_50'] / row['dense_50']:.1f}"),
        ("BM25, p95", "≤ 60 ms", f"{1000 * row['words_95']:.1f} ms, {_ratio(row, 'bm25s')} of bm25s,"
         f" {_ratio(row, 'FTS5')} of FTS5"),
        ("filter of 1 %, recall@10", "1.0", f"{row['filter_1_recall']:.4f}"),
        ("resident for vectors, a passage", "≤ 500 bytes", f"{vectors:.0f} bytes"),
        ("opening, of building", "≤ 1/50", f"1/{_building(row):.0f}"),
    ]  # fmt: skip
    body = "\n".join(f"| {what} | {bar} | {value} |" for what, bar, value in lines)
    return f"| {row['passages']:,} passages | bar | measured |\n|---|---|---|\n{body}"


def plots(rows: Sequence[Row], folder: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams["svg.hashsalt"] = "search-app"
    folder.mkdir(exist_ok=True)
    sizes = [row["passages"] for row in rows]
    lines = {
        "exact scan": "scan_50", "dense": "dense_50", "dense, filter of 1 %": "filter_1_50", "FTS5": "words_FTS5_50",
        "BM25": "words_50", "both retrievers": "both_50",
    }  # fmt: skip
    figure, axes = pyplot.subplots(figsize=(8, 4.5))
    for label, key in lines.items():
        style = "--" if label in ("exact scan", "FTS5") else "-"
        axes.plot(sizes, [1000 * row[key] for row in rows], style, marker="o", label=label)
    _finish(axes, "median, ms")
    figure.savefig(folder / "scale-latency.svg", metadata={"Date": None})
    figure, pair = pyplot.subplots(1, 2, figsize=(10, 4.2))
    pair[0].plot(sizes, [row["resident"] / 1e6 for row in rows], marker="o", label="memory")
    pair[0].plot(sizes, [row["about"]["bytes"] / 1e6 for row in rows], marker="o", label="disk")
    _finish(pair[0], "MB")
    pair[1].plot(sizes, [row["write"] + row["finish"] for row in rows], marker="o", label="build (vectors ready)")
    pair[1].plot(sizes, [row["open_dense"] + row["open_keyword"] for row in rows], marker="o", label="open")
    _finish(pair[1], "seconds")
    figure.savefig(folder / "scale-costs.svg", metadata={"Date": None})


def _finish(axes: Any, unit: str) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("passages")
    axes.set_ylabel(unit)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=9)
    axes.figure.tight_layout()


def _building(row: Row) -> float:
    return float((row["write"] + row["finish"]) / (row["open_dense"] + row["open_keyword"]))


def _ratio(row: Row, rival: str) -> str:
    return f"{row['words_95'] / row[f'words_{rival}_95']:.2f}"


def _ms(row: Row, name: str) -> str:
    return f"{1000 * row[f'{name}_50']:.1f} / {1000 * row[f'{name}_95']:.1f}"


def _table(rows: Sequence[Row], columns: dict[str, Any]) -> str:
    head = "| " + " | ".join(columns) + " |\n|" + "---:|" * len(columns)
    return "\n".join([head, *("| " + " | ".join(show(row) for show in columns.values()) + " |" for row in rows)])
