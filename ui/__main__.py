"""`python -m ui`: the pages, over the API at --api-url."""

from __future__ import annotations

import os

import click

from search_app.settings import load_settings
from ui.launch import streamlit_command, streamlit_environment


@click.command()
@click.option("--port", default=8501, show_default=True, help="Port of the UI on 127.0.0.1.")
@click.option("--api-url", default="http://127.0.0.1:8000", show_default=True, help="Where search-app serve listens.")
def main(port: int, api_url: str) -> None:
    """Show the search page; SEARCH_APP_API__KEY is sent to the API where it is set."""
    command = streamlit_command(port)
    os.execve(command[0], command, {**os.environ, **streamlit_environment(load_settings(), api_url)})


if __name__ == "__main__":
    main()
