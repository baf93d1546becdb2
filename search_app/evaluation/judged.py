"""Documents, queries and relevance judgements: BEIR folders and TREC qrels."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_app.errors import ConfigurationError

_CORPUS, _QUERIES = "corpus.jsonl", ("queries.jsonl", "queries.tsv")
_QRELS = ("qrels/test.tsv", "qrels/dev.tsv", "qrels.tsv", "qrels.txt", "qrels")
_LAYOUT = f"expected {_CORPUS}, queries.jsonl or queries.tsv, and qrels/test.tsv as in BEIR, or TREC qrels in qrels.txt"


@dataclass(frozen=True, slots=True)
class JudgedQuery:
    """A query and the grades of its relevant documents, by document id; a higher grade is better."""

    id: str
    text: str
    relevant: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class JudgedCollection:
    """A folder's documents stay in their file; `queries` are those with a relevant document, in the file's order."""

    corpus: Path
    queries: tuple[JudgedQuery, ...]

    def documents(self) -> Iterator[tuple[str, str, str]]:
        """Id, title and text of each document. Raises ConfigurationError with the file and line of a fault."""
        for item in _lines(self.corpus):
            yield str(item["_id"]), str(item.get("title") or ""), str(item.get("text") or "")


def load_judged(folder: Path) -> JudgedCollection:
    """Raises ConfigurationError for a folder without these files, and with the file and line of a fault."""
    corpus, queries, qrels = folder / _CORPUS, _first(folder, _QUERIES), _first(folder, _QRELS)
    if not corpus.is_file():
        raise ConfigurationError(f"{folder} has no {_CORPUS}", hint=_LAYOUT, field="data")
    grades = _grades(qrels)
    found = [JudgedQuery(id, text, grades[id]) for id, text in _queries(queries) if grades.get(id)]
    if not found:
        raise ConfigurationError(f"no query of {queries} has a relevant document in {qrels}", field="data")
    return JudgedCollection(corpus, tuple(found))


def _first(folder: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise ConfigurationError(f"{folder} has no {names[0]}", hint=_LAYOUT, field="data")


def _queries(path: Path) -> Iterator[tuple[str, str]]:
    if path.suffix == ".jsonl":
        for item in _lines(path):
            yield str(item["_id"]), str(item["text"])
        return
    for number, line in enumerate(_text(path).splitlines(), start=1):
        if line.strip():
            id, tab, text = line.partition("\t")
            if not tab:
                raise _fault(path, number, "expected an id, a tab, and a query")
            yield id.strip(), text.strip()


def _grades(path: Path) -> dict[str, dict[str, int]]:
    """Rows of BEIR (query, document, grade, after a header) or of TREC (query, iteration, document, grade)."""
    found: dict[str, dict[str, int]] = {}
    for number, line in enumerate(_text(path).splitlines(), start=1):
        row = line.split("\t") if "\t" in line else line.split()
        if not line.strip() or (number == 1 and not row[-1].strip().lstrip("-").isdigit()):
            continue  # a header
        if len(row) not in (3, 4) or not row[-1].strip().lstrip("-").isdigit():
            raise _fault(path, number, "expected a query id, a document id, and a grade")
        if (grade := int(row[-1])) > 0:
            found.setdefault(row[0].strip(), {})[row[-2].strip()] = grade
    return found


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                item = json.loads(line)
            except ValueError as error:
                raise _fault(path, number, f"not JSON: {error}") from error
            if not isinstance(item, dict) or "_id" not in item:
                raise _fault(path, number, "expected an object with '_id'")
            yield item


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read {path}: {error}", field="data") from error


def _fault(path: Path, line: int, why: str) -> ConfigurationError:
    return ConfigurationError(f"{path}, line {line}: {why}", hint=_LAYOUT, field="data")
