from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

pytestmark = [pytest.mark.elasticsearch, pytest.mark.slow]


def test_evaluate_works_on_elasticsearch_and_cleans_up(
    elasticsearch_url: str, elasticsearch_prefix: str, tmp_path: Path
) -> None:
    text, question = "The Danube is 2,850 kilometres long.", "How long is the Danube?"
    answers = [{"text": "2,850 kilometres", "answer_start": text.index("2,850")}]
    paragraphs = [
        {"context": text, "qas": [{"id": "1", "question": question, "answers": answers}]},
        {"context": "Lima is the capital of Peru.", "qas": []},
    ]
    data = tmp_path / "squad.json"
    data.write_text(json.dumps({"version": "1.1", "data": [{"title": "Facts", "paragraphs": paragraphs}]}))
    done = subprocess.run(
        [sys.executable, "-m", "search_app.cli", "evaluate", "retrieval", "--data", str(data), "--json"],
        env={
            **os.environ,
            "SEARCH_APP_STORE": "elasticsearch",
            "SEARCH_APP_ELASTICSEARCH__URLS": elasticsearch_url,
            "SEARCH_APP_ELASTICSEARCH__PREFIX": elasticsearch_prefix,
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["success@1"] == 1
    left = httpx.get(f"{elasticsearch_url}/{elasticsearch_prefix}*", trust_env=False).json()
    assert list(left) == [f"{elasticsearch_prefix}-leases"]
