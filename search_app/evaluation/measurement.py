"""What a command of `search-app evaluate` measured: the same numbers, by the same names, for table, JSON and HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search_app.evaluation.calibration import Calibration

OURS = "search-app"
_CHANGED = ("questions", "em", "f1")


@dataclass(frozen=True, slots=True)
class Measurement:
    """The `numbers` of one system. `part` is "" for the questions as they are, or the name of what was changed."""

    numbers: Mapping[str, float]
    calibration: Calibration | None = None
    system: str = OURS
    part: str = ""


def dropped(measured: Measurement, plain: Measurement) -> Measurement:
    """`measured` on changed questions: what it is about, and what EM and F1 lost against `plain`, in points."""
    numbers: dict[str, float] = {}
    for name in (*_CHANGED, "coverage", "wrong_among_shown", "seconds"):
        if name in measured.numbers:
            numbers[name] = measured.numbers[name]
        if name in _CHANGED[1:]:
            numbers[f"{name}_drop"] = plain.numbers[name] - measured.numbers[name]
    return Measurement(numbers, None, measured.system, measured.part)


def to_json(measurements: Sequence[Measurement]) -> dict[str, Any]:
    """Our numbers; those of other systems under `beside`, those of changed questions under the name of the change.

    `calibration` has the rows of the plots.
    """
    found: dict[str, Any] = {}
    for one in measurements:
        place = found.setdefault(one.part, {}) if one.part else found
        if one.system != OURS:
            place = place.setdefault("beside", {}).setdefault(one.system, {})
        place.update(one.numbers)
        if one.calibration:
            place["calibration"] = one.calibration.rows
    return found


def table(measurements: Sequence[Measurement]) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """The systems, and rows of a name and each system's value; "typos: em" is the EM of changed questions."""
    systems = list(dict.fromkeys(one.system for one in measurements))
    rows: dict[str, dict[str, float]] = {}
    for one in measurements:
        for name, value in one.numbers.items():
            rows.setdefault(f"{one.part}: {name}" if one.part else name, {})[one.system] = value
    return systems, [(name, [_shown(values.get(system)) for system in systems]) for name, values in rows.items()]


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}".rstrip("0").rstrip(".")
