"""`search-app train`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from search_app.service import SearchService
    from search_app.types import Hit

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def train() -> None:
    """Fine-tune a model on your own data."""


@train.command()
@click.option("--data", required=True, multiple=True, type=_FILE, help="SQuAD JSON; listed twice, it counts double.")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Folder of the reader; resumes a run there."
)
@click.option("--model", default="bundled", show_default=True, help="BERT-family checkpoint: a folder or hub name.")
@click.option("--epochs", default=2.0, show_default=True)
@click.option("--batch-size", default=32, show_default=True)
@click.option("--learning-rate", default=2e-4, show_default=True)
@click.option("--max-tokens", default=384, show_default=True)
@click.option("--limit", type=click.IntRange(min=1), help="At most so many questions of each file.")
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--join-words", default=0, show_default=True, help="Join short paragraphs of an article up to so many words."
)
@click.option("--negatives", default=0.0, show_default=True, help="Share of questions asked of a wrong paragraph too.")
@click.option("--holdout", default=0.0, show_default=True, help="Share of each file kept out to calibrate confidence.")
@click.option("--evaluation", multiple=True, type=_FILE, help="SQuAD JSON whose paragraphs must not be trained on.")
@click.option("--checkpoint-minutes", default=5.0, show_default=True)
def reader(data: tuple[Path, ...], out: Path, evaluation: tuple[Path, ...], **values: object) -> None:
    """Fine-tune a reader on questions and answers; the same command goes on after an interruption."""
    from search_app.training.config import ReaderTraining
    from search_app.training.reader import train_reader

    folder = train_reader(ReaderTraining(data=data, out=out, evaluation=evaluation, **values))  # type: ignore[arg-type]
    click.echo(f"the reader is in {folder}; use it with SEARCH_APP_READER__MODEL={folder}")


@train.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--data", multiple=True, type=_FILE, help="Only these of the files that it was trained on; default: all of them."
)
def calibrate(folder: Path, data: tuple[Path, ...]) -> None:
    """Fit the confidence of a reader that was trained with --holdout; FOLDER is its --out.

    Asks the held-out questions of all paragraphs of their file, with the search that is in force.
    """
    from search_app.cli import options
    from search_app.cli.evaluate import corpus, progress_bar
    from search_app.evaluation.datasets import load_squad
    from search_app.hardware import detect, set_threads
    from search_app.readers.extractive import ExtractiveReader
    from search_app.training.calibration import fit, read_cases, write
    from search_app.training.data import held_out

    settings = options.load(None)
    set_threads(settings.threads)
    reading = settings.reader.model_copy(update={"model": str(folder), "retrieval_weight": None})
    reader = ExtractiveReader(reading, detect())
    cases = []
    names = []
    for path, questions in held_out(folder, data):
        asked = list(load_squad(questions).questions)
        with corpus(path) as (service, collection, _), progress_bar() as progress:
            search = partial(_hits, service, collection, settings.reader.passages)
            cases += read_cases(reader, asked, search, progress)
        names.append(path.name)
    scorer = fit(cases, {"files": names})
    write(scorer, folder)
    click.echo(f"{folder}: {scorer.fitted}")


def _hits(service: SearchService, collection: str, k: int, questions: Sequence[str]) -> list[tuple[Hit, ...]]:
    return [result.hits for result in service.search_many(questions, collection=collection, k=k)]
