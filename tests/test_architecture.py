"""docs/architecture.md and docs/glossary.md match the code: paths exist, terms are names, replaced words are not."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text()

FEATURES = [
    "the order of jobs in the queue",
    "stemming, words of a language",
    "BM25's k1 and b",
    "the cache for queries and answers",
    "the reader for Haystack",
    "a converter for a new file format",
    "a new ranker",
    "a page of the UI",
    "tracing, timings, metrics",
    "the size of a passage",
]


def rows(page: str) -> list[list[str]]:
    """The cells of every table row, without header and rule."""
    lines = [line for line in page.splitlines() if line.startswith("|")]
    rules = {number for number, line in enumerate(lines) if re.fullmatch(r"[|\-: ]+", line)}
    heads = {number - 1 for number in rules}
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for number, line in enumerate(lines)
        if number not in rules | heads
    ]


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`((?:search_app|indexing|ui|tests|docker)/[\w/.]*)`", ARCHITECTURE)))
)
def test_every_path_of_the_architecture_exists(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("feature", FEATURES)
def test_a_newcomer_finds_each_feature_in_the_architecture(feature: str) -> None:
    places = {cells[0]: cells[1] for cells in rows(ARCHITECTURE)}
    assert re.search(r"`[\w/.]+`", places[feature])


def public_names() -> dict[str, set[Path]]:
    """Public classes, functions, methods and modules of the product, with the files that define them."""
    found: dict[str, set[Path]] = {}
    for package in ("search_app", "indexing", "ui"):
        for path in (ROOT / package).rglob("*.py"):
            found.setdefault(path.stem, set()).add(path)
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name[0] != "_":
                    found.setdefault(node.name, set()).add(path)
    return found


NAMES = public_names()
TERMS = rows(GLOSSARY)


@pytest.mark.parametrize("term", [cells[0] for cells in TERMS])
def test_a_term_of_the_glossary_is_a_name_in_the_code(term: str) -> None:
    (cells,) = (cells for cells in TERMS if cells[0] == term)
    names = re.findall(r"`(\w+)`", cells[2])
    assert names
    assert not [name for name in names if name not in NAMES]


WORDS = sorted({word for cells in TERMS for word in re.findall(r"\b[a-z]+\b", re.sub(r"\(.*\)", "", cells[3]))})


@pytest.mark.parametrize("word", WORDS)
def test_no_public_name_uses_a_word_that_the_glossary_replaces(word: str) -> None:
    parts = {name: re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name) for name in NAMES}
    users = {
        name: [path.relative_to(ROOT).as_posix() for path in NAMES[name]]
        for name, words in parts.items()
        if {word, f"{word}s"} & {part.lower() for part in words}
    }
    if word == "embedder":
        users = {name: paths for name, paths in users.items() if not all("haystack" in path for path in paths)}
    assert not users
