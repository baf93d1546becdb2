"""Measure the suite of documents: make bench-documents ARGS=--read."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import click
from documents.measuring import Judgement, judge, table
from documents.suite import File, build


@click.command()
@click.option("--read", is_flag=True, help="Ask the reader too.")
@click.option("--only", default="", help="Ask only about files with this text in their path.")
@click.option("--json", "output", type=click.Path(path_type=Path), help="Write all judgements to this file.")
@click.option("--show/--no-show", default=True, help="Show each question that fails.")
def main(read: bool, only: str, output: Path | None, show: bool) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "docs")
        files = build(folder)
        judged = measured([file for file in files if only in file.path], folder, read=read)
    report(judged, show=show)
    if output is not None:
        output.write_text(json.dumps([_plain(item) for item in judged], ensure_ascii=False, indent=1), encoding="utf-8")


def measured(files: list[File], folder: Path, *, read: bool) -> list[Judgement]:
    """Index everything below `folder`, and ask all questions about the files."""
    from indexing import job
    from search_app import open_service
    from search_app.encoders.sentence_transformer import SentenceTransformerEncoder
    from search_app.hardware import detect
    from search_app.settings import Settings

    home = folder.with_name("home")
    settings = Settings(home=home)
    encoder = SentenceTransformerEncoder(settings.encoder, detect(settings.encoder.device))
    began = time.perf_counter()
    summary = job.apply([folder], settings=settings, encoder=encoder, base=folder.parent)
    for skip in (*summary.problems, *summary.skips, *summary.warnings):
        click.echo(f"{skip.source}: {skip.reason}")
    click.echo(f"{summary.added} files, {summary.passages} passages in {time.perf_counter() - began:.1f} s")
    with open_service(home=home) as service:
        return judge(service, files, read=read)


def report(judged: list[Judgement], *, show: bool) -> None:
    for item in judged:
        failed = [name for name in ("passage", "place", "answer") if getattr(item, name) is False]
        if failed and show:
            click.echo(
                f"{item.file.path}: {item.question.text} [{item.question.answer}] not {', '.join(failed)}: {item.found}"
            )
    for heading, rows in (
        ("all", table(judged, lambda item: ["all"])),
        ("trait", table(judged, lambda item: item.question.traits or ["prose"])),
        ("format", table(judged, lambda item: [item.format])),
    ):
        click.echo(f"\n{heading:<14}{'questions':>10}{'passage':>10}{'place':>10}{'answer':>10}")
        for name, count, passage, place, answer in rows:
            shown = "" if answer is None else f"{answer:.1f}"
            click.echo(f"{name:<14}{count:>10}{passage:>10.1f}{place:>10.1f}{shown:>10}")


def _plain(item: Judgement) -> dict[str, object]:
    return {
        "file": item.file.path,
        "question": item.question.text,
        "wanted": item.question.answer,
        "passage": item.passage,
        "place": item.place,
        "answer": item.answer,
        "found": item.found,
    }


if __name__ == "__main__":
    main()
