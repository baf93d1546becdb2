"""`python -m ui`: the pages, over the API at --api-url."""

from __future__ import annotations

import os
import sys

import click

from search_app.errors import SearchAppError
from search_app.settings import load_settings
from ui.client import API_URL_VARIABLE, DEFAULT_API_URL
from ui.launch import HOST, streamlit_command, streamlit_environment


@click.command()
@click.option("--host", default=HOST, show_default=True, help="Address to listen on; the UI asks for no password.")
@click.option("--port", default=8501, show_default=True, help="Port to listen on.")
@click.option(
    "--allow-host", "names", multiple=True, metavar="NAME", help="A name that browsers know it by; repeatable."
)
@click.option(
    "--api-url",
    default=DEFAULT_API_URL,
    envvar=API_URL_VARIABLE,
    show_default=True,
    help="Where search-app serve listens.",
)
def main(host: str, port: int, names: tuple[str, ...], api_url: str) -> None:
    """Show the search page; the API's key is SEARCH_APP_API__KEY or stands in SEARCH_APP_API__KEY_FILE."""
    command = streamlit_command(port, host, names=names)
    try:
        environment = {**os.environ, **streamlit_environment(load_settings(), api_url)}
    except SearchAppError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    os.execve(command[0], command, environment)


if __name__ == "__main__":
    main()
