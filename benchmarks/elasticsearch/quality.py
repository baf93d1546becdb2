"""Quality with Elasticsearch compared with the embedded store, by the same commands."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks import evaluation
from benchmarks.elasticsearch.server import Server
from benchmarks.kept import Kept

PREFIX = "search-app-benchmark-quality"
MEASURES = {
    "retrieval": {"success@1": "Success@1", "success@10": "Success@10", "mrr@10": "MRR@10"},
    "answers": {"em": "EM", "f1": "F1"},
}
ALLOWED = 0.5
"""Allowed difference to the embedded store, in points."""


def measure(server: Server, data: Path, kept: Kept, *, limits: dict[str, int | None], seed: int) -> None:
    stores = {
        "embedded": {"SEARCH_APP_STORE": "embedded"},
        "elasticsearch": {
            "SEARCH_APP_STORE": "elasticsearch",
            "SEARCH_APP_ELASTICSEARCH__URLS": server.url,
            "SEARCH_APP_ELASTICSEARCH__PREFIX": PREFIX,
        },
    }
    for task in MEASURES:
        for store, environment in stores.items():
            if kept.has(task=task, store=store):
                continue
            click.echo(f"search-app evaluate {task}, {store} …", err=True)
            found = evaluation.run(task, data, limit=limits[task], seed=seed, **environment)
            kept.add(task=task, store=store, **{name: found[name] for name in ("questions", *MEASURES[task])})
    server.remove(PREFIX)


def section(kept: Kept) -> str:
    lines = [
        "`search-app evaluate retrieval` and `evaluate answers` on SQuAD's dev set over both stores: the same"
        " paragraphs, the same questions, the settings as they come (approximate vectors on Elasticsearch).",
        "",
        "| | questions | | embedded | Elasticsearch | difference, points |",
        "|---|---:|---|---:|---:|---:|",
    ]
    for task, measures in MEASURES.items():
        (embedded,), (remote,) = kept.of(task=task, store="embedded"), kept.of(task=task, store="elasticsearch")
        scale = 100 if task == "retrieval" else 1
        for key, label in measures.items():
            before, after = scale * embedded[key], scale * remote[key]
            lines.append(
                f"| {task} | {embedded['questions']:,.0f} | {label} | {before:.2f} | {after:.2f}"
                f" | {after - before:+.2f} |"
            )
    return "\n".join(lines)
