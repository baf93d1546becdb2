"""`search-index plan`, `apply`, `delete` and `rebuild`: change the documents of an index."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from indexing import formats
from indexing.cli import options
from indexing.cli.terminal import (
    SHOWN,
    Interrupt,
    Progress,
    duration,
    outcomes,
    plural,
    print_formats,
    print_json,
    print_list,
    print_ocr,
    print_reasons,
    print_stages,
    truncation,
)

if TYPE_CHECKING:
    from indexing.diff import Shard
    from indexing.runner import Runner

_FORMATS = f"Formats: {formats.titles()}. docs/formats.md tells what is read of each."


@click.command(epilog=_FORMATS)
@options.selecting
@options.shard
@options.common
def plan(
    paths: tuple[str, ...], include: tuple[str, ...], exclude: tuple[str, ...], encoder: str | None,
    shard: Shard | None, home: Path | None, collection: str, as_json: bool,
) -> None:  # fmt: skip
    """Show what apply would do and how long it would take."""
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
        print_formats(result.formats)
        print_ocr(result.ocr)
        planned = {
            "to add": counts.added, "to change": counts.changed, "unchanged": counts.unchanged,
            "to remove": counts.removed, "skipped": counts.skipped, "failed": counts.failed,
        }  # fmt: skip
        click.echo(outcomes(planned))
        click.echo(
            f"{plural(result.passages, 'passage')} ({plural(result.tokens, 'token')}), {result.passages_to_encode} "
            f"to encode in about {duration(result.seconds)}"
        )
        for size in diff.shard_sizes:
            this = " (this one)" if size.shard == str(shard) else ""
            click.echo(f"shard {size.shard}{this}: {plural(size.files, 'file')}, {plural(size.bytes, 'byte')}")
    failed = result.diff.counts.failed
    result.diff.close()
    sys.exit(1 if failed else 0)


@click.command(epilog=_FORMATS)
@options.selecting
@click.option("--rebuild", is_flag=True, help="Build a new index; other settings and encoder allowed.")
@options.shard
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Encode in N processes on this machine (Ray).")
@click.option("--ray", metavar="ADDRESS", help="Encode on a Ray cluster: HOST:PORT, or auto.")
@click.option("-v", "--verbose", is_flag=True, help="Show the time of each stage and the throughput.")
@options.common
def apply(
    paths: tuple[str, ...], include: tuple[str, ...], exclude: tuple[str, ...], encoder: str | None, rebuild: bool,
    shard: Shard | None, workers: int | None, ray: str | None, verbose: bool, home: Path | None, collection: str,
    as_json: bool,
) -> None:  # fmt: skip
    """Index the files under PATH.

    Only new and changed files are encoded. Documents of deleted files are removed.
    """
    from indexing import job
    from indexing.sources import require

    if workers and ray:
        raise click.UsageError("--workers and --ray cannot be used together")
    if shard and (workers or ray):
        raise click.UsageError("--shard cannot be used with --workers or --ray")
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
        print_formats(summary.formats)
        names = ("added", "changed", "unchanged", "removed", "skipped", "failed")
        written = f", {plural(summary.passages, 'passage')}" if summary.passages else ""
        click.echo(
            f"{outcomes({name: getattr(summary, name) for name in names})}{written} "
            f"in {duration(summary.seconds)}{truncation(summary.truncated_tokens)}"
        )
        if verbose:
            print_stages(summary)
        if shard and summary.shards_missing:
            missing = ", ".join(f"{number}/{shard.count}" for number in summary.shards_missing)
            click.echo(f"shard {shard} is done; the index changes when these are done too: {missing}")
    sys.exit(1 if summary.failed else 0)


@click.command()
@click.option("--document", "documents", multiple=True, metavar="ID", help="Delete this document; repeatable.")
@click.option(
    "--source", "sources", multiple=True, metavar="GLOB", help="Delete documents of matching files; repeatable."
)
@click.option("--where", metavar="FILTER", help="Delete documents whose metadata match: modified<2020-01-01")
@click.option("--dry-run", is_flag=True, help="Show what would be deleted; delete nothing.")
@click.option("--yes", is_flag=True, help="Delete without asking.")
@options.common
def delete(
    documents: tuple[str, ...], sources: tuple[str, ...], where: str | None, dry_run: bool, yes: bool,
    home: Path | None, collection: str, as_json: bool,
) -> None:  # fmt: skip
    """Delete documents by source, id or filter.

    Documents must match all given options. Files are not touched. A deleted document returns when its file changes
    or moves, or with apply --rebuild.
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
        raise click.UsageError("--json needs --yes or --dry-run")
    count = plural(len(shown), "document")
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
        click.echo(f"{count} would be deleted")
    else:
        missing = f", {len(done.missing)} missing" if done.missing else ""
        click.echo(f"{done.deleted} deleted{missing}; generation {done.generation}")


@click.command()
@options.encoder
@options.common
def rebuild(encoder: str | None, home: Path | None, collection: str, as_json: bool) -> None:
    """Rebuild the index with the current settings.

    The indexed documents are split and encoded again; their files are not needed. The old index is searched until the
    new one is complete; rollback restores it. To resume an interrupted rebuild, run it again.
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
        f"{plural(done.documents, 'document')}, {plural(done.passages, 'passage')} ({done.passages_encoded} encoded) "
        f"in {duration(done.seconds)}{truncation(done.truncated_tokens)}"
    )
    click.echo(f"generation {done.generation}; to restore the previous index, run: search-index rollback")
    if encoder is not None:
        click.echo(f"to search it, set SEARCH_APP_ENCODER__MODEL={encoder}")
