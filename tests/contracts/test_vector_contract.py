"""Every vector index compared with a scan in numpy: the same rows, order and bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Literal

import numpy as np
import pytest
from fake_devices import faiss_scan, torch_scan
from hypothesis import given, settings
from hypothesis import strategies as st

from search_app import hardware
from search_app.errors import IndexCorrupt
from search_app.settings import VectorSettings
from search_app.stores.vectors.compressed import CompressedIndex
from search_app.stores.vectors.device import Scan
from search_app.stores.vectors.factory import open_index
from search_app.stores.vectors.gpu import open_gpu
from search_app.stores.vectors.index import Arrays, Rows, VectorIndex
from search_app.stores.vectors.plan import plan_index
from search_app.types import Matrix

Make = Callable[["Data"], VectorIndex]
COUNT, QUERIES = 6_000, 12
SHARES = (0.0, 0.001, 0.01, 0.1, 0.5, 1.0)


@dataclass
class Data:
    """The data: ascending rows and their vectors; `read` counts the vectors read."""

    rows: Rows
    vectors: Matrix
    read: list[int] = field(default_factory=list)

    def batches(self) -> Iterator[tuple[Rows, Matrix]]:
        for start in range(0, len(self.rows), 1_000):
            yield self.rows[start : start + 1_000], self.vectors[start : start + 1_000]

    def exact(self, rows: Rows) -> Matrix:
        self.read.append(len(rows))
        places = np.searchsorted(self.rows, rows)
        assert (self.rows[places] == rows).all()
        return self.vectors[places]

    def open(self, settings: VectorSettings, arrays: Arrays | None = None) -> VectorIndex:
        dim = self.vectors.shape[1]
        return open_index(dim, len(self.rows), self.batches, arrays=arrays, settings=settings, may_train=arrays is None)

    def best(self, queries: Matrix, k: int, among: Rows | None = None) -> tuple[Matrix, Rows]:
        """Scores and rows by comparing every vector; equal scores in row order."""
        chosen = np.ones(len(self.rows), dtype=bool) if among is None else np.isin(self.rows, among)
        rows, vectors = self.rows[chosen], self.vectors[chosen]
        found = []
        for query in queries:
            scores = np.einsum("ij,j->i", vectors, query)
            order = np.lexsort((rows, -scores))[:k]
            found.append((scores[order], rows[order]))
        return np.stack([scores for scores, _ in found]), np.stack([rows for _, rows in found])

    def plus(self, rows: Rows, vectors: Matrix) -> Data:
        return Data(np.concatenate((self.rows, rows)), np.concatenate((self.vectors, vectors)))

    def minus(self, rows: Rows) -> Data:
        kept = ~np.isin(self.rows, rows)
        return Data(self.rows[kept], self.vectors[kept])


def flat(data: Data) -> VectorIndex:
    return data.open(VectorSettings(index="flat"))


def compressed(data: Data) -> VectorIndex:
    return data.open(VectorSettings(index="compressed"))


def compressed_to_a_bit(data: Data) -> VectorIndex:
    """Like an index on a machine without memory for 8-bit codes."""
    options = VectorSettings(index="compressed")
    choice = plan_index(*data.vectors.shape, options)
    choice = replace(choice, parameters={**choice.parameters, "codes": 0})
    index = CompressedIndex.trained(data.vectors, (data.vectors.min(axis=0), data.vectors.max(axis=0)), choice, options)
    for rows, vectors in data.batches():
        index.add(rows, vectors)
    return index


def on_two_devices_by_torch(data: Data) -> VectorIndex:
    """bfloat16 copies on a torch device."""
    return on_stand_ins(data, lambda dim: torch_scan(dim), spread="replica")


def on_two_devices_by_faiss(data: Data) -> VectorIndex:
    """float16 halves, in indexes with the limits of GPU indexes."""
    return on_stand_ins(data, lambda dim: faiss_scan(dim, float16=True), spread="shard")


def on_stand_ins(data: Data, scan: Callable[[int], Scan], *, spread: Literal["replica", "shard"]) -> VectorIndex:
    dim = data.vectors.shape[1]
    settings = VectorSettings(device="cuda", spread=spread)
    return open_gpu(dim, len(data.rows), data.batches, settings, scans=lambda *_: [scan(dim), scan(dim)])


def on_all_gpus(data: Data) -> VectorIndex:
    if not hardware.cuda_devices():
        pytest.skip("needs an NVIDIA GPU that torch can use")
    return data.open(VectorSettings(device="cuda"))


KINDS: dict[str, Make] = {
    "flat": flat,
    "compressed": compressed,
    "compressed to a bit": compressed_to_a_bit,
    "gpu stand-ins, torch": on_two_devices_by_torch,
    "gpu stand-ins, FAISS": on_two_devices_by_faiss,
    "gpu": on_all_gpus,
}
COMPARES_ALL = {"flat", "gpu stand-ins, torch", "gpu stand-ins, FAISS", "gpu"}
"""Kinds of index that are exact without a filter, at any size."""
SAVED = ("compressed", "compressed to a bit")


def clustered(count: int, dim: int, *, seed: int) -> Matrix:
    """Unit vectors around common centres, like those of texts on common topics."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(5).standard_normal((300, dim))
    return unit(centres[random.integers(0, len(centres), count)] + 0.6 * random.standard_normal((count, dim)))


