"""Options that several commands share, and what they are turned into."""

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
    """Errors in one line on stderr, with the exit code that belongs to them; commands in the order of their use."""

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
            click.echo("\nstopped; what was indexed stays, run the same command again to go on", err=True)
            ctx.exit(130)


def _remember_debug(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    ctx.meta[_DEBUG] = value  # shared with the group, which is where errors end


debug = click.option("--debug", is_flag=True, expose_value=False, callback=_remember_debug, help="Show tracebacks.")
home = click.option("--home", type=click.Path(path_type=Path), help="Folder of all collections [SEARCH_APP_HOME].")


def common(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        debug,
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option("--collection", default="default", show_default=True, help="The index to work on."),
        home,
    ):
        function = option(function)
    return function


def _shard(ctx: click.Context, parameter: click.Parameter, value: str | None) -> Shard | None:
    from indexing.diff import Shard

    return None if value is None else Shard.parse(value)


shard = click.option(
    "--shard", metavar="I/N", callback=_shard, help="Only part I of N parts, which N jobs on any machines do."
)
encoder = click.option("--encoder", metavar="MODEL", help="A folder or hub name [SEARCH_APP_ENCODER__MODEL].")


def selecting(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        encoder,
        click.option("--exclude", multiple=True, metavar="GLOB", help="Leave these files or folders out; repeatable."),
        click.option("--include", multiple=True, metavar="GLOB", help="Only these files; repeatable."),
    ):
        function = option(function)
    return click.argument("paths", nargs=-1, required=True, metavar="PATH...")(function)


def load(home: Path | None, collection: str, *, model: str | None = None) -> Settings:
    """Settings from the environment, with the options over it; ConfigurationError for a collection of no good name."""
    from search_app.settings import check_collection_name, load_settings

    settings = load_settings(home=home)
    check_collection_name(collection)
    if model is None:
        return settings
    return settings.model_copy(update={"encoder": settings.encoder.model_copy(update={"model": model})})


def open_catalog(home: Path | None, collection: str) -> Catalog:
    from search_app.stores import catalog

    return catalog.open_catalog(load(home, collection))


def load_encoder(settings: Settings) -> Encoder:
    """Seconds of work: what is cheap to check is checked before."""
    os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"
    from search_app import hardware

    hardware.bound_memory()
    from search_app.encoders.sentence_transformer import SentenceTransformerEncoder

    hardware.set_threads(settings.threads)
    return SentenceTransformerEncoder(settings.encoder, hardware.detect(settings.encoder.device))
