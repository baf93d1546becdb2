"""`search-app serve`, `info` and `demo`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from search_app.cli import options


@click.command()
@options.home
@click.option("--host", help="Address to listen on [default: 127.0.0.1]. Others need SEARCH_APP_API__KEY.")
@click.option("--port", type=int, help="Port to listen on [default: 8000].")
def serve(home: Path | None, host: str | None, port: int | None) -> None:
    """Serve the REST API."""
    from search_app.api.app import serve
    from search_app.settings import load_settings

    api = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    serve(load_settings(home=home, api=api or None))


@click.command()
@options.home
@options.as_json
def info(home: Path | None, as_json: bool) -> None:
    """Show the machine, versions, models and collections."""
    from search_app.bootstrap import describe_installation
    from search_app.hardware import detect

    found = describe_installation(options.load(home), detect())
    click.echo(json.dumps(found, indent=2, default=str) if as_json else "\n".join(_lines(found)))


@click.command()
@click.option(
    "--home",
    type=click.Path(path_type=Path),
    envvar="SEARCH_APP_HOME",
    default=Path(".demo"),
    show_default=True,
    help="Folder of the demo's documents and index.",
)
@click.option("--ask", metavar="QUESTION", help="Answer QUESTION on the terminal; start no UI.")
@click.option("--port", default=8000, show_default=True, help="Port of the API.")
@click.option("--ui-port", default=8501, show_default=True, help="Port of the UI.")
def demo(home: Path, ask: str | None, port: int, ui_port: int) -> None:
    """Try search-app on documents of this machine.

    Index Python's language reference and the README files of the installed packages, then start the API, a worker and
    the UI.
    """
    from search_app.demo import run_demo

    click.get_current_context().exit(run_demo(home, ask=ask, port=port, ui_port=ui_port))


def _lines(values: dict[str, Any], indent: int = 0) -> list[str]:
    lines: list[str] = []
    for key, value in values.items():
        if isinstance(value, dict) and value:
            lines += [f"{' ' * indent}{key}", *_lines(value, indent + 2)]
        else:
            shown = ", ".join(map(str, value)) if isinstance(value, list) else value
            lines.append(f"{' ' * indent}{key:<14} {'–' if shown in ('', None, {}) else shown}")
    return lines
