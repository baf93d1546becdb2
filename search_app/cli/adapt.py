"""`search-app adapt`: continued pre-training on the user's own documents."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from search_app.cli import options
from search_app.cli.train import show_measures

if TYPE_CHECKING:
    from search_app.training.config import Adaptation

F = TypeVar("F", bound=Callable[..., Any])
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def adapt() -> None:
    """Train a model on your documents, without questions.

    It learns the words of your field. Train it on questions afterwards, with `search-app train`.
    """


def _options(command: F) -> F:
    for option in (
        click.option(
            "--evaluation", multiple=True, type=_FILE, help="SQuAD JSON that measures the model before and after."
        ),
        click.option(
            "--extend-vocabulary",
            default=0,
            show_default=True,
            metavar="N",
            help="Give N words of the documents tokens of their own.",
        ),
        click.option("--max-tokens", default=256, show_default=True, help="Tokens per window."),
        options.training(epochs=1.0, batch_size=16, learning_rate=5e-5),
        click.argument("paths", nargs=-1, required=True, metavar="PATH…"),
    ):
        command = option(command)
    return command


@adapt.command()
@_options
def encoder(**values: Any) -> None:
    """Train an encoder to guess masked words in the documents under PATH.

    All formats of `search-index apply` are read. Run the same command again to resume an interrupted run.
    """
    options.require_training()
    from search_app.training.config import EncoderAdaptation

    folder = _adapt(EncoderAdaptation(**values))
    click.echo(f"to train it on questions: search-app train encoder --model {folder} --data … --out …")
    click.echo(f"to use it as it is: search-index rebuild --encoder {folder}")


@adapt.command()
@_options
def reader(**values: Any) -> None:
    """Train a reader to guess masked words, and to find those that the documents under PATH repeat.

    All formats of `search-index apply` are read. Run the same command again to resume an interrupted run.
    """
    options.require_training()
    from search_app.training.config import ReaderAdaptation

    folder = _adapt(ReaderAdaptation(**values))
    click.echo(f"to train it on questions: search-app train reader --model {folder} --data … --out …")
    click.echo(f"to use it as it is, set SEARCH_APP_READER__MODEL={folder}")


def _adapt(config: Adaptation) -> str:
    """Returns the folder as a word of the shell."""
    from search_app.training.adaptation import adapt

    def texts() -> list[str]:
        from search_app.haystack.indexing import SearchAppConverter

        return [document.content or "" for document in SearchAppConverter().run(list(config.paths))["documents"]]

    folder = adapt(config, texts)
    show_measures(folder)
    facts = folder / "training.json"
    if facts.is_file():
        per_word = json.loads(facts.read_text(encoding="utf-8"))["tokens_per_word"]
        click.echo(f"tokens per word {' -> '.join(f'{number:.3f}' for number in per_word)}")
    click.echo(f"saved the model to {folder}")
    return shlex.quote(str(folder))
