"""Damage to any file of an index is an error or changes no answer; `make soak` does it a thousand times."""

from __future__ import annotations

import random
import secrets

import index_damage
from living_index import fast_folder


def test_no_damage_to_any_file_changes_an_answer_in_silence() -> None:
    seed = secrets.randbits(31)
    with fast_folder() as folder:
        patients = index_damage.Patients(folder, random.Random(seed))
        for number in range(60):
            verdict = patients.examine(random.Random(f"{seed}:{number}"))
            assert not verdict.problems, f"seed {seed}, round {number}: {verdict.problems}"
