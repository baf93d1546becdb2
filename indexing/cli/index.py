"""`search-index plan`, `apply`, `delete` and `rebuild`: what changes what is in the index."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from indexing.cli import options
from indexing.cli.terminal import (
    SHOWN,
    Interrupt,
    Progress,
    duration,
    print_json,
    print_list,
    print_reasons,
    print_stages,
)

if TYPE_CHECKING:
    from indexing.diff import Shard
    from indexing.runner import Runner


@click.command()
@options.selecting
@options.shard
@options.common
def plan(
    paths: tuple[str, ...], include: tuple[str, ...], exclude: tuple[str, ...], encoder: str | None,
    shard: Shard | None, home: Path | None, collection: str, as_json: bool,
) -> None:  # fmt: skip
    """Say what apply would do, and how long it would take."""
    from indexing import job
    from indexing.diff import Outcome
    from indexing.sources import require

    settings = options.load(home, collection, model=encoder)
    require(paths)
    model = options.load_encoder(settings)
    bar = Progress(as_json, "reading")
    result = job.plan(
        paths, settings=settings, encoder=model, collection=collection, include=include, exclude=exclude,
        shard=shard, start=bar.start, progress=bar.update,
    )  # fmt: skip
    bar.close()
    if as_json:
        print_json(result.to_dict())
    else:
        diff, counts = result.diff, result.diff.counts
        for name, outcome in (("add", Outcome.ADDED), ("change", Outcome.CHANGED), ("remove", Outcome.REMOVED)):
            print_list(name, diff.sources(outcome))
        print_reasons("skip", diff.reasons(Outcome.SKIPPED))
        print_reasons("warning", result.warnings)
        print_reasons("fail", diff.reasons(Outcome.FAILED))
        click.echo(
            f"{counts.added} to add, {counts.changed} to change, {counts.unchanged} unchanged, "
            f"{counts.removed} to remove, {counts.skipped} skipped, {counts.failed} failed"
        )
        click.echo(
            f"{result.passages} passages, {result.tokens} tokens, {result.passages_to_encode} passages to encode: "
            f"about {duration(result.seconds)}"
        )
        for size in diff.shard_sizes:
            whose = ", the one above" if size.shard == str(shard) else ""
            click.echo(f"shard {size.shard} takes {size.files} files, {size.bytes} bytes{whose}")
    failed = result.diff.counts.failed
    result.diff.close()
    sys.exit(1 if failed else 0)


@click.command()
@options.selecting
@click.option("--rebuild", is_flag=True, help="Build the index anew, whatever built the one that is there.")
@options.shard
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Encode in N processes of this machine.")
@click.option("--ray", metavar="ADDRESS", help="Encode on a Ray cluster: host:port, or auto.")
@options.common
def apply(
    paths: tuple[str, ...], include: tuple[str, ...], exclude: tuple[str, ...], encoder: str | None, rebuild: bool,
    shard: Shard | None, workers: int | None, ray: str | None, home: Path | None, collection: str, as_json: bool,
) -> None:  # fmt: skip
    """Bring the index up to date with the files under PATH."""
    from indexing import job
    from indexing.sources import require

    if workers and ray:
        raise click.UsageError("--workers and --ray exclude each other: give one of them")
    if shard and (workers or ray):
        raise click.UsageError("--shard shares out the work without Ray: leave --workers and --ray out")
    settings = options.load(home, collection, model=encoder)
    require(paths)
    runner: Runner | None = None
    if workers or ray:
        from indexing.cluster.driver import RayRunner

        runner = RayRunner(workers=workers or 0, address=ray or "")
        runner.check(settings)
    model = options.load_encoder(settings)
    bar = Progress(as_json, "indexing")

    def progress(size: int) -> None:
        interrupt.check()
        bar.update(size)

    try:
        with Interrupt() as interrupt:
            summary = job.apply(
                paths, settings=settings, encoder=model, collection=collection, include=include, exclude=exclude,
                rebuild=rebuild, shard=shard, runner=runner, start=bar.start, progress=progress,
            )  # fmt: skip
    finally:
        bar.close()
    if as_json:
        print_json(summary.to_dict())
    else:
        print_reasons("skipped", summary.skips, shown=SHOWN)
        print_reasons("warning", summary.warnings)
        print_reasons("failed", summary.problems)
        click.echo(
            f"{summary.added} added, {summary.changed} changed, {summary.unchanged} unchanged, "
            f"{summary.removed} removed, {summary.skipped} skipped, {summary.failed} failed"
        )
        click.echo(
            f"{summary.passages} passages, {summary.passages_encoded} encoded, "
            f"{summary.truncated_tokens} tokens cut off, in {duration(summary.seconds)}"
        )
        print_stages(summary)
        if shard and summary.shards_missing:
            missing = ", ".join(f"{number}/{shard.count}" for number in summary.shards_missing)
            click.echo(f"shard {shard} is done; nothing of it is seen before these are: {missing}")
    sys.exit(1 if summary.failed else 0)


@click.command()
@click.option("--document", "documents", multiple=True, metavar="ID", help="This document; repeatable.")
@click.option("--source", "sources", multiple=True, metavar="GLOB", help="All from such files; repeatable.")
@click.option("--where", metavar="FILTER", help="All whose metadata match, as in: modified<2020-01-01 and format=pdf")
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@options.common
def delete(
    documents: tuple[str, ...], sources: tuple[str, ...], where: str | None, dry_run: bool, yes: bool,
    home: Path | None, collection: str, as_json: bool,
) -> None:  # fmt: skip
    """Take documents out of the index, for whoever asks it.

    Of --document, --source and --where, all that are given must hold. The files themselves are not touched. What is
    deleted stays deleted until its file changes or moves, or until apply --rebuild.
    """
    from indexing import deletion
    from search_app.stores.filters import parse_where

    settings = options.load(home, collection)
    found = deletion.select(
        settings,
        collection=collection,
        documents=documents,
        sources=sources,
        where=parse_where(where) if where else None,
    )
    shown = [f"{item.id} {item.source}: {item.title}" for item in found.documents]
    if not as_json:
        print_list("delete", shown)
        print_list("missing", found.missing)
    elif not (yes or dry_run):
        raise click.UsageError("--json asks nothing: add --yes or --dry-run")
    count = f"{len(shown)} {'document' if len(shown) == 1 else 'documents'}"
    if shown and not (yes or dry_run) and not click.confirm(f"Delete {count} of collection '{collection}'?"):
        raise click.Abort
    done = None if dry_run else deletion.remove(settings, found, collection=collection)
    if as_json:
        print_json(
            {
                "collection": collection,
                "deleted": done.deleted if done else 0,
                "generation": done.generation if done else None,
                "documents": [{"id": item.id, "source": item.source, "title": item.title} for item in found.documents],
                "missing": list(found.missing),
            }
        )
    elif done is None:
        click.echo(f"{count} to delete, nothing was done")
    else:
        click.echo(f"{done.deleted} deleted, {len(done.missing)} missing, now generation {done.generation}")


@click.command()
@options.encoder
@options.common
def rebuild(encoder: str | None, home: Path | None, collection: str, as_json: bool) -> None:
    """Split and encode what is in the index anew.

    No file is needed, and the settings are those of now. The index that is there serves until the new one takes its
    place, and rollback brings it back. A rebuild that was stopped goes on where it was when it is run again.
    """
    from indexing.rebuild import rebuild

    settings = options.load(home, collection, model=encoder)
    with closing(options.open_catalog(home, collection)) as catalog:
        catalog.open(collection).close()
    model = options.load_encoder(settings)
    bar = Progress(as_json, "rebuilding")

    def progress(size: int) -> None:
        interrupt.check()
        bar.update(size)

    try:
        with Interrupt() as interrupt:
            done = rebuild(settings, encoder=model, collection=collection, start=bar.start, progress=progress)
    finally:
        bar.close()
    if as_json:
        print_json(done.to_dict())
        return
    click.echo(
        f"{done.documents} documents, {done.passages} passages, {done.passages_encoded} encoded, "
        f"{done.truncated_tokens} tokens cut off, in {duration(done.seconds)}"
    )
    click.echo(f"now generation {done.generation}; search-index rollback brings the earlier index back")
    if encoder is not None:
        click.echo(f"whoever asks it needs the same encoder: SEARCH_APP_ENCODER__MODEL={encoder}")
