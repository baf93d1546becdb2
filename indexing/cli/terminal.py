"""Output of the commands, and Ctrl-C."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

import click

from search_app.errors import install_command

if TYPE_CHECKING:
    from tqdm import tqdm

    from indexing.job import Summary
    from indexing.reports import FormatReport, OcrReport
    from indexing.sources import Skip

SHOWN = 20


class Interrupt:
    """Ctrl-C raises KeyboardInterrupt as usual. If Python drops it, as in a destructor, `check` raises it again."""

    def __enter__(self) -> Self:
        self._seen = False
        self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGINT, self._before)

    def check(self) -> None:
        if self._seen:
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._seen = True
        raise KeyboardInterrupt


class Sized(Protocol):
    """Work of a known size in bytes."""

    @property
    def bytes(self) -> int: ...


class Progress:
    """A progress bar with the time left, if stderr is a terminal."""

    def __init__(self, quiet: bool, verb: str) -> None:
        self._quiet = quiet or not sys.stderr.isatty()
        self._verb = verb
        self._bar: tqdm[Any] | None = None

    def start(self, work: Sized) -> None:
        from tqdm import tqdm

        if not self._quiet and work.bytes:
            self._bar = tqdm(
                total=work.bytes, unit="B", unit_scale=True, desc=self._verb, smoothing=0.05, dynamic_ncols=True
            )

    def update(self, size: int) -> None:
        if self._bar is not None:
            self._bar.update(size)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def print_list(name: str, lines: Iterable[str], *, shown: int = SHOWN) -> None:
    """Print `name` and a line, for the first `shown` lines, then how many are left."""
    more = 0
    for number, line in enumerate(lines):
        if number < shown:
            click.echo(f"{name:<8} {line}")
        else:
            more += 1
    if more:
        click.echo(f"{name:<8} … and {more} more (--json lists all)")


def print_reasons(name: str, skips: Iterable[Skip], *, shown: int = sys.maxsize) -> None:
    """Print the source and reason of each."""
    print_list(name, (f"{skip.source}: {skip.reason}" for skip in skips), shown=shown)


def plural(count: int, noun: str) -> str:
    """The count and its noun: "1 passage", "2 passages"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def outcomes(counts: Mapping[str, int]) -> str:
    """The counts that are not 0: "2 added, 1 skipped"."""
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "nothing to do"


def truncation(tokens: int) -> str:
    """A warning about tokens beyond the encoder's limit; empty if there are none."""
    return f"; warning: {plural(tokens, 'token')} beyond the encoder's limit cut off" if tokens else ""


def duration(seconds: float) -> str:
    """Seconds for people: "1.7 s", "2 min 5 s", "1 h 2 min"."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def print_formats(formats: Sequence[FormatReport]) -> None:
    """Print the files of each format by outcome, without columns of zeros; nothing if one format is all."""
    names = ("read", "unchanged", "skipped", "failed", "warnings", "ocr_pages")
    used = [name for name in names if any(getattr(item, name) for item in formats)]
    if len(formats) < 2:
        return
    click.echo(f"{'format':<12}" + "".join(f"{name.replace('_', ' '):>11}" for name in used))
    for item in formats[:SHOWN]:
        counts = (getattr(item, name) or "" for name in used)
        click.echo((f"{item.format or 'no ending':<12}" + "".join(f"{count:>11}" for count in counts)).rstrip())
    if len(formats) > SHOWN:
        click.echo(f"… and {plural(len(formats) - SHOWN, 'format')} more (--json lists all)")


def print_ocr(scanned: OcrReport) -> None:
    """Print how many pages need OCR, how long that takes, and how to install it; nothing if none does."""
    if not scanned.pages:
        return
    found = f"{plural(scanned.pages, 'scanned page')} in {plural(scanned.files, 'file')}"
    if scanned.installed:
        click.echo(f"{found} to read by OCR in about {duration(scanned.seconds)}")
    else:
        command = install_command("ocr")
        click.echo(f"{found}; install search-app[ocr] to read them in about {duration(scanned.seconds)}: {command}")


def print_stages(summary: Summary) -> None:
    """Print each stage's busy and waiting times and the throughput; nothing if nothing was encoded."""
    if not summary.passages_encoded or not summary.stages:
        return
    click.echo(f"{'stage':<14}{'busy':>12}{'no input':>12}{'no room':>12}")
    for stage in summary.stages:
        name = stage.name if stage.processes == 1 else f"{stage.name} ×{stage.processes}"
        times = (stage.busy, stage.waited_for_input, stage.waited_for_room)
        click.echo(f"{name:<14}" + "".join(f"{duration(seconds):>12}" for seconds in times))
    seconds = max(summary.seconds, 1e-9)
    click.echo(
        f"encoded {plural(summary.passages_encoded, 'passage')}: "
        f"{summary.passages_encoded / seconds:.1f} passages/s, {summary.tokens / seconds:.0f} tokens/s; "
        f"the encoder was busy {summary.encoder_share:.0%} of the time"
    )


def print_json(value: object) -> None:
    """Print indented JSON."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def print_facts(facts: Mapping[str, object]) -> None:
    """Print nested facts as indented lines."""
    for line in _lines(facts, ""):
        click.echo(line)


def _lines(facts: Mapping[str, object], indent: str) -> Iterator[str]:
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        if isinstance(value, Mapping) and value:
            yield f"{indent}{name}"
            yield from _lines({str(key): item for key, item in value.items()}, indent + "  ")
        else:
            yield f"{indent}{name:<{width}}  {_in_words(value)}"


def _in_words(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value in ("", None, {}) else str(value)
