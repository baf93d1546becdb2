"""`search-app distill`."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import click

from search_app.cli import options


@click.group()
def distill() -> None:
    """Teach a small model what larger ones, or several, answer."""


_teacher = click.option(
    "--teacher",
    required=True,
    multiple=True,
    metavar="CHECKPOINT[,CHECKPOINT…]",
    help="What the student learns from; several are averaged. Repeatable.",
)
_files: dict[str, Any] = {"multiple": True, "type": click.Path(exists=True, dir_okay=False, path_type=Path)}


@distill.command()
@_teacher
@options.reader_training("--student")
@click.option(
    "--temperature", default=2.0, show_default=True, help="Softens teachers and student: second choices count more."
)
@click.option(
    "--gold",
    default=0.5,
    show_default=True,
    metavar="SHARE",
    help="Weight of the gold answers; the rest is the teachers'.",
)
def reader(teacher: tuple[str, ...], **values: Any) -> None:
    """Distil readers into a smaller one, on SQuAD files.

    A question without answers that is not marked as unanswerable (is_impossible) is labelled by the teachers alone.
    Teachers and student may have different tokenizers. EM and F1 of the teachers and of the student before and after
    are measured on the files of --evaluation, else on what --holdout keeps. Run the same command again to resume an
    interrupted run.
    """
    options.require_training()
    from search_app.training.config import ReaderDistillation
    from search_app.training.reader import train_reader

    folder = train_reader(ReaderDistillation(teacher=_names(teacher), **values))
    _show(folder, ("em", "f1"))
    click.echo(f"saved the reader to {folder}; to use it, set SEARCH_APP_READER__MODEL={folder}")


@distill.command()
@_teacher
@options.training(epochs=1.0, batch_size=32, learning_rate=1e-4, model="--student")
@click.option(
    "--data", **_files, help="SQuAD JSON, or JSON lines with question and passage, labelled or not; repeatable."
)
@click.option(
    "--documents",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="Files or folders of documents in any format that can be indexed; repeatable.",
)
@click.option("--development", **_files, help="Labelled file that measures the result; repeatable.")
@click.option(
    "--development-share",
    default=0.1,
    show_default=True,
    help="Share of --data, by document, that measures it instead.",
)
def encoder(teacher: tuple[str, ...], documents: tuple[Path, ...], **values: Any) -> None:
    """Distil encoders into a smaller one: it learns the vectors that they give to your texts.

    Teachers and student may have different dimensions and tokenizers. Success@1 of the teachers and of the student
    before and after are measured on labelled questions. Run the same command again to resume an interrupted run.
    """
    options.require_training()
    from search_app.training.config import EncoderDistillation
    from search_app.training.encoder_distillation import distill_encoder

    config = EncoderDistillation(teacher=_names(teacher), documents=documents, **values)
    folder = distill_encoder(config, _passages(documents))
    _show(folder, ("success@1", "mrr@10"))
    click.echo(f"saved the encoder to {folder}; to use it, rebuild the index and set the encoder:")
    click.echo(f"  search-index rebuild --encoder {shlex.quote(str(folder))}")
    click.echo(f"  export SEARCH_APP_ENCODER__MODEL={shlex.quote(str(folder))}")


def _passages(documents: tuple[Path, ...]) -> list[str]:
    """The texts of the documents' passages, as they are encoded."""
    if not documents:
        return []
    from search_app.cli.temporary import applied
    from search_app.manifest import encoded_text

    with applied(documents) as (service, collection):
        batches = service.store(collection).passages()
        return [encoded_text(passage) for batch in batches for passage in batch.passages]


def _names(given: tuple[str, ...]) -> tuple[str, ...]:
    """Names of options that were repeated, separated by commas, or both."""
    return tuple(name.strip() for item in given for name in item.split(",") if name.strip())


def _show(folder: Path, names: tuple[str, ...]) -> None:
    """The scores of each model that the finished run in `folder` compared."""
    facts = folder / "training.json"
    found = json.loads(facts.read_text(encoding="utf-8")).get("quality", {}) if facts.is_file() else {}
    for model, scores in found.items():
        shown = ", ".join(f"{name} {scores[name]:.3g}" for name in names)
        click.echo(f"{model}: {shown} ({scores['questions']:.0f} questions)")