def unit(vectors: np.ndarray) -> Matrix:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@cache
def data(dim: int, count: int = COUNT) -> Data:
    """Row numbers with gaps; one vector in twenty occurs twice."""
    vectors = clustered(count, dim, seed=dim)
    vectors[1::20] = vectors[::20]
    return Data(np.arange(count, dtype=np.int64) * 3 + 10, vectors)


@cache
def questions(dim: int) -> Matrix:
    """Questions; some equal a vector that occurs twice."""
    found = clustered(QUERIES, dim, seed=dim + 1)
    found[:4] = data(dim).vectors[:80:20]
    return found


@cache
def built(kind: str, dim: int) -> VectorIndex:
    """An index shared by tests that do not change it."""
    return KINDS[kind](data(dim))


def some(rows: Rows, share: float, *, seed: int = 0) -> Rows:
    chosen = np.random.default_rng(seed).random(len(rows)) < share
    chosen[:2] |= share > 0
    return rows[chosen]


@pytest.mark.parametrize("dim", [8, 64, 100, 384])
@pytest.mark.parametrize("kind", KINDS)
class TestSearch:
    @pytest.mark.parametrize("share", SHARES)
    @pytest.mark.parametrize("k", [1, 10, 100])
    def test_a_filtered_search_equals_a_scan_of_the_matching_rows(
        self, kind: str, dim: int, k: int, share: float
    ) -> None:
        among = np.sort(np.concatenate((some(data(dim).rows, share), [1, 11, 10**6])))
        scores, rows = built(kind, dim).search(questions(dim), k, exact=data(dim).exact, among=among)
        expected_scores, expected_rows = data(dim).best(questions(dim), k, among)
        assert rows.shape == scores.shape == expected_rows.shape
        assert (rows == expected_rows).all()
        assert (scores == expected_scores).all()

    def test_an_unfiltered_search_gives_exact_scores_in_descending_order(self, kind: str, dim: int) -> None:
        scores, rows = built(kind, dim).search(questions(dim), 20, exact=data(dim).exact)
        assert scores.dtype == np.float32
        assert rows.dtype == np.int64
        assert (np.diff(scores) <= 0).all()
        assert all(len(set(one)) == 20 for one in rows.tolist())
        exact = np.einsum("nkd,nd->nk", data(dim).exact(rows).astype(np.float64), questions(dim).astype(np.float64))
        assert np.abs(scores - exact).max() < 1e-6
        _, expected = data(dim).best(questions(dim), 20)
        if kind in COMPARES_ALL:
            assert (rows == expected).all()

    def test_a_question_gives_the_same_result_alone_and_in_a_batch(self, kind: str, dim: int) -> None:
        many = np.concatenate([questions(dim)] * 8)
        for among in (None, some(data(dim).rows, 0.1), some(data(dim).rows, 0.005)):
            scores, rows = built(kind, dim).search(many, 10, exact=data(dim).exact, among=among)
            for place in range(QUERIES):
                alone = built(kind, dim).search(many[place : place + 1], 10, exact=data(dim).exact, among=among)
                assert (rows[place] == alone[1][0]).all()
                assert (scores[place] == alone[0][0]).all()
                assert (rows[place + QUERIES] == rows[place]).all()


