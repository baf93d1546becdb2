"""`search-app train`."""

from __future__ import annotations

from pathlib import Path

import click

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
