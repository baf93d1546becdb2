"""Ask 130 questions about the documents of `make demo`, through the whole of this program.

The index is kept in --folder, so that a later run indexes only what changed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click

from benchmarks.demo.scoring import Outcome, summary
from benchmarks.machine import measured_line
from benchmarks.page import put_section
from search_app.bootstrap import open_service
from search_app.demo.documents import write_documents
from search_app.evaluation.datasets import Dataset, Question, load_squad
from search_app.settings import load_settings

QUESTIONS = Path(__file__).with_name("questions.json")
TITLE = "The demo's documents"
_SOME_FILES_FAILED = 1


def index(folder: Path) -> Path:
    """The folder of the demo's documents, which are indexed in `folder`."""
    documents = folder / "documents"
    write_documents(documents)
    command = [sys.executable, "-m", "indexing.cli", "apply", str(documents)]
    done = subprocess.run(command, env={**os.environ, "SEARCH_APP_HOME": str(folder)}, stdout=sys.stderr)
    if done.returncode not in (0, _SOME_FILES_FAILED):
        raise click.ClickException(f"indexing {documents} failed with exit code {done.returncode}")
    return documents


def asked(dataset: Dataset, documents: Path) -> list[Question]:
    """The questions about documents that this machine has."""
    return [
        question
        for article in dataset.articles
        if (documents / article.title).is_file()
        for paragraph in article.paragraphs
        for question in paragraph.questions
    ]


def ask(questions: list[Question], folder: Path) -> list[Outcome]:
    with open_service(load_settings(home=folder)) as service:
        results = service.answer_many([question.text for question in questions])
    return [Outcome.of(question, result.answers) for question, result in zip(questions, results, strict=True)]


def section(found: dict[str, float], left_out: int) -> str:
    rows = [
        (f"right, of {found['answerable']:.0f} questions with an answer", f"{found['right']:.0%}"),
        ("right and shown as an answer", f"{found['right_and_shown']:.0%}"),
        (
            f"shown an answer, of {found['unanswerable']:.0f} questions without one",
            f"{found['unanswerable_answered']:.0%}",
        ),
        ("wrong among the answers shown", f"{found['wrong_among_shown']:.0%}"),
        ("calibration error of the confidence (ECE)", f"{found['ece']:.3f}"),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    missing = f" {left_out} questions are left out: their documents are not on this machine." if left_out else ""
    return f"""{measured_line("make bench-demo")}{missing}

The questions, and when an answer is right: `benchmarks/demo/README.md`.

| | |
|---|---:|
{table}"""


@click.command(help=__doc__)
@click.option("--folder", type=click.Path(path_type=Path), default=Path(".bench/demo"), show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("docs/evaluation.md"), show_default=True)
def main(folder: Path, out: Path) -> None:
    dataset = load_squad(QUESTIONS)
    questions = asked(dataset, index(folder))
    text = section(summary(ask(questions, folder)), sum(1 for _ in dataset.questions) - len(questions))
    put_section(out, TITLE, text, top="# Evaluation\n\n")
    click.echo(f"{text}\n\nwritten to {out}")


if __name__ == "__main__":
    main()
