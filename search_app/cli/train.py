"""`search-app train`."""

from __future__ import annotations

import json
import shlex
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import click

from search_app.cli import options
from search_app.cli.calibrate import hits

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def train() -> None:
    """Train models on your data."""


@train.command()
@options.reader_training()
def reader(**values: Any) -> None:
    """Fine-tune a reader on SQuAD files. Run the same command again to resume an interrupted run."""
    options.require_training()
    from search_app.training.config import ReaderTraining
    from search_app.training.reader import train_reader

    folder = train_reader(ReaderTraining(**values))
    show_measures(folder)
    click.echo(f"saved the reader to {folder}; to use it, set SEARCH_APP_READER__MODEL={folder}")


@train.command()
@click.option(
    "--data",
    required=True,
    multiple=True,
    type=_FILE,
    help='SQuAD JSON, or JSON lines: {"question": "…", "passage": "…"}; repeatable.',
)
@options.training(epochs=1.0, batch_size=32, learning_rate=2e-5)
@click.option(
    "--development",
    multiple=True,
    type=_FILE,
    help="File that measures the result; repeatable [default: a share of --data].",
)
@click.option(
    "--development-share",
    default=0.1,
    show_default=True,
    help="Share of --data, by document, that measures the result.",
)
@click.option("--collection", help="Find hard negatives in this collection [default: in the paragraphs of --data].")
@options.home
def encoder(home: Path | None, collection: str | None, **values: Any) -> None:
    """Fine-tune an encoder on questions and the passages that answer them.

    Each question also sees a passage that looks as if it answered it. Run the same command again to resume an
    interrupted run.
    """
    options.require_training()
    from search_app.training.config import EncoderTraining
    from search_app.training.encoder import train_encoder
    from search_app.training.retrieval import DEPTH

    config = EncoderTraining(collection=collection, **values)
    with ExitStack() as stack:
        search = None
        if collection is not None:
            from search_app.bootstrap import open_service

            service = stack.enter_context(open_service(options.load(home)))
            search = partial(hits, service, collection, DEPTH)
        folder = train_encoder(config, search)
    show_measures(folder)
    click.echo(f"saved the encoder to {folder}; to use it, rebuild the index and set the encoder:")
    named = f" --collection {shlex.quote(collection)}" if collection not in (None, "default") else ""
    click.echo(f"  search-index rebuild --encoder {shlex.quote(str(folder))}{named}")
    click.echo(f"  export SEARCH_APP_ENCODER__MODEL={shlex.quote(str(folder))}")


@train.command()
@click.argument("checkpoints", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Output folder.")
@click.option(
    "--data", multiple=True, type=_FILE, help="Labelled questions that measure each and the mean; repeatable."
)
def average(checkpoints: tuple[Path, ...], out: Path, data: tuple[Path, ...]) -> None:
    """Average the weights of CHECKPOINTS: finished readers or encoders of one base, or checkpoints of a run.

    A checkpoint of a run (work/checkpoint-N) may follow the finished model of that run. One that is given twice counts
    twice.
    """
    options.require_training()
    from search_app.training.averaging import average

    for name, scores in average(checkpoints, out, data).items():
        shown = (f"{key} {value:.3g}" for key, value in scores.items() if key not in ("questions", "seconds"))
        click.echo(f"{name}: {', '.join(shown)} ({scores['questions']:.0f} questions)")
    click.echo(f"saved the mean to {out}")


def show_measures(folder: Path) -> None:
    """Print the measures of a finished training, before and after it, if there are any."""
    from search_app.training.card import NOT_SHOWN

    facts = folder / "training.json"
    found = json.loads(facts.read_text(encoding="utf-8")) if facts.is_file() else {}
    before, after = found.get("before") or {}, found.get("after") or {}
    for name in (name for name in after if name in before and name not in NOT_SHOWN):
        click.echo(f"{name:<12} {before[name]:.3f} -> {after[name]:.3f}")


@train.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--data", multiple=True, type=_FILE, help="Use only these training files; repeatable [default: all].")
def calibrate(folder: Path, data: tuple[Path, ...]) -> None:
    """Calibrate the confidence of the reader in FOLDER, which was trained with --holdout.

    Answers the held-out questions from all paragraphs of their file, with the current search settings.
    """
    options.require_training()
    from search_app.cli.temporary import corpus, progress_bar
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
