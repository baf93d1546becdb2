"""`search-app demo`: index documentation found on this machine, then serve it or answer one question."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import click

from search_app.demo.documents import write_documents
from search_app.demo.processes import HOST, Interrupted, ProcessGroup, require_free
from search_app.errors import ConfigurationError

_SOME_FILES_FAILED = 1
_READY_S = 180.0


def run_demo(
    home: Path, *, ask: str | None, port: int, ui_port: int, write: Callable[[Path], int] = write_documents
) -> int:
    """Index the documents that `write` creates under `home`, then answer `ask`, or serve until Ctrl-C.

    Returns the exit code.
    """
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
        with ProcessGroup(environment) as group:
            indexing = group.start("indexing", "indexing.cli", "apply", str(documents), stdout=sys.stderr)
            if (code := group.finish(indexing)) not in (0, _SOME_FILES_FAILED):
                return code
            if ask is not None:
                return group.finish(group.start("answering", "search_app.cli", "answer", "--", ask))
            _serve(group, home / "logs", port, ui_port)
    except Interrupted:
        click.echo("stopped", err=True)
    return 0


def _serve(group: ProcessGroup, logs: Path, port: int, ui_port: int) -> None:
    logs.mkdir(parents=True, exist_ok=True)
    api_url, ui_url = f"http://{HOST}:{port}", f"http://{HOST}:{ui_port}"
    click.echo("starting …", err=True)
    api = group.start("the API", "search_app.cli", "serve", log=logs / "api.log")
    # It loads its encoder with the first job.
    group.start("the worker", "indexing.cli", "worker", log=logs / "worker.log")
    ui = group.start("the UI", "ui", "--port", str(ui_port), "--api-url", api_url, log=logs / "ui.log")
    group.until_ready(api, f"{api_url}/health/ready", timeout=_READY_S)
    group.until_ready(ui, f"{ui_url}/_stcore/health", timeout=_READY_S)
    click.echo(f"Ready: {ui_url}   (API: {api_url}/docs)   Press Ctrl-C to stop.")
    group.until_stopped()
