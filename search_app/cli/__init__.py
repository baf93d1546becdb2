"""The command `search-app`. Commands import heavy libraries when they run, so `--help` is fast."""

from __future__ import annotations

import os
import sys

import click

from search_app.cli.adapt import adapt
from search_app.cli.ask import answer, search
from search_app.cli.calibrate import calibrate
from search_app.cli.distill import distill
from search_app.cli.evaluate import evaluate
from search_app.cli.pipeline import pipeline
from search_app.cli.prune import prune
from search_app.cli.run import demo, info, serve
from search_app.cli.train import train
from search_app.errors import SearchAppError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.version_option(package_name="search-app")
def cli(debug: bool) -> None:
    """Search your documents and answer questions from them. Index them first with search-index."""


for command in (search, answer, serve, evaluate, calibrate, train, adapt, distill, prune, pipeline, info, demo):
    cli.add_command(command)


def main() -> None:
    """Run the command. Exit codes: 0 success, 1 failure, 2 invalid usage or settings, 3 no usable index."""
    os.environ.setdefault("HAYSTACK_TELEMETRY_ENABLED", "False")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    debug = "--debug" in sys.argv
    if debug:
        sys.argv.remove("--debug")  # accepted before and after the command
    try:
        sys.exit(cli.main(standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except SearchAppError as error:
        if debug:
            raise
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The pipe was closed, as by `| head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
