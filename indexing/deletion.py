"""Taking documents out of an index by their ids, their source or a filter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from indexing.sources import matches
from search_app.errors import ConfigurationError
from search_app.settings import Settings, check_collection_name
from search_app.stores import filters
from search_app.stores.catalog import open_catalog
from search_app.stores.index import Index
from search_app.types import Document, Filter

_PAGE = 10_000


@dataclass(frozen=True, slots=True)
class Selection:
    """Documents, without their texts, and the ids that were asked for and are not in the index."""

    documents: tuple[Document, ...]
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Deletion:
    """How many documents were taken out, the ids that were not there, and the generation without them."""

    deleted: int
    missing: tuple[str, ...]
    generation: int


def delete(
    settings: Settings,
    *,
    collection: str = "default",
    documents: Sequence[str] = (),
    sources: Sequence[str] = (),
    where: Filter | None = None,
) -> Deletion:
    """Takes out the documents that `select` finds, all at once; readers see it with their next question.

    What is deleted stays deleted until its file changes or moves, or the index is built anew from the files.
    """
    found = select(settings, collection=collection, documents=documents, sources=sources, where=where)
    return remove(settings, found, collection=collection)


def select(
    settings: Settings,
    *,
    collection: str = "default",
    documents: Sequence[str] = (),
    sources: Sequence[str] = (),
    where: Filter | None = None,
) -> Selection:
    """Documents with one of the ids, of a source that one of the globs matches, and that the filter holds for.

    Of what is given, all must hold; nothing given is a ConfigurationError, as it would mean every document.
    """
    if not documents and not sources and where is None:
        raise ConfigurationError("nothing says which documents to delete", hint="give an id, a source or a filter")
    with closing(open_catalog(settings)) as catalog, closing(catalog.open(check_collection_name(collection))) as index:
        if where is not None:
            filters.check(where, index.fields() or None)
        missing: list[str] = []
        named = _named(index, documents, missing) if documents else _all(index)
        found = tuple(
            document
            for document in named
            if (not sources or matches(document.source, sources))
            and (where is None or filters.matches(where, document.meta))
        )
    return Selection(found, tuple(missing))


def remove(settings: Settings, selection: Selection, *, collection: str = "default") -> Deletion:
    """Takes the selected documents out of the index; what is no longer there counts as missing."""
    with closing(open_catalog(settings)) as catalog, closing(catalog.open(check_collection_name(collection))) as index:
        deleted = 0
        if selection.documents:
            with catalog.writer(collection, index.manifest) as writer:
                deleted = writer.remove_documents([document.id for document in selection.documents])
                writer.finish()
        return Deletion(deleted, selection.missing, index.generation)


def _named(index: Index, ids: Sequence[str], missing: list[str]) -> Iterator[Document]:
    for id in dict.fromkeys(ids):
        document = index.document(id)
        if document is None:
            missing.append(id)
        else:
            yield Document(id, document.title, "", document.source, document.meta, document.language)


def _all(index: Index) -> Iterator[Document]:
    offset = 0
    while page := index.documents(limit=_PAGE, offset=offset):
        yield from page
        offset += len(page)
