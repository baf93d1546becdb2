"""Questions over HTTP."""

# No `from __future__ import annotations`: FastAPI could not resolve the request models, which are made per app.

from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from fastapi import APIRouter, Request

from search_app.api.admission import Admission
from search_app.api.names import CollectionName
from search_app.api.schemas import AnswerRequest, ErrorResponse, SearchRequest, SearchResponse, request_models
from search_app.api.service import Service
from search_app.settings import LimitSettings
from search_app.stores.filters import parse_where
from search_app.types import Filter


def search_routes(service: Service, limits: LimitSettings, admission: Admission) -> APIRouter:
    """`/v1/collections/{name}/search` and `…/answer`. The service blocks, so `admission` runs it in threads."""
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
    async def search(name: CollectionName, body: SearchBody, request: Request) -> SearchResponse:
        """Finds the passages closest to a question, best first.

        503 with `Retry-After`: more questions are waiting than can be answered in time.
        """
        where = as_filter(body.where)
        call = partial(service.search, body.question, collection=name, k=body.k, where=where)
        return await admission.run(lambda: SearchResponse.of(call()), request.is_disconnected)

    @router.post("/answer")
    async def answer(name: CollectionName, body: AnswerBody, request: Request) -> SearchResponse:
        """Finds passages and marks the answers in them, best first.

        503 with `Retry-After`: more questions are waiting than can be answered in time.
        """
        where = as_filter(body.where)
        call = partial(service.answer, body.question, collection=name, k=body.k, top_k=body.top_k, where=where)
        return await admission.run(lambda: SearchResponse.of(call()), request.is_disconnected)

    return router


def as_filter(where: str | dict[str, object] | None) -> Filter | None:
    """A filter given as text or as an object; None for an empty one. Raises InvalidQuery."""
    if isinstance(where, str):
        return parse_where(where) if where.strip() else None
    return where or None
