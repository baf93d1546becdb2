"""Damaged files of every format are read or refused in words. `make soak PARTS=documents` plays thousands of rounds."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import damaged_documents
import pytest

ROUNDS = 150


@pytest.mark.timeout(300)
def test_damaged_files_are_read_or_refused_in_words(tmp_path: Path) -> None:
    with damaged_documents.Patients(tmp_path, scans=False) as patients:
        rounds = [patients.examine(random.Random(f"fixed:{number}")) for number in range(ROUNDS)]
    assert [problem for played in rounds for problem in played.problems] == []
    answers = Counter(played.answers for played in rounds)
    assert min(answers["read"], answers["refused"]) > ROUNDS / 10
