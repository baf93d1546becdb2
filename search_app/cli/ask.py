"""`search-app search` and `search-app answer`."""

from __future__ import annotations

import re
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from search_app.cli import options

if TYPE_CHECKING:
    from search_app.types import Answer, Hit, SearchResult

_WHERE_HELP = "Only passages whose metadata match, as in: modified>=2026-01-01 and format in [pdf, html]"


@click.command()
@click.argument("question")
@options.home
@options.collection
@click.option("--k", default=10, show_default=True, help="How many passages.")
@click.option("--where", help=_WHERE_HELP)
@options.as_json
def search(question: str, home: Path | None, collection: str, k: int, where: str | None, as_json: bool) -> None:
    """Find the passages nearest to QUESTION; "-" reads one question a line from standard input."""
    _ask(question, home, collection, where, as_json, k=k)


@click.command()
@click.argument("question")
@options.home
@options.collection
@click.option("--k", default=10, show_default=True, help="How many passages to list.")
@click.option("--top-k", default=3, show_default=True, help="How many answers.")
@click.option("--where", help=_WHERE_HELP)
@options.as_json
def answer(
    question: str, home: Path | None, collection: str, k: int, top_k: int, where: str | None, as_json: bool
) -> None:
    """Answer QUESTION from the documents and mark the answer; "-" reads one question a line from standard input."""
    _ask(question, home, collection, where, as_json, k=k, top_k=top_k)


def _ask(question: str, home: Path | None, collection: str, where: str | None, as_json: bool, **counts: int) -> None:
    from search_app.settings import check_collection_name
    from search_app.stores.catalog import open_catalog
    from search_app.stores.filters import parse_where

    # What is wrong with the call or the index is said before the models' libraries load.
    settings = options.load(home)
    questions = [line.strip() for line in sys.stdin if line.strip()] if question == "-" else [question]
    for each in questions:
        settings.limits.check(each, **counts)
    condition = parse_where(where) if where else None
    with closing(open_catalog(settings)) as catalog:
        catalog.open(check_collection_name(collection)).close()

    from search_app.api.schemas import SearchResponse
    from search_app.bootstrap import open_service

    arguments: dict[str, Any] = {"collection": collection, "where": condition, **counts}
    with open_service(settings) as service:
        many = service.answer_many if "top_k" in counts else service.search_many
        for result in many(questions, **arguments):
            if result.degraded:
                click.echo(_DEGRADED, err=True)
            if as_json:
                click.echo(SearchResponse.of(result).model_dump_json(indent=None if question == "-" else 2))
            else:
                _show(result, reading="top_k" in counts)


_DEGRADED = "note: the index or its GPU is out of reach; a replica, which may be older, or the CPU answers"


def _show(result: SearchResult, *, reading: bool) -> None:
    click.secho(result.question, bold=True)
    if reading:
        if not result.answers:
            click.echo("\n  No answer: no passage was found.")
        for answer in result.answers:
            show_answer(answer)
    else:
        for number, hit in enumerate(result.hits, start=1):
            _show_hit(number, hit)
        if not result.hits:
            click.echo("\n  No passage was found.")
    spent = " · ".join(f"{name} {seconds * 1000:.0f} ms" for name, seconds in result.timings.items())
    click.secho(f"\n{spent}\n", dim=True)


def show_answer(answer: Answer) -> None:
    """The answer, its confidence and source, and the passage with the answer marked by its offsets."""
    confidence = "" if answer.confidence is None else f"  ({answer.confidence:.0%} confident)"
    if answer.hit is None or answer.span is None:
        click.echo(f"\n  No answer in these passages{confidence}")
        return
    passage = answer.hit.passage
    start, end = answer.span.start - passage.start, answer.span.end - passage.start
    text = re.sub(r"\s+", " ", answer.text)
    click.echo(f"\n  {click.style(text, fg='green', bold=True)}{confidence}")
    click.secho(f"  {_place(answer.hit)}", dim=True)
    before, after = _shortened(passage.text[:start], keep_end=True), _shortened(passage.text[end:], keep_end=False)
    marked = click.style(text, reverse=True) if sys.stdout.isatty() else f"[{text}]"
    click.echo(click.wrap_text(f"{before}{marked}{after}", 100, "    ", "    ", preserve_paragraphs=False))


def _show_hit(number: int, hit: Hit) -> None:
    scores = ", ".join(f"{name} {score:.3f}" for name, score in hit.scores.items())
    click.echo(f"\n{number:>3}. {hit.score:.3f} ({scores})  {_place(hit)}")
    click.echo(click.wrap_text(_shortened(hit.passage.text, keep_end=False), 100, "     ", "     "))


def _place(hit: Hit) -> str:
    passage = hit.passage
    page = f", page {passage.page}" if passage.page else ""
    title = f" · {passage.title}" if passage.title else ""
    return f"{passage.source}{page}{title}"


def _shortened(text: str, *, keep_end: bool, most: int = 300) -> str:
    text = re.sub(r"\s+", " ", text)
    if len(text) <= most:
        return text
    return "…" + text[-most:] if keep_end else text[:most] + "…"
