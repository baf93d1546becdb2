"""Training data of an encoder: SQuAD JSON, or JSON lines with a question and the passage that answers it."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

from search_app.errors import ConfigurationError
from search_app.evaluation.datasets import Article, Dataset, GoldAnswer, Paragraph, Question, load_squad

LINES = (".jsonl", ".ndjson")
_EXPECTED = 'expected {"question": "…", "passage": "…"} on each line; SQuAD files end in .json'


def load_pairs(path: Path) -> Dataset:
    """Read a file by its extension. Raises ConfigurationError with the file, the line and the fault.

    Each line of JSON lines has `question` and `passage`, and may have `title` (of the document) and `id`. The passage
    is its own answer.
    """
    if path.suffix.lower() not in LINES:
        return load_squad(path)
    passages: dict[tuple[str, str], list[Question]] = defaultdict(list)
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    passage, question = _pair(line, f"{path}, line {number}", f"line {number}")
                    passages[passage].append(question)
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}", field="data") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not UTF-8: {error.reason}", field="data") from error
    if not passages:
        raise ConfigurationError(f"{path} has no questions", field="data")
    articles = (Article(title, (Paragraph(text, tuple(found)),)) for (title, text), found in passages.items())
    return Dataset(path.stem, tuple(articles))


def _pair(line: str, place: str, id: str) -> tuple[tuple[str, str], Question]:
    """((title, passage), question)."""
    try:
        values = json.loads(line)
    except ValueError as error:
        raise ConfigurationError(f"{place} is not JSON: {error}", hint=_EXPECTED, field="data") from error
    for name in ("question", "passage"):
        if not isinstance(values, dict) or not str(values.get(name) or "").strip():
            raise ConfigurationError(f"{place} has no text in '{name}'", hint=_EXPECTED, field="data")
    text = str(values["passage"])
    question = Question(str(values.get("id") or id), str(values["question"]), (GoldAnswer(text, 0),))
    return (str(values.get("title") or ""), text), question
