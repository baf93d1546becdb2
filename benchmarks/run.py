"""What all benchmark commands share: options, saved measurements, the page they write."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from benchmarks.corpus import SQUAD
from benchmarks.kept import Kept
from benchmarks.machine import code_digest, measured_line
from benchmarks.page import put_section
from search_app.hardware import detect, set_threads

F = TypeVar("F", bound=Callable[..., Any])

squad = click.option("--data", type=click.Path(path_type=Path, exists=True, dir_okay=False), default=SQUAD)


@dataclass(frozen=True, slots=True)
class Run:
    """The options of a run; `command` is the make target. A run with a `limit` is small and writes no page."""

    command: str
    folder: Path
    out: Path
    limit: int | None
    fresh: bool

    @property
    def work(self) -> Path:
        """The folder for measurements and temporary files."""
        folder = self.folder / ("quick" if self.limit else "full")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def kept(self, name: str, *packages: str, **state: Any) -> Kept:
        """Saved measurements of that name, valid for this machine, code, versions and `state`."""
        installed = {item.metadata["Name"]: item.version for item in importlib.metadata.distributions()}
        about = {
            "processor": detect().processor,
            "threads": set_threads(),
            "code": code_digest(),
            "versions": {package: installed.get(package) for package in packages},
            **state,
        }
        return Kept(self.work / f"{name}.jsonl", about, fresh=self.fresh)

    def measured_line(self, part: str = "") -> str:
        return measured_line(f"{self.command} PART={part}" if part else self.command)

    def write(self, title: str, text: str, *, top: str = "# Benchmarks", write: bool = True) -> None:
        """Print the section, and write it to the page unless the run has a limit."""
        click.echo(f"\n{text}\n")
        if write and not self.limit:
            put_section(self.out, title, text, top=top)
            click.echo(f"written to {self.out}")


def options(folder: str, out: str = "docs/benchmarks.md", *, limit: str = "passages") -> Callable[[F], F]:
    """Add --limit, --folder, --out and --fresh, the fields of Run; `limit` names what --limit counts."""

    def decorate(command: F) -> F:
        for option in (
            click.option("--fresh", is_flag=True, help="Forget the measurements of an earlier run."),
            click.option("--out", type=click.Path(path_type=Path), default=Path(out), show_default=True),
            click.option("--folder", type=click.Path(path_type=Path), default=Path(folder), show_default=True),
            click.option("--limit", type=int, help=f"Only this many {limit}: a quick look that writes no page."),
        ):
            command = option(command)
        return command

    return decorate


def run_parts(titles: Iterable[str], part: str, measures: dict[str, Callable[[], None]]) -> None:
    """Run one part, or "all"."""
    for name in titles if part == "all" else [part]:
        click.echo(f"{name} …", err=True)
        measures[name]()