@pytest.mark.parametrize("kind", KINDS)
class TestEdges:
    def test_a_vector_finds_itself_and_its_copy_in_row_order(self, kind: str) -> None:
        _, rows = built(kind, 64).search(questions(64)[:4], 2, exact=data(64).exact)
        assert (rows == [[data(64).rows[i], data(64).rows[i + 1]] for i in range(0, 80, 20)]).all()

    def test_asking_for_more_hits_than_rows_gives_all_rows(self, kind: str) -> None:
        index = KINDS[kind](data(8))
        index.remove(data(8).rows[40:])
        left = Data(data(8).rows[:40], data(8).vectors[:40])
        scores, rows = index.search(questions(8), 100, exact=left.exact)
        assert (rows == left.best(questions(8), 100)[1]).all()
        assert scores.shape == (QUERIES, 40)

    def test_an_empty_index_finds_nothing(self, kind: str) -> None:
        index = KINDS[kind](data(8))
        index.remove(data(8).rows)
        assert len(index) == 0
        for among in (None, data(8).rows, np.empty(0, dtype=np.int64)):
            scores, rows = index.search(questions(8), 10, exact=data(8).exact, among=among)
            assert scores.shape == rows.shape == (QUERIES, 0)
        index.add(np.array([10**7]), questions(8)[:1])
        _, rows = index.search(questions(8)[:1], 10, exact=lambda wanted: questions(8)[:1])
        assert rows.tolist() == [[10**7]]

    def test_no_questions_give_no_results(self, kind: str) -> None:
        scores, rows = built(kind, 8).search(questions(8)[:0], 10, exact=data(8).exact)
        assert scores.shape == rows.shape == (0, 10)

    def test_it_reports_its_size_and_description(self, kind: str) -> None:
        index = built(kind, 64)
        assert len(index) == COUNT
        assert index.degraded == ""
        described = index.describe()
        assert described["kind"] == kind.split()[0]
        assert described["why"]
        assert described.get("bits a dimension") == {"compressed": [1, 8], "compressed to a bit": [1]}.get(kind)

    @pytest.mark.parametrize("apart", [1e-6, 1e-4, 3e-3])
    def test_vectors_too_close_for_approximate_scores_are_ordered_exactly(self, kind: str, apart: float) -> None:
        random = np.random.default_rng(1)
        near = unit(questions(64)[:1] + apart * random.standard_normal((1_500, 64)))
        now = Data(np.arange(3_000, dtype=np.int64), np.concatenate((near, data(64).vectors[:1_500])))
        among = now.rows[::2]
        scores, rows = KINDS[kind](now).search(questions(64), 10, exact=now.exact, among=among)
        expected_scores, expected_rows = now.best(questions(64), 10, among)
        assert (rows == expected_rows).all()
        assert (scores == expected_scores).all()

    def test_copies_of_a_vector_come_in_row_order(self, kind: str) -> None:
        copies = Data(np.arange(2_000, dtype=np.int64), np.repeat(questions(64)[:1], 2_000, axis=0))
        _, rows = KINDS[kind](copies).search(questions(64)[:1], 10, exact=copies.exact, among=copies.rows[1::2])
        assert rows.tolist() == [list(range(1, 20, 2))]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None)
