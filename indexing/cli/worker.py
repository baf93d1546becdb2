"""`search-index worker`: run the queued jobs."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import click

from indexing.cli import options

_NICENESS = 10


@click.command()
@click.option("--once", is_flag=True, help="Exit when the queue is empty.")
@options.debug
@options.home
def worker(once: bool, home: Path | None) -> None:
    """Run queued jobs and queue scheduled ones.

    Several workers can run at the same time. Ctrl-C returns the current job to the queue; a second Ctrl-C stops at
    once.
    """
    from indexing.worker.worker import Worker, stopped_by_signals
    from search_app.queue.queue import JobQueue
    from search_app.settings import load_settings

    settings = load_settings(home=home)
    os.nice(_NICENESS)
    with closing(JobQueue.from_settings(settings)) as queue:
        runner = Worker(settings, queue, load_encoder=options.load_encoder, echo=click.echo)
        with stopped_by_signals(runner):
            click.echo(f"waiting for jobs in {queue.path}")
            runner.run(once=once)
    click.echo("stopped")
