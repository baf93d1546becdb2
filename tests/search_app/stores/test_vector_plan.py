from collections.abc import Iterator

import numpy as np
import pytest

from search_app.settings import VectorSettings
from search_app.stores.vectors.factory import open_index
from search_app.stores.vectors.index import Rows
from search_app.stores.vectors.plan import plan_index
from search_app.types import Matrix

AUTO = VectorSettings()


@pytest.mark.parametrize(
    ("count", "dim", "kind"),
    [(0, 384, "flat"), (100_000, 384, "flat"), (100_001, 384, "compressed"), (40_000, 1024, "compressed")],
)
def test_the_kind_follows_count_and_dimension(count: int, dim: int, kind: str) -> None:
    assert plan_index(count, dim, AUTO).kind == kind


@pytest.mark.parametrize(("count", "lists"), [(200_000, 512), (1_000_000, 1024), (10_000_000, 4096)])
def test_lists_follow_the_square_root_of_the_count(count: int, lists: int) -> None:
    chosen = plan_index(count, 384, AUTO)
    assert chosen.parameters == {"lists": lists, "probes": lists * 3 // 8, "sample": lists * 100, "codes": 1}


@pytest.mark.parametrize(
    ("count", "settings", "words"),
    [
        (500, AUTO, "fewer than the 1,000"),
        (500, VectorSettings(index="compressed"), "fewer than the 1,000"),
        (50_000, AUTO, "up to 100,000 passages of 384 dimensions, every vector is compared"),
        (1_000_000, AUTO, "1,000,000 passages of 384 dimensions are more than 100,000"),
        (1_000_000, VectorSettings(index="flat"), "vectors.index is flat"),
        (50_000, VectorSettings(index="compressed"), "vectors.index is compressed"),
        (50_000, VectorSettings(memory_mb=40), "vectors.memory_mb, 40"),
        (1_000_000, VectorSettings(memory_mb=300), "8-bit codes do not fit into vectors.memory_mb, 300"),
    ],
)
def test_the_plan_explains_itself(count: int, settings: VectorSettings, words: str) -> None:
    assert words in plan_index(count, 384, settings).why


def test_short_memory_drops_full_vectors_then_8_bit_codes() -> None:
    assert [
        (found.kind, found.parameters.get("codes"))
        for found in (plan_index(50_000, 384, VectorSettings(memory_mb=mb)) for mb in (100, 40, 10))
    ] == [("flat", None), ("compressed", 1), ("compressed", 0)]


def test_settings_override_the_rule() -> None:
    settings = VectorSettings(flat_limit=10_000, lists=100, probes=7)
    chosen = plan_index(20_000, 384, settings)
    assert chosen.kind == "compressed"
    assert (chosen.parameters["lists"], chosen.parameters["probes"]) == (100, 7)


def test_there_are_at_most_as_many_lists_as_passages_and_probes_as_lists() -> None:
    chosen = plan_index(2_000, 384, VectorSettings(index="compressed", lists=60_000, probes=60_000))
    assert chosen.parameters["lists"] == chosen.parameters["probes"] == chosen.parameters["sample"] == 2_000


def test_without_training_the_index_is_flat_and_says_why() -> None:
    vectors = np.eye(8, dtype=np.float32)[np.arange(2_000) % 8]

    def batches() -> Iterator[tuple[Rows, Matrix]]:
        yield np.arange(2_000, dtype=np.int64), vectors

    settings = VectorSettings(index="compressed")
    index = open_index(8, 2_000, batches, arrays=None, settings=settings, may_train=False)
    assert index.describe()["kind"] == "flat"
    assert "cache" in str(index.describe()["why"])
    trained = open_index(8, 2_000, batches, arrays=None, settings=settings, may_train=True)
    assert trained.describe()["kind"] == "compressed"
    assert len(trained) == len(index) == 2_000
