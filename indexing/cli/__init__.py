"""The command `search-index`. Commands import heavy libraries when they run, so `--help` is fast."""

from __future__ import annotations

import click

from indexing.cli.index import apply, delete, plan, rebuild
from indexing.cli.maintenance import compact, drop, info, rename, replicate, restore, rollback, snapshot, verify
from indexing.cli.options import Group
from indexing.cli.preview import preview
from indexing.cli.worker import worker


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Build and maintain the indexes that search-app searches.

    Settings are environment variables, such as SEARCH_APP_SPLITTER__PASSAGE_TOKENS=160.
    """


_INDEX = (preview, plan, apply, worker, delete, rebuild, info, verify, compact)
_COLLECTION = (snapshot, restore, rollback, rename, drop, replicate)
for command in (*_INDEX, *_COLLECTION):
    cli.add_command(command)


def main() -> None:
    """Run the command. Exit codes: 0 success, 1 failure, 2 invalid usage or settings, 3 no usable index."""
    cli(prog_name="search-index")