@given(st.data())
def test_rows_are_added_and_removed_between_searches(kind: str, drawn: st.DataObject) -> None:
    now, index = data(8, 1_100), KINDS[kind](data(8, 1_100))
    gone: list[int] = []
    for step in range(drawn.draw(st.integers(2, 6))):
        change = drawn.draw(st.sampled_from(["add", "remove", "remove most"]))
        if change == "add":
            new = clustered(drawn.draw(st.integers(1, 300)), 8, seed=step)
            first = 10_000 * (step + 1) + drawn.draw(st.integers(0, 5_000))
            rows = np.arange(first, first + len(new), dtype=np.int64)
            index.add(rows, new)
            now = now.plus(rows, new)
        else:
            rows = some(now.rows, 0.95 if change == "remove most" else 0.1, seed=step)
            index.remove(np.concatenate((rows, [7], gone[:5])).astype(np.int64))
            now = now.minus(rows)
            gone += rows.tolist()
        assert len(index) == len(now.rows)
        share = drawn.draw(st.sampled_from([0.01, 0.3, 0.9]))
        among = np.sort(np.concatenate((some(now.rows, share, seed=step), gone[:50]))).astype(np.int64)
        k = drawn.draw(st.sampled_from([1, 7, 60]))
        scores, found = index.search(questions(8), k, exact=now.exact, among=among)
        expected_scores, expected = now.best(questions(8), k, among)
        assert (found == expected).all()
        assert (scores == expected_scores).all()
        _, found = index.search(questions(8), k, exact=now.exact)
        assert found.shape == (QUERIES, min(k, len(now.rows)))
        assert np.isin(found, now.rows).all()


class TestSaved:
    @pytest.mark.parametrize("kind", SAVED)
    def test_a_saved_index_gives_identical_results_when_loaded(self, kind: str) -> None:
        index, now = KINDS[kind](data(100)), data(100)
        new, gone = clustered(50, 100, seed=9), now.rows[::7]
        added = np.arange(50, dtype=np.int64) + 10**6
        index.add(added, new)
        index.remove(gone)
        now = now.plus(added, new).minus(gone)
        restored = now.open(VectorSettings(), arrays=_read_only(index.to_arrays()))
        assert len(restored) == len(index) == len(now.rows)
        for among in (None, some(now.rows, 0.2), gone):
            before = index.search(questions(100), 10, exact=now.exact, among=among)
            after = restored.search(questions(100), 10, exact=now.exact, among=among)
            assert (before[0] == after[0]).all()
            assert (before[1] == after[1]).all()

    @pytest.mark.parametrize("kind", SAVED)
    def test_a_loaded_index_can_be_changed(self, kind: str) -> None:
        arrays = _read_only(built(kind, 64).to_arrays())
        now = data(64)
        index = now.open(VectorSettings(), arrays=arrays)
        new, gone = clustered(400, 64, seed=3), now.rows[:300]
        index.add(np.arange(400, dtype=np.int64) + 10**6, new)
        index.remove(gone)
        now = now.plus(np.arange(400, dtype=np.int64) + 10**6, new).minus(gone)
        among = np.concatenate((gone, some(now.rows, 0.5)))
        _, rows = index.search(questions(64), 10, exact=now.exact, among=among)
        assert (rows == now.best(questions(64), 10, among)[1]).all()

    @pytest.mark.parametrize("missing", ["rows", "lists", "why", "layout", "error", "far"])
    def test_incomplete_arrays_are_refused(self, missing: str) -> None:
        arrays = dict(_read_only(built("compressed", 8).to_arrays()))
        del arrays[missing]
        with pytest.raises(IndexCorrupt, match="verify --repair"):
            data(8).open(VectorSettings(), arrays=arrays)

    def test_arrays_of_another_index_are_refused(self) -> None:
        arrays, other = built("compressed", 8).to_arrays(), built("compressed", 64).to_arrays()
        assert arrays is not None
        assert other is not None
        for name in ("lists", "codes", "rows"):
            mixed = {**arrays, name: other[name][:-1]}
            with pytest.raises(IndexCorrupt):
                data(8).open(VectorSettings(), arrays=mixed)

    def test_a_flat_index_needs_no_file(self) -> None:
        assert built("flat", 8).to_arrays() is None

    def test_the_setting_flat_wins_over_a_saved_index(self) -> None:
        index = data(8).open(VectorSettings(index="flat"), arrays=built("compressed", 8).to_arrays())
        assert index.describe()["kind"] == "flat"
        assert len(index) == COUNT


