"""`search-app demo`: documentation that is already here, indexed and asked, with a page in the browser or without."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import click

from search_app.demo.documents import write_documents
from search_app.demo.processes import HOST, Family, Stopped, require_free
from search_app.errors import ConfigurationError

_SOME_FILES_FAILED = 1
_READY_S = 180.0


def run_demo(
    home: Path, *, ask: str | None, port: int, ui_port: int, write: Callable[[Path], int] = write_documents
) -> int:
    """Indexes what `write` puts under `home`, then answers `ask`, or serves until Ctrl-C; the exit code."""
    if ask is None:
        if port == ui_port:
            raise ConfigurationError(
                f"API and UI cannot share port {port}", hint="choose another --ui-port", field="ui-port"
            )
        require_free(port, option="--port")
        require_free(ui_port, option="--ui-port")
    documents = home / "documents"
    click.echo(f"{write(documents)} documents under {documents}", err=True)
    environment = {
        **os.environ,
        "SEARCH_APP_HOME": str(home),
        "SEARCH_APP_API__HOST": HOST,
        "SEARCH_APP_API__PORT": str(port),
    }
    try:
        with Family(environment) as family:
            indexing = family.start("indexing", "indexing.cli", "apply", str(documents), stdout=sys.stderr)
            if (code := family.finish(indexing)) not in (0, _SOME_FILES_FAILED):
                return code
            if ask is not None:
                return family.finish(family.start("answering", "search_app.cli", "answer", "--", ask))
            _serve(family, home / "logs", port, ui_port)
    except Stopped:
        click.echo("stopped", err=True)
    return 0


def _serve(family: Family, logs: Path, port: int, ui_port: int) -> None:
    logs.mkdir(parents=True, exist_ok=True)
    api_url, ui_url = f"http://{HOST}:{port}", f"http://{HOST}:{ui_port}"
    click.echo("starting …", err=True)
    api = family.start("the API", "search_app.cli", "serve", log=logs / "api.log")
    # It loads its encoder with the first job only.
    family.start("the worker", "indexing.cli", "worker", log=logs / "worker.log")
    ui = family.start("the UI", "ui", "--port", str(ui_port), "--api-url", api_url, log=logs / "ui.log")
    family.until_ready(api, f"{api_url}/health/ready", timeout=_READY_S)
    family.until_ready(ui, f"{ui_url}/_stcore/health", timeout=_READY_S)
    click.echo(f"Ready: {ui_url}   (API: {api_url}/docs)   Ctrl-C stops them all.")
    family.until_stopped()
