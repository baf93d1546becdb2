"""Jobs and schedules as HTML. All text from files or the API goes through `highlight.escape`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from urllib.parse import urlencode

from search_app.api.schemas import FormatCounts, JobCounts, JobOut, ProblemOut, ScheduleOut
from ui import cards
from ui.highlight import escape

ACTIVE = ("queued", "running")
LISTED = 10  # names shown at once; the rest is folded away
ONCE = "once"
OWN = ""
REPEATS = {
    ONCE: "Once, now",
    "0 * * * *": "Every hour",
    "0 2 * * *": "Every night at 2:00",
    "0 2 * * 0": "Every Sunday at 2:00",
    OWN: "At other times",
}
_COLUMNS = {
    "read": "Read",
    "unchanged": "Unchanged",
    "skipped": "Skipped",
    "failed": "Failed",
    "warnings": "With warnings",
    "ocr_pages": "Scanned pages read",
}
_NOTHING = {"rename": "collection renamed", "drop": "collection deleted"}
_STATES = {"queued": "Waiting", "running": "Running", "done": "Done", "failed": "Failed", "cancelled": "Cancelled"}


def state(job: JobOut) -> tuple[str, str]:
    """The word for the job's state, and its CSS class."""
    if job.cancel_requested and job.state in ACTIVE:
        return "Stopping", "sa-state-cancelled"
    if job.state == "done" and job.result is not None and job.result.failed:
        return f"Done, {job.result.failed:,} failed", "sa-state-partly"
    return _STATES.get(job.state, job.state), f"sa-state-{job.state}"


def head(job: JobOut, now: datetime) -> str:
    """A job's title, state and time."""
    word, style = state(job)
    return (
        '<div class="sa-job-head">'
        f'<span class="sa-job-title" dir="auto">{escape(job.title)}</span>'
        f'<span class="sa-state {escape(style)}" role="status">{escape(word)}</span>'
        f'<span class="sa-when">{_time(job.ended or job.created, now)}</span></div>'
    )


def plan(job: JobOut) -> str:
    """The job's plan, or what it waits for."""
    if job.state == "queued" and job.stage:
        return f'<div class="sa-job-line">{escape(job.stage)}</div>'
    if job.plan is not None:
        return f'<div class="sa-job-line">{escape(_planned(job.plan))}</div>'
    return ""


def progress(job: JobOut) -> tuple[float, str]:
    """Share done, 0 to 1, and the same in words, without text from files or users."""
    share = min(max(job.bytes_done / job.bytes_total, 0.0), 1.0) if job.bytes_total else 0.0
    if job.cancel_requested:
        return share, "Stopping"
    if job.stage == "removing":
        return share, "Removing deleted files"
    if job.plan is None or not job.bytes_total:
        return share, "Getting ready"
    return share, f"{share:.0%}" if job.eta_seconds is None else f"{share:.0%}, {left(job.eta_seconds)}"


def outcome(job: JobOut) -> str:
    """The result of an ended job without its error: failed files first, skipped ones folded away."""
    parts = []
    if job.state == "cancelled":
        kept = "Nothing was indexed." if job.started is None else "Files indexed so far are kept."
        parts.append(f'<div class="sa-job-line">{kept}</div>')
    if job.result is not None:
        parts.append(f'<div class="sa-job-line">{escape(_done(job))}</div>')
        parts.append(formats_table(job.result.formats))
    parts.append(_names(job.problems, "sa-problems", "Could not be indexed"))
    if job.warnings:
        items = "".join(f'<li dir="auto">{escape(text)}</li>' for text in job.warnings)
        parts.append(folded(counted(len(job.warnings), "note"), f'<ul class="sa-names">{items}</ul>'))
    if job.skips:
        count = max(len(job.skips), job.result.skipped if job.result else 0)
        parts.append(folded(f"{count:,} skipped", _list(job.skips, "sa-names")))
    return "".join(parts)


def formats_table(items: Sequence[FormatCounts]) -> str:
    """What was done with the files of each format, without columns of zeros; nothing if one format is all."""
    if len(items) < 2:
        return ""
    columns = {name: title for name, title in _COLUMNS.items() if any(getattr(item, name) for item in items)}
    head = "".join(f"<th>{title}</th>" for title in ("Format", *columns.values()))
    rows = "".join(_format_row(item, columns) for item in items[:LISTED])
    more = f'<div class="sa-more">… and {counted(len(items) - LISTED, "format")} more</div>' if items[LISTED:] else ""
    return (
        '<div class="sa-table sa-formats" role="region" aria-label="Files by format" tabindex="0">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{more}"
    )


def earlier(job: JobOut, now: datetime) -> str:
    """One line that opens to the job's result."""
    error = ""
    if job.error is not None:
        error = f'{cards.problem(job.error.message)}<div class="sa-hint">{escape(job.error.hint)}</div>'
    return f'<details class="sa-job"><summary>{head(job, now)}</summary>{error}{outcome(job)}</details>'


