"""Quality on a fixed sample of SQuAD's dev set, in float32 so that all processors give the same results."""

from __future__ import annotations

import functools
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from search_app import open_service
from search_app.evaluation.datasets import Dataset, load_squad
from search_app.evaluation.evaluate import evaluate_answers, evaluate_reader, evaluate_retrieval
from search_app.hardware import detect
from search_app.readers.extractive import ExtractiveReader
from search_app.service import SearchService
from search_app.settings import ReaderSettings
from search_app.types import Hit

pytestmark = pytest.mark.timeout(600)

QUESTIONS = 300
ANSWERED = 60
"""Questions over the whole corpus; the reader reads ten passages for each."""
FLOAT32 = {"precision": "float32"}
RETRIEVAL = {"success@1": (0.810, 0.01), "success@10": (0.990, 0.01), "mrr@10": (0.878, 0.01)}
READER = {"em": (70.7, 1.0), "f1": (80.3, 1.0)}
ANSWERS = {"em": (68.3, 2.0), "f1": (83.1, 2.0)}
"""Measure → expected value and tolerance. If an improvement goes beyond the tolerance, write the new value here."""

Open = Callable[..., SearchService]


@pytest.fixture(scope="module")
def sample(shared_data: Path) -> Dataset:
    """Twelve whole articles, 481 paragraphs: other paragraphs of an article are the hardest to tell apart."""
    articles = load_squad(shared_data / "eval" / "squad-v1.1-dev.json").articles
    return Dataset("sample", tuple(random.Random(13).sample(articles, 12)))


@pytest.fixture(scope="module")
def open_sample(sample: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Open:
    """Opens a service over the sample's paragraphs, each one document; takes settings."""
    home = tmp_path_factory.mktemp("quality")
    paragraphs = dict.fromkeys(paragraph.text for paragraph in sample.paragraphs)
    (home / "paragraphs.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in paragraphs))
    subprocess.run(
        [sys.executable, "-m", "indexing.cli", "apply", str(home / "paragraphs.jsonl"), "--home", str(home)],
        env={**os.environ, "SEARCH_APP_ENCODER__PRECISION": "float32"},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return functools.partial(open_service, home=home, encoder=FLOAT32, reader=FLOAT32)


def retrieval(open_sample: Open, sample: Dataset, **settings: float) -> dict[str, float]:
    with open_sample(retrieval=settings) as service:
        store = service.store("default")

        @functools.cache
        def text(document_id: str) -> str:
            document = store.document(document_id)
            assert document is not None
            return document.text.strip()

        def key(hit: Hit) -> str:
            return text(hit.passage.document_id)

        return evaluate_retrieval(
            lambda questions: [result.hits for result in service.search_many(questions, k=40)],
            sample,
            document_key=key,
            limit=QUESTIONS,
        )


def outside(measured: dict[str, float], expected: dict[str, tuple[float, float]]) -> dict[str, float]:
    """The measures that differ from the expected values by more than the tolerance."""
    return {name: measured[name] for name, (value, most) in expected.items() if abs(measured[name] - value) > most}


def test_the_right_paragraph_is_found_as_often_as_before(open_sample: Open, sample: Dataset) -> None:
    assert outside(retrieval(open_sample, sample), RETRIEVAL) == {}


@pytest.mark.parametrize("dense_weight", [0.0, 0.9])
def test_a_wrong_weight_of_the_dense_scores_is_noticed(open_sample: Open, sample: Dataset, dense_weight: float) -> None:
    assert "success@1" in outside(retrieval(open_sample, sample, dense_weight=dense_weight), RETRIEVAL)


def test_the_reader_is_right_as_often_as_before(sample: Dataset) -> None:
    reader = ExtractiveReader(ReaderSettings(precision="float32"), detect())
    assert outside(evaluate_reader(reader, sample, limit=QUESTIONS), READER) == {}


def test_answers_over_the_corpus_are_right_as_often_as_before(open_sample: Open, sample: Dataset) -> None:
    with open_sample() as service:
        measured, _ = evaluate_answers(
            lambda questions: [result.answers for result in service.answer_many(questions)], sample, limit=ANSWERED
        )
    assert outside(measured, ANSWERS) == {}
