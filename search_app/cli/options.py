"""Options shared by several commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from search_app.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])

home = click.option(
    "--home",
    type=click.Path(path_type=Path),
    envvar="SEARCH_APP_HOME",
    show_envvar=True,
    help="Folder of all indexes. Default: the platform's folder for user data.",
)
collection = click.option("--collection", default="default", show_default=True, help="Collection to search.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def load(home: Path | None) -> Settings:
    """Load the settings from the environment; `--home` overrides SEARCH_APP_HOME."""
    from search_app.settings import load_settings

    return load_settings(home=home)
