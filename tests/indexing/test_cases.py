"""The texts and titles of ../shared/cases: small documents, each with a trait that trips systems of this kind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import HashEncoder

from indexing.conversion import FileSplitter
from indexing.job import split_config_of
from indexing.sources import scan
from search_app.settings import Settings
from search_app.types import Passage

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases"
TEXT_CHECKS = ("text_contains", "text_lacks", "titles_lack")

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not CASES.is_dir(), reason=f"{CASES} is missing; the cases are not part of the repository"),
]


def checks() -> Iterator[Any]:
    for path in sorted(CASES.glob("*/case.json")):
        for number, check in enumerate(json.loads(path.read_text(encoding="utf-8"))["checks"]):
            [kind] = [name for name in check if name != "question"]
            if kind in TEXT_CHECKS:
                yield pytest.param(path.parent, kind, check[kind], id=f"{path.parent.name}-{number}")


@pytest.fixture(scope="module")
def splitter() -> Iterator[FileSplitter]:
    with FileSplitter(split_config_of(Settings(home=Path("/nonexistent")), HashEncoder(max_tokens=254))) as splitter:
        yield splitter


@pytest.mark.parametrize(("case", "kind", "wanted"), checks())
def test_the_text_of_a_case(case: Path, kind: str, wanted: list[str], splitter: FileSplitter) -> None:
    passages = list(passages_of(case / "docs", splitter))
    text = "\n".join(passage.text for passage in passages)
    if kind == "text_contains":
        assert [part for part in wanted if flat(part) not in flat(text)] == []
    elif kind == "text_lacks":
        assert passages
        assert [part for part in wanted if part in text] == []
    else:
        assert passages
        assert [part for part in wanted if any(part in passage.title for passage in passages)] == []


def passages_of(folder: Path, splitter: FileSplitter) -> Iterator[Passage]:
    for file in scan([folder]).files():
        converted = splitter.convert(file, "")
        for item in converted.contents():
            if isinstance(item, list):
                yield from item
        converted.discard()


def flat(text: str) -> str:
    return " ".join(text.split())
