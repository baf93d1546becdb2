"""Reader, ranker and whole pipelines as Haystack components: the same answers as the service, also from YAML."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from checkpoints import make_checkpoint
from click.testing import CliRunner
from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryBM25Retriever
from haystack.document_stores.in_memory import InMemoryDocumentStore
from transformers import AutoConfig, AutoModelForSequenceClassification

from indexing.job import apply
from search_app import open_service
from search_app.cli import cli
from search_app.encoders.sentence_transformer import SentenceTransformerEncoder
from search_app.errors import ConfigurationError, InvalidQuery
from search_app.hardware import detect
from search_app.haystack import (
    SearchAppBM25Retriever,
    SearchAppConverter,
    SearchAppDocumentStore,
    SearchAppRanker,
    SearchAppReader,
    SearchAppSplitter,
    answer_pipeline,
    indexing_pipeline,
    search_pipeline,
)
from search_app.haystack.documents import to_hit
from search_app.settings import Settings, load_settings
from search_app.stores.catalog import open_catalog
from search_app.stores.filters import parse_where
from search_app.types import SearchResult

TEXTS = {
    "leave.md": "# Leave\n\nEmployees have 27 days of annual leave.\n\n## Parents\n\nParental leave lasts a year.",
    "travel.md": "---\nauthor: Ada\n---\n# Travel\n\nTrains are booked in second class. A hotel costs at most 90 €.",
    "geo.md": "# Rivers\n\nThe Danube crosses Vienna and Budapest.",
}
QUESTIONS = [
    "How many days of annual leave do employees have?",
    "How much may a hotel cost?",
    "Which river crosses Vienna?",
    "Who wrote Hamlet?",
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipelines")
    (folder / "docs").mkdir()
    for name, text in TEXTS.items():
        (folder / "docs" / name).write_text(text)
    settings = load_settings(home=folder / "home")
    encoder = SentenceTransformerEncoder(settings.encoder, detect())
    for collection, path in (("default", folder / "docs"), ("other", folder / "docs" / "geo.md")):
        apply([path], settings=settings, encoder=encoder, collection=collection)
    return folder / "home"


@pytest.fixture
def with_pipeline(home: Path, tmp_path: Path) -> Callable[[str], Settings]:
    def settings(text: str) -> Settings:
        (tmp_path / "my.yaml").write_text(text)
        return load_settings(home=home, pipeline=tmp_path / "my.yaml")

    return settings


def exported(home: Path, *arguments: str) -> str:
    done = CliRunner().invoke(cli, ["pipeline", "export", "--home", str(home), *arguments], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def essence(result: SearchResult) -> Any:
    return (
        [(hit.passage.id, hit.passage.text, hit.passage.title, hit.passage.source, hit.score) for hit in result.hits],
        [
            (item.text, item.span, item.score, item.confidence, item.hit and item.hit.passage.id)
            for item in result.answers
        ],
        result.generation,
    )


@pytest.mark.parametrize("more", [{}, {"retrieval": {"method": "rrf"}}, {"reader": {"passages": 2}}])
def test_the_pipeline_from_yaml_gives_the_answers_of_the_service(home: Path, tmp_path: Path, more: Any) -> None:
    settings = load_settings(home=home, **more)
    (tmp_path / "my.yaml").write_text(answer_pipeline(settings).dumps())
    where = parse_where("author missing")
    with open_service(settings) as built_in, open_service(home=home, pipeline=tmp_path / "my.yaml") as own:
        for question in QUESTIONS:
            for k, top_k in ((10, 3), (1, 1), (20, 5)):
                expected = built_in.answer(question, k=k, top_k=top_k)
                assert essence(own.answer(question, k=k, top_k=top_k)) == essence(expected)
            assert essence(own.search(question, k=2)) == essence(built_in.search(question, k=2))
            assert essence(own.answer(question, where=where)) == essence(built_in.answer(question, where=where))
        # Questions that share a forward pass are rounded differently, so only the best answers are compared.
        for mine, expected in zip(own.answer_many(QUESTIONS), built_in.answer_many(QUESTIONS), strict=True):
            assert mine.answers[0].text == expected.answers[0].text
        expected = built_in.answer(QUESTIONS[2], collection="other")
        assert essence(own.answer(QUESTIONS[2], collection="other")) == essence(expected)


def test_a_pipeline_runs_by_itself_and_asynchronously(home: Path) -> None:
    settings = load_settings(home=home)
    pipeline = answer_pipeline(settings)
    inputs = {
        name: {key: QUESTIONS[0]} for name, key in (("embedder", "text"), ("retriever", "query"), ("reader", "query"))
    }
    (best, *_) = pipeline.run(inputs)["reader"]["answers"]
    assert "27" in best.data
    assert best.document.content[best.document_offset.start : best.document_offset.end] == best.data
    assert best.score == best.meta["confidence"]
    assert asyncio.run(pipeline.run_async(inputs))["reader"]["answers"][0] == best
    again = Pipeline.loads(pipeline.dumps(), allowed_modules=["search_app.*"])
    assert again.to_dict() == pipeline.to_dict()
    found = search_pipeline(settings).run({name: inputs[name] for name in ("embedder", "retriever")})
    assert "annual leave" in found["retriever"]["documents"][0].content


def test_a_changed_pipeline_answers_in_place_of_the_built_in_one(
    home: Path, with_pipeline: Callable[[str], Settings]
) -> None:
    text = exported(home)
    assert "dense_weight: 0.35" in text
    with open_service(with_pipeline(text.replace("dense_weight: 0.35", "dense_weight: 1.0"))) as own:
        changed = own.search(QUESTIONS[0])
    with open_service(home=home, retrieval={"dense_weight": 1.0}) as dense, open_service(home=home) as built_in:
        assert essence(changed) == essence(dense.search(QUESTIONS[0]))
        assert essence(changed) != essence(built_in.search(QUESTIONS[0]))


def test_haystack_components_can_replace_ours(with_pipeline: Callable[[str], Settings]) -> None:
    store = InMemoryDocumentStore()
    pipeline = Pipeline()
    pipeline.add_component("words", InMemoryBM25Retriever(store, top_k=5))
    pipeline.add_component("reader", SearchAppReader())
    pipeline.connect("words", "reader")
    with open_service(with_pipeline(pipeline.dumps())) as service:
        result = service.answer(QUESTIONS[0])
        assert [hit.passage.text for hit in result.hits] == []
        assert [answer.span for answer in result.answers] in ([], [None])


BROKEN = {
    "no YAML": ("components: [", "is not YAML"),
    "nothing": ("", "has no components"),
    "unknown class": (
        "components:\n  a:\n    init_parameters: {}\n    type: search_app.haystack.readers.Nothing\nconnections: []\n",
        "Nothing",
    ),
    "unknown package": (
        "components:\n  a:\n    init_parameters: {}\n    type: no_such_package.Thing\nconnections: []\n",
        "no_such_package",
    ),
    "no documents": (
        "components:\n  a:\n    init_parameters: {}\n    type: search_app.haystack.embedders.SearchAppTextEmbedder\n"
        "connections: []\n",
        "no component with the output 'documents'",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_pipeline_is_refused_by_file_and_reason(kind: str, with_pipeline: Callable[[str], Settings]) -> None:
    text, reason = BROKEN[kind]
    with pytest.raises(ConfigurationError, match=reason) as caught:
        open_service(with_pipeline(text))
    assert "my.yaml" in caught.value.message
    assert caught.value.field == "pipeline"


def test_a_pipeline_without_a_reader_searches_and_says_why_it_cannot_answer(
    home: Path, with_pipeline: Callable[[str], Settings]
) -> None:
    with open_service(with_pipeline(search_pipeline(load_settings(home=home)).dumps())) as service:
        assert service.search(QUESTIONS[0]).hits
        with pytest.raises(ConfigurationError, match="no component with the output 'answers'"):
            service.answer(QUESTIONS[0])


def test_errors_and_limits_are_those_of_the_service(home: Path, with_pipeline: Callable[[str], Settings]) -> None:
    with open_service(with_pipeline(exported(home))) as service:
        with pytest.raises(InvalidQuery, match="empty"):
            service.answer(" ")
        assert service.answer(QUESTIONS[0], collection="nowhere").hits == ()


def test_a_missing_file_is_named(home: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot read pipeline .*none\.yaml"):
        open_service(home=home, pipeline=tmp_path / "none.yaml")


@pytest.fixture(scope="module")
def cross_encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = make_checkpoint("bert", tmp_path_factory.mktemp("ranker"), reader=False)
    config = AutoConfig.from_pretrained(folder, num_labels=1)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    return str(folder)


def documents(*texts: str) -> list[Document]:
    return [Document(id=str(number), content=text, score=1.0 - number / 10) for number, text in enumerate(texts)]


def test_the_reader_marks_answers_in_stock_documents_and_goes_through_yaml() -> None:
    reader = SearchAppReader(top_k=2, no_answer=False, settings={"passages": 1})
    given = documents("The Danube crosses Vienna.", "The Seine crosses Paris.")
    answers = reader.run("Which river crosses Vienna?", given)["answers"]
    assert answers[0].data == "Danube"
    assert {answer.document.id for answer in answers if answer.document} == {"0"}
    pipeline = Pipeline()
    pipeline.add_component("reader", reader)
    again = Pipeline.loads(pipeline.dumps(), allowed_modules=["search_app.*"]).get_component("reader")
    assert again.to_dict() == reader.to_dict()
    assert again.run("Which river crosses Vienna?", given)["answers"] == answers
    assert reader.run("Which river?", [])["answers"] == []
    with pytest.raises(ValueError, match="top_k is 0"):
        SearchAppReader(top_k=0)


def test_the_ranker_reorders_stock_documents_and_goes_through_yaml(cross_encoder: str) -> None:
    ranker = SearchAppRanker(cross_encoder, settings={"top": 3})
    given = documents("Vienna", "A glacier is slow.", "The river crosses Vienna.", "Osaka")
    found = ranker.run("Which river?", given)["documents"]
    assert {item.id for item in found[:3]} == {"0", "1", "2"}
    assert [item.score for item in found[:3]] == sorted((item.score for item in found[:3]), reverse=True)
    assert found[3] is given[3]
    pipeline = Pipeline()
    pipeline.add_component("ranker", ranker)
    again = Pipeline.loads(pipeline.dumps(), allowed_modules=["search_app.*"]).get_component("ranker")
    assert again.to_dict() == ranker.to_dict()
    assert again.run("Which river?", given)["documents"] == found
    assert asyncio.run(ranker.run_async("Which river?", given, top_k=2))["documents"] == found[:2]


def test_a_ranker_in_the_pipeline_orders_as_in_the_service(home: Path, tmp_path: Path, cross_encoder: str) -> None:
    settings = load_settings(home=home, ranker={"model": cross_encoder})
    (tmp_path / "my.yaml").write_text(answer_pipeline(settings).dumps())
    with open_service(settings) as built_in, open_service(home=home, pipeline=tmp_path / "my.yaml") as own:
        for question in QUESTIONS:
            assert essence(own.answer(question)) == essence(built_in.answer(question))


def test_the_indexing_pipeline_makes_passages_and_vectors_as_apply_does(home: Path, tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path / "by-pipeline")
    pipeline = Pipeline.loads(indexing_pipeline(settings).dumps(), allowed_modules=["search_app.*"])
    assert pipeline.run({"converter": {"sources": [home.parent / "docs"]}})["writer"]["documents_written"] == 4
    made, applied = (
        {
            passage.text: (passage.meta.get("author"), vector)
            for batch in store.passages(vectors=True)
            for passage, vector in zip(batch.passages, batch.embeddings, strict=True)
        }
        for store in (open_catalog(settings).open("default"), open_catalog(load_settings(home=home)).open("default"))
    )
    assert made.keys() == applied.keys()
    for text, (author, vector) in made.items():
        assert author == applied[text][0]
        assert float(vector @ applied[text][1]) > 0.999
    with open_service(settings) as service:
        assert "27" in service.answer(QUESTIONS[0]).answers[0].text


def test_a_file_that_cannot_be_read_is_logged_and_the_others_are_converted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "good.txt").write_text("The Danube crosses Vienna.")
    (tmp_path / "bad.pdf").write_bytes(b"%PDF-1.4 broken")
    (tmp_path / "photo.png").write_bytes(b"\x89PNG")
    converter = SearchAppConverter(exclude=["*.png"])
    documents = converter.run([tmp_path], meta={"team": "rivers"})["documents"]
    assert [(item.content, item.meta["team"]) for item in documents] == [("The Danube crosses Vienna.", "rivers")]
    assert "bad.pdf" in caplog.text
    assert SearchAppConverter.from_dict(converter.to_dict()).to_dict() == converter.to_dict()


def test_the_rows_of_a_table_are_embedded_and_found_with_the_names_of_their_columns(tmp_path: Path) -> None:
    rows = "".join(f"<tr><td>City {number}</td><td>{number} km</td></tr>" for number in range(60))
    head = "<h1>Rivers</h1><table><tr><th>Place</th><th>Length of its river</th></tr>"
    (tmp_path / "rivers.html").write_text(f"{head}{rows}</table>")
    settings = load_settings(home=tmp_path / "home", splitter={"passage_tokens": 64})
    indexing_pipeline(settings).run({"converter": {"sources": [tmp_path / "rivers.html"]}})
    encoder = SentenceTransformerEncoder(settings.encoder, detect())
    apply([tmp_path / "rivers.html"], settings=settings, encoder=encoder, collection="applied")
    made, applied = (
        {
            passage.text: (passage.edits, vector)
            for batch in open_catalog(settings).open(name).passages(vectors=True)
            for passage, vector in zip(batch.passages, batch.embeddings, strict=True)
        }
        for name in ("default", "applied")
    )
    assert made.keys() == applied.keys()
    assert len(made) > 3
    for text, (edits, vector) in made.items():
        assert edits == applied[text][0]
        assert "; Length of its river: " in {edit.text for edit in edits}
        assert float(vector @ applied[text][1]) > 0.999
    store = SearchAppDocumentStore("default", home=tmp_path / "home")
    found = SearchAppBM25Retriever(store, top_k=100).run("length")["documents"]
    assert len(found) == len(made)
    assert {to_hit(document).passage.edits for document in found} == {edits for edits, _ in made.values()}


def test_documents_of_other_converters_are_split_by_size() -> None:
    text = " ".join(f"Sentence {number} is about rivers." for number in range(80))
    splitter = SearchAppSplitter(settings={"passage_tokens": 64, "overlap_tokens": 0})
    given = Document(id="d", content=text, meta={"file_path": "rivers.txt"})
    passages = splitter.run([given])["documents"]
    assert len(passages) > 5
    for passage in passages:
        assert text[passage.meta["start"] : passage.meta["end"]] == passage.content
        assert (passage.meta["document_id"], passage.meta["source"]) == ("d", "rivers.txt")
    again = SearchAppSplitter.from_dict(splitter.to_dict())
    assert asyncio.run(again.run_async([given]))["documents"] == passages
