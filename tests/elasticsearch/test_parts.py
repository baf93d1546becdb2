"""A job with parts written on several machines: in any order, repeatedly, and when the driver dies."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from collections_on import ENCODER, MANIFEST, catalog_on, change, contents, settings_for, write
from servers import Address

from search_app.errors import IndexBusy
from search_app.manifest import encoded_text, vector_key
from search_app.protocols import FileChange
from search_app.stores.elasticsearch.catalog import ElasticsearchCatalog
from search_app.stores.elasticsearch.parts import FileWritten, PartWriter, PartWritten
from search_app.stores.elasticsearch.writer import ElasticsearchWriter
from search_app.types import PassageBatch

pytestmark = [pytest.mark.elasticsearch]


@pytest.fixture
def catalog(elasticsearch: Address, elasticsearch_prefix: str) -> Iterator[ElasticsearchCatalog]:
    with catalog_on(elasticsearch, elasticsearch_prefix) as catalog:
        yield catalog


@contextmanager
def driving(catalog: ElasticsearchCatalog) -> Iterator[ElasticsearchWriter]:
    with catalog.writer("c", MANIFEST) as writer:
        assert isinstance(writer, ElasticsearchWriter)
        list(writer.files())
        yield writer


def hand(address: Address, prefix: str, writer: ElasticsearchWriter, **more: Any) -> PartWriter:
    """A writer on another machine, configured with JSON from the driver."""
    return PartWriter(
        settings_for(address, prefix, **more).elasticsearch, json.loads(json.dumps(writer.part_writer_config()))
    )


def parts_of(file: FileChange) -> list[FileChange]:
    """One part per document; the passages of the first one come in two parts."""
    rows = list(zip(file.documents, file.batch.passages, file.batch.embeddings, strict=True))
    parts = [
        FileChange(file.record, (document,), PassageBatch((passage,), vector[None]), first=n == 0, first_document=n)
        for n, (document, passage, vector) in enumerate(rows)
    ]
    late = parts[0]
    nothing = PassageBatch((), np.empty((0, ENCODER.stamp.dim), np.float32))
    parts[0] = FileChange(file.record, late.documents, nothing)
    languages = {late.documents[0].id: "de"}
    return [*parts, FileChange(file.record, (), late.batch, first_document=1, languages=languages)]


def test_parts_out_of_order_and_repeated_equal_one_writer(
    catalog: ElasticsearchCatalog, elasticsearch: Address, elasticsearch_prefix: str
) -> None:
    old = change("book", "an old first page", "an old second", "an old third", "an old fourth", "gone")
    new = change("book", "Häuser am Fluss", "a second page", "a third page", meta={"year": 1999}, language="de")
    note = change("note", "a note beside it", meta={"author": "Ada"})
    write(catalog, old, change("stays", "as it was"))
    before = contents(catalog)
    with driving(catalog) as writer:
        with hand(elasticsearch, elasticsearch_prefix, writer) as one, hand(
            elasticsearch, elasticsearch_prefix, writer
        ) as other:  # fmt: skip
            pieces = parts_of(new)
            random.Random(3).shuffle(pieces)
            written = [one.write([part])[0] for part in pieces]
            other.write(pieces[::-1])
            (short,) = other.write([note])
            key = vector_key(encoded_text(old.batch.passages[0]), ENCODER.stamp)
            assert list(other.known_vectors([key, "no such key"])) == [key]
            assert contents(catalog) == before
            files = [FileWritten(new.record, tuple(written)), FileWritten(note.record, (short,))]
            assert writer.complete(files) == []
            with hand(elasticsearch, elasticsearch_prefix, writer) as late:
                late.write(pieces[:2])
        writer.remove_files(["/docs/stays"])
        writer.finish()
    assert contents(catalog) == {
        "docs/book": [
            "book-0-Häuser am Fluss: Häuser am Fluss",
            "book-1-a second page: a second page",
            "book-2-a third page: a third page",
        ],
        "docs/note": ["note-0-a note beside it: a note beside it"],
    }
    assert catalog.verify("c") == []
    store = catalog.open("c")
    assert store.fields() == {"year": "number", "author": "text"}
    assert [document.id for document in store.documents(limit=9)] == ["book-0", "book-1", "book-2", "note-0"]
    (hits,) = store.search_keyword(["Haus"], k=1)  # German words, though the document itself came with another part
    assert [hit.passage.document_id for hit in hits] == ["book-0"]


def test_a_file_over_the_field_limit_is_removed_on_any_machine(
    elasticsearch: Address, elasticsearch_prefix: str
) -> None:
    wild = change(
        "wild", *(f"text {n}" for n in range(4)), metas=[{f"k{10 * n + i}": 1 for i in range(10)} for n in range(4)]
    )
    tame = change("tame", "a text", meta={"size": 1})
    with catalog_on(elasticsearch, elasticsearch_prefix, max_fields=25) as catalog:
        with driving(catalog) as writer:
            written: list[PartWritten] = []
            for part in parts_of(wild):
                with hand(elasticsearch, elasticsearch_prefix, writer, max_fields=25) as machine:
                    written += machine.write([part])
            with hand(elasticsearch, elasticsearch_prefix, writer, max_fields=25) as machine:
                (good,) = machine.write([tame])
            rejected = writer.complete([FileWritten(wild.record, tuple(written)), FileWritten(tame.record, (good,))])
            writer.finish()
        assert {rejection.source for rejection in rejected} == {"docs/wild"}
        assert "a collection can have 25" in rejected[0].reason
        assert list(contents(catalog)) == ["docs/tame"]
        assert len(catalog.open("c").fields()) <= 25
        assert catalog.verify("c") == []


def test_parts_of_two_versions_of_a_file_are_not_combined(
    catalog: ElasticsearchCatalog, elasticsearch: Address, elasticsearch_prefix: str
) -> None:
    with driving(catalog) as writer, hand(elasticsearch, elasticsearch_prefix, writer) as machine:
        torn, edited = change("a", "before", "the edit"), change("a", "after", "the edit")
        machine.write([torn])
        (written,) = machine.write([edited])
        (rejection,) = writer.complete([FileWritten(edited.record, (written,))])
        assert "changed while it was read" in rejection.reason
        writer.finish()
    assert contents(catalog) == {}


def test_a_rejected_part_leaves_the_file_unfinished(
    catalog: ElasticsearchCatalog, elasticsearch: Address, elasticsearch_prefix: str
) -> None:
    file = change("a", "one", "two")
    vectors = file.batch.embeddings.copy()
    vectors[1] *= 3
    with driving(catalog) as writer, hand(elasticsearch, elasticsearch_prefix, writer) as machine:
        (written,) = machine.write(
            [FileChange(file.record, file.documents, PassageBatch(file.batch.passages, vectors))]
        )
        (rejection,) = writer.complete([FileWritten(file.record, (written,))])
        assert "unit-length" in rejection.reason
        writer.finish()
    assert [record.digest for record in catalog.open("c").files()] == [""]


def test_after_a_killed_driver_complete_files_stay_and_others_are_repeated(
    catalog: ElasticsearchCatalog, elasticsearch: Address, elasticsearch_prefix: str
) -> None:
    write(catalog, change("old", "as it was"))
    done, half = change("done", "all of it", meta={"year": 1}), change("half", "one", "two")
    with driving(catalog) as writer:
        orphan = hand(elasticsearch, elasticsearch_prefix, writer)
        writer.complete([FileWritten(done.record, tuple(orphan.write([done])))])
        orphan.write(parts_of(half)[:1])
    with driving(catalog) as writer:
        assert {record.source: bool(record.digest) for record in writer.files()} == {
            "docs/done": True, "docs/half": False, "docs/old": True,
        }  # fmt: skip
        with pytest.raises(IndexBusy, match="has ended"):
            orphan.write(parts_of(half)[1:])
        orphan.close()
        now = change("half", "other words now")
        with hand(elasticsearch, elasticsearch_prefix, writer) as machine:
            assert writer.complete([FileWritten(now.record, tuple(machine.write([now])))]) == []
        writer.finish()
    assert contents(catalog) == {
        "docs/done": ["done-0-all of it: all of it"],
        "docs/half": ["half-0-other words now: other words now"],
        "docs/old": ["old-0-as it was: as it was"],
    }
    assert catalog.open("c").fields() == {"year": "number"}
    assert catalog.verify("c") == []
