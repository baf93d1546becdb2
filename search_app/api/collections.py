"""Collections over HTTP. Renaming and dropping are jobs: the API never changes an index."""

from __future__ import annotations

from fastapi import APIRouter

from search_app.api.schemas import CollectionOut, CollectionsResponse, ErrorResponse
from search_app.api.service import Stores
from search_app.errors import SearchAppError


def collection_routes(stores: Stores) -> APIRouter:
    """`/v1/collections`. The stores block, so each handler runs in a thread."""
    router = APIRouter(prefix="/v1/collections", tags=["collections"], responses={503: {"model": ErrorResponse}})

    @router.get("")
    def collections() -> CollectionsResponse:
        """Lists all collections; one that cannot be used is listed with the reason."""
        return CollectionsResponse(collections=[_collection(stores, name) for name in stores.collections()])

    return router


def _collection(stores: Stores, name: str) -> CollectionOut:
    try:
        store = stores.store(name)
        counts = store.counts()
    except SearchAppError as error:
        return CollectionOut(name=name, error=error.message, hint=error.hint)
    return CollectionOut(
        name=name, documents=counts["documents"], passages=counts["passages"], generation=store.generation
    )
