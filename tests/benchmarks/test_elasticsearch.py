from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from fakes import HashEncoder

from benchmarks import sentences, synthetic
from benchmarks.elasticsearch import bulk, quality, scale
from benchmarks.elasticsearch.__main__ import TITLES, TOP
from benchmarks.elasticsearch.server import Server
from benchmarks.kept import Kept
from benchmarks.recall import recall, recall_on
from benchmarks.run import Run
from benchmarks.sentences import Sentences
from search_app.types import Matrix

ENCODER = HashEncoder(dim=64)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A file of paragraphs; two of them share a sentence."""
    cities = ["Ely", "Ulm", "Metz", "Bari", "Lund", "Siena", "Trier", "Pisa", "Reims", "Burgos", "Kotor", "Zadar"]
    paragraphs = [
        {
            "context": f"The cathedral of {city} stands on a hill.  Does anyone know who built it there? Nobody does.",
            "qas": [
                {"id": city, "question": f"What stands in {city}?", "answers": [{"text": city, "answer_start": 17}]}
            ],
        }
        for city in cities
    ]
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "a.json").write_text(
        json.dumps({"version": "1.1", "data": [{"title": "", "paragraphs": paragraphs}]}), encoding="utf-8"
    )
    return texts


def load(folder: Path, cache: Path, encoder: HashEncoder = ENCODER) -> Sentences:
    return sentences.load(encoder, cache, folder=folder, questions=5)


def test_sentences_are_passages_of_their_paragraph_without_duplicates(folder: Path, tmp_path: Path) -> None:
    data = load(folder, tmp_path)
    texts = {document.id: document.text for document in data.documents}
    assert len(texts) == 12
    assert all(texts[passage.document_id][passage.start : passage.end] == passage.text for passage in data.passages)
    assert sum(passage.text == "Does anyone know who built it there?" for passage in data.passages) == 1
    assert len(data.passages) == len(data.vectors) == 13
    assert len(data.questions) == len(data.asked) == 5


def test_vectors_are_encoded_once(folder: Path, tmp_path: Path) -> None:
    first, second = HashEncoder(dim=64), HashEncoder(dim=64)
    before, after = load(folder, tmp_path, first), load(folder, tmp_path, second)
    assert (len(first.encoded), len(second.encoded)) == (13, 0)
    assert np.array_equal(before.vectors, after.vectors)


def test_a_part_consists_of_whole_documents(folder: Path, tmp_path: Path) -> None:
    part = load(folder, tmp_path).first(1)
    assert {passage.document_id for passage in part.passages} == {document.id for document in part.documents}
    assert len(part.documents) == 1


def clustered(count: int) -> Matrix:
    rng = np.random.default_rng(0)
    centres = np.repeat(rng.normal(size=(count // 20, 48)), 20, axis=0)
    vectors = (centres + 0.5 * rng.normal(size=centres.shape)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def test_derived_vectors_have_unit_length_and_the_distances_of_real_ones() -> None:
    real = clustered(2_000)
    derived = synthetic.derived_vectors(real, 1_500, seed=3)
    assert np.allclose(np.linalg.norm(derived, axis=1), 1, atol=1e-5)
    every = np.concatenate([real, derived])
    among_real, _ = synthetic.neighbour_quantiles(range(len(real)), real)
    from_derived, _ = synthetic.neighbour_quantiles(range(len(real), len(every)), every)
    assert from_derived == pytest.approx(among_real, rel=0.35)
    assert np.max(derived @ real.T) < 0.9999  # no copies


def test_neighbour_quantiles_match_an_exhaustive_comparison() -> None:
    vectors = clustered(400)
    products = vectors @ vectors.T
    np.fill_diagonal(products, -2)
    distances = 1 - np.sort(products, axis=1)[:, ::-1]
    nearest, tenth = synthetic.neighbour_quantiles(range(400), vectors)
    assert nearest == pytest.approx(list(np.percentile(distances[:, 0], synthetic.QUANTILES)), abs=1e-5)
    assert tenth == pytest.approx(list(np.percentile(distances[:, 9], synthetic.QUANTILES)), abs=1e-5)


def test_derived_passages_belong_to_documents_and_use_real_words(folder: Path, tmp_path: Path) -> None:
    real = load(folder, tmp_path)
    data = synthetic.extended(real, 50)
    assert len(data.passages) == len(data.vectors) == 50
    assert data.passages[:13] == real.passages
    texts = {document.id: document.text for document in data.documents}
    assert all(texts[passage.document_id][passage.start : passage.end] == passage.text for passage in data.passages)
    assert len({passage.id for passage in data.passages}) == 50
    words = {word for passage in real.passages for word in passage.text.split()}
    assert {word for passage in data.passages[13:] for word in passage.text.split()} <= words


def test_term_statistics_ignore_case_and_punctuation() -> None:
    found = synthetic.term_statistics(["One two, two!", "Three"])
    assert (found.words, found.vocabulary) == (2, 3)
    assert found.once == pytest.approx(2 / 3)
    assert found.common == 1


def test_the_changes_contain_each_passage_once_with_its_vector(folder: Path, tmp_path: Path) -> None:
    data = load(folder, tmp_path)
    changes = list(bulk.changes(data))
    found = [pair for change in changes for pair in zip(change.batch.passages, change.batch.embeddings, strict=True)]
    assert [passage.id for passage, _ in found] == [passage.id for passage in data.passages]
    assert np.array_equal(np.array([vector for _, vector in found]), data.vectors)


def test_recall_is_the_share_of_nearest_neighbours_found(folder: Path, tmp_path: Path) -> None:
    data = load(folder, tmp_path)
    products, exact = synthetic.nearest(data.asked, data.vectors, 4)
    every = [list(map(int, rows)) for rows in exact]
    assert recall(data.vectors, data.asked, every, products) == 1
    assert recall(data.vectors, data.asked, [rows[:1] for rows in every], products) == pytest.approx(0.25)
    assert recall_on(range(13), [rows[:2] for rows in every], exact) == pytest.approx(0.5)
    chosen = range(6)
    assert recall_on(chosen, [[row for row in rows if row in chosen] for rows in every], exact) == 1


@pytest.mark.parametrize(
    ("vectors", "each"),
    [("flat", 1536), ("hnsw", 1600), ("int8_hnsw", 452), ("int4_hnsw", 260), ("bbq_flat", 62), ("bbq_hnsw", 126)],
)
def test_memory_follows_the_formulas_of_the_manual(vectors: str, each: int) -> None:
    assert scale.memory_bytes(vectors, 1_000, 384) == 1_000 * each


def type_row(vectors: str, **values: float) -> dict[str, Any]:
    return {"vectors": vectors, "memory": 1e6, "recall": 1.0, "hybrid_50": 0.01, **values}


def test_the_recommendation_requires_enough_recall() -> None:
    rows = [
        type_row("flat", memory=0.0),
        type_row("int8_hnsw", memory=4e6, hybrid_50=0.005),
        type_row("int4_hnsw", memory=3e6),
        type_row("bbq_hnsw", memory=1e6, recall=0.9),
    ]
    text = scale.recommendation(rows)
    assert "`int4_hnsw`" in text
    assert "fastest of them: `int8_hnsw`" in text
    assert "No graph" in scale.recommendation([type_row("hnsw", recall=0.5)])


def test_measurements_are_reused_only_for_the_same_code_and_machine(tmp_path: Path) -> None:
    path = tmp_path / "part" / "rows.jsonl"
    kept = Kept(path, {"code": "x"}, fresh=False)
    kept.add(system="ours", round=0, seconds=1.5)
    again = Kept(path, {"code": "x"}, fresh=False)
    assert again.has(system="ours", round=0)
    assert not again.has(system="ours", round=1)
    with pytest.raises(click.ClickException, match="--fresh"):
        Kept(path, {"code": "y"}, fresh=False)
    assert Kept(path, {"code": "y"}, fresh=True).rows == []


def test_the_bulk_table_shows_ratios_of_medians(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "rows.jsonl", {}, fresh=True)
    for system, seconds in (("int8_hnsw", (1.0, 9.0, 2.0)), ("haystack", (8.0, 8.0, 8.0)), ("haystack-fast", (5.0,))):
        for number, value in enumerate(seconds):
            kept.add(system=system, name=system, vectors="int8_hnsw", round=number, passages=1000, documents=9,
                     seconds=value, client_cpu=0.5, server_cpu=1.0)  # fmt: skip
    assert "| int8_hnsw | int8_hnsw | 500 | 4.00 | 2.50 | 0.50 | 1.00 |" in bulk.section(kept)


def test_the_quality_table_shows_differences_in_points(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "rows.jsonl", {}, fresh=True)
    for store, success, em in (("embedded", 0.8, 60.0), ("elasticsearch", 0.7975, 60.5)):
        kept.add(task="retrieval", store=store, questions=100.0, **{"success@1": success, "success@10": 1, "mrr@10": 1})
        kept.add(task="answers", store=store, questions=10.0, em=em, f1=70.0)
    text = quality.section(kept)
    assert "| retrieval | 100 | Success@1 | 80.00 | 79.75 | -0.25 |" in text
    assert "| answers | 10 | EM | 60.00 | 60.50 | +0.50 |" in text


def test_a_part_writes_its_section_below_the_description_of_the_server(tmp_path: Path) -> None:
    run = Run("make bench-elasticsearch", tmp_path, tmp_path / "page.md", None, True)
    run.write(TITLES["bulk"], "measured", top=TOP)
    text = run.out.read_text()
    assert text.startswith("# Elasticsearch: benchmarks\n\nGenerated by `make bench-elasticsearch`, part by part")
    assert text.endswith(f"upper bound.\n\n## {TITLES['bulk']}\n\nmeasured\n")


def test_a_limited_run_writes_no_page(tmp_path: Path) -> None:
    Run("make bench", tmp_path, tmp_path / "page.md", 10, True).write("Title", "measured")
    assert not (tmp_path / "page.md").exists()


def test_a_missing_server_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.elasticsearch.server.RUN", tmp_path / "elasticsearch" / "run")
    with pytest.raises(click.ClickException, match="--url"), Server(tmp_path):
        pass


@pytest.mark.elasticsearch
def test_every_vector_type_is_built_searched_and_removed_on_a_real_server(
    elasticsearch_url: str, folder: Path, tmp_path: Path
) -> None:
    data = load(folder, tmp_path)
    real = len(data.passages)
    data = synthetic.extended(data, 40)
    kept = Kept(tmp_path / "rows.jsonl", {}, fresh=True)
    with Server(tmp_path, url=elasticsearch_url) as server:
        scale.measure(server, data, real, ENCODER.stamp, kept, types=("flat", "int8_hnsw"))
        assert not server.get(f"/{bulk.PREFIX}*/_alias")
    rows = {row["vectors"]: row for row in kept.of(what="type")}
    assert {row["passages"] for row in rows.values()} == {40}
    assert rows["flat"]["recall"] == rows["flat"]["recall_real"] == 1
    assert rows["int8_hnsw"]["index"] > rows["int8_hnsw"]["raw"] > 0
    assert "| flat |" in scale.section(kept)


@pytest.mark.skipif(sys.platform != "linux", reason="the server runs on Linux")
def test_a_server_started_for_a_run_stops_with_it_and_leaves_no_files(tmp_path: Path) -> None:
    from servers import missing

    if reason := missing():
        pytest.skip(reason)
    with Server(tmp_path, heap="512m") as server:
        assert server.describe().startswith("Elasticsearch 8.")
        url = server.url
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(click.ClickException, match="does not answer"), Server(tmp_path, url=url, patience=1):
        pass
