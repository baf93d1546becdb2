"""`search-index`: builds an index and keeps it. Heavy libraries load inside the commands, so `--help` is quick."""

from __future__ import annotations

import click

from indexing.cli.index import apply, delete, plan, rebuild
from indexing.cli.maintenance import compact, info, replicate, restore, rollback, snapshot, verify
from indexing.cli.options import Group
from indexing.cli.worker import worker


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Builds and keeps up the index that search-app answers from.

    Every setting can be given as an environment variable: SEARCH_APP_SPLITTER__PASSAGE_TOKENS=160.
    """


for command in (plan, apply, worker, delete, rebuild, info, verify, compact, snapshot, restore, rollback, replicate):
    cli.add_command(command)


def main() -> None:
    cli(prog_name="search-index")
