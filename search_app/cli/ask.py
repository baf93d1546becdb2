"""`search-app search` and `search-app answer`."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from search_app.cli import options
from search_app.text.questions import is_question
from search_app.text.shown import shown

if TYPE_CHECKING:
    from search_app.types import Answer, Hit, SearchResult

_WHERE = "Search only passages whose metadata match, such as: modified>=2026-01-01 and format in [pdf, html]"

_SOURCES = 3
"""Sources listed behind "also in"."""

where = click.option("--where", metavar="FILTER", help=_WHERE)


@click.command()
@click.argument("question")
@options.home
@options.collection
@click.option("--k", default=10, show_default=True, help="Passages to return.")
@where
@options.as_json
def search(question: str, home: Path | None, collection: str, k: int, where: str | None, as_json: bool) -> None:
    """List the passages that match QUESTION best.

    With "-" as QUESTION, read questions from standard input, one per line.
    """
    _ask(question, home, collection, where, as_json, k=k)


@click.command()
@click.argument("question")
@options.home
@options.collection
@click.option("--top-k", default=3, show_default=True, help='Answers to return, "no answer" included.')
@click.option("--k", default=10, show_default=True, help="Passages to list below the answers.")
@where
@click.option("--all", "guesses", is_flag=True, help="Also show guesses, which are below the promised confidence.")
@options.as_json
def answer(
    question: str,
    home: Path | None,
    collection: str,
    k: int,
    top_k: int,
    where: str | None,
    guesses: bool,
    as_json: bool,
) -> None:
    """Answer QUESTION from the documents.

    SEARCH_APP_READER__MAX_WRONG (0.2) is the promise: at most this share of the answers shown is wrong.

    Dense and keyword search each find candidates (SEARCH_APP_RETRIEVAL__CANDIDATES, 100). The reader reads the best
    passages of both (SEARCH_APP_READER__PASSAGES, 10) and marks the answers in them.

    With "-" as QUESTION, read questions from standard input, one per line.
    """
    _ask(question, home, collection, where, as_json, guesses=guesses, k=k, top_k=top_k)


def _ask(
    question: str,
    home: Path | None,
    collection: str,
    where: str | None,
    as_json: bool,
    *,
    guesses: bool = False,
    **counts: int,
) -> None:
    from search_app.settings import check_collection_name
    from search_app.stores.catalog import open_catalog
    from search_app.stores.filters import parse_where

    # Report errors in the call or the index before the models' libraries load, which takes seconds.
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
                show(result, reading="top_k" in counts, guesses=guesses)


_DEGRADED = (
    "warning: the search server or the GPU is unavailable; answered from the replica, which may be older, or on the CPU"
)


def show(result: SearchResult, *, reading: bool, guesses: bool = False) -> None:
    """Print the answers and places of a question, or the passages with the words of a keyword query marked."""
    click.secho(result.question, bold=True)
    if not result.hits:
        click.echo("\n  No passage found.")
    elif reading and is_question(result.question):
        show_answers(result.answers, guesses=guesses)
        click.secho("\n  Passages", bold=True)
        for number, hit in enumerate(result.hits, start=1):
            click.echo(f"  {number:>3}. {_place(hit)}")
    else:
        for number, hit in enumerate(result.hits, start=1):
            _show_hit(number, hit, "" if is_question(result.question) else result.question)
    spent = " · ".join(f"{name} {seconds * 1000:.0f} ms" for name, seconds in result.timings.items())
    click.secho(f"\n{spent}\n", dim=True)


def show_answers(answers: Sequence[Answer], *, guesses: bool = False) -> None:
    """Print the reliable answers, best first, and with `guesses` the others below them."""
    reliable = [answer for answer in answers if answer.reliable and answer.span]
    others = [answer for answer in answers if not answer.reliable and answer.span]
    if not reliable:
        click.echo(_no_answer(answers, 0 if guesses else len(others)))
    listed = [*reliable, *(others if guesses else ())]
    dated = len({answer.hit.passage.document_id for answer in listed if answer.hit}) > 1
    for answer in reliable:
        _show_answer(answer, dated=dated)
    if guesses and others:
        click.secho("\n  Guesses", bold=True)
        for answer in others:
            _show_answer(answer, dated=dated)


def _no_answer(answers: Sequence[Answer], hidden: int) -> str:
    if not answers or answers[0].span is None:
        found = f"No answer in these passages{_confidence(answers[0]) if answers else ''}"
    else:
        found = "No reliable answer in these passages"
    return f"\n  {found}" + (f"; --all shows {hidden} {'guess' if hidden == 1 else 'guesses'}" if hidden else "")


def _show_answer(answer: Answer, *, dated: bool) -> None:
    """The answer with its confidence and source, `dated` with the date of its document, then the passage, marked."""
    hit, span = answer.hit, answer.span
    if hit is None or span is None:
        return
    passage = hit.passage
    start, end = span.start - passage.start, span.end - passage.start
    text = shown(answer.text, passage.text)
    date = f" · {passage.date[:10]}" if dated and passage.date else ""
    click.echo(f"\n  {click.style(text, fg='green', bold=True)}{_confidence(answer)}")
    click.secho(f"  {_place(replace(hit, also=answer.also or hit.also))}{date}", dim=True)
    before, after = _shortened(passage.text[:start], keep_end=True), _shortened(passage.text[end:], keep_end=False)
    click.echo(click.wrap_text(f"{before}{_mark(text)}{after}", 100, "    ", "    ", preserve_paragraphs=False))


def _confidence(answer: Answer) -> str:
    return "" if answer.confidence is None else f"  ({answer.confidence:.0%} confident)"


def _show_hit(number: int, hit: Hit, keywords: str) -> None:
    """With the words of a keyword query marked."""
    scores = ", ".join(f"{name} {score:.3f}" for name, score in hit.scores.items())
    click.echo(f"\n{number:>3}. {hit.score:.3f} ({scores})  {_place(hit)}")
    click.echo(click.wrap_text(_marked(hit.passage.text, keywords), 100, "     ", "     "))


def _marked(text: str, keywords: str) -> str:
    from search_app.text.marks import marks

    spans = marks(keywords, text) if keywords else []
    start = max(0, spans[0].start - 150) if spans else 0
    end = start + 300
    parts, position = ["…" if start else ""], start
    for span in spans:
        if span.end <= end:
            parts += [text[position : span.start], _mark(text[span.start : span.end])]
            position = span.end
    parts += [text[position:end], "…" if end < len(text) else ""]
    return re.sub(r"\s+", " ", "".join(parts))


def _mark(text: str) -> str:
    return click.style(text, reverse=True) if sys.stdout.isatty() else f"[{text}]"


def _place(hit: Hit) -> str:
    passage = hit.passage
    page = f", page {passage.page}" if passage.page else ""
    title = f" · {passage.title}" if passage.title else ""
    newer = f" · newer version: {hit.newer.source}" if hit.newer is not None else ""
    return f"{passage.source}{page}{title}{newer}{_also(hit)}"


def _also(hit: Hit) -> str:
    """The sources of the passages that the hit stands for."""
    sources = list(dict.fromkeys(other.source for other in hit.also if other.source != hit.passage.source))
    more = f" and {len(sources) - _SOURCES} more" if len(sources) > _SOURCES else ""
    return f" · also in: {', '.join(sources[:_SOURCES])}{more}" if sources else ""


def _shortened(text: str, *, keep_end: bool, limit: int = 300) -> str:
    text = re.sub(r"\s+", " ", text)
    if len(text) <= limit:
        return text
    return "…" + text[-limit:] if keep_end else text[:limit] + "…"
