"""Questions over HTTP."""

# No `from __future__ import annotations`: FastAPI could not resolve the request models, which are made per app.

from typing import TYPE_CHECKING, TypeAlias

from fastapi import APIRouter

from search_app.api.names import CollectionName
from search_app.api.schemas import AnswerRequest, ErrorResponse, SearchRequest, SearchResponse, request_models
from search_app.api.service import Service
from search_app.settings import LimitSettings
from search_app.stores.filters import parse_where
from search_app.types import Filter


def search_routes(service: Service, limits: LimitSettings) -> APIRouter:
    """`/v1/collections/{name}/search` and `…/answer`. The service blocks, so each handler runs in a thread."""
    router = APIRouter(
        prefix="/v1/collections/{name}",
        tags=["search"],
        responses={status: {"model": ErrorResponse} for status in (400, 404, 413, 422, 503)},
    )
    if TYPE_CHECKING:
        SearchBody: TypeAlias = SearchRequest
        AnswerBody: TypeAlias = AnswerRequest
    else:
        SearchBody, AnswerBody = request_models(limits)

    @router.post("/search")
    def search(name: CollectionName, body: SearchBody) -> SearchResponse:
        """Finds the passages closest to a question, best first."""
        found = service.search(body.question, collection=name, k=body.k, where=as_filter(body.where))
        return SearchResponse.of(found)

    @router.post("/answer")
    def answer(name: CollectionName, body: AnswerBody) -> SearchResponse:
        """Finds passages and marks the answers in them, best first."""
        found = service.answer(body.question, collection=name, k=body.k, top_k=body.top_k, where=as_filter(body.where))
        return SearchResponse.of(found)

    return router


def as_filter(where: str | dict[str, object] | None) -> Filter | None:
    """A filter given as text or as an object; None for an empty one. Raises InvalidQuery."""
    if isinstance(where, str):
        return parse_where(where) if where.strip() else None
    return where or None
