"""`search-app evaluate reader|retrieval|answers|compare`: quality on SQuAD files."""

from __future__ import annotations

import dataclasses
import functools
import json
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from search_app.cli import options
from search_app.errors import IndexNotFound

if TYPE_CHECKING:
    from search_app.evaluation.calibration import Calibration
    from search_app.evaluation.datasets import Dataset
    from search_app.evaluation.results import QuestionResult
    from search_app.service import SearchService
    from search_app.settings import Settings
    from search_app.types import Hit

F = TypeVar("F", bound=Callable[..., Any])
_OUTPUT = click.Path(dir_okay=False, path_type=Path)
_PASSAGES = 40
"""Passages per question: enough for ten documents, although a document may have several passages."""


@click.group()
def evaluate() -> None:
    """Measure quality on a SQuAD JSON file.

    To compare two settings, measure with --save under each of them, then run `evaluate compare`.
    """


def _options(command: F) -> F:
    for option in (
        options.as_json,
        click.option("--report", type=_OUTPUT, metavar="FILE", help="Write the numbers and plots to an HTML page."),
        click.option(
            "--save", type=_OUTPUT, metavar="FILE", help="Write the result of each question for `evaluate compare`."
        ),
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
            type=click.Path(exists=True, path_type=Path),
            help="SQuAD JSON file; for retrieval, also a folder with documents, queries and judgements.",
        ),
    ):
        command = option(command)
    return command


@evaluate.command()
@_options
def reader(data: Path, limit: int | None, seed: int, save: Path | None, report: Path | None, as_json: bool) -> None:
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
    results: list[QuestionResult] = []
    with progress_bar() as progress:
        found = evaluate_reader(
            ExtractiveReader(settings.reader, detect()),
            dataset,
            limit=limit,
            seed=seed,
            progress=progress,
            record=results.append,
        )
    _write("reader", data, found, None, results, save, report)
    _print(dict(found), as_json)


@evaluate.command()
@_options
def retrieval(data: Path, limit: int | None, seed: int, save: Path | None, report: Path | None, as_json: bool) -> None:
    """Measure search: success and rank.

    With a SQuAD file, each question is asked of all paragraphs of the file. A hit counts if it comes from the
    question's own paragraph. With a folder in BEIR's layout (corpus.jsonl, queries.jsonl, qrels/test.tsv; TREC qrels
    in qrels.txt are read too), documents are judged by id, and nDCG is measured as well.
    """
    results: list[QuestionResult] = []
    measure = _judged if data.is_dir() else _paragraphs
    with progress_bar() as progress:
        found = measure(data, limit=limit, seed=seed, progress=progress, record=results.append)
    _write("retrieval", data, found, None, results, save, report)
    _print(dict(found), as_json)


def _paragraphs(data: Path, **options: Any) -> dict[str, float]:
    from search_app.evaluation.evaluate import evaluate_retrieval

    with corpus(data) as (service, collection, dataset):
        store = service.store(collection)

        @functools.cache
        def text(document_id: str) -> str:
            document = store.document(document_id)
            return document.text.strip() if document else ""

        search = _search(service, collection)
        return evaluate_retrieval(search, dataset, document_key=lambda hit: text(hit.passage.document_id), **options)


def _judged(data: Path, **options: Any) -> dict[str, float]:
    from search_app.evaluation.evaluate import evaluate_ranking
    from search_app.evaluation.judged import load_judged

    judged = load_judged(data)
    records = ({"id": id, "title": title, "text": text} for id, title, text in judged.documents())
    with indexed(records, data) as (service, collection):
        search = _search(service, collection)
        return evaluate_ranking(search, judged.queries, document_key=lambda hit: str(hit.passage.meta["id"]), **options)


def _search(service: SearchService, collection: str) -> Callable[[Sequence[str]], list[Sequence[Hit]]]:
    return lambda questions: [
        result.hits for result in service.search_many(questions, collection=collection, k=_PASSAGES)
    ]


@evaluate.command()
@_options
def answers(data: Path, limit: int | None, seed: int, save: Path | None, report: Path | None, as_json: bool) -> None:
    """Measure search and reader together.

    Each question is asked of all paragraphs of the file: exact match, F1 and the calibration of the confidence.
    """
    from search_app.evaluation.evaluate import evaluate_answers

    results: list[QuestionResult] = []
    with corpus(data) as (service, collection, dataset), progress_bar() as progress:

        def answer(questions: Any) -> Any:
            return [result.answers for result in service.answer_many(questions, collection=collection)]

        found, calibration = evaluate_answers(
            answer, dataset, limit=limit, seed=seed, progress=progress, record=results.append
        )
    _write("answers", data, found, calibration, results, save, report)
    shown: dict[str, Any] = dict(found)
    if calibration:
        shown["calibration"] = dataclasses.asdict(calibration)
    _print(shown, as_json)


