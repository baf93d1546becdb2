"""`search-app calibrate`: the confidence of answers, fitted to your own questions."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from search_app.cli import options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from search_app.evaluation.calibration import Calibration
    from search_app.evaluation.datasets import Dataset
    from search_app.readers.extractive import ExtractiveReader
    from search_app.service import SearchService
    from search_app.settings import Settings
    from search_app.training.calibration import Case
    from search_app.training.recalibration import Recalibration
    from search_app.types import Hit

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.option("--data", type=_FILE, help="Labelled questions: SQuAD JSON.")
@click.option("--collection", help="Ask the documents of this collection [default: the paragraphs in the file].")
@click.option(
    "--unanswerable",
    type=click.FloatRange(0, 0.9),
    help="Share of questions that your documents do not answer [default: as in the file, or 0.2 if it has none].",
)
@click.option("--rollback", is_flag=True, help="Bring back the calibration before the last one.")
@options.home
def calibrate(
    data: Path | None, collection: str | None, unanswerable: float | None, rollback: bool, home: Path | None
) -> None:
    """Fit the confidence of answers to your own labelled questions.

    The reader is not changed, only how sure it is of its answers and which of them keep SEARCH_APP_READER__MAX_WRONG.
    The calibration is written to calibration.json in the home folder. Restart a running API to use it.
    """
    settings = options.load(home)
    if rollback:
        _roll_back(settings)
        return
    if data is None:
        raise click.UsageError("give --data FILE with labelled questions, or --rollback")
    from search_app.evaluation.datasets import load_squad
    from search_app.hardware import detect, set_threads
    from search_app.models.checkpoint import find_checkpoint, identity
    from search_app.readers.extractive import ExtractiveReader
    from search_app.training.calibration import UNANSWERABLE_SHARE
    from search_app.training.recalibration import install, recalibrate

    set_threads(settings.threads)
    # Without the calibration file that is to be written, the reader has its own.
    stated = {"calibration": None} if not settings.calibration_file.is_file() else {}
    reader = ExtractiveReader(settings.calibrated_reader.model_copy(update=stated), detect())
    dataset = load_squad(data)
    share = _share(dataset)
    with _asked(settings, data, collection) as (service, name):
        cases = _cases(reader, service, name, dataset, settings.reader.passages, own=collection is None, made=not share)
    done = recalibrate(
        reader.scorer,
        cases,
        unanswerable=(share or UNANSWERABLE_SHARE) if unanswerable is None else unanswerable,
        reader=identity(find_checkpoint("reader", settings.reader.model)),
    )
    install(done.scorer, settings.calibration_file)
    _show(done, settings)


def hits(service: SearchService, collection: str, k: int, questions: Sequence[str]) -> list[tuple[Hit, ...]]:
    """The k best passages for each question."""
    return [result.hits for result in service.search_many(questions, collection=collection, k=k)]


def _share(dataset: Dataset) -> float:
    """The share of questions without an answer."""
    kinds = [not question.answers for _, question in dataset.questions]
    return sum(kinds) / max(1, len(kinds))


def _asked(settings: Settings, data: Path, collection: str | None) -> AbstractContextManager[tuple[SearchService, str]]:
    return _collection(settings, collection) if collection else _paragraphs(data)


@contextmanager
def _collection(settings: Settings, name: str) -> Iterator[tuple[SearchService, str]]:
    from search_app.bootstrap import open_service

    with open_service(settings) as service:
        service.store(name)  # before the questions, so that a wrong name fails at once
        yield service, name


@contextmanager
def _paragraphs(data: Path) -> Iterator[tuple[SearchService, str]]:
    from search_app.cli.temporary import corpus

    with corpus(data) as (service, name, _):
        yield service, name


def _cases(
    reader: ExtractiveReader, service: SearchService, name: str, dataset: Dataset, k: int, *, own: bool, made: bool
) -> list[Case]:
    """`own`: the passages are the file's paragraphs. `made`: unanswerable cases are made, as the file has none."""
    from search_app.cli.temporary import progress_bar
    from search_app.training.calibration import has_answer, is_paragraph, read_cases

    with progress_bar() as progress:
        search = partial(hits, service, name, k)
        owns = is_paragraph if own else has_answer
        return read_cases(reader, list(dataset.questions), search, progress, owns, withhold=made)


def _roll_back(settings: Settings) -> None:
    from search_app.training.recalibration import restore

    file = settings.calibration_file
    found = f"brought back the calibration before the last one: {file}"
    click.echo(found if restore(file) else f"removed {file}; the reader uses its own calibration again")


def _show(done: Recalibration, settings: Settings) -> None:
    kind = "all weights fitted" if done.refitted else "the old confidence scaled, as the questions are few"
    click.echo(f"{done.questions} questions with an answer, {done.unanswerable:.0%} without; {kind}")
    click.echo(f"{'':<24} {'before':>8} {'after':>8}")
    for label, field in (("calibration error", "ece"), ("Brier score", "brier"), ("risk-coverage area", "aurc")):
        click.echo(f"{label:<24} {_number(done.before, field):>8} {_number(done.after, field):>8}")
    promise = done.scorer.promising(settings.reader.max_wrong)
    if promise.reliable_from <= 1:
        click.echo(
            f"answers from {promise.reliable_from:.0%} confidence keep max_wrong {settings.reader.max_wrong:.0%}"
        )
    click.echo(f"saved {settings.calibration_file}; undo with: search-app calibrate --rollback")


def _number(calibration: Calibration | None, field: str) -> str:
    return "-" if calibration is None else f"{getattr(calibration, field):.3f}"
