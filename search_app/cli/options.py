"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from search_app.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])

home = click.option(
    "--home", type=click.Path(path_type=Path), envvar="SEARCH_APP_HOME", help="The folder that holds everything."
)
collection = click.option("--collection", default="default", show_default=True, help="Which documents to ask.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def load(home: Path | None) -> Settings:
    """Settings from the environment, with `--home` over it."""
    from search_app.settings import load_settings

    return load_settings(home=home)
