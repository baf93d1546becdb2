"""`search-app train`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def train() -> None:
    """Train models on your data."""


@train.command()
@click.option(
    "--data", required=True, multiple=True, type=_FILE, help="SQuAD JSON; repeatable. A file given twice counts double."
)
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Output folder. An interrupted run there resumes."
)
@click.option(
    "--model", default="bundled", show_default=True, help="BERT-family checkpoint: folder or Hugging Face name."
)
@click.option("--epochs", default=2.0, show_default=True, help="Passes over the data.")
@click.option("--batch-size", default=32, show_default=True, help="Windows per step.")
@click.option("--learning-rate", default=2e-4, show_default=True, help="Peak learning rate.")
@click.option("--max-tokens", default=384, show_default=True, help="Tokens per window, question included.")
@click.option("--limit", type=click.IntRange(min=1), help="Use at most N questions per file.", metavar="N")
@click.option("--seed", default=0, show_default=True, help="Random seed.")
@click.option(
    "--join-words", default=0, show_default=True, metavar="N", help="Join short paragraphs of an article to N words."
)
@click.option("--negatives", default=0.0, show_default=True, help="Share of questions also asked of a wrong paragraph.")
@click.option("--tables", default=0.0, show_default=True, help="Questions about generated tables, as a share of all.")
@click.option(
    "--title-dropout",
    default=0.5,
    show_default=True,
    help="Share of questions whose passage is read without its title.",
)
@click.option(
    "--decay", default=1.0, show_default=True, help="Last share of the steps in which the learning rate falls to zero."
)
@click.option("--holdout", default=0.0, show_default=True, help="Share of each file held out for train calibrate.")
@click.option("--evaluation", multiple=True, type=_FILE, help="SQuAD JSON whose paragraphs are excluded; repeatable.")
@click.option("--checkpoint-minutes", default=5.0, show_default=True, help="Minutes between checkpoints.")
def reader(data: tuple[Path, ...], out: Path, evaluation: tuple[Path, ...], **values: object) -> None:
    """Fine-tune a reader on SQuAD files. Run the same command again to resume an interrupted run."""
    from search_app.training.config import ReaderTraining
    from search_app.training.reader import train_reader

    folder = train_reader(ReaderTraining(data=data, out=out, evaluation=evaluation, **values))  # type: ignore[arg-type]
    click.echo(f"saved the reader to {folder}; to use it, set SEARCH_APP_READER__MODEL={folder}")


@train.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--data", multiple=True, type=_FILE, help="Use only these training files; repeatable [default: all].")
def calibrate(folder: Path, data: tuple[Path, ...]) -> None:
    """Calibrate the confidence of the reader in FOLDER, which was trained with --holdout.

    Answers the held-out questions from all paragraphs of their file, with the current search settings.
    """
    from search_app.cli import options
    from search_app.cli.calibrate import hits
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
            search = partial(hits, service, collection, settings.reader.passages)
            cases += read_cases(reader, asked, search, progress)
        names.append(path.name)
    scorer = fit(cases, {"files": names})
    write(scorer, folder)
    click.echo(f"{folder}: {scorer.fitted}")
