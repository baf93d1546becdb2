"""`search-app pipeline`: the query pipeline as a Haystack pipeline in YAML."""

from __future__ import annotations

from pathlib import Path

import click

from search_app.cli import options


@click.group()
def pipeline() -> None:
    """Export the query pipeline as Haystack YAML."""


@pipeline.command()
@options.home
@options.collection
def export(home: Path | None, collection: str) -> None:
    """Print the built-in query pipeline as YAML.

    To run your own, edit the file and set SEARCH_APP_PIPELINE to its path.
    """
    from search_app.haystack.pipelines import answer_pipeline

    click.echo(answer_pipeline(options.load(home), collection=collection).dumps(), nl=False)