def schedule(item: ScheduleOut, now: datetime) -> str:
    """A folder, how often it is indexed, and when next."""
    every = REPEATS.get(item.every)
    when = f"<span>{escape(every)}</span>" if every else f"<code>{escape(item.every)}</code>"
    return (
        f'<div class="sa-schedule"><span class="sa-job-title" dir="auto">{escape(item.folder)}</span> {when}'
        f'<span class="sa-when">next run {_time(item.next, now)}</span></div>'
    )


def ask_link(collection: str) -> str:
    """A plain link, as in `cards.place_link`."""
    address = escape(f"./?{urlencode({'collection': collection})}")
    return f'<a class="sa-button" href="{address}" target="_self">Ask about them</a>'


def add_link(collection: str) -> str:
    """A link to the page that adds documents."""
    return f'<a class="sa-button" href="{escape(_add_address(collection))}" target="_self">Add documents</a>'


def working(collection: str, job: JobOut) -> str:
    """A notice while the documents page waits for a job."""
    word = "Renaming." if job.kind == "rename" else "Deleting."
    link = f'<a class="sa-link" href="{escape(_add_address(collection))}" target="_self">Show progress</a>'
    return f'<div class="sa-notice" role="status"><strong>{word}</strong> {link}</div>'


def left(seconds: float) -> str:
    """The remaining time in words."""
    return f"about {_amount(seconds)} left"


def relative(moment: datetime, now: datetime) -> str:
    """Such as "5 minutes ago" and "in 2 hours"."""
    seconds = (now - moment).total_seconds()
    if abs(seconds) < 10:
        return "just now" if seconds >= 0 else "now"
    return f"{_amount(seconds)} ago" if seconds > 0 else f"in {_amount(-seconds)}"


def counted(count: int, name: str) -> str:
    """Such as "1 file" and "1,200 files"."""
    return f"{count:,} {name}{'' if count == 1 else 's'}"


def folded(title: str, body: str) -> str:
    """A body that opens below its title."""
    return f'<details class="sa-more-names"><summary>{escape(title)}</summary>{body}</details>'


def _add_address(collection: str) -> str:
    return f"add?{urlencode({'collection': collection})}"


def _amount(seconds: float) -> str:
    for size, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size * 0.95:
            return counted(round(seconds / size), name)
    return counted(max(1, round(seconds)), "second")


def _time(moment: datetime, now: datetime) -> str:
    stamp = moment.strftime("%Y-%m-%d %H:%M UTC")
    return f'<time datetime="{escape(moment.isoformat())}" title="{stamp}">{relative(moment, now)}</time>'


def _planned(counts: JobCounts) -> str:
    parts = [
        (counts.added, "to add"),
        (counts.changed, "to change"),
        (counts.removed, "to remove"),
        (counts.unchanged, "unchanged"),
        (counts.skipped, "skipped"),
    ]
    text = ", ".join(f"{count:,} {words}" for count, words in parts if count)
    return f"Plan: {text}" if text else "Plan: nothing to do"


def _done(job: JobOut) -> str:
    result = job.result
    assert result is not None
    parts = [
        (result.added, "added"),
        (result.changed, "changed"),
        (result.removed, "removed"),
        (result.deleted, "deleted"),
        (result.unchanged, "unchanged"),
        (result.failed, "failed"),
        (result.skipped, "skipped"),
    ]
    text = ", ".join(f"{count:,} {words}" for count, words in parts if count) or _NOTHING.get(job.kind, "nothing to do")
    passages = f" · {counted(result.passages, 'passage')}" if result.passages else ""
    return f"{text[0].upper()}{text[1:]} in {_amount(result.seconds)}{passages}"


def _names(items: Sequence[ProblemOut], style: str, title: str) -> str:
    if not items:
        return ""
    shown, rest = items[:LISTED], items[LISTED:]
    more = folded(f"{len(rest):,} more", _list(rest, style)) if rest else ""
    return f'<div class="sa-job-section">{escape(title)}</div>{_list(shown, style)}{more}'


def _format_row(item: FormatCounts, columns: Iterable[str]) -> str:
    cells = "".join(f"<td>{_number(getattr(item, column))}</td>" for column in columns)
    return f'<tr><th dir="auto">{escape(item.format or "no ending")}</th>{cells}</tr>'


def _number(count: int) -> str:
    return f"{count:,}" if count else ""


def _list(items: Sequence[ProblemOut], style: str) -> str:
    lines = "".join(
        f'<li><span class="sa-source" dir="auto">{escape(item.source)}</span> <span>{escape(item.reason)}</span></li>'
        for item in items
    )
    return f'<ul class="{style}">{lines}</ul>'
