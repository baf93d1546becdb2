"""`search-app demo`: documentation that is already here, indexed and asked, with a page in the browser or without."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from search_app.demo.documents import write_documents
from search_app.demo.processes import HOST, Family, Stopped, require_free
from search_app.errors import ConfigurationError
from search_app.settings import load_settings
from search_app.types import SearchResult

_SOME_FILES_FAILED = 1
_READY_S = 180.0


def run_demo(home: Path, *, ask: str | None, port: int, ui_port: int) -> int:
    """Indexes the demo's documents under `home`, then answers `ask`, or serves until Ctrl-C; the exit code."""
    if ask is None:
        if port == ui_port:
            raise ConfigurationError(
                f"API and UI cannot share port {port}", hint="choose another --ui-port", field="ui-port"
            )
        require_free(port, option="--port")
        require_free(ui_port, option="--ui-port")
    documents = home / "documents"
    click.echo(f"{write_documents(documents)} documents under {documents}", err=True)
    try:
        with Family() as family:
            environment = {
                **os.environ,
                "HAYSTACK_TELEMETRY_ENABLED": "False",
                "SEARCH_APP_HOME": str(home),
                "SEARCH_APP_API__HOST": HOST,
                "SEARCH_APP_API__PORT": str(port),
            }
            indexing = family.start("indexing", ["indexing.cli", "apply", str(documents)], environment=environment)
            if (code := family.finish(indexing)) not in (0, _SOME_FILES_FAILED):
                return code
            if ask is None:
                _serve(family, environment, home / "logs", port, ui_port)
    except Stopped:
        click.echo("stopped", err=True)
        return 0
    if ask is not None:
        _answer(home, ask)
    return 0


def _serve(family: Family, environment: dict[str, str], logs: Path, port: int, ui_port: int) -> None:
    logs.mkdir(parents=True, exist_ok=True)
    api_url, ui_url = f"http://{HOST}:{port}", f"http://{HOST}:{ui_port}"
    click.echo("starting …", err=True)
    api = family.start("the API", ["search_app.cli", "serve"], environment=environment, log=logs / "api.log")
    ui = family.start(
        "the UI",
        ["ui.launch", "--port", str(ui_port), "--api-url", api_url],
        environment=environment,
        log=logs / "ui.log",
    )
    family.until_ready(api, f"{api_url}/health/ready", timeout=_READY_S)
    family.until_ready(ui, f"{ui_url}/_stcore/health", timeout=_READY_S)
    click.echo(f"Ready: {ui_url}   (API: {api_url}/docs)   Ctrl-C stops both.")
    family.until_stopped()


def _answer(home: Path, question: str) -> None:
    from search_app import open_service

    with open_service(load_settings(home=home)) as service:
        result = service.answer(question)
    click.echo(render(result, mark=("\x1b[7m", "\x1b[0m") if sys.stdout.isatty() else (">>>", "<<<")))


def render(result: SearchResult, *, mark: tuple[str, str]) -> str:
    """The best answer with its confidence, source and passage, the answer in it between the two marks."""
    best = result.answers[0] if result.answers else None
    if best is None or best.span is None or best.hit is None:
        nearest = "".join(f"\n  {hit.passage.source}" for hit in result.hits[:3])
        return f"No answer found to: {result.question}" + (f"\nNearest documents:{nearest}" if nearest else "")
    passage = best.hit.passage
    page = f", page {passage.page}" if passage.page else ""
    confidence = "not calibrated" if best.confidence is None else f"{best.confidence:.0%}"
    # By offsets: a span counts characters of the document.
    start, end = best.span.start - passage.start, best.span.end - passage.start
    return (
        f"Answer:     {best.text}\nConfidence: {confidence}\nSource:     {passage.source}{page}\nPassage:\n\n"
        f"{passage.text[:start]}{mark[0]}{passage.text[start:end]}{mark[1]}{passage.text[end:]}"
    )
