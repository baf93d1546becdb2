"""`search-index worker`: does what was put into the queue of jobs."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import click

from indexing.cli import options

_NICENESS = 10


@click.command()
@click.option("--once", is_flag=True, help="End when the queue is empty.")
@options.debug
@options.home
def worker(once: bool, home: Path | None) -> None:
    """Do the jobs of the queue, one after the other, and queue those that are due by their schedule.

    Several workers may run at once. Ctrl-C gives the job that runs back to the queue, a second one stops at once.
    """
    from indexing.worker.worker import Worker, ended_by_signals
    from search_app.queue.queue import JobQueue
    from search_app.settings import load_settings

    settings = load_settings(home=home)
    os.nice(_NICENESS)
    with closing(JobQueue.of(settings)) as queue:
        runner = Worker(settings, queue, load_encoder=options.load_encoder, say=click.echo)
        with ended_by_signals(runner):
            click.echo(f"waiting for jobs in {queue.path}")
            runner.run(once=once)
    click.echo("ended")
