"""`search-app prune`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from search_app.cli import options

if TYPE_CHECKING:
    from search_app.training.prune import Role, Step


@click.group()
def prune() -> None:
    """Make a model smaller and faster: remove the layers and attention heads that it needs least."""


_options = options.together(
    click.argument("checkpoint"),
    click.option("--layers", type=click.IntRange(min=0), default=0, metavar="N", help="Remove N layers."),
    click.option("--heads", type=float, default=0.0, metavar="SHARE", help="Remove this share of the attention heads."),
    click.option("--out", required=True, type=click.Path(path_type=Path), help="Output folder."),
    click.option(
        "--data",
        multiple=True,
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="Labelled questions (SQuAD JSON): one half decides what is removed, the other measures. Repeatable.",
    ),
    click.option("--seed", default=0, show_default=True, help="Random seed of the halves and samples."),
    options.as_json,
)


@prune.command()
@_options
def reader(as_json: bool, **values: Any) -> None:
    """Prune the reader CHECKPOINT ("bundled", a folder or a Hugging Face name).

    Layers go one by one, each time the one without which the loss is lowest, then heads, a tenth at a time, by their
    gradients. Each step is measured: EM, F1, forward passes per second. Without --data the top layers go.
    """
    _prune("reader", as_json, values)


@prune.command()
@_options
def encoder(as_json: bool, **values: Any) -> None:
    """Prune the encoder CHECKPOINT ("bundled", a folder or a Hugging Face name).

    As for a reader, but measured by Success@1 and MRR@10 over the paragraphs of the questions.
    """
    _prune("encoder", as_json, values)


def _prune(role: Role, as_json: bool, values: dict[str, Any]) -> None:
    options.require_training()
    import dataclasses

    from search_app.training.prune import Pruning, prune

    settings = Pruning(role=role, **values)
    steps = prune(settings, None if as_json else _show)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(step) for step in steps], indent=2))
        return
    click.echo(f"saved the {role} to {settings.out}; to use it, set SEARCH_APP_{role.upper()}__MODEL={settings.out}")
    click.echo(
        f"train it before you use it: search-app distill {role} --teacher {settings.checkpoint} "
        f"--student {settings.out} --data … --out …"
    )


def _show(step: Step) -> None:
    scores = "".join(f"  {name} {value:5.1f}" for name, value in step.scores.items())
    click.echo(
        f"{step.name:<28} {step.layers:3} layers {step.heads:4} heads {step.parameters:>12,} parameters "
        f"{step.passes:7.1f} passes/s{scores}"
    )
