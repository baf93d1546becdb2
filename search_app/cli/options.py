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

_OUT = "Output folder. An interrupted run there resumes with the same command."
_MODEL = "BERT-family checkpoint: folder or Hugging Face name."


def training(*, epochs: float, batch_size: int, learning_rate: float) -> Callable[[F], F]:
    """The options of every training, with the defaults of this one."""

    def add(command: F) -> F:
        for option in reversed(
            (
                click.option("--out", required=True, type=click.Path(path_type=Path), help=_OUT),
                click.option("--model", default="bundled", show_default=True, help=_MODEL),
                click.option("--epochs", default=epochs, show_default=True, help="Passes over the data."),
                click.option("--batch-size", default=batch_size, show_default=True, help="Rows per step."),
                click.option("--learning-rate", default=learning_rate, show_default=True, help="Peak learning rate."),
                click.option("--seed", default=0, show_default=True, help="Random seed."),
                click.option(
                    "--checkpoint-minutes", default=5.0, show_default=True, help="Minutes between checkpoints."
                ),
            )
        ):
            command = option(command)
        return command

    return add


def require_training() -> None:
    """Raise MissingExtra unless the packages that a training needs are installed."""
    from importlib.util import find_spec

    from search_app.errors import MissingExtra

    for module, package in (("accelerate", "accelerate"), ("datasets", "datasets"), ("sklearn", "scikit-learn")):
        if find_spec(module) is None:
            raise MissingExtra(package, "train")


def load(home: Path | None) -> Settings:
    """Load the settings from the environment; `--home` overrides SEARCH_APP_HOME."""
    from search_app.settings import load_settings

    return load_settings(home=home)
