"""The result of each question of a measurement, as a file that `evaluate compare` reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from search_app.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class QuestionResult:
    """`scores` are 0..1 by measure, such as `em`. `prediction` is an answer, or the best document of a search.

    `confidence` is None without a calibrated answer. `shown`: there was an answer; over a corpus, a reliable one.
    """

    id: str
    question: str
    gold: tuple[str, ...]
    prediction: str
    scores: Mapping[str, float]
    confidence: float | None = None
    shown: bool = True


@dataclass(frozen=True, slots=True)
class Results:
    """One measurement: `measure` is reader, retrieval or answers, `data` the name of the questions' file.

    `numbers` are those that `search-app evaluate --json` prints.
    """

    measure: str
    data: str
    questions: tuple[QuestionResult, ...]
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Raises ConfigurationError if the file cannot be written."""
        try:
            path.write_text(json.dumps(asdict(self), ensure_ascii=False, indent=1), encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(f"cannot write {path}: {error.strerror}", field="save") from error


def load_results(path: Path) -> Results:
    """Raises ConfigurationError for a file that `--save` did not write."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        questions = [QuestionResult(**{**item, "gold": tuple(item["gold"])}) for item in values["questions"]]
        return Results(str(values["measure"]), str(values["data"]), tuple(questions), values.get("numbers") or {})
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}", field="results") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"{path} is not a file of results: {error}",
            hint="make one with: search-app evaluate answers --data FILE --save RESULTS",
            field="results",
        ) from error
