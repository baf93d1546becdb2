"""`python -m ui`: serve the pages, with the API at --api-url behind them."""

from __future__ import annotations

import os
import sys

import click

from search_app.errors import SearchAppError
from search_app.settings import load_settings
from ui.client import API_URL_VARIABLE, DEFAULT_API_URL
from ui.launch import HOST, streamlit_command, streamlit_environment


@click.command()
@click.option("--host", default=HOST, show_default=True, help="Address to listen on. The pages have no password.")
@click.option("--port", default=8501, show_default=True, help="Port to listen on.")
@click.option(
    "--allow-host",
    "names",
    multiple=True,
    metavar="NAME",
    help="Host name that browsers use; repeatable.",
)
@click.option(
    "--api-url",
    default=DEFAULT_API_URL,
    envvar=API_URL_VARIABLE,
    show_default=True,
    help="Address of `search-app serve`.",
)
def main(host: str, port: int, names: tuple[str, ...], api_url: str) -> None:
    """Serve the search pages. The API key comes from SEARCH_APP_API__KEY or SEARCH_APP_API__KEY_FILE."""
    command = streamlit_command(port, host, names=names)
    try:
        environment = {**os.environ, **streamlit_environment(load_settings(), api_url)}
    except SearchAppError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    os.execve(command[0], command, environment)


if __name__ == "__main__":
    main()
