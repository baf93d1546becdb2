"""search-index plan | apply | verify | info | rollback | replicate"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

import click

from search_app.errors import IndexCorrupt, SearchAppError

if TYPE_CHECKING:
    from tqdm import tqdm

    from indexing.job import Work
    from indexing.sources import Skip
    from search_app.protocols import Encoder
    from search_app.settings import Settings
    from search_app.stores.index import Catalog

_SHOWN = 20
_DEBUG = "indexing.debug"


class _Group(click.Group):
    """Errors in one line on stderr, with the exit code that belongs to them."""

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


def _common(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--debug", is_flag=True, expose_value=False, callback=_remember_debug, help="Show tracebacks."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option("--collection", default="default", show_default=True, help="The index to work on."),
        click.option("--home", type=click.Path(path_type=Path), help="Folder of all collections [SEARCH_APP_HOME]."),
    ):
        function = option(function)
    return function


def _selecting(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--encoder", metavar="MODEL", help="A folder or hub name [SEARCH_APP_ENCODER__MODEL]."),
        click.option("--exclude", multiple=True, metavar="GLOB", help="Leave these files or folders out; repeatable."),
        click.option("--include", multiple=True, metavar="GLOB", help="Only these files; repeatable."),
    ):
        function = option(function)
    return click.argument("paths", nargs=-1, required=True, metavar="PATH...")(function)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Builds and keeps up the index that search-app answers from.

    Every setting can be given as an environment variable: SEARCH_APP_SPLITTER__PASSAGE_TOKENS=160.
    """


@cli.command()
@_selecting
@_common
def plan(
    paths: tuple[str, ...], include: tuple[str, ...], exclude: tuple[str, ...], encoder: str | None,
    home: Path | None, collection: str, as_json: bool,
) -> None:  # fmt: skip
    """Say what apply would do to the index, and how long it would take."""
    from indexing import job

    settings, model = _prepare(paths, home, collection, encoder)
    bar = _Progress(as_json, "reading")
    result = job.plan(
        paths, settings=settings, encoder=model, collection=collection, include=include, exclude=exclude,
        start=bar.start, progress=bar.update,
    )  # fmt: skip
    bar.close()
    if as_json:
        _print_json(result.to_dict())
    else:
        work = result.work
        for name, sources in (
            ("add", [file.source for file, _ in work.added]),
            ("change", [file.source for file, _ in work.changed]),
            ("remove", work.removed),
        ):
            _list(name, sources)
        _reasons("skip", work.skipped)
        _reasons("warning", result.warnings)
        _reasons("fail", work.failed)
        click.echo(
            f"{len(work.added)} to add, {len(work.changed)} to change, {len(work.unchanged)} unchanged, "
            f"{len(work.removed)} to remove, {len(work.skipped)} skipped, {len(work.failed)} failed"
        )
        click.echo(
            f"{result.passages} passages, {result.tokens} tokens, {result.passages_to_encode} passages to encode: "
            f"about {_duration(result.seconds)}"
        )
    sys.exit(1 if result.work.failed else 0)


@cli.command()
@_selecting
@click.option("--rebuild", is_flag=True, help="Build the index anew, whatever built the one that is there.")
@_common
def apply(
    paths: tuple[str, ...], include: tuple[str, ...], exclude: tuple[str, ...], encoder: str | None, rebuild: bool,
    home: Path | None, collection: str, as_json: bool,
) -> None:  # fmt: skip
    """Bring the index up to date with the files under PATH."""
    from indexing import job

    settings, model = _prepare(paths, home, collection, encoder)
    bar = _Progress(as_json, "indexing")

    def progress(size: int) -> None:
        interrupt.check()
        bar.update(size)

    try:
        with _Interrupt() as interrupt:
            summary = job.apply(
                paths, settings=settings, encoder=model, collection=collection, include=include, exclude=exclude,
                rebuild=rebuild, start=bar.start, progress=progress,
            )  # fmt: skip
    finally:
        bar.close()
    if as_json:
        _print_json(summary.to_dict())
    else:
        _reasons("skipped", summary.skips, shown=_SHOWN)
        _reasons("warning", summary.warnings)
        _reasons("failed", summary.problems)
        click.echo(
            f"{summary.added} added, {summary.changed} changed, {summary.unchanged} unchanged, "
            f"{summary.removed} removed, {summary.skipped} skipped, {summary.failed} failed"
        )
        click.echo(
            f"{summary.passages} passages, {summary.passages_encoded} encoded, "
            f"{summary.truncated_tokens} tokens cut off, in {_duration(summary.seconds)}"
        )
    sys.exit(1 if summary.failed else 0)