@evaluate.command()
@click.argument("first", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("second", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--report", type=_OUTPUT, metavar="FILE", help="Write the differences and questions to an HTML page.")
@options.as_json
def compare(first: Path, second: Path, report: Path | None, as_json: bool) -> None:
    """Compare two saved results of the same questions.

    FIRST and SECOND were written by --save. Shows the difference of each measure with its 95 % interval from a paired
    bootstrap, and the questions that became better or worse.
    """
    from search_app.evaluation import compare as comparing
    from search_app.evaluation.report import comparison_page
    from search_app.evaluation.results import load_results

    found = comparing.compare(load_results(first), load_results(second))
    if report:
        _write_page(report, comparison_page(f"{first.stem} and {second.stem}", (first.stem, second.stem), found))
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(found), indent=2, ensure_ascii=False))
        return
    for item in found.differences:
        certain = "" if item.certain else "  (may be chance)"
        click.echo(
            f"{item.measure:<12} {100 * item.first:5.1f} -> {100 * item.second:5.1f}  {100 * item.difference:+5.1f}"
            f"  95 % interval {100 * item.low:+.1f} to {100 * item.high:+.1f}{certain}"
        )
    click.echo(f"{found.questions} questions: {len(found.better)} better, {len(found.worse)} worse")


def _write(
    measure: str,
    data: Path,
    found: Mapping[str, float],
    calibration: Calibration | None,
    results: Sequence[QuestionResult],
    save: Path | None,
    report: Path | None,
) -> None:
    """The files that the user asked for."""
    from search_app.evaluation.report import measurement_page
    from search_app.evaluation.results import Results

    if save:
        Results(measure, data.name, tuple(results)).save(save)
    if report:
        _write_page(report, measurement_page(f"{measure.capitalize()} on {data.name}", found, calibration))


def _write_page(path: Path, page: str) -> None:
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"cannot write {path}: {error.strerror}") from error


@contextmanager
def corpus(data: Path) -> Iterator[tuple[SearchService, str, Dataset]]:
    """Yield a service and a temporary collection with the file's paragraphs, without titles."""
    from search_app.evaluation.datasets import load_squad

    dataset = load_squad(data)
    paragraphs = dict.fromkeys(paragraph.text for paragraph in dataset.paragraphs)
    with indexed(({"text": text} for text in paragraphs), data) as (service, collection):
        yield service, collection, dataset


@contextmanager
def indexed(records: Iterable[Mapping[str, str]], data: Path) -> Iterator[tuple[SearchService, str]]:
    """Yield a service and a temporary collection with `records`, one document each; `data` is what errors name."""
    with tempfile.TemporaryDirectory() as folder:
        texts = Path(folder, "records.jsonl")
        with texts.open("w", encoding="utf-8") as out:
            out.writelines(json.dumps(record) + "\n" for record in records)
        with applied([texts], str(data)) as found:
            yield found


@contextmanager
def applied(paths: Sequence[Path], name: str = "") -> Iterator[tuple[SearchService, str]]:
    """Yield a service and a temporary collection with the documents of files and folders; errors name `name`."""
    from search_app.bootstrap import open_service

    collection = f"evaluation-{secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder, "home")
        settings = options.load(home)
        try:
            # A process, because search_app never imports indexing.
            command = [sys.executable, "-m", "indexing.cli", "apply", *map(str, paths), "--home", str(home)]
            done = subprocess.run([*command, "--collection", collection], stdout=subprocess.DEVNULL)
            if done.returncode:
                what = name or ", ".join(map(str, paths))
                raise click.ClickException(f"indexing {what} failed with exit code {done.returncode}")
            with open_service(settings) as service:
                yield service, collection
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
            click.echo(
                f"{'calibration error':<24} {value['ece']:.3f} ({value['ece_low']:.3f} to {value['ece_high']:.3f})\n"
                f"{'brier score':<24} {value['brier']:.3f}\n{'risk-coverage area':<24} {value['aurc']:.3f}"
            )
            for confidence, correct, count in value["bins"]:
                click.echo(
                    f"  confidence {confidence:.2f}  correct {correct:.2f}  {'█' * round(correct * 40)} ({count})"
                )
