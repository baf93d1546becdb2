"""One HTML page without scripts or other files: numbers, plots, and the questions behind them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape

from search_app.evaluation import charts
from search_app.evaluation.calibration import Calibration
from search_app.evaluation.compare import Comparison
from search_app.evaluation.measurement import Measurement, table
from search_app.evaluation.results import QuestionResult

_SHOWN = 200
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2937; max-width: 64rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid #e5e7eb }
figure { display: inline-block; margin: 0 2rem 1rem 0 } figcaption { font-weight: 600 }
.right { color: #15803d } .wrong { color: #b91c1c } .note { color: #6b7280 }
@media (prefers-color-scheme: dark) { body { background: #111827; color: #e5e7eb } svg { background: #f9fafb } }
"""


def measurement_page(title: str, measurements: Sequence[Measurement]) -> str:
    """The numbers of all systems and, where answers have a confidence, how far it can be trusted."""
    systems, rows = table(measurements)
    parts = [_table(("Measure", *map(escape, systems)), [(escape(name), *values) for name, values in rows])]
    for part in dict.fromkeys(one.part for one in measurements):
        found = {one.system: one.calibration for one in measurements if one.part == part and one.calibration}
        if found:
            parts += _confidence(escape(part), found)
    return _page(title, parts)


def _confidence(part: str, found: Mapping[str, Calibration]) -> Iterator[str]:
    yield f"<h2>Confidence{f': {part}' if part else ''}</h2>"
    yield _figure("How often a confidence is right", charts.reliability(found))
    yield _figure("Wrong answers by how many are shown", charts.risk_coverage(found))
    rows = [
        (escape(system), f"{mean:.2f}", f"{share:.2f}", str(count))
        for system, calibration in found.items()
        for mean, share, count in calibration.bins
    ]
    yield _table(("System", "Mean confidence", "Share right", "Answers"), rows)


def comparison_page(title: str, names: tuple[str, str], found: Comparison) -> str:
    """The differences with their intervals, and the questions that one measurement got right and the other did not."""
    rows = [
        (
            escape(item.measure),
            f"{100 * item.first:.1f}",
            f"{100 * item.second:.1f}",
            f"{100 * item.difference:+.1f}",
            f"{100 * item.low:+.1f} to {100 * item.high:+.1f}",
            "yes" if item.certain else "no",
        )
        for item in found.differences
    ]
    header = ("Measure", escape(names[0]), escape(names[1]), "Difference", "95 % interval", "Certain")
    parts = [
        f"<p>{found.questions} questions. {len(found.better)} became better, {len(found.worse)} worse.</p>",
        _table(header, rows),
        _figure(f"{escape(names[1])} minus {escape(names[0])}, in points", charts.differences(found.differences)),
        *_questions("Better", names, found.better, "right"),
        *_questions("Worse", names, found.worse, "wrong"),
    ]
    return _page(title, parts)


def _questions(
    title: str, names: tuple[str, str], pairs: Sequence[tuple[QuestionResult, QuestionResult]], kind: str
) -> Iterable[str]:
    if not pairs:
        return
    yield f"<h2>{title}: {len(pairs)}</h2>"
    if len(pairs) > _SHOWN:
        yield f'<p class="note">The first {_SHOWN} are shown.</p>'
    rows = [
        (
            escape(one.question),
            escape(" / ".join(one.gold)[:300]),
            escape(one.prediction[:300]),
            f'<span class="{kind}">{escape(other.prediction[:300])}</span>',
        )
        for one, other in pairs[:_SHOWN]
    ]
    yield _table(("Question", "Right answers", escape(names[0]), escape(names[1])), rows)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{name}</th>" for name in header)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _figure(caption: str, svg: str) -> str:
    return f"<figure><figcaption>{caption}</figcaption>{svg}</figure>"


def _page(title: str, parts: Iterable[str]) -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>'
        f"<body><h1>{escape(title)}</h1>{''.join(parts)}</body></html>\n"
    )
