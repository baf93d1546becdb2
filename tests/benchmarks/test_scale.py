from __future__ import annotations

import random
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fakes import HashEncoder

from benchmarks import gpu, synthetic
from benchmarks.page import put_section
from benchmarks.scale import ask, report
from benchmarks.scale.build import COLLECTION, build
from benchmarks.scale.rivals import Fts5
from benchmarks.sentences import Sentences
from search_app.settings import Settings, load_settings
from search_app.stores.catalog import open_catalog
from search_app.text import analysis
from search_app.types import Document, Passage

ENCODER = HashEncoder(dim=64)
WORDS = ["river", "engine", "treaty", "violin", "glacier", "market", "comet", "bridge", "orchid", "Vienna", "Osaka"]


@pytest.fixture(scope="module")
def data() -> Sentences:
    draw = random.Random(4)
    documents, passages = list[Document](), list[Passage]()
    for number in range(400):
        texts = [" ".join(draw.choices(WORDS, k=9)) + f" {number}-{i}." for i in range(3)]
        id, text, start = f"d{number}", " ".join(texts), 0
        documents.append(Document(id, "", text, f"{id}.txt", language="en"))
        for part in texts:
            place = (start, start + len(part))
            passages.append(Passage(f"{id}-{start}", id, "", part, *place, None, f"{id}.txt"))
            start += len(part) + 1
    questions = [" ".join(draw.choices(WORDS, k=3)) for _ in range(64)]
    vectors = ENCODER.encode_passages([passage.text for passage in passages])
    return Sentences(tuple(documents), tuple(passages), tuple(questions), vectors, ENCODER.encode_queries(questions))


@pytest.fixture(scope="module")
def found(data: Sentences, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("scale")
    settings: Settings = load_settings(home=folder)
    fts5 = Fts5(folder)
    fts5.build([analysis.terms(passage.text, "en") for passage in data.passages])
    analysed = [analysis.terms(question, "en") for question in data.questions]
    result: dict[str, Any] = {"passages": len(data.passages), "real": 600, **build(settings, data, ENCODER.stamp)}
    with closing(open_catalog(settings)) as catalog, closing(catalog.open(COLLECTION)) as store:
        result["about"] = catalog.describe(COLLECTION)
        result |= ask.dense(store, data, 600, ask.flat_index(data.vectors))
        result |= ask.words(store, list(data.questions), {"FTS5": (fts5, 20)}, analysed)
        result |= ask.both(store, data)
        result |= ask.filtered(store, data)
        result |= ask.living(settings, store, data, ENCODER.stamp)
        assert store.counts()["passages"] == len(data.passages)
    return result


def test_a_small_collection_is_searched_exactly_with_and_without_filters(found: dict[str, Any]) -> None:
    assert found["recall"] == found["recall_real"] == 1
    for share in ("0.1", "1", "10", "50"):
        assert found[f"filter_{share}_short"] == 0
        assert found[f"filter_{share}_recall"] > 0.95  # equal vectors may come in any order


def test_the_section_compares_each_measurement_with_its_target(found: dict[str, Any]) -> None:
    timed = {f"words_{name}_{at}": 0.002 for name in ("bm25s", "tantivy") for at in (50, 95)}
    opened = {"open_dense": 0.1, "open_keyword": 0.1, "resident_dense": 6e5, "resident_asked": 6e5, "resident": 7e5}
    kind = {"name": "flat", "passages": 1200, "build": 1.0, "bytes": 256.0, "p50": 0.001, "p95": 0.002, "recall": 1.0}
    text = report.section([{**found, **timed, **opened}], [kind], "Measured.", pictures=False)
    assert "| resident for vectors, a passage | ≤ 500 bytes | 500 bytes |" in text
    assert "| recall@10 after re-ranking, against exact | ≥ 0.98 | 1.0000 |" in text
    assert "| flat | 1 | 256 | 1.0 | 2.0 | 1.0000 |" in text
    assert "images/" not in text


def test_a_command_replaces_only_its_own_section_of_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    put_section(page, "First", "### A\n\none")
    put_section(page, "Second", "two")
    put_section(page, "First", "### A\n\nthree")
    assert page.read_text() == "# Benchmarks\n\n## First\n\n### A\n\nthree\n\n## Second\n\ntwo\n"


def test_the_gpu_benchmark_measures_both_cpu_indexes(data: Sentences) -> None:
    products, _ = synthetic.nearest(data.asked, data.vectors, gpu.K)
    rows = [
        gpu.measure(name, make, data.vectors, data.asked, products, seconds=0.01)
        for name, make in gpu.makers(data.vectors, "cpu").items()
    ]
    assert [row["name"] for row in rows] == ["CPU, every vector", "CPU, compressed"]
    assert rows[0]["recall"] == 1
    assert float(rows[1]["recall"]) > 0.9
    assert "| 1,200 | CPU, every vector | 0 | 1.0000 |" in gpu.section(rows, "Measured.")
