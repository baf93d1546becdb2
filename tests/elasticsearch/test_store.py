"""The Elasticsearch store beyond the contract that all stores share."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from collections_on import ENCODER, MANIFEST, catalog_on, change, contents, settings_for, write
from fakes import HashEncoder
from faults import Fault, Proxy, answered, passed
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from servers import Address, remove_indices

from indexing import job
from indexing.deletion import delete
from indexing.rebuild import rebuild
from search_app.errors import (
    BackendUnavailable,
    ConfigurationError,
    IndexBusy,
    IndexMismatch,
    IndexNotFound,
    InvalidQuery,
)
from search_app.manifest import Manifest
from search_app.settings import KeywordSettings
from search_app.stores import filters
from search_app.stores.catalog import open_catalog, require_replicas
from search_app.stores.elasticsearch import schema
from search_app.stores.elasticsearch.catalog import ElasticsearchCatalog
from search_app.stores.elasticsearch.writer import ElasticsearchWriter
from search_app.stores.embedded.catalog import EmbeddedCatalog
from search_app.types import Document, PassageBatch

pytestmark = [pytest.mark.elasticsearch]


@pytest.fixture
def catalog(elasticsearch: Address, elasticsearch_prefix: str) -> Iterator[ElasticsearchCatalog]:
    with catalog_on(elasticsearch, elasticsearch_prefix) as catalog:
        yield catalog


def indices(address: Address, prefix: str) -> dict[str, Any]:
    with address.http() as http:
        found: dict[str, Any] = http.get(f"/{prefix}.*").json()
    return found


def words(catalog: ElasticsearchCatalog, question: str, **options: Any) -> list[str]:
    (hits,) = catalog.open("c").search_keyword([question], k=10, **options)
    return [hit.passage.document_id for hit in hits]


# --- publishing


def test_a_job_is_invisible_until_it_ends(catalog: ElasticsearchCatalog) -> None:
    write(catalog, change("a", "the old text"))
    before = contents(catalog)
    with catalog.writer("c", MANIFEST) as writer:
        writer.write([change("a", "another text"), change("b", "a second file")])
        writer.remove_files(["/docs/a"])
        assert contents(catalog) == before
        writer.finish()
    assert list(contents(catalog)) == ["docs/b"]


def test_a_killed_job_is_continued(
    catalog: ElasticsearchCatalog, elasticsearch: Address, elasticsearch_prefix: str
) -> None:
    write(catalog, change("a", "the first text"))
    with catalog.writer("c", MANIFEST) as writer:
        writer.write([change("b", "finished by the first job")])
        writer.write([change("c", "only a part of it", last=False)])
    assert list(contents(catalog)) == ["docs/a"]
    with catalog.writer("c", MANIFEST) as writer:
        digests = {record.source: record.digest for record in writer.files()}
        assert digests["docs/b"]
        assert digests["docs/c"] == ""
        writer.write([change("c", "all of it", "and more")])
        writer.finish()
    assert contents(catalog) == {
        "docs/a": ["a-0-the first text: the first text"],
        "docs/b": ["b-0-finished by the firs: finished by the first job"],
        "docs/c": ["c-0-all of it: all of it", "c-1-and more: and more"],
    }
    assert len(indices(elasticsearch, elasticsearch_prefix)) == 2
    assert catalog.verify("c") == []


def test_an_unfinished_version_of_another_index_is_deleted(
    catalog: ElasticsearchCatalog, elasticsearch: Address, elasticsearch_prefix: str
) -> None:
    write(catalog, change("a", "one"))
    with catalog.writer("c", MANIFEST) as writer:
        writer.write([change("b", "left behind")])
    write(catalog, change("c", "a rebuild"), rebuild=True)
    write(catalog, change("d", "added to the rebuild"))
    assert list(contents(catalog)) == ["docs/c", "docs/d"]
    assert len(indices(elasticsearch, elasticsearch_prefix)) == 2


def test_a_file_of_several_parts_replaces_its_old_content(catalog: ElasticsearchCatalog) -> None:
    write(catalog, change("a", "old one", "old two", "old three"))
    with catalog.writer("c", MANIFEST) as writer:
        writer.write([change("a", "new one", last=False)])
        writer.write([change("a", "new two", first=False, last=False)])
        writer.write([change("a", "new three", "new four", first=False)])
        writer.finish()
    texts = [passage.partition(": ")[2] for passage in contents(catalog)["docs/a"]]
    assert sorted(texts) == ["new four", "new one", "new three", "new two"]
    assert [record.digest for record in catalog.open("c").files()] == ["digest of ('new three', 'new four')"]


def test_a_file_written_twice_by_one_job_exists_once(catalog: ElasticsearchCatalog) -> None:
    with catalog.writer("c", MANIFEST) as writer:
        writer.write([change("a", "one", "two")])
        writer.write([change("a", "three")])
        writer.finish()
    assert contents(catalog) == {"docs/a": ["a-0-three: three"]}


def test_rollback_restores_the_previous_index_and_a_second_one_undoes_it(
    catalog: ElasticsearchCatalog, elasticsearch: Address, elasticsearch_prefix: str
) -> None:
    write(catalog, change("a", "one"))
    with pytest.raises(ConfigurationError, match="no previous index"):
        catalog.rollback("c")
    write(catalog, change("b", "two"))
    assert catalog.rollback("c") == 3
    assert list(contents(catalog)) == ["docs/a"]
    assert catalog.rollback("c") == 4
    assert list(contents(catalog)) == ["docs/a", "docs/b"]
    write(catalog, change("d", "three"))
    assert catalog.open("c").generation == 5
    assert len(indices(elasticsearch, elasticsearch_prefix)) == 2
    with pytest.raises(IndexNotFound):
        catalog.rollback("other")


def test_a_job_without_changes_creates_no_index(
    catalog: ElasticsearchCatalog, elasticsearch: Address, elasticsearch_prefix: str
) -> None:
    write(catalog, change("a", "one"))
    before = indices(elasticsearch, elasticsearch_prefix)
    with catalog.writer("c", MANIFEST) as writer:
        assert len(list(writer.files())) == 1
        writer.finish()
    assert indices(elasticsearch, elasticsearch_prefix) == before


def test_a_published_index_takes_no_writes(
    catalog: ElasticsearchCatalog, elasticsearch: Address, elasticsearch_prefix: str
) -> None:
    write(catalog, change("a", "one"))
    with elasticsearch.http() as http:
        refused = http.post(f"/{elasticsearch_prefix}.c/_doc", json={"kind": "passage"})
    assert refused.status_code == 403
    assert "index write (api)" in refused.text


def test_a_second_writer_is_refused_with_the_first_ones_process(catalog: ElasticsearchCatalog) -> None:
    with catalog.writer("c", MANIFEST), pytest.raises(IndexBusy, match=r"process \d+ on "):
        catalog.writer("c", MANIFEST)
    catalog.writer("c", MANIFEST).__exit__(None, None, None)


def test_collections_are_separate_and_keep_the_case_of_their_names(catalog: ElasticsearchCatalog) -> None:
    for name in ("Law", "law", "law-2026", "a_b"):
        with catalog.writer(name, MANIFEST) as writer:
            writer.write([change(name, f"text of {name}")])
            writer.finish()
    assert catalog.names() == ["Law", "a_b", "law", "law-2026"]
    assert [record.source for record in catalog.open("Law").files()] == ["docs/Law"]


# --- manifest


def test_another_encoder_is_refused_until_a_rebuild(catalog: ElasticsearchCatalog) -> None:
    write(catalog, change("a", "one"))
    other = Manifest(HashEncoder(dim=64, digest="other").stamp, MANIFEST.splitter, MANIFEST.analysis)
    with pytest.raises(IndexMismatch, match="encoder: the index was built with hash"):
        catalog.writer("c", other)
    store = catalog.open("c")
    with pytest.raises(IndexMismatch):
        store.manifest.require_encoder(other.encoder)
    with catalog.writer("c", other, rebuild=True) as writer:
        writer.finish()
    assert store.generation > 0, "it looks anew, which a question does twice a second"
    with pytest.raises(IndexMismatch):
        store.search_dense(ENCODER.encode_queries(["one"]), k=1)


def test_the_index_records_its_encoder(
    catalog: ElasticsearchCatalog, elasticsearch: Address, elasticsearch_prefix: str
) -> None:
    write(catalog, change("a", "one"))
    (index,) = indices(elasticsearch, elasticsearch_prefix).values()
    about = index["mappings"]["_meta"]["search_app"]
    assert json.loads(about["manifest"])["encoder"]["digest"] == "hash"
    assert (about["state"], about["generation"]) == ("ready", 1)


def test_vectors_are_found_by_the_encoded_text(catalog: ElasticsearchCatalog) -> None:
    from search_app.manifest import vector_key

    write(catalog, change("a", "one", "one", "two"))
    key, missing = vector_key("one", ENCODER.stamp), vector_key("three", ENCODER.stamp)
    with catalog.writer("c", MANIFEST) as writer:
        known = writer.known_vectors([key, missing])
        assert known[key].tolist() == ENCODER.encode_passages(["one"])[0].tolist()
        assert list(known) == [key]
    with catalog.writer("c", MANIFEST, rebuild=True) as writer:
        assert writer.known_vectors([key]) == {}


# --- metadata

NAMES = [
    "size",
    "author",
    "tags",
    "modified",
    "score.raw",
    'odd "name"',
    "a.b",
    "a",
    "*",
    "_id",
    "ключ",
    " ",
    "x" * 400,
]


def spelled(value: Any) -> Any:
    """With texts longer than a term, which print short."""
    text = json.dumps(value).replace('"LONG"', f'"{9000 * "z"}"').replace('"LONGER"', f'"y{9000 * "z"}"')
    return json.loads(text)


SCALARS = st.one_of(
    st.integers(-5, 5), st.floats(-5, 5, allow_nan=False), st.booleans(),
    st.sampled_from(["a", "b", "ü", "2026-01-01", "2026-02", "", "LONG", "LONGER"]),
    st.sampled_from([2**53, 2**53 + 1, -(2**63), 2**63 - 1, 2**70, 1e300, -1e300, 0.1]),
)  # fmt: skip
METAS = st.dictionaries(
    st.sampled_from(NAMES), st.one_of(SCALARS, st.lists(st.sampled_from(["a", "b", "ü"]), max_size=3))
)
COMPARISONS = st.builds(
    lambda field, operator, value, values: {
        "field": f"meta.{field}",
        "operator": operator,
        "value": values if "in" in operator else value,
    },
    st.sampled_from(NAMES),
    st.sampled_from([*filters.OPERATORS]),
    SCALARS | st.none(),
    st.lists(SCALARS | st.none(), max_size=3),
)
FILTERS = st.recursive(
    COMPARISONS,
    lambda inner: st.builds(
        lambda operator, conditions: {"operator": operator, "conditions": conditions},
        st.sampled_from(["AND", "OR", "NOT"]),
        st.lists(inner, max_size=3),
    ),
    max_leaves=6,
)


VALUES: list[Any] = [
    *range(-2, 3), -0.5, 0.5, 1.0, True, False, "a", "b", "ü", "2026-01-01", "", "LONG", "LONGER", ["a", "ü"], [],
    2**53, 2**53 + 1, -(2**63), 2**63 - 1, 2**70, 1e300, -1e300,
]  # fmt: skip


class Population:
    def __init__(self, catalog: ElasticsearchCatalog, metas: list[dict[str, Any]]) -> None:
        self.catalog, self.metas = catalog, metas


@pytest.fixture(scope="module")
def population(elasticsearch: Address) -> Iterator[Population]:
    """Every field with values of every kind, and documents without it."""
    chosen = random.Random(1)
    metas = [spelled({name: chosen.choice(VALUES) for name in chosen.sample(NAMES, 5)}) for _ in range(150)]
    prefix = "test-population"
    with catalog_on(elasticsearch, prefix) as catalog:
        write(catalog, change("a", *(f"text {number}" for number in range(len(metas))), metas=metas), rebuild=True)
        yield Population(catalog, metas)
    remove_indices(elasticsearch, prefix)


@settings(deadline=None, max_examples=200, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(FILTERS)
def test_elasticsearch_and_python_agree_on_every_filter_and_every_document(population: Population, where: Any) -> None:
    where = spelled(where)
    store = population.catalog.open("c")
    expected = {f"a-{number}" for number, meta in enumerate(population.metas) if filters.matches(where, meta)}
    (found,) = store.search_both(["text"], ENCODER.encode_queries(["text"]), k=200, where=where)
    assert {hit.passage.document_id for hit in found.dense} == expected
    assert {hit.passage.document_id for hit in found.keyword} == expected


def test_long_texts_that_differ_late_are_different(catalog: ElasticsearchCatalog) -> None:
    long = "z" * 9000
    write(catalog, change("a", "text", "text too", metas=[{"note": long + "a"}, {"note": long + "b"}]))
    where = {"field": "meta.note", "operator": "==", "value": long + "b"}
    assert words(catalog, "text", where=where) == ["a-1"]


def test_the_deepest_allowed_filter_works(catalog: ElasticsearchCatalog) -> None:
    write(catalog, change("a", "text", meta={"size": 3}))
    where: dict[str, Any] = {"field": "meta.size", "operator": "not in", "value": [1, 2]}
    for number in range(20):
        where = {"operator": ("NOT", "AND", "OR")[number % 3], "conditions": [where, where] if number < 3 else [where]}
    expected = ["a-0"] if filters.matches(filters.check(where), {"size": 3}) else []
    assert words(catalog, "text", where=where) == expected


def test_metadata_is_returned_unchanged(catalog: ElasticsearchCatalog) -> None:
    meta = {"a": 1, "b": 1.0, "c": True, "d": ["x", "y"], "e.f": "2026-01-01", "g": 2**70, "Größe": 0.1, "": "empty"}
    write(catalog, change("a", "text", meta=meta))
    (hits,) = catalog.open("c").search_keyword(["text"], k=1)
    assert json.dumps(hits[0].passage.meta) == json.dumps(meta)
    assert catalog.open("c").fields()["e.f"] == "text"


def test_a_file_with_too_many_metadata_fields_is_rejected_and_the_rest_indexed(
    elasticsearch: Address, elasticsearch_prefix: str
) -> None:
    wild = change(
        "wild", *(f"text {n}" for n in range(10)), metas=[{f"k{10 * n + i}": 1 for i in range(10)} for n in range(10)]
    )
    with catalog_on(elasticsearch, elasticsearch_prefix, max_fields=50) as catalog:
        with catalog.writer("c", MANIFEST) as writer:
            (rejection,) = writer.write(
                [change("a", "one", meta={"size": 1}), wild, change("b", "two", meta={"size": 2})]
            )
            writer.finish()
        assert rejection.source == "docs/wild"
        assert rejection.reason.startswith("100 new metadata fields (k0, k1, k10, …), but a collection can have 50")
        assert list(contents(catalog)) == ["docs/a", "docs/b"]
        assert list(catalog.open("c").fields()) == ["size"]


def test_ten_thousand_metadata_fields_do_not_reach_the_server(
    catalog: ElasticsearchCatalog, elasticsearch: Address, elasticsearch_prefix: str
) -> None:
    with catalog.writer("c", MANIFEST) as writer:
        metas = [{f"key {100 * n + i}": i for i in range(100)} for n in range(100)]
        (rejection,) = writer.write([change("a", *(f"text {n}" for n in range(100)), metas=metas)])
        writer.finish()
    assert "10000 new metadata fields" in rejection.reason
    (index,) = indices(elasticsearch, elasticsearch_prefix).values()
    assert "properties" not in index["mappings"]["properties"]["m"]


def test_rejections_of_elasticsearch_are_reported_one_by_one(catalog: ElasticsearchCatalog) -> None:
    good = change("a", "one", "two", "three")
    vectors = good.batch.embeddings.copy()
    vectors[1] *= 3  # not of unit length
    bad = type(good)(good.record, good.documents, PassageBatch(good.batch.passages, vectors))
    with catalog.writer("c", MANIFEST) as writer:
        (rejection,) = writer.write([bad, change("b", "other")])
        assert "unit-length" in rejection.reason
        assert rejection.source == "docs/a"
        writer.finish()
    digests = {record.source: record.digest for record in catalog.open("c").files()}
    assert digests == {"docs/a": "", "docs/b": "digest of ('other',)"}
    assert any("partly indexed" in problem for problem in catalog.verify("c"))


# --- texts


def test_a_very_long_document_is_returned_completely(catalog: ElasticsearchCatalog) -> None:
    text = "Grüße 🚀 " * 400_000
    long = change("a", "short")
    document = Document("a-0", "Long", text, "docs/a", {}, "en")
    write(catalog, type(long)(long.record, (document,), long.batch))
    assert len(text) > 3 * schema.TEXT_CHARACTERS
    assert catalog.open("c").document("a-0") == document
    assert catalog.open("c").document("b") is None
    file = catalog.open("c").file_of("a-0")
    assert file is not None
    assert file.path == "/docs/a"


@pytest.mark.parametrize(
    "question",
    [
        'text" } } {',
        "text AND (",
        "text* title:secret",
        "_exists_:text",
        "{{#toJson}}text",
        "text\x00\ud800",
        "<script>text",
    ],
)
def test_query_syntax_in_a_question_is_only_data(catalog: ElasticsearchCatalog, question: str) -> None:
    write(catalog, change("a", "a text", "nothing"))
    assert words(catalog, question)[:1] == ["a-0"]


@pytest.mark.parametrize(
    ("language", "text", "question"),
    [
        ("en", "Vienna's rivers aren't foo_bar", "river of vienna, foo"),
        ("de", "Die Kündigungsfristen", "Kündigungsfrist"),
        ("el", "οι βιβλιοθήκες της πόλης", "βιβλιοθήκη"),
        ("th", "ห้องสมุดมหาวิทยาลัย", "ห้องสมุด"),
        ("ko", "서울대학교 도서관", "도서관"),
        ("hi", "पुस्तकालयों में किताबें", "किताबें"),
        ("", "nothing stated about tables", "table"),
        ("xx", "unknown languages", "languages"),
    ],
)
def test_words_are_analysed_by_language(catalog: ElasticsearchCatalog, language: str, text: str, question: str) -> None:
    write(catalog, change("a", text, language=language), change("b", "something else", language="en"))
    assert words(catalog, question) == ["a-0"]


def test_a_filter_on_an_unknown_field_lists_the_known_ones(catalog: ElasticsearchCatalog) -> None:
    write(catalog, change("a", "text", meta={"size": 1, "author": "Ada"}))
    with pytest.raises(InvalidQuery, match="the fields are: author, size"):
        words(catalog, "text", where=filters.parse_where("colour = red"))


# --- removing, merging and building anew


def test_removing_documents_keeps_the_rest_of_their_file(catalog: ElasticsearchCatalog) -> None:
    write(catalog, change("a", "the first", "the second", "the third"), change("b", "the fourth"))
    with catalog.writer("c", MANIFEST) as writer:
        assert writer.remove_documents(["a-1", "b-0", "a-1", "nobody"]) == 2
        assert sum(map(len, contents(catalog).values())) == 4
        writer.finish()
    assert contents(catalog) == {
        "docs/a": ["a-0-the first: the first", "a-2-the third: the third"],
        "docs/b": [],
    }
    assert {record.source: record.documents for record in catalog.open("c").files()} == {"docs/a": 2, "docs/b": 0}
    assert catalog.verify("c") == []


def test_a_document_of_the_same_job_can_be_removed(catalog: ElasticsearchCatalog) -> None:
    with catalog.writer("c", MANIFEST) as writer:
        writer.write([change("a", "the first", "the second")])
        assert writer.remove_documents(["a-0"]) == 1
        writer.write([change("b", "another")])
        writer.finish()
    assert contents(catalog)["docs/a"] == ["a-1-the second: the second"]
    assert catalog.verify("c") == []


def test_a_killed_removal_is_never_published(
    catalog: ElasticsearchCatalog, elasticsearch: Address, elasticsearch_prefix: str
) -> None:
    write(catalog, change("a", "the first", "the second"))
    before = contents(catalog)
    with catalog.writer("c", MANIFEST) as writer:
        assert isinstance(writer, ElasticsearchWriter)
        writer.remove_documents(["a-0"])
        writer._state("removing")  # as it is while half of it is done
    with catalog.writer("c", MANIFEST) as writer:
        writer.write([change("b", "another")])
        writer.finish()
    assert contents(catalog) == {**before, "docs/b": ["b-0-another: another"]}
    assert len(indices(elasticsearch, elasticsearch_prefix)) == 2


def test_passages_without_a_vector_are_exported_and_verified(catalog: ElasticsearchCatalog) -> None:
    blind = change("a", "words but no vector")
    blind = replace(blind, batch=PassageBatch(blind.batch.passages, np.full_like(blind.batch.embeddings, np.nan)))
    write(catalog, blind, change("b", "words and a vector"))
    assert catalog.verify("c") == []
    _, changes = catalog.export("c")
    exported = {item.record.source: item.batch.embeddings for item in changes}
    assert np.isnan(exported["docs/a"]).all()
    assert not np.isnan(exported["docs/b"]).any()


def test_compacting_merges_segments_and_changes_no_answer(
    catalog: ElasticsearchCatalog, elasticsearch: Address
) -> None:
    for number in range(3):
        write(catalog, change(f"file {number}", f"the text {number}", f"and more of {number}"))
    with catalog.writer("c", MANIFEST) as writer:
        writer.remove_documents(["file 1-0"])
        writer.finish()
    before, index = contents(catalog), catalog.describe("c")["index"]

    def segments() -> int:
        with elasticsearch.http() as http:
            return int(http.get(f"/{index}/_stats/segments").json()["_all"]["primaries"]["segments"]["count"])

    assert segments() > 1
    assert catalog.compact("c")["index"] == index
    assert segments() == 1
    assert contents(catalog) == before


def test_an_index_is_rebuilt_from_itself_and_rolled_back(
    elasticsearch: Address, elasticsearch_prefix: str, tmp_path: Path
) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    for number in range(6):
        (docs / f"{number}.md").write_text(f"# File {number}\n\n" + f"A sentence about subject {number}. " * 30)
    there = settings_for(elasticsearch, elasticsearch_prefix)
    job.apply([docs], settings=there, encoder=HashEncoder())
    delete(there, sources=["3.md"])
    other = HashEncoder(dim=48, digest="other")
    done = rebuild(there, encoder=other)
    assert (done.files, done.documents, done.passages_encoded) == (6, 5, done.passages)
    summary = job.apply([docs], settings=there, encoder=HashEncoder(dim=48, digest="other"))
    assert (summary.unchanged, summary.changed) == (6, 0)
    with closing(open_catalog(there)) as catalog:
        assert catalog.verify("default") == []
        with closing(catalog.open("default")) as index:
            assert len(index.search_dense(other.encode_queries(["subject"]), k=100)[0]) == done.passages
        catalog.rollback("default")
        with closing(catalog.open("default")) as index:
            assert index.manifest.encoder.dim == HashEncoder().stamp.dim
    assert rebuild(there, encoder=HashEncoder()).passages_encoded == 0


# --- verify


def test_verify_finds_manual_changes(
    catalog: ElasticsearchCatalog, elasticsearch: Address, elasticsearch_prefix: str
) -> None:
    write(catalog, *(change(f"f{n}", f"the text number {n}") for n in range(30)))
    assert catalog.verify("c") == []
    (index,) = indices(elasticsearch, elasticsearch_prefix)
    with elasticsearch.http() as http:
        http.put(f"/{index}/_settings", json={"index.blocks.write": False})
        passage = "p:f3-0-the text number 3"
        source = http.get(f"/{index}/_doc/{passage}").json()["_source"]
        changed = {**source, "text": "the text number 4", "vector": "AAAA"}
        assert http.put(f"/{index}/_doc/{passage}?refresh=true", json=changed).status_code == 200
        assert http.delete(f"/{index}/_doc/p:f5-0-the text number 5?refresh=true").status_code == 200
    problems = catalog.verify("c")
    assert any("differs from the text" in problem for problem in problems)
    assert any("no unit vector" in problem for problem in problems)
    assert any(problem.startswith("the index has 29 passages, but its files have 30") for problem in problems)
    with pytest.raises(IndexNotFound):
        catalog.verify("nothing")


def test_describe_names_the_index_and_its_size(catalog: ElasticsearchCatalog, tmp_path: Path) -> None:
    write(catalog, change("a", "one"))
    about = catalog.describe("c")
    assert about["quantisation"] == "flat"
    assert about["bytes"] > 0  # type: ignore[operator]


def test_the_replica_equals_the_server(elasticsearch: Address, elasticsearch_prefix: str, tmp_path: Path) -> None:
    settings = settings_for(elasticsearch, elasticsearch_prefix, fallback=True).model_copy(update={"home": tmp_path})
    with closing(open_catalog(settings)) as catalog:
        text = "Grüße 🚀 " * 300_000
        long = change("long", *(f"part {number}" for number in range(1200)))
        documents = (Document("long-0", "Long", text, "docs/long", {"size": 1}, "en"), *long.documents[1:])
        with catalog.writer("c", MANIFEST) as writer:
            writer.write([change("a", "one", "two", meta={"size": 1}), type(long)(long.record, documents, long.batch)])
            writer.finish()
        replicas = require_replicas(catalog)
        assert replicas.replicate("c") == replicas.replicate("c") == 1202
        with closing(catalog.open("c")) as server, closing(EmbeddedCatalog(settings).open("c")) as replica:
            assert list(replica.files()) == list(server.files())
            assert replica.document("long-0") == server.document("long-0") == documents[0]
            asked = ENCODER.encode_queries(["part 7", "one"])
            for ours, theirs in zip(replica.search_dense(asked, k=5), server.search_dense(asked, k=5), strict=True):
                assert [hit.score for hit in ours] == pytest.approx([hit.score for hit in theirs], abs=1e-6)


def test_bm25_settings_apply_to_new_indexes(elasticsearch: Address, elasticsearch_prefix: str) -> None:
    def scores(catalog: ElasticsearchCatalog) -> dict[str, float]:
        (hits,) = catalog.open("c").search_keyword(["river"], k=10)
        return {hit.passage.document_id: hit.score for hit in hits}

    flat = settings_for(elasticsearch, elasticsearch_prefix).model_copy(
        update={"keyword": KeywordSettings(k1=0.0, b=0.0)}
    )
    files = [change("a", "river river river"), change("b", "a river and many other words in a longer text")]
    with catalog_on(elasticsearch, elasticsearch_prefix) as catalog, closing(ElasticsearchCatalog(flat)) as other:
        write(catalog, *files)
        before = scores(catalog)
        assert before["a-0"] > before["b-0"]
        write(other, change("c", "nothing of the kind"))
        write(other, *files)
        assert scores(other)["a-0"] > scores(other)["b-0"]
        write(other, *files, rebuild=True)
        assert scores(catalog)["a-0"] == scores(catalog)["b-0"]


def test_several_questions_are_one_request(elasticsearch: Address, elasticsearch_prefix: str) -> None:
    with Proxy(elasticsearch) as proxy, catalog_on(proxy.address, elasticsearch_prefix) as catalog:
        write(catalog, change("a", "one", "two", meta={"size": 1}))
        store = catalog.open("c")
        asked = [f"one {number}" for number in range(20)]  # a word that no passage has would be looked up
        assert store.generation  # looked up just now, so that it is not looked up again
        before = proxy.seen("POST")
        where = filters.parse_where("size < 3")
        found = store.search_both(asked, ENCODER.encode_queries(asked), k=5, where=where)
        assert len(found) == 20
        assert proxy.seen("POST") - before == proxy.seen("POST /_msearch") == 1


def test_a_dropped_collection_leaves_no_index_and_other_collections_unchanged(
    catalog: ElasticsearchCatalog, elasticsearch: Address, elasticsearch_prefix: str
) -> None:
    write(catalog, change("a", "the first text"))
    write(catalog, change("a", "the second text"))
    with catalog.writer("c2", MANIFEST) as writer:
        writer.write([change("b", "of another collection")])
        writer.finish()
    catalog.drop("c")
    assert catalog.names() == ["c2"]
    assert all(name.startswith(f"{elasticsearch_prefix}.c2.") for name in indices(elasticsearch, elasticsearch_prefix))


def test_a_rename_interrupted_at_any_request_leaves_one_name_and_can_be_repeated(
    elasticsearch: Address, elasticsearch_prefix: str
) -> None:
    def refused_from(first: int) -> Fault:
        seen = itertools.count(1)
        return lambda exchange: (answered(403) if next(seen) >= first else passed)(exchange)

    with (
        Proxy(elasticsearch) as proxy,
        catalog_on(elasticsearch, elasticsearch_prefix) as catalog,
        catalog_on(proxy.address, elasticsearch_prefix) as failing,
    ):
        outcomes = []
        while outcomes[-1:] != ["done"]:
            write(catalog, change("a", "the first text"))
            write(catalog, change("b", "the second text"))
            before = contents(catalog)
            try:
                with proxy.failing(refused_from(len(outcomes) + 1), only=r"^(?!.*-leases)"):
                    failing.rename("c", "new")
                outcomes.append("done")
            except BackendUnavailable:
                outcomes += catalog.names()
            if outcomes[-1] == "c":
                assert contents(catalog) == before
                with catalog.writer("new", MANIFEST) as writer:  # goes on with no clone
                    assert list(writer.files()) == []
                catalog.rename("c", "new")
            with catalog.writer("c", MANIFEST) as writer:  # goes on with nothing that was renamed
                assert list(writer.files()) == []
            assert catalog.verify("new") == []
            catalog.rollback("new")
            assert [record.source for record in catalog.open("new").files()] == ["docs/a"]
            catalog.drop("new")
        assert set(outcomes) == {"c", "new", "done"}
        assert indices(elasticsearch, elasticsearch_prefix) == {}
