"""`search-index info`, `verify`, `compact`, `snapshot`, `restore`, `rollback`, `replicate`: maintain whole indexes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from indexing.cli import options
from indexing.cli.terminal import SHOWN, plural, print_facts, print_json
from search_app.errors import REPAIR_HINT, ConfigurationError, IndexCorrupt

_LOST = "run one of: search-index rollback; search-index restore SNAPSHOT --replace; search-index apply --rebuild PATH"


@click.command()
@options.common
def info(home: Path | None, collection: str, as_json: bool) -> None:
    """Show the size, settings and fields of the index."""
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
@click.option(
    "--sample", default=20, show_default=True, metavar="N", help="Compare the text of N files with the index."
)
@click.option("--repair", is_flag=True, help="Rebuild the damaged parts that derive from intact ones.")
@options.common
def verify(sample: int, repair: bool, home: Path | None, collection: str, as_json: bool) -> None:
    """Check the index for damage and compare it with its files."""
    from indexing.verification import differences
    from search_app.stores.catalog import require_repairs

    with closing(options.open_catalog(home, collection)) as catalog:
        done = require_repairs(catalog).repair(collection) if repair else []
        problems = catalog.verify(collection)
        hint = _LOST if repair else REPAIR_HINT
        if not problems and sample > 0:
            with closing(catalog.open(collection)) as index:
                fields = tuple(options.load(home, collection).indexing.fields.items())
                problems = differences(index, sample=sample, fields=fields)
            hint = ""  # each difference has its own
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
    """Free the disk space of deleted and replaced documents."""
    with closing(options.open_catalog(home, collection)) as catalog:
        facts = {"collection": collection, **catalog.compact(collection)}
    if as_json:
        print_json(facts)
    else:
        print_facts(facts)


_all = click.option("--all", "everything", is_flag=True, help="All collections, each in a folder of its name.")


@click.command()
@click.argument("destination", metavar="DEST", type=click.Path(path_type=Path))
@_all
@options.common
def snapshot(destination: Path, everything: bool, home: Path | None, collection: str, as_json: bool) -> None:
    """Copy the index into the new folder DEST, consistently."""
    from search_app.stores.catalog import require_snapshots

    with closing(options.open_catalog(home, collection)) as catalog:
        snapshots = require_snapshots(catalog)
        names = catalog.names() if everything else [collection]
        if everything and destination.is_dir() and any(destination.iterdir()):
            raise ConfigurationError(f"{destination} is not empty", hint="choose a new folder")
        for name in names:
            snapshots.snapshot(name, destination / name if everything else destination)
    _done(as_json, {"collections": names, "snapshot": str(destination)}, f"copied {_named(names)} to {destination}")


@click.command()
@click.argument("source", metavar="SOURCE", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--replace", is_flag=True, help="Replace an existing collection; rollback undoes it.")
@_all
@options.common
def restore(
    source: Path, replace: bool, everything: bool, home: Path | None, collection: str, as_json: bool
) -> None:  # fmt: skip
    """Restore the collection from the snapshot SOURCE.

    The snapshot is verified first.
    """
    from search_app.settings import check_collection_name
    from search_app.stores.catalog import require_snapshots

    folders = {collection: source}
    if everything:
        folders = {check_collection_name(folder.name): folder for folder in sorted(source.iterdir()) if folder.is_dir()}
        if not folders:
            raise ConfigurationError(
                f"{source} contains no snapshots", hint="give the folder that snapshot --all wrote"
            )
    with closing(options.open_catalog(home, collection)) as catalog:
        snapshots = require_snapshots(catalog)
        there = [name for name in catalog.names() if name in folders]
        if there and not replace:  # before restoring any
            raise ConfigurationError(f"{_named(there)} exists", hint="to replace it, add --replace")
        generations = {name: snapshots.restore(name, folder, replace=replace) for name, folder in folders.items()}
    done = "; ".join(f"restored collection '{name}', generation {number}" for name, number in generations.items())
    _done(as_json, {"generations": generations, "snapshot": str(source)}, done)


@click.command()
@options.common
def rollback(home: Path | None, collection: str, as_json: bool) -> None:
    """Restore the previous index; run it again to undo.

    A rebuild or restore keeps the previous index; on Elasticsearch, every job does.
    """
    with closing(options.open_catalog(home, collection)) as catalog:
        generation = catalog.rollback(collection)
    _done(
        as_json,
        {"collection": collection, "generation": generation},
        f"restored the previous index of collection '{collection}', generation {generation}",
    )


@click.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@options.debug
@options.home
def drop(name: str, yes: bool, home: Path | None) -> None:
    """Delete the collection NAME.

    Its uploaded files, previous index and schedules are deleted too. Other files are not touched.
    """
    from indexing.worker import collections

    settings = options.load(home, name)
    with closing(options.open_catalog(home, name)) as catalog, closing(catalog.open(name)) as store:
        documents = store.counts()["documents"]
    if not yes:
        amount = f"{documents:,} document{'' if documents == 1 else 's'}"
        click.confirm(f"Delete collection '{name}' with {amount}?", abort=True, err=True)
    collections.drop(settings, name)
    click.echo(f"collection '{name}' deleted")


@click.command()
@click.argument("old")
@click.argument("new")
@options.debug
@options.home
def rename(old: str, new: str, home: Path | None) -> None:
    """Rename the collection OLD to NEW. Readers find it under the new name with their next question."""
    from indexing.worker import collections

    collections.rename(options.load(home, old), old, new)
    click.echo(f"collection '{old}' is now '{new}'")


@click.command()
@options.common
def replicate(home: Path | None, collection: str, as_json: bool) -> None:
    """Copy the collection from Elasticsearch to the embedded replica."""
    from search_app.stores.catalog import require_replicas

    with closing(options.open_catalog(home, collection)) as catalog:
        passages = require_replicas(catalog).replicate(collection)
    _done(
        as_json,
        {"collection": collection, "passages": passages},
        f"copied collection '{collection}' to the replica: {plural(passages, 'passage')}",
    )


def _done(as_json: bool, facts: dict[str, Any], message: str) -> None:
    if as_json:
        print_json(facts)
    else:
        click.echo(message)


def _named(names: Sequence[str]) -> str:
    quoted = ", ".join(f"'{name}'" for name in names)
    return f"collection {quoted}" if len(names) == 1 else f"collections {quoted}"
