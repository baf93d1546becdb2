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


def together(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Several options as one decorator, in this order in --help."""

    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def training(*, epochs: float, batch_size: int, learning_rate: float, model: str = "--model") -> Callable[[F], F]:
    """The options of every training, with the defaults of this one; `model` names the checkpoint to start from."""
    return together(
        click.option("--out", required=True, type=click.Path(path_type=Path), help=_OUT),
        click.option(model, "model", default="bundled", show_default=True, help=_MODEL),
        click.option("--epochs", default=epochs, show_default=True, help="Passes over the data."),
        click.option("--batch-size", default=batch_size, show_default=True, help="Rows per step."),
        click.option("--learning-rate", default=learning_rate, show_default=True, help="Peak learning rate."),
        click.option("--seed", default=0, show_default=True, help="Random seed."),
        click.option("--checkpoint-minutes", default=5.0, show_default=True, help="Minutes between checkpoints."),
    )


def reader_training(model: str = "--model") -> Callable[[F], F]:
    """The options of every training of a reader."""
    many: dict[str, Any] = {"multiple": True, "type": click.Path(exists=True, dir_okay=False, path_type=Path)}
    return together(
        click.option("--data", required=True, **many, help="SQuAD JSON; repeatable. A file given twice counts double."),
        training(epochs=2.0, batch_size=32, learning_rate=2e-4, model=model),
        click.option("--max-tokens", default=384, show_default=True, help="Tokens per window, question included."),
        click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Use at most N questions per file."),
        click.option(
            "--join-words",
            default=0,
            show_default=True,
            metavar="N",
            help="Join short paragraphs of an article to N words.",
        ),
        click.option(
            "--negatives", default=0.0, show_default=True, help="Share of questions also asked of a wrong paragraph."
        ),
        click.option(
            "--tables", default=0.0, show_default=True, help="Questions about generated tables, as a share of all."
        ),
        click.option(
            "--title-dropout",
            default=0.5,
            show_default=True,
            help="Share of questions whose passage is read without its title.",
        ),
        click.option(
            "--decay",
            default=1.0,
            show_default=True,
            help="Last share of the steps in which the learning rate falls to zero.",
        ),
        click.option(
            "--holdout", default=0.0, show_default=True, help="Share of each file held out for train calibrate."
        ),
        click.option("--evaluation", **many, help="SQuAD JSON whose paragraphs are excluded; repeatable."),
        click.option(
            "--development", **many, help="SQuAD JSON that decides when to stop and what to keep; repeatable."
        ),
        click.option(
            "--development-share",
            default=0.0,
            show_default=True,
            help="Share of --data, by document, that decides it instead.",
        ),
        click.option(
            "--evaluations", default=10, show_default=True, metavar="N", help="Measure development data N times."
        ),
        click.option(
            "--patience",
            default=3,
            show_default=True,
            metavar="N",
            help="Stop after N measurements without a new best one.",
        ),
        click.option("--freeze-encoder", is_flag=True, help="Train only the head."),
        click.option(
            "--train-layers", default=0, metavar="N", help="With --freeze-encoder: train the N highest layers too."
        ),
    )


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
