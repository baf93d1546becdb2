"""Quality on a SQuAD file, measured by `search-app evaluate` and written as a table to docs/evaluation.md."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from benchmarks.machine import measured_line
from benchmarks.run import squad

TASKS = {
    "reader": ("the reader on the gold paragraph", {"em": "EM", "f1": "F1"}),
    "retrieval": (
        "retrieval of the gold paragraph",
        {"success@1": "Success@1", "success@10": "Success@10", "mrr@10": "MRR@10"},
    ),
    "answers": ("question to answer over the corpus", {"em": "EM", "f1": "F1"}),
}

TRIED = "## What was tried for the reader"


def run(task: str, data: Path, *, limit: int | None, seed: int, **environment: str) -> dict[str, Any]:
    """Run `search-app evaluate TASK --json` and return its output."""
    command = [sys.executable, "-m", "search_app.cli", "evaluate", task, "--data", str(data), "--json"]
    command += ["--limit", str(limit), "--seed", str(seed)] if limit else []
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment})
    if done.returncode:
        raise click.ClickException(f"search-app evaluate {task} failed with exit code {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def table(found: dict[str, dict[str, Any]]) -> str:
    lines = ["| | questions | | measured | command |", "|---|---:|---|---:|---|"]
    for task, values in found.items():
        title, measures = TASKS[task]
        for key, label in measures.items():
            shown = f"{values[key]:.3f}" if "@" in key else f"{values[key]:.1f}"
            lines.append(f"| {title} | {values['questions']:,.0f} | {label} | {shown} | `search-app evaluate {task}` |")
    return "\n".join(lines)


def calibration_table(calibration: dict[str, Any]) -> str:
    lines = ["| mean confidence | share right (EM) | answers |", "|---:|---:|---:|"]
    lines += [f"| {confidence:.2f} | {right:.2f} | {count} |" for confidence, right, count in calibration["bins"]]
    return "\n".join(lines)


def page(found: dict[str, dict[str, Any]], data: Path, command: str) -> str:
    text = f"""# Evaluation

{measured_line(command)}

Data: `{data.name}`. For retrieval and answers, every paragraph of the file is a document without a title. A document
counts once, at the rank of its best passage; only the paragraph that the question belongs to is relevant. EM and F1 are
those of SQuAD, in percent, best over the gold answers.

{table(found)}
"""
    if calibration := found.get("answers", {}).get("calibration"):
        text += f"""
## Confidence

How often the first answer is exactly right, by its confidence: expected calibration error {calibration["ece"]:.3f}
(95 % interval {calibration["ece_low"]:.3f} to {calibration["ece_high"]:.3f}), Brier score {calibration["brier"]:.3f},
area under the risk-coverage curve {calibration["aurc"]:.3f}.

{calibration_table(calibration)}
"""
    return text


def kept(out: Path) -> str:
    """The section of the page that is written by hand."""
    before = out.read_text(encoding="utf-8") if out.exists() else ""
    start = before.find(f"\n{TRIED}\n")
    return before[start:] if start >= 0 else ""


@click.command(help=__doc__)
@squad
@click.option("--limit", type=int, help="Only a sample of this many questions; writes no page.")
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("docs/evaluation.md"), show_default=True)
def main(data: Path, limit: int | None, seed: int, out: Path) -> None:
    found = {}
    for task in TASKS:
        click.echo(f"search-app evaluate {task} …", err=True)
        found[task] = run(task, data, limit=limit, seed=seed)
    if limit:
        click.echo(table(found))
    else:
        out.write_text(page(found, data, "make evaluate") + kept(out), encoding="utf-8")
        click.echo(f"written to {out}")


if __name__ == "__main__":
    main()
