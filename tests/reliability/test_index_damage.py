"""Damage to a file of an index gives an error or changes no answer; `make soak` repeats this a thousand times."""

from __future__ import annotations

import random
import secrets
from contextlib import closing

import index_damage
import pytest
from living_index import COLLECTION, fast_folder

from search_app.errors import IndexCorrupt
from search_app.stores.embedded.catalog import EmbeddedCatalog


def test_damage_to_any_file_never_changes_an_answer_silently() -> None:
    seed = secrets.randbits(31)
    with fast_folder() as folder:
        patients = index_damage.Patients(folder, random.Random(seed))
        for number in range(60):
            verdict = patients.examine(random.Random(f"{seed}:{number}"))
            assert not verdict.problems, f"seed {seed}, round {number}: {verdict.problems}"


def test_an_index_whose_log_lost_commits_is_not_copied_to_a_snapshot() -> None:
    with fast_folder() as folder:
        patients = index_damage.Patients(folder, random.Random(1))
        logged = patients.sound[1].settings
        log = logged.collection_folder(COLLECTION) / "index.db-wal"
        log.write_bytes(log.read_bytes()[: log.stat().st_size // 2])
        with closing(EmbeddedCatalog(logged)) as catalog:
            with pytest.raises(IndexCorrupt, match="has lost commits"):
                catalog.snapshot(COLLECTION, folder / "snapshot")
            assert not (folder / "snapshot").exists()
            assert any("are lost" in said for said in catalog.repair(COLLECTION))
            catalog.snapshot(COLLECTION, folder / "snapshot")
