"""`search-index info`, `verify`, `compact`, `snapshot`, `restore`, `rollback`, `replicate`: the index as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from indexing.cli import options
from indexing.cli.terminal import SHOWN, print_facts, print_json
from search_app.errors import REPAIR_HINT, ConfigurationError, IndexCorrupt

_LOST = (
    "bring it back with: search-index rollback, search-index restore SNAPSHOT --replace,"
    " or search-index apply --rebuild PATH"
)


@click.command()
@options.common
def info(home: Path | None, collection: str, as_json: bool) -> None:
    """Describe the index: what built it and what is in it."""
    with closing(options.open_catalog(home, collection)) as catalog, closing(catalog.open(collection)) as store:
        facts: dict[str, Any] = {
            "collection": collection,
            **catalog.describe(collection),
            "generation": store.generation,
            **dict(store.counts()),
            **asdict(store.manifest),
            "fields": store.fields(),
        }
    if as_json:
        print_json(facts)
        return
    print_facts(facts)


@click.command()
@click.option("--sample", default=20, show_default=True, help="Compare so many files with the index, text by text.")
@click.option("--repair", is_flag=True, help="Make anew what can be made from the rest of the index.")
@options.common
def verify(sample: int, repair: bool, home: Path | None, collection: str, as_json: bool) -> None:
    """Check the index, and that it holds what its files say."""
    from indexing.verification import differences
    from search_app.stores.catalog import require_repairs

    with closing(options.open_catalog(home, collection)) as catalog:
        done = require_repairs(catalog).repair(collection) if repair else []
        problems = catalog.verify(collection)
        hint = _LOST if repair else REPAIR_HINT
        if not problems and sample > 0:
            with closing(catalog.open(collection)) as index:
                problems = differences(index, sample=sample)
            hint = ""  # each of them says its own
    if as_json:
        print_json({"collection": collection, "sound": not problems, "repair": done, "problems": problems})
    else:
        for line in done:
            click.echo(line)
        if not problems:
            click.echo(f"collection '{collection}' is sound")
    if problems:
        raise IndexCorrupt(f"collection '{collection}': {'; '.join(problems[:SHOWN])}", hint=hint)


@click.command()
@options.common
def compact(home: Path | None, collection: str, as_json: bool) -> None:
    """Give back the space of what was deleted or replaced."""
    with closing(options.open_catalog(home, collection)) as catalog:
        facts = {"collection": collection, **catalog.compact(collection)}
    if as_json:
        print_json(facts)
    else:
        print_facts(facts)


_all = click.option("--all", "everything", is_flag=True, help="Every collection, each in a folder of its name.")


@click.command()
@click.argument("destination", metavar="DEST", type=click.Path(path_type=Path))
@_all
@options.common
def snapshot(destination: Path, everything: bool, home: Path | None, collection: str, as_json: bool) -> None:
    """Copy the index as it is at one moment into a new folder."""
    from search_app.stores.catalog import require_snapshots

    with closing(options.open_catalog(home, collection)) as catalog:
        snapshots = require_snapshots(catalog)
        names = catalog.names() if everything else [collection]
        if everything and destination.is_dir() and any(destination.iterdir()):
            raise ConfigurationError(f"{destination} is not empty", hint="name a new folder")
        for name in names:
            snapshots.snapshot(name, destination / name if everything else destination)
    _done(as_json, {"collections": names, "snapshot": str(destination)}, f"{_named(names)} copied to {destination}")


@click.command()
@click.argument("source", metavar="SOURCE", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--replace", is_flag=True, help="Where the collection exists; rollback brings the replaced one back.")
@_all
@options.common
def restore(
    source: Path, replace: bool, everything: bool, home: Path | None, collection: str, as_json: bool
) -> None:  # fmt: skip
    """Serve a snapshot, checked whole, as the collection."""
    from search_app.settings import check_collection_name
    from search_app.stores.catalog import require_snapshots

    folders = {collection: source}
    if everything:
        folders = {check_collection_name(folder.name): folder for folder in sorted(source.iterdir()) if folder.is_dir()}
        if not folders:
            raise ConfigurationError(f"{source} holds no snapshots", hint="it is what snapshot --all was given")
    with closing(options.open_catalog(home, collection)) as catalog:
        snapshots = require_snapshots(catalog)
        there = [name for name in catalog.names() if name in folders]
        if there and not replace:  # before the first one, where there are several
            raise ConfigurationError(f"{_named(there)} exists", hint="to restore over it, add --replace")
        generations = {name: snapshots.restore(name, folder, replace=replace) for name, folder in folders.items()}
    said = "; ".join(f"collection '{name}' restored, now generation {number}" for name, number in generations.items())
    _done(as_json, {"generations": generations, "snapshot": str(source)}, said)


@click.command()
@options.common
def rollback(home: Path | None, collection: str, as_json: bool) -> None:
    """Serve the index that was replaced last; twice undoes it.

    It was replaced by a rebuild or restore, on Elasticsearch by a job of any kind.
    """
    with closing(options.open_catalog(home, collection)) as catalog:
        generation = catalog.rollback(collection)
    _done(
        as_json,
        {"collection": collection, "generation": generation},
        f"collection '{collection}' is what it was before, now generation {generation}",
    )


@click.command()
@options.common
def replicate(home: Path | None, collection: str, as_json: bool) -> None:
    """Make the embedded replica what Elasticsearch holds."""
    from search_app.stores.catalog import require_replicas

    with closing(options.open_catalog(home, collection)) as catalog:
        passages = require_replicas(catalog).replicate(collection)
    _done(
        as_json,
        {"collection": collection, "passages": passages},
        f"the replica of collection '{collection}' holds {passages} passages",
    )


def _done(as_json: bool, facts: dict[str, Any], said: str) -> None:
    if as_json:
        print_json(facts)
    else:
        click.echo(said)


def _named(names: Sequence[str]) -> str:
    quoted = ", ".join(f"'{name}'" for name in names)
    return f"collection {quoted}" if len(names) == 1 else f"collections {quoted}"
