"""Delete documents from an index by id, source or filter."""

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
    """Documents to delete, without their texts, and the given ids that are not in the index."""

    documents: tuple[Document, ...]
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Deletion:
    """The number of deleted documents, the ids that were missing, and the index's generation afterwards."""

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
    """Delete the documents that `select` finds, in one transaction. Readers see it with their next question.

    A deleted document stays deleted until its file changes or moves, or until `apply` rebuilds the index.
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
    """Find documents by ids, globs of their source, and a filter; all that is given must match.

    Raises ConfigurationError if nothing is given, as that would select every document.
    """
    if not documents and not sources and where is None:
        raise ConfigurationError("no documents selected", hint="give an id, a source or a filter")
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
    """Delete the selected documents. One that has been deleted since then is not counted."""
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