@cli.command()
@click.option("--sample", default=20, show_default=True, help="Compare so many files with the index, text by text.")
@_common
def verify(sample: int, home: Path | None, collection: str, as_json: bool) -> None:
    """Check that the index is sound, and that it holds what its files say."""
    from indexing.verification import differences

    with closing(_catalog(home, collection)) as catalog:
        problems = catalog.verify(collection)
        if not problems and sample > 0:
            with closing(catalog.open(collection)) as index:
                problems = differences(index, sample=sample)
    if as_json:
        _print_json({"collection": collection, "sound": not problems, "problems": problems})
    elif not problems:
        click.echo(f"collection '{collection}' is sound")
    if problems:
        raise IndexCorrupt(
            f"collection '{collection}': {'; '.join(problems[:_SHOWN])}",
            hint="build it anew with: search-index apply --rebuild PATH",
        )


@cli.command()
@_common
def info(home: Path | None, collection: str, as_json: bool) -> None:
    """Describe the index: what built it and what is in it."""
    with closing(_catalog(home, collection)) as catalog, closing(catalog.open(collection)) as store:
        facts: dict[str, Any] = {
            "collection": collection,
            **catalog.describe(collection),
            "generation": store.generation,
            **dict(store.counts()),
            **asdict(store.manifest),
            "fields": store.fields(),
        }
    if as_json:
        _print_json(facts)
        return
    for name, value in facts.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {item}" for key, item in value.items()) or "none"
        click.echo(f"{name:<12} {value}")


@cli.command()
@_common
def rollback(home: Path | None, collection: str, as_json: bool) -> None:
    """Serve the index again as it was before the last job (Elasticsearch); a second time undoes it."""
    with closing(_catalog(home, collection)) as catalog:
        generation = catalog.rollback(collection)
    if as_json:
        _print_json({"collection": collection, "generation": generation})
    else:
        click.echo(f"collection '{collection}' is what it was before its last job, now generation {generation}")


@cli.command()
@_common
def replicate(home: Path | None, collection: str, as_json: bool) -> None:
    """Copy the index from Elasticsearch into the embedded replica that answers while the server is away."""
    with closing(_catalog(home, collection)) as catalog:
        passages = catalog.replicate(collection)
    if as_json:
        _print_json({"collection": collection, "passages": passages})
    else:
        click.echo(f"the replica of collection '{collection}' holds {passages} passages")


def _catalog(home: Path | None, collection: str) -> Catalog:
    from search_app.settings import check_collection_name, load_settings
    from search_app.stores.catalog import open_catalog

    check_collection_name(collection)
    return open_catalog(load_settings(home=home))


def _prepare(paths: Sequence[str], home: Path | None, collection: str, model: str | None) -> tuple[Settings, Encoder]:
    """Cheap checks before the model is loaded."""
    from indexing import sources
    from search_app.settings import load_settings

    settings = load_settings(home=home)
    if model is not None:
        settings = settings.model_copy(update={"encoder": settings.encoder.model_copy(update={"model": model})})
    settings.collection_folder(collection)
    sources.require(paths)
    os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"
    from search_app import hardware
    from search_app.encoders.sentence_transformer import SentenceTransformerEncoder

    hardware.set_threads(settings.threads)
    return settings, SentenceTransformerEncoder(settings.encoder, hardware.detect(settings.encoder.device))


class _Interrupt:
    """Ctrl-C raises as ever; where Python drops that exception, as in a destructor, `check` raises it again."""

    def __enter__(self) -> Self:
        self._seen = False
        self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGINT, self._before)

    def check(self) -> None:
        if self._seen:
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._seen = True
        raise KeyboardInterrupt


class _Progress:
    """A bar on stderr with the time left, where somebody looks at it."""

    def __init__(self, quiet: bool, verb: str) -> None:
        self._quiet = quiet or not sys.stderr.isatty()
        self._verb = verb
        self._bar: tqdm[Any] | None = None

    def start(self, work: Work) -> None:
        from tqdm import tqdm

        if not self._quiet and work.bytes:
            self._bar = tqdm(
                total=work.bytes, unit="B", unit_scale=True, desc=self._verb, smoothing=0.05, dynamic_ncols=True
            )

    def update(self, size: int) -> None:
        if self._bar is not None:
            self._bar.update(size)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def _list(name: str, lines: Sequence[str], *, shown: int = _SHOWN) -> None:
    for line in lines[:shown]:
        click.echo(f"{name:<8} {line}")
    if len(lines) > shown:
        click.echo(f"{name:<8} … and {len(lines) - shown} more (--json names them all)")


def _reasons(name: str, skips: Sequence[Skip], *, shown: int = sys.maxsize) -> None:
    _list(name, [f"{skip.source}: {skip.reason}" for skip in skips], shown=shown)


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def _print_json(value: object) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def main() -> None:
    cli(prog_name="search-index")


if __name__ == "__main__":
    main()