class TestCompressed:
    def test_recall_without_a_filter_is_high(self) -> None:
        index, truth, asked = _large(), data(384, 20_000), clustered(100, 384, seed=77)
        _, rows = index.search(asked, 10, exact=truth.exact)
        _, expected = truth.best(asked, 10)
        found = sum(len(np.intersect1d(*both)) for both in zip(rows, expected, strict=True))
        assert found / expected.size >= 0.98

    @pytest.mark.parametrize("among", [None, 0.1, 0.01])
    def test_a_question_reads_few_exact_vectors(self, among: float | None) -> None:
        index, truth = _large(), data(384, 20_000)
        asked = clustered(20, 384, seed=78)
        truth.read.clear()
        for question in asked:
            wanted = None if among is None else some(truth.rows, among)
            index.search(question[np.newaxis], 10, exact=truth.exact, among=wanted)
        assert sum(truth.read) / len(asked) <= 130
        assert max(truth.read) <= 256

    def test_training_again_gives_the_same_index(self) -> None:
        first, second = built("compressed", 64).to_arrays(), compressed(data(64)).to_arrays()
        assert first is not None
        assert second is not None
        assert {name: int((first[name] != second[name]).sum()) for name in first} == dict.fromkeys(first, 0)

    def test_a_wide_filter_still_gives_k_hits(self) -> None:
        options = VectorSettings(index="compressed", exact_filters=100, oversample=1, probes=1)
        index, among = data(64).open(options), some(data(64).rows, 0.5)
        for k in (1, 10, 400):
            _, rows = index.search(questions(64), k, exact=data(64).exact, among=among)
            assert rows.shape == (QUERIES, k)
            assert np.isin(rows, among).all()
            assert all(len(set(one)) == k for one in rows.tolist())

    @pytest.mark.parametrize("outside", [0.2, 1.0])
    def test_vectors_unlike_the_training_data_are_found_without_loss_for_others(self, outside: float) -> None:
        now, strange = data(384), np.zeros((3, 384), dtype=np.float32)
        strange[[0, 1, 2], [0, 1, 2]] = 1.0
        strange = unit((1 - outside) * now.vectors[:3] + outside * strange)
        rows = np.arange(3, dtype=np.int64) + 10**6
        index = compressed(now)
        index.add(rows, strange)
        now = now.plus(rows, strange)
        among = np.concatenate((some(data(384).rows, 0.5), rows))
        asked = np.concatenate((strange, questions(384)))
        _, found = index.search(asked, 10, exact=now.exact, among=among)
        assert (found == now.best(asked, 10, among)[1]).all()
        assert (found[:3, 0] == rows).all()
        now.read.clear()
        index.search(questions(384)[5:6], 10, exact=now.exact, among=among)
        assert sum(now.read) <= 300


@cache
def _large() -> VectorIndex:
    return compressed(data(384, 20_000))


def _read_only(arrays: Arrays | None) -> Arrays:
    """A read-only array, like a memory map."""
    assert arrays is not None
    copies = {name: array.copy() for name, array in arrays.items()}
    for array in copies.values():
        array.flags.writeable = False
    return copies
