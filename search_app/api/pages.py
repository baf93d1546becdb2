"""Pictures of the pages of documents over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from indexing.converters.content import ConversionError
from indexing.page_pictures import Busy, PagePictures, can_draw
from search_app.api.documents import FARTHEST, no_document
from search_app.api.names import CollectionName, DocumentId, PageNumber
from search_app.api.originals import has_changed, open_indexed
from search_app.api.schemas import ErrorResponse
from search_app.api.service import Stores
from search_app.protocols import FileRecord
from search_app.types import Document, Page

_PNG = {"image/png": {"schema": {"type": "string", "format": "binary"}}}


def page_routes(stores: Stores, pictures: PagePictures) -> APIRouter:
    """`/v1/collections/{name}/documents/{id}/pages/{number}.png`. Drawing blocks, so the handler runs in a thread."""
    router = APIRouter(
        prefix="/v1/collections/{name}/documents/{document_id}/pages",
        tags=["documents"],
        responses={status: {"model": ErrorResponse} for status in (404, 410, 422, 503)},
    )

    @router.get(
        "/{number}.png",
        response_class=Response,
        responses={200: {"content": _PNG, "description": "The page"}},
    )
    def picture(
        name: CollectionName,
        document_id: DocumentId,
        number: PageNumber,
        start: Annotated[int, Query(ge=0, le=FARTHEST, description="first marked character of the document")] = 0,
        end: Annotated[int, Query(ge=0, le=FARTHEST, description="character after the last marked one")] = 0,
        width: Annotated[int, Query(ge=50, le=2000, description="pixels; a very high page is narrower")] = 1000,
    ) -> Response:
        """Returns a page of a PDF or picture as a PNG, with the characters [start, end) of the document marked.

        410 when the file has changed since it was indexed, 422 when it cannot be drawn.
        """
        store = stores.store(name)
        document, record = store.document(document_id), store.file_of(document_id)
        if document is None or record is None:
            raise no_document(name, document_id)
        page = _page(document, record, number)
        open_indexed(record).close()
        return Response(_drawn(pictures, record, page, start, end, width), media_type="image/png")

    return router


def _page(document: Document, record: FileRecord, number: int) -> Page:
    if not can_draw(record.path):
        raise HTTPException(404, f"{record.source} is neither a PDF nor a picture: its pages cannot be drawn")
    page = next((page for page in document.pages if page.number == number), None)
    if page is None:
        raise HTTPException(404, f"{record.source} has no page {number}")
    return page


def _drawn(pictures: PagePictures, record: FileRecord, page: Page, start: int, end: int, width: int) -> bytes:
    try:
        return pictures.draw(Path(record.path), record.size, page, start=start, end=end, width=width)
    except ConversionError as error:
        raise HTTPException(422, f"page {page.number} of {record.source} cannot be drawn: {error}") from None
    except FileNotFoundError:
        raise has_changed(record) from None
    except Busy:
        raise HTTPException(503, "too many pages are waiting to be drawn; try again in a minute") from None
