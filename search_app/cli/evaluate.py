"""`search-app evaluate reader|retrieval|answers|compare`: quality on SQuAD files."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from search_app.cli import options
from search_app.cli.temporary import corpus, indexed, progress_bar

if TYPE_CHECKING:
    from search_app.evaluation.measurement import Measurement
    from search_app.evaluation.results import QuestionResult
    from search_app.service import SearchService
    from search_app.types import Hit

F = TypeVar("F", bound=Callable[..., Any])
_PERTURBATIONS = ("typos", "distractors")
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


def _comparisons(command: F) -> F:
    for option in (
        click.option(
            "--perturb",
            multiple=True,
            callback=_perturbations,
            metavar="KINDS",
            help="Also measure with typos (a mistake in each question), with distractors (sentences that resemble the"
            " one with the answer), or with each of them: typos,distractors.",
        ),
        click.option(
            "--beside",
            type=click.Choice(["haystack"]),
            help="Also measure Haystack's reader, with the same weights on the same passages.",
        ),
    ):
        command = option(command)
    return command


def _perturbations(_: click.Context, option: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    kinds = tuple(dict.fromkeys(kind.strip() for value in values for kind in value.split(",")))
    for kind in kinds:
        if kind not in _PERTURBATIONS:
            raise click.BadParameter(f"{kind!r} is not one of {', '.join(_PERTURBATIONS)}.", param=option)
    return kinds


@evaluate.command()
@_comparisons
@_options
def reader(
    data: Path,
    limit: int | None,
    seed: int,
    save: Path | None,
    report: Path | None,
    as_json: bool,
    beside: str | None,
    perturb: tuple[str, ...],
) -> None:
    """Measure the reader: exact match and F1.

    Each question is asked of its own paragraph. If some questions have no answer (SQuAD v2.0), "no answer" counts where
    the reader ranks it first.
    """
    from search_app.cli.measuring import Plan, measure_reader

    results: list[QuestionResult] = []
    found = measure_reader(Plan(data, limit, seed, beside or "", perturb), results.append)
    _finish("reader", data, found, results, save, report, as_json)


@evaluate.command()
@_options
def retrieval(data: Path, limit: int | None, seed: int, save: Path | None, report: Path | None, as_json: bool) -> None:
    """Measure search: success and rank.

    With a SQuAD file, each question is asked of all paragraphs of the file. A hit counts if it comes from the
    question's own paragraph. With a folder in BEIR's layout (corpus.jsonl, queries.jsonl, qrels/test.tsv; TREC qrels
    in qrels.txt are read too), documents are judged by id, and nDCG is measured as well.
    """
    from search_app.evaluation.measurement import Measurement

    results: list[QuestionResult] = []
    measure = _judged if data.is_dir() else _paragraphs
    with progress_bar() as progress:
        found = measure(data, limit=limit, seed=seed, progress=progress, record=results.append)
    _finish("retrieval", data, [Measurement(found)], results, save, report, as_json)


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
@click.option(
    "--absent",
    is_flag=True,
    help="Also ask the questions of half of the articles over the paragraphs of the other half, which do not answer"
    " them: how many get an answer?",
)
@_comparisons
@_options
def answers(
    data: Path,
    limit: int | None,
    seed: int,
    save: Path | None,
    report: Path | None,
    as_json: bool,
    beside: str | None,
    perturb: tuple[str, ...],
    absent: bool,
) -> None:
    """Measure search and reader together.

    Each question is asked of all paragraphs of the file: exact match, F1, how many questions get an answer, how many of
    these are wrong, and how far the confidence can be trusted. An answer is shown if it keeps the promise of
    SEARCH_APP_READER__MAX_WRONG.
    """
    from search_app.cli.measuring import Plan, measure_answers

    results: list[QuestionResult] = []
    found = measure_answers(Plan(data, limit, seed, beside or "", perturb, absent), results.append)
    _finish("answers", data, found, results, save, report, as_json)


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


def _finish(
    measure: str,
    data: Path,
    found: Sequence[Measurement],
    results: Sequence[QuestionResult],
    save: Path | None,
    report: Path | None,
    as_json: bool,
) -> None:
    """Print the numbers and write the files that the user asked for."""
    from search_app.evaluation.measurement import to_json
    from search_app.evaluation.report import measurement_page
    from search_app.evaluation.results import Results

    if save:
        Results(measure, data.name, tuple(results), to_json(found)).save(save)
    if report:
        _write_page(report, measurement_page(f"{measure.capitalize()} on {data.name}", found))
    if as_json:
        click.echo(json.dumps(to_json(found), indent=2))
    else:
        _print(found)


def _write_page(path: Path, page: str) -> None:
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"cannot write {path}: {error.strerror}") from error


def _print(found: Sequence[Measurement]) -> None:
    from search_app.evaluation.measurement import table

    systems, rows = table(found)
    if len(systems) > 1:
        click.echo(f"{'':<36}" + "".join(f" {system:>12}" for system in systems))
    for name, values in rows:
        click.echo(f"{name:<36}" + "".join(f" {value:>12}" for value in values))
    for mean, right, count in found[0].calibration.bins if found[0].calibration else ():
        click.echo(f"  confidence {mean:.2f}  right {right:.2f}  {'█' * round(right * 40)} ({count})")
