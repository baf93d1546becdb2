"""Options shared by several commands, and what the commands make of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from search_app.errors import SearchAppError

if TYPE_CHECKING:
    from indexing.diff import Shard
    from search_app.protocols import Encoder
    from search_app.settings import Settings
    from search_app.stores.index import Catalog

_DEBUG = "indexing.debug"


class Group(click.Group):
    """Prints errors as one line on stderr, with their exit code. Lists commands in the order they are added."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SearchAppError as error:
            if ctx.meta.get(_DEBUG):
                raise
            click.echo(f"error: {error}", err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            click.echo(
                "\ninterrupted; everything indexed so far is kept, run the same command again to resume", err=True
            )
            ctx.exit(130)


def _remember_debug(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    ctx.meta[_DEBUG] = value  # read by Group.invoke


debug = click.option("--debug", is_flag=True, expose_value=False, callback=_remember_debug, help="Show tracebacks.")
home = click.option(
    "--home",
    type=click.Path(path_type=Path),
    envvar="SEARCH_APP_HOME",
    show_envvar=True,
    help="Folder of all indexes. Default: the platform's folder for user data.",
)


def common(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --home, --collection, --json and --debug."""
    for option in (
        debug,
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option("--collection", default="default", show_default=True, help="Collection to use."),
        home,
    ):
        function = option(function)
    return function


def _shard(ctx: click.Context, parameter: click.Parameter, value: str | None) -> Shard | None:
    from indexing.diff import Shard

    return None if value is None else Shard.parse(value)


shard = click.option("--shard", metavar="I/N", callback=_shard, help="Index only shard I of N; run one job per shard.")
encoder = click.option(
    "--encoder", metavar="MODEL", help="Encoder: a folder or Hugging Face name [env var: SEARCH_APP_ENCODER__MODEL]."
)


def selecting(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add PATH..., --include, --exclude and --encoder."""
    for option in (
        encoder,
        click.option(
            "--exclude", multiple=True, metavar="GLOB", help="Exclude matching files and folders; repeatable."
        ),
        click.option("--include", multiple=True, metavar="GLOB", help="Index only matching files; repeatable."),
    ):
        function = option(function)
    return click.argument("paths", nargs=-1, required=True, metavar="PATH...")(function)


def load(home: Path | None, collection: str, *, model: str | None = None) -> Settings:
    """Load the settings; the options override the environment. Raises ConfigurationError for a bad collection name."""
    from search_app.settings import check_collection_name, load_settings

    settings = load_settings(home=home)
    check_collection_name(collection)
    if model is None:
        return settings
    return settings.model_copy(update={"encoder": settings.encoder.model_copy(update={"model": model})})


def open_catalog(home: Path | None, collection: str) -> Catalog:
    """Open the catalog of all collections. Raises ConfigurationError for a bad collection name."""
    from search_app.stores import catalog

    return catalog.open_catalog(load(home, collection))


def load_encoder(settings: Settings) -> Encoder:
    """Load the encoder. Takes seconds, so check everything cheap before."""
    os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"
    from search_app import hardware

    hardware.bound_memory()
    from search_app.encoders.sentence_transformer import SentenceTransformerEncoder

    hardware.set_threads(settings.threads)
    return SentenceTransformerEncoder(settings.encoder, hardware.detect(settings.encoder.device))
