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
    "answers": (
        "question to answer over the corpus",
        {
            "em": "EM",
            "f1": "F1",
            "coverage": "coverage",
            "wrong_among_shown": "wrong among shown",
            "ece": "ECE",
            "brier": "Brier",
            "aurc": "AURC",
        },
    ),
}
PERCENT = ("em", "f1")
OPTIONS = {
    "reader": ("--beside", "haystack", "--perturb", "typos,distractors"),
    "answers": ("--beside", "haystack", "--perturb", "typos,distractors", "--absent"),
}
"""What else is measured with `--beside`."""

KEPT = "## Measures"


def run(task: str, data: Path, *options: str, limit: int | None, seed: int, **environment: str) -> dict[str, Any]:
    """Run `search-app evaluate TASK --json` and return its output."""
    command = [sys.executable, "-m", "search_app.cli", "evaluate", task, "--data", str(data), "--json", *options]
    command += ["--limit", str(limit), "--seed", str(seed)] if limit else []
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment})
    if done.returncode:
        raise click.ClickException(f"search-app evaluate {task} failed with exit code {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def table(found: dict[str, dict[str, Any]]) -> str:
    """A row for each measure of each task; with a column for Haystack's reader if it was measured."""
    beside = any("beside" in values for values in found.values())
    lines = [
        "| | questions | | search-app |" + " Haystack |" * beside + " command |",
        "|---|---:|---|---:|" + "---:|" * beside + "---|",
    ]
    for task, values in found.items():
        title, measures = TASKS[task]
        other = values.get("beside", {}).get("haystack", {})
        for key, label in measures.items():
            if key in values:
                cells = [_number(key, part) for part in (values, other)[: 1 + beside]]
                row = [title, f"{values['questions']:,.0f}", label, *cells, f"`search-app evaluate {task}`"]
                lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def _number(name: str, values: dict[str, Any]) -> str:
    if name not in values:
        return "–"
    return f"{values[name]:.1f}" if name.removesuffix("_drop") in PERCENT else f"{values[name]:.3f}"


def changed_table(found: dict[str, dict[str, Any]]) -> str:
    """What typing mistakes and distracting sentences cost, and how many questions about absent articles get answers."""
    lines = ["| | questions changed by | measure | search-app | Haystack |", "|---|---|---|---:|---:|"]
    for task, values in found.items():
        for part in ("typos", "distractors", "absent"):
            ours = values.get(part, {})
            other = ours.get("beside", {}).get("haystack", {})
            for name in ("em", "em_drop", "f1", "f1_drop", "answered_unanswerable"):
                if name in ours:
                    row = [TASKS[task][0], part, f"`{name}`", _number(name, ours), _number(name, other)]
                    lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines) if len(lines) > 2 else ""


def calibration_table(calibration: dict[str, Any]) -> str:
    lines = ["| mean confidence | share right (EM) | answers |", "|---:|---:|---:|"]
    lines += [f"| {confidence:.2f} | {right:.2f} | {count} |" for confidence, right, count in calibration["bins"]]
    return "\n".join(lines)


def page(found: dict[str, dict[str, Any]], data: Path, command: str) -> str:
    text = f"""# Evaluation

{measured_line(command)}

Data: `{data.name}`. For retrieval and answers, every paragraph of the file is a document without a title. A document
counts once, at the rank of its best passage; only the paragraph that the question belongs to is relevant. EM and F1 are
those of SQuAD, in percent, best over the gold answers; the other measures are [below](#measures).

{table(found)}
"""
    if changed := changed_table(found):
        text += f"""
## Changed questions

{changed}
"""
    answers = found.get("answers", {})
    if calibration := answers.get("calibration"):
        text += f"""
## Confidence

How often the first answer is exactly right, by its confidence: expected calibration error {answers["ece"]:.3f}
(95 % interval {answers["ece_low"]:.3f} to {answers["ece_high"]:.3f}), Brier score {answers["brier"]:.3f},
area under the risk-coverage curve {answers["aurc"]:.3f}.

{calibration_table(calibration)}
"""
    return text


def kept(out: Path) -> str:
    """The end of the page, which is written by hand."""
    before = out.read_text(encoding="utf-8") if out.exists() else ""
    start = before.find(f"\n{KEPT}\n")
    return before[start:] if start >= 0 else ""


@click.command(help=__doc__)
@squad
@click.option("--limit", type=int, help="Only a sample of this many questions; writes no page.")
@click.option("--seed", default=0, show_default=True)
@click.option("--beside", is_flag=True, help="Also Haystack's reader, changed questions, and absent articles (hours).")
@click.option("--out", type=click.Path(path_type=Path), default=Path("docs/evaluation.md"), show_default=True)
def main(data: Path, limit: int | None, seed: int, beside: bool, out: Path) -> None:
    found = {}
    for task in TASKS:
        click.echo(f"search-app evaluate {task} …", err=True)
        found[task] = run(task, data, *(OPTIONS.get(task, ()) if beside else ()), limit=limit, seed=seed)
    if limit:
        click.echo("\n\n".join(filter(None, (table(found), changed_table(found)))))
    else:
        out.write_text(page(found, data, "make evaluate") + kept(out), encoding="utf-8")
        click.echo(f"written to {out}")


if __name__ == "__main__":
    main()
