"""Plots as SVG text: a reliability diagram, a risk-coverage curve, differences with their intervals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape

from search_app.evaluation.calibration import Calibration
from search_app.evaluation.compare import Difference

SIZE = 340
_EDGE = 44
_SPAN = SIZE - 2 * _EDGE
_COLOURS = ("#2563eb", "#c2410c", "#047857")
_MARK, _GREY = _COLOURS[0], "#9ca3af"


def reliability(found: Mapping[str, Calibration]) -> str:
    """Share right against mean confidence, for each system; a perfect confidence is on the diagonal.

    Dots grow with the count.
    """
    shapes = [_line([(0, 0), (1, 1)], _GREY, dashed=True)]
    for colour, (system, calibration) in zip(_COLOURS, found.items(), strict=False):
        most = max(count for *_, count in calibration.bins)
        shapes.append(_line([(mean, share) for mean, share, _ in calibration.bins], colour))
        shapes += [
            f'<circle cx="{_x(mean):.1f}" cy="{_y(share):.1f}" r="{3 + 4 * (count / most) ** 0.5:.1f}" fill="{colour}">'
            f"<title>{escape(system)}, {count} answers: confidence {mean:.0%}, right {share:.0%}</title></circle>"
            for mean, share, count in calibration.bins
        ]
    return _plot("Confidence", "Share right", [*shapes, *_legend(list(found))])


def risk_coverage(found: Mapping[str, Calibration]) -> str:
    """Share wrong among the answers shown against the share of answers shown, surest first, for each system."""
    lines = [_line(one.risks, colour) for colour, one in zip(_COLOURS, found.values(), strict=False)]
    return _plot("Share of answers shown, surest first", "Share wrong", [*lines, *_legend(list(found))])


def _legend(systems: Sequence[str]) -> Iterator[str]:
    """Names in their colours, in the upper left corner; none for a single system."""
    for row, (colour, system) in enumerate(zip(_COLOURS, systems, strict=False)):
        if len(systems) > 1:
            yield f'<text x="{_EDGE + 8}" y="{_EDGE + 18 + 16 * row}" fill="{colour}">{escape(system)}</text>'


def differences(found: Sequence[Difference]) -> str:
    """The second measurement minus the first, in points, with 95 % intervals."""
    reach = max(abs(side) for item in found for side in (item.low, item.high, 0.001)) * 1.1
    height = 34 * len(found) + 40
    middle, scale = 260, 180 / reach
    rows = []
    for row, item in enumerate(found):
        y = 34 * row + 24
        low, high, mean = (middle + scale * value for value in (item.low, item.high, item.difference))
        rows.append(
            f'<text x="8" y="{y + 4}">{item.measure}</text>'
            f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}" stroke="{_MARK}" stroke-width="3"/>'
            f'<circle cx="{mean:.1f}" cy="{y}" r="5" fill="{_MARK}"/>'
        )
    axis = (
        f'<line x1="{middle}" x2="{middle}" y1="6" y2="{height - 24}" stroke="{_GREY}" stroke-dasharray="4 3"/>'
        f'<text x="{middle - 180}" y="{height - 6}" text-anchor="middle">{-100 * reach:+.1f}</text>'
        f'<text x="{middle}" y="{height - 6}" text-anchor="middle">0</text>'
        f'<text x="{middle + 180}" y="{height - 6}" text-anchor="middle">{100 * reach:+.1f}</text>'
    )
    return _svg(480, height, [axis, *rows])


def _plot(x: str, y: str, shapes: Iterable[str]) -> str:
    low, high = _EDGE, SIZE - _EDGE
    ticks = [
        f'<text x="{_x(value):.0f}" y="{high + 16}" text-anchor="middle">{value:.0%}</text>'
        f'<text x="{low - 6}" y="{_y(value) + 4:.0f}" text-anchor="end">{value:.0%}</text>'
        for value in (0, 0.25, 0.5, 0.75, 1)
    ]
    frame = f'<rect x="{low}" y="{low}" width="{_SPAN}" height="{_SPAN}" fill="none" stroke="{_GREY}"/>'
    names = (
        f'<text x="{SIZE / 2}" y="{SIZE - 8}" text-anchor="middle">{x}</text>'
        f'<text x="{SIZE / 2}" y="22" text-anchor="middle">{y}</text>'
    )
    return _svg(SIZE, SIZE, [frame, *ticks, names, *shapes])


def _svg(width: int, height: int, shapes: Iterable[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        f' font-family="system-ui, sans-serif" font-size="12" fill="#374151">{"".join(shapes)}</svg>'
    )


def _line(points: Sequence[tuple[float, float]], colour: str, *, dashed: bool = False) -> str:
    path = " ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in points)
    dash = ' stroke-dasharray="4 3"' if dashed else ""
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>'


def _x(value: float) -> float:
    return _EDGE + value * _SPAN


def _y(value: float) -> float:
    return SIZE - _EDGE - value * _SPAN
