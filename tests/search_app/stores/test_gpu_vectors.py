"""Exact search on devices that round, ignore or lose vectors: fake devices on the CPU, and real GPUs if present."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from fake_devices import SCANS, Failing, ObedientKernel, PlainKernel, faiss_scan, torch_scan
from hypothesis import given, settings
from hypothesis import strategies as st

from search_app import hardware
from search_app.errors import ConfigurationError
from search_app.settings import VectorSettings
from search_app.stores.vectors import gpu, packages, selftest
from search_app.stores.vectors.device import DeviceFailure, Found, Mask, OutOfMemory, Scan
from search_app.stores.vectors.factory import open_index
from search_app.stores.vectors.gpu import GpuIndex, open_gpu
from search_app.stores.vectors.index import Rows
from search_app.types import Matrix

DIM = 32
ON_GPU = VectorSettings(device="cuda")


class Truth:
    """All vectors by row, and which of them are not removed."""

    def __init__(self, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)
        self.vectors: Matrix = np.empty((0, DIM), dtype=np.float32)
        self.live: Mask = np.empty(0, dtype=bool)

    def more(self, vectors: Matrix) -> tuple[Rows, Matrix]:
        """Row numbers from 1 on."""
        first = len(self.vectors) + 1
        self.vectors = np.concatenate((self.vectors, vectors))
        self.live = np.concatenate((self.live, np.ones(len(vectors), dtype=bool)))
        return np.arange(first, first + len(vectors)), vectors

    def unit(self, count: int) -> Matrix:
        return normalised(self._random.standard_normal((count, DIM)))

    def exact(self, rows: Rows) -> Matrix:
        assert self.live[rows - 1].all(), "asked for rows that were removed"
        return self.vectors[rows - 1]

    def rows(self) -> Rows:
        return np.flatnonzero(self.live) + 1

    def batches(self, size: int = 500) -> Iterator[tuple[Rows, Matrix]]:
        rows = self.rows()
        for start in range(0, len(rows), size):
            yield rows[start : start + size], self.exact(rows[start : start + size])

    def remove(self, rows: Rows) -> None:
        self.live[rows - 1] = False

    def check(self, index: gpu.VectorIndex, queries: Matrix, k: int, among: Rows | None = None) -> None:
        """Checks the best k, as far as float32 can distinguish them."""
        matching = self.rows() if among is None else among[np.isin(among, self.rows())]
        scores, rows = index.search(queries, k, exact=self.exact, among=among)
        expected = queries.astype(np.float64) @ self.vectors[matching - 1].T.astype(np.float64)
        assert scores.shape == rows.shape == (len(queries), min(k, len(matching)))
        assert np.isin(rows, matching).all()
        assert np.isclose(scores, -np.sort(-expected, axis=1)[:, :k], atol=2e-6, rtol=0).all()
        assert all(len(set(row)) == len(row) for row in rows.tolist())
        own = np.einsum("qd,qkd->qk", queries.astype(np.float64), self.vectors[rows - 1].astype(np.float64))
        assert np.isclose(scores, own, atol=2e-6, rtol=0).all()


def normalised(vectors: Matrix) -> Matrix:
    rows = vectors.astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def opened(truth: Truth, scans: Sequence[Scan], *, spread: str = "replica") -> GpuIndex:
    index = GpuIndex(DIM, scans, spread=spread)
    for rows, vectors in truth.batches():
        index.add(rows, vectors)
    return index


@pytest.fixture(params=SCANS)
def make_scan(request: pytest.FixtureRequest) -> Callable[[], Scan]:
    return lambda: SCANS[request.param](DIM)


class TestExactByConstruction:
    @pytest.mark.parametrize("kind", SCANS)
    def test_every_fake_device_passes_the_self_test(self, kind: str) -> None:
        selftest.check(SCANS[kind](selftest.DIM))

    @pytest.mark.parametrize("spread", ["replica", "shard"])
    @pytest.mark.parametrize("devices", [1, 3])
    def test_it_finds_the_best_with_and_without_a_filter(
        self, make_scan: Callable[[], Scan], spread: str, devices: int
    ) -> None:
        truth = Truth()
        truth.more(truth.unit(4000))
        index = opened(truth, [make_scan() for _ in range(devices)], spread=spread)
        queries = truth.unit(5)
        for k in (1, 10, 300):
            truth.check(index, queries, k)
            for share in (0.0005, 0.01, 0.1, 0.5, 0.99):
                truth.check(index, queries, k, np.flatnonzero(np.random.default_rng(k).random(4200) < share) + 1)

    @pytest.mark.parametrize("spread", ["replica", "shard"])
    def test_removed_rows_disappear_at_once_and_are_compacted_later(
        self, make_scan: Callable[[], Scan], spread: str
    ) -> None:
        truth = Truth()
        truth.more(truth.unit(3000))
        scans = [make_scan(), make_scan()]
        index = opened(truth, scans, spread=spread)
        queries = truth.unit(3)
        held = sum(len(scan) for scan in scans)
        for gone in (np.arange(1, 60), np.arange(50, 2000), np.asarray([2500, 9999])):
            truth.remove(gone[gone <= 3000])
            index.remove(gone)
            truth.check(index, queries, 20)
            truth.check(index, queries, 20, np.arange(1, 2600))
            assert len(index) == len(truth.rows())
        assert sum(len(scan) for scan in scans) < held / 2
        index.add(*truth.more(truth.unit(500)))
        truth.check(index, queries, 20)

    def test_vectors_equal_in_half_precision_are_ranked_exactly(self, make_scan: Callable[[], Scan]) -> None:
        truth = Truth()
        centre = truth.unit(1)
        truth.more(normalised(centre + truth.unit(3000) * np.float32(2e-4)))
        index = opened(truth, [make_scan()])
        for k in (1, 10):
            truth.check(index, normalised(centre + truth.unit(3) * np.float32(0.3)), k)

    def test_equal_vectors_are_in_row_order(self, make_scan: Callable[[], Scan]) -> None:
        truth = Truth()
        truth.more(np.repeat(truth.unit(2), 700, axis=0))
        index = opened(truth, [make_scan()])
        _, rows = index.search(truth.vectors[:1], 30, exact=truth.exact)
        assert rows.tolist() == [list(range(1, 31))]

    def test_an_empty_index_and_an_empty_filter_find_nothing(self, make_scan: Callable[[], Scan]) -> None:
        truth = Truth()
        index = opened(truth, [make_scan()])
        truth.check(index, truth.unit(2), 5)
        index.add(*truth.more(truth.unit(100)))
        truth.check(index, truth.unit(2), 5, np.empty(0, dtype=np.int64))
        truth.check(index, truth.unit(2), 5, np.asarray([500, 600]))
        assert index.search(np.empty((0, DIM), dtype=np.float32), 5, exact=truth.exact)[1].shape == (0, 5)

    @settings(max_examples=25, deadline=None)
    @given(data=st.data())
    def test_it_stays_exact_after_any_additions_and_removals(self, data: st.DataObject) -> None:
        truth = Truth(data.draw(st.integers(0, 1000)))
        make = SCANS[data.draw(st.sampled_from(sorted(SCANS)))]
        scans = [make(DIM) for _ in range(data.draw(st.integers(1, 3)))]
        index = opened(truth, scans, spread=data.draw(st.sampled_from(["replica", "shard"])))
        for _ in range(data.draw(st.integers(1, 5))):
            index.add(*truth.more(truth.unit(data.draw(st.integers(0, 700)))))
            share = data.draw(st.floats(0, 1))
            gone = truth.rows()[np.random.default_rng(1).random(len(truth.rows())) < share]
            truth.remove(gone)
            index.remove(gone)
            every = np.arange(1, len(truth.vectors) + 2)
            among = every[np.random.default_rng(2).random(len(every)) < data.draw(st.floats(0, 1))]
            truth.check(index, truth.unit(2), data.draw(st.integers(1, 100)), data.draw(st.sampled_from([None, among])))
        assert index.degraded == ""


class TestSelfTest:
    def test_a_kernel_that_ignores_selectors_is_used_without_them(self) -> None:
        with pytest.raises(DeviceFailure, match="a filter was ignored"):
            selftest.check(faiss_scan(selftest.DIM, selectors=True))
        result = selftest.run_checks(
            "faiss", 1, lambda device, float16, selectors: faiss_scan(selftest.DIM, selectors=selectors)
        )
        assert (result.library, result.devices, result.selectors) == ("faiss", ("cuda:0",), False)
        assert "a filter was ignored" in result.why

    def test_a_kernel_that_obeys_selectors_is_used_with_them(self) -> None:
        result = selftest.run_checks(
            "faiss",
            2,
            lambda device, float16, selectors: faiss_scan(selftest.DIM, kernel=ObedientKernel, selectors=selectors),
        )
        assert (result.library, result.selectors, result.why) == ("faiss", True, "")

    @pytest.mark.parametrize(
        ("fault", "message"),
        [
            ("swapped", "a better vector was missed"),
            ("scaled", "off by more than"),
            ("repeated", "found twice"),
            ("short", "hits"),
            ("worst", "a better vector was missed"),
        ],
    )
    def test_a_wrong_kernel_fails_the_self_test(self, fault: str, message: str) -> None:
        class Wrong(PlainKernel):
            def search(self, queries: Matrix, k: int, params: object = None) -> Found:
                if fault == "worst":
                    scores, positions = super().search(queries, min(k + 1, self.ntotal))
                    return scores[:, -k:], positions[:, -k:]
                scores, positions = super().search(queries, k)
                if fault == "swapped":
                    return scores[:, ::-1], positions[:, ::-1]
                if fault == "scaled":
                    return scores * np.float32(1.01), positions
                if fault == "repeated":
                    return np.repeat(scores[:, :1], k, axis=1), np.repeat(positions[:, :1], k, axis=1)
                return scores[:, :-1], positions[:, :-1]

        result = selftest.run_checks("faiss", 1, lambda *_: faiss_scan(selftest.DIM, kernel=Wrong, segment=1 << 20))
        assert result.library == ""
        assert message in result.why

    def test_a_hanging_process_times_out(self) -> None:
        assert "no answer within" in selftest.in_own_process("torch", timeout=0.01).why

    def test_a_crashed_process_reports_its_error(self) -> None:
        assert "KeyError" in selftest.in_own_process("nothing of that name").why

    @pytest.mark.skipif(hardware.cuda_devices() > 0, reason="there is a GPU")
    def test_without_a_gpu_the_cpu_answers_with_the_reason(self) -> None:
        result = selftest.run()
        assert result.library == ""
        assert "torch finds no GPU" in result.why
        truth = Truth()
        truth.more(truth.unit(200))
        index = open_index(DIM, 200, truth.batches, arrays=None, settings=ON_GPU, may_train=False)
        assert index.degraded == result.why
        truth.check(index, truth.unit(3), 10)


class TestFailingDevices:
    @pytest.mark.parametrize("at", range(9))
    @pytest.mark.parametrize("error", [DeviceFailure, OutOfMemory])
    @pytest.mark.parametrize("spread", ["replica", "shard"])
    def test_a_failing_device_loses_no_hit_and_is_named(
        self, at: int, error: type[DeviceFailure], spread: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        truth = Truth()
        truth.more(truth.unit(1500))
        failing = Failing(torch_scan(DIM), at=at, error=error, name="cuda:1")
        index = open_gpu(
            DIM,
            1500,
            truth.batches,
            VectorSettings(device="cuda", spread=spread),  # type: ignore[arg-type]
            scans=lambda *_: [torch_scan(DIM), failing],
        )
        queries = truth.unit(4)
        truth.check(index, queries, 10)
        for step in range(3):
            index.add(*truth.more(truth.unit(300)))
            gone = truth.rows()[step::3]
            truth.remove(gone)
            index.remove(gone)
            truth.check(index, queries, 10)
            truth.check(index, queries, 10, truth.rows()[::2])
            assert len(index) == len(truth.rows())
        assert "cuda:1: CUDA error: the device is gone" in index.degraded
        on_cpu = index.describe()["kind"] == "flat"
        assert on_cpu == (spread == "shard"), "the other replica goes on, the other part alone cannot"
        assert ("on the CPU" if on_cpu else "alone") in caplog.text

    def test_when_all_fail_the_cpu_answers(self) -> None:
        truth = Truth()
        truth.more(truth.unit(800))
        index = opened(
            truth, [Failing(torch_scan(DIM), at=3, name="cuda:0"), Failing(torch_scan(DIM), at=4, name="cuda:1")]
        )
        for _ in range(5):
            truth.check(index, truth.unit(2), 10)
        assert "cuda:0" in index.degraded
        assert "cuda:1" in index.degraded
        index.add(*truth.more(truth.unit(10)))
        index.remove(np.asarray([1]))
        truth.remove(np.asarray([1]))
        truth.check(index, truth.unit(2), 10)
        assert index.describe()["kind"] == "flat"

    def test_a_batch_that_does_not_fit_is_halved(self) -> None:
        asked: list[int] = []

        class Small(Failing):
            def best(self, queries: Matrix, k: int, mask: Mask | None) -> Found:
                asked.append(len(queries))
                if len(queries) > 3:
                    raise OutOfMemory("cuda:0: out of memory")
                return super().best(queries, k, mask)

        truth = Truth()
        truth.more(truth.unit(1000))
        index = opened(truth, [Small(torch_scan(DIM), at=1 << 30)])
        truth.check(index, truth.unit(10), 10)
        assert max(asked) == 10
        assert min(asked) <= 3
        assert index.degraded == ""

    def test_vectors_that_do_not_fit_are_searched_on_the_cpu(self) -> None:
        truth = Truth()
        truth.more(truth.unit(1200))
        index = open_gpu(
            DIM,
            1200,
            truth.batches,
            ON_GPU,
            scans=lambda *_: [Failing(faiss_scan(DIM), at=1, error=OutOfMemory)],
        )
        assert index.describe()["kind"] == "flat"
        assert "cuda:0" in index.degraded
        truth.check(index, truth.unit(3), 10)

    @pytest.mark.parametrize(
        ("said", "error"),
        [
            (
                "Error in allocMemory: 'err == cudaSuccess' failed: cudaMalloc error out of memory [2]\n at …",
                OutOfMemory,
            ),
            ("CUDA error: an illegal memory access was encountered", DeviceFailure),
            ("CUDA error: unspecified launch failure", DeviceFailure),
        ],
    )
    def test_cuda_errors_become_device_failures(self, said: str, error: type[DeviceFailure]) -> None:
        class Lost(PlainKernel):
            def search(self, queries: Matrix, k: int, params: object = None) -> Found:
                raise RuntimeError(said)

        scan = faiss_scan(DIM, kernel=Lost)
        scan.add(Truth().unit(10))
        with pytest.raises(DeviceFailure) as caught:
            scan.best(Truth().unit(1), 1, None)
        assert type(caught.value) is error
        assert str(caught.value) == f"faiss stand-in: {said.splitlines()[0]}"


class TestChoosing:
    def test_auto_without_a_gpu_loads_no_library(self) -> None:
        code = (
            "import sys; from search_app.settings import VectorSettings; from search_app.stores.vectors import gpu;"
            "gpu.wanted(VectorSettings(device='auto'), 10**7); print('torch' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        if hardware.cuda_devices():
            pytest.skip("there is a GPU")
        assert done.stdout.strip() == "False"

    def test_auto_keeps_small_indexes_on_the_cpu_and_settings_override_it(self) -> None:
        assert not gpu.wanted(VectorSettings(device="auto"), 100)
        assert not gpu.wanted(VectorSettings(device="cpu"), 10**9)
        assert gpu.wanted(VectorSettings(device="cuda:1"), 1)

    def test_cuda_means_all_devices_a_number_one_of_them_and_auto_the_first(self) -> None:
        assert list(gpu._devices("cuda", 3)) == [0, 1, 2]
        assert list(gpu._devices("cuda:2", 3)) == [2]
        assert list(gpu._devices("auto", 3)) == [0]


class TestBuildsOfFaiss:
    def test_two_faiss_packages_are_refused_with_the_fix(self) -> None:
        with pytest.raises(ConfigurationError) as caught:
            packages.check({"faiss-cpu": "1.15.1", "faiss-gpu": "1.15.1"})
        assert "faiss-cpu 1.15.1 and faiss-gpu 1.15.1" in caught.value.message
        assert caught.value.hint == "run: pip uninstall --yes faiss-cpu faiss-gpu && pip install 'faiss-gpu>=1.15'"

    def test_one_package_or_none_is_fine(self) -> None:
        packages.check({})
        packages.check({"faiss-gpu-cuvs": "1.15.1"})

    def test_every_use_of_faiss_is_refused_with_two_packages(self, tmp_path: Path) -> None:
        for name in ("faiss_cpu-1.15.1", "faiss_gpu-1.15.1"):
            folder = tmp_path / f"{name}.dist-info"
            folder.mkdir()
            (folder / "METADATA").write_text(f"Name: {name.split('-')[0].replace('_', '-')}\nVersion: 1.15.1\n")
        code = "from search_app.stores.vectors.flat import FlatIndex; FlatIndex(3)"
        paths = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": paths},
            check=False,
        )
        assert "ConfigurationError: faiss-cpu 1.15.1 and faiss-gpu 1.15.1 are installed" in done.stderr

    def test_it_finds_the_installed_package(self) -> None:
        found = packages.installed()
        assert len(found) == 1
        name, version = next(iter(found.items()))
        assert importlib.metadata.version(name) == version
        assert packages.extra(found) in {"cpu", "gpu", "gpu-cuda13"}


@pytest.mark.skipif(hardware.cuda_devices() == 0, reason="needs an NVIDIA GPU that torch can use")
class TestOnTheRealThing:
    @pytest.mark.parametrize("float16", [False, True])
    @pytest.mark.parametrize("spread", ["replica", "shard"])
    def test_the_installed_library_passes_the_self_test_and_is_exact(self, float16: bool, spread: str) -> None:
        result = selftest.run()
        assert result.library, result.why
        truth = Truth()
        truth.more(truth.unit(20_000))
        where = VectorSettings(device="cuda", float16=float16, spread=spread)  # type: ignore[arg-type]
        index = open_gpu(DIM, 20_000, truth.batches, where)
        for among in (None, truth.rows()[::2], truth.rows()[::1000]):
            truth.check(index, truth.unit(8), 10, among)
        index.remove(truth.rows()[:9000])
        truth.remove(truth.rows()[:9000])
        truth.check(index, truth.unit(8), 10)
        assert index.degraded == ""
