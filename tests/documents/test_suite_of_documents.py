"""The suite of documents, indexed once and asked: passages, places and cells that the best hit must have."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from documents.measuring import Judgement, judge, table, unread
from documents.suite import File, build
from fakes import HashEncoder

from indexing.job import split_config_of
from search_app import open_service
from search_app.settings import Settings

pytestmark = pytest.mark.timeout(300)

PASSAGE, PLACE = 97.0, 97.0
"""The least share of questions, in percent."""
UNREAD = ("web/glossary.html: Where are the patterns of the sail loft? ",)
"""The address behind a link is metadata, not text."""
FLOAT32 = {"precision": "float32"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("documents")


@pytest.fixture(scope="module")
def files(folder: Path) -> list[File]:
    return build(folder / "docs")


@pytest.fixture(scope="module")
def judged(folder: Path, files: list[File]) -> Iterator[list[Judgement]]:
    """All questions; in float32, so that all processors give the same results."""
    subprocess.run(
        [sys.executable, "-m", "indexing.cli", "apply", "docs", "--home", "home"],
        cwd=folder,
        env={**os.environ, "SEARCH_APP_ENCODER__PRECISION": "float32", "PYTHONPATH": str(Path.cwd())},
        stdout=subprocess.DEVNULL,
    )
    with open_service(home=folder / "home", encoder=FLOAT32) as service:
        yield judge(service, files)


def test_the_suite_has_files_questions_and_cells(files: list[File]) -> None:
    questions = [question for file in files for question in file.questions]
    assert len(files) >= 80
    assert len(questions) >= 200
    assert sum("cell" in question.traits for question in questions) >= 60
    assert len({file.path for file in files}) == len(files)
    assert len({question.text for question in questions}) == len(questions)


def test_every_answer_is_read_in_its_place(folder: Path, files: list[File]) -> None:
    settings = Settings(home=folder / "home")
    assert list(unread(folder / "docs", files, split_config_of(settings, HashEncoder(max_tokens=254)))) == list(UNREAD)


def test_the_first_hit_is_the_wanted_passage(judged: list[Judgement]) -> None:
    [(_, count, passage, _, _)] = table(judged, lambda item: ["all"])
    assert count >= 200
    assert passage >= PASSAGE, [(item.question.text, item.found) for item in judged if not item.passage]


def test_the_answer_is_in_its_place(judged: list[Judgement]) -> None:
    [(_, _, _, place, _)] = table(judged, lambda item: ["all"])
    assert place >= PLACE, [(item.question.text, item.found) for item in judged if not item.place]
