"""`search-app evaluate reader|retrieval|answers`: quality on SQuAD files."""

from __future__ import annotations

import dataclasses
import functools
import json
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from search_app.cli import options
from search_app.errors import IndexNotFound

if TYPE_CHECKING:
    from search_app.evaluation.datasets import Dataset
    from search_app.service import SearchService
    from search_app.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])
_PASSAGES = 40
"""Passages per question: enough for ten documents, although a document may have several passages."""


@click.group()
def evaluate() -> None:
    """Measure quality on a SQuAD JSON file."""


def _options(command: F) -> F:
    for option in (
        options.as_json,
        click.option("--seed", default=0, show_default=True, help="Random seed of the sample that --limit takes."),
        click.option(
            "--limit",
            type=click.IntRange(min=1),
            metavar="N",
            help="Ask a random sample of N questions [default: all].",
        ),
        click.option(
            "--data",
            required=True,
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="SQuAD JSON file.",
        ),
    ):
        command = option(command)
    return command


@evaluate.command()
@_options
def reader(data: Path, limit: int | None, seed: int, as_json: bool) -> None:
    """Measure the reader: exact match and F1.

    Each question is asked of its own paragraph.
    """
    from search_app.evaluation.datasets import load_squad
    from search_app.evaluation.evaluate import evaluate_reader
    from search_app.hardware import detect, set_threads
    from search_app.readers.extractive import ExtractiveReader

    settings = options.load(None)
    set_threads(settings.threads)
    dataset = load_squad(data)
    with progress_bar() as progress:
        found = evaluate_reader(
            ExtractiveReader(settings.reader, detect()), dataset, limit=limit, seed=seed, progress=progress
        )
    _print(dict(found), as_json)


@evaluate.command()
@_options
def retrieval(data: Path, limit: int | None, seed: int, as_json: bool) -> None:
    """Measure search: success and rank.

    Each question is asked of all paragraphs of the file. A hit counts if it comes from the question's own paragraph.
    """
    from search_app.evaluation.evaluate import evaluate_retrieval

    with corpus(data) as (service, collection, dataset), progress_bar() as progress:

        def search(questions: Any) -> Any:
            return [result.hits for result in service.search_many(questions, collection=collection, k=_PASSAGES)]

        store = service.store(collection)

        @functools.cache
        def text(document_id: str) -> str:
            document = store.document(document_id)
            return document.text.strip() if document else ""

        found = evaluate_retrieval(
            search,
            dataset,
            document_key=lambda hit: text(hit.passage.document_id),
            limit=limit,
            seed=seed,
            progress=progress,
        )
    _print(dict(found), as_json)


@evaluate.command()
@_options
def answers(data: Path, limit: int | None, seed: int, as_json: bool) -> None:
    """Measure search and reader together.

    Each question is asked of all paragraphs of the file: exact match, F1 and the calibration of the confidence.
    """
    from search_app.evaluation.evaluate import evaluate_answers

    with corpus(data) as (service, collection, dataset), progress_bar() as progress:

        def answer(questions: Any) -> Any:
            return [result.answers for result in service.answer_many(questions, collection=collection)]

        found, calibration = evaluate_answers(answer, dataset, limit=limit, seed=seed, progress=progress)
    shown: dict[str, Any] = dict(found)
    if calibration:
        shown["calibration"] = dataclasses.asdict(calibration)
    _print(shown, as_json)


@contextmanager
def corpus(data: Path) -> Iterator[tuple[SearchService, str, Dataset]]:
    """Yield a service and a temporary collection with the file's paragraphs, without titles."""
    from search_app.bootstrap import open_service
    from search_app.evaluation.datasets import load_squad

    dataset = load_squad(data)
    collection = f"evaluation-{secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory() as folder:
        texts, home = Path(folder, "paragraphs.jsonl"), Path(folder, "home")
        paragraphs = dict.fromkeys(paragraph.text for paragraph in dataset.paragraphs)
        with texts.open("w", encoding="utf-8") as out:
            out.writelines(json.dumps({"text": text}) + "\n" for text in paragraphs)
        settings = options.load(home)
        try:
            # A process, because search_app never imports indexing.
            command = [sys.executable, "-m", "indexing.cli", "apply", str(texts), "--home", str(home)]
            done = subprocess.run([*command, "--collection", collection], stdout=subprocess.DEVNULL)
            if done.returncode:
                raise click.ClickException(f"indexing {data} failed with exit code {done.returncode}")
            with open_service(settings) as service:
                yield service, collection, dataset
        finally:
            # The folder, and with it an embedded index, is deleted anyway.
            if settings.store == "elasticsearch":
                _remove(settings, collection)


def _remove(settings: Settings, collection: str) -> None:
    from search_app.stores.elasticsearch.catalog import ElasticsearchCatalog

    with closing(ElasticsearchCatalog(settings)) as catalog, suppress(IndexNotFound):  # when indexing failed
        catalog.drop(collection)


@contextmanager
def progress_bar() -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, driven by (done, total)."""
    from tqdm import tqdm

    with tqdm(unit="question", disable=not sys.stderr.isatty()) as bar:

        def update(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield update


def _print(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for name, value in found.items():
        if isinstance(value, float):
            click.echo(f"{name:<24} {value:.3f}".rstrip("0").rstrip("."))
        elif name == "calibration":
            click.echo(f"{'calibration error':<24} {value['ece']:.3f}\n{'brier score':<24} {value['brier']:.3f}")
            for _, confidence, correct, count in value["bins"]:
                click.echo(
                    f"  confidence {confidence:.2f}  correct {correct:.2f}  {'█' * round(correct * 40)} ({count})"
                )
