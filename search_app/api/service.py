"""What the API needs of `search_app.service.SearchService`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from search_app.protocols import PassageStore
from search_app.types import Filter, SearchResult


class Stores(Protocol):
    """Lists collections and opens them for reading."""

    def store(self, collection: str) -> PassageStore: ...

    def collections(self) -> Sequence[str]: ...


class Service(Stores, Protocol):
    """Searches and answers. May be called from several threads."""

    def search(self, question: str, *, collection: str, k: int, where: Filter | None) -> SearchResult: ...

    def answer(self, question: str, *, collection: str, k: int, top_k: int, where: Filter | None) -> SearchResult: ...

    def warm_up(self) -> None: ...

    def close(self) -> None: ...
