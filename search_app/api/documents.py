"""Documents and their original files over HTTP."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Annotated, BinaryIO, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query
from fastapi.responses import Response, StreamingResponse
from starlette.exceptions import HTTPException

from search_app.api.names import CollectionName, DocumentId
from search_app.api.originals import open_indexed
from search_app.api.schemas import (
    DocumentResponse,
    DocumentsResponse,
    DocumentSummary,
    ErrorResponse,
    PassageOut,
    PassagesResponse,
)
from search_app.api.service import Stores
from search_app.protocols import FileRecord

Offsets = Literal["codepoints", "utf16"]
BLOCK_BYTES = 1 << 20
FARTHEST = 1 << 40
"""The largest position in a document or a list."""
_BYTES = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


def document_routes(stores: Stores) -> APIRouter:
    """`/v1/collections/{name}/documents`. The stores block, so each handler runs in a thread."""
    router = APIRouter(
        prefix="/v1/collections/{name}/documents",
        tags=["documents"],
        responses={status: {"model": ErrorResponse} for status in (404, 422, 503)},
    )

    @router.get("")
    def documents(
        name: CollectionName,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        offset: Annotated[int, Query(ge=0, le=FARTHEST)] = 0,
    ) -> DocumentsResponse:
        """Lists the indexed documents, sorted by source."""
        store = stores.store(name)
        return DocumentsResponse(
            documents=[DocumentSummary.of(document) for document in store.documents(limit=limit, offset=offset)],
            total=store.counts()["documents"],
            limit=limit,
            offset=offset,
        )

    @router.get("/{document_id}")
    def document(
        name: CollectionName,
        document_id: DocumentId,
        start: Annotated[int, Query(ge=0, description="first character")] = 0,
        end: Annotated[int | None, Query(ge=0, description="character after the last one")] = None,
        offsets: Annotated[
            Offsets,
            Query(description="what all offsets count, also `start` and `end`: Unicode code points or UTF-16 units"),
        ] = "codepoints",
    ) -> DocumentResponse:
        """Returns a document's text, or part of it, with its pages, headings and tables."""
        found = stores.store(name).document(document_id)
        if found is None:
            raise no_document(name, document_id)
        part = DocumentResponse.utf16_part if offsets == "utf16" else DocumentResponse.part
        return part(found, start, end)

    @router.get("/{document_id}/passages")
    def passages(
        name: CollectionName,
        document_id: DocumentId,
        start: Annotated[int, Query(ge=0, le=FARTHEST, description="first character")] = 0,
        end: Annotated[int | None, Query(ge=0, le=FARTHEST, description="character after the last one")] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> PassagesResponse:
        """Returns the passages with a character in [start, end), in order, as encoder and reader get them."""
        store = stores.store(name)
        found = store.passages_of(document_id, limit=limit + 1, start=start, end=end)
        if not found and store.file_of(document_id) is None:
            raise no_document(name, document_id)
        return PassagesResponse(
            passages=list(map(PassageOut.of, found[:limit])), next=found[limit - 1].end if len(found) > limit else None
        )

    @router.get(
        "/{document_id}/original",
        response_class=Response,
        responses={200: {"content": _BYTES, "description": "The file"}, 410: {"model": ErrorResponse}},
    )
    def original(name: CollectionName, document_id: DocumentId) -> StreamingResponse:
        """Returns the file that the document was read from, or 410 when it has changed since."""
        record = stores.store(name).file_of(document_id)
        if record is None:
            raise no_document(name, document_id)
        return _download(record)

    return router


def no_document(name: str, document_id: str) -> HTTPException:
    """The error for an unknown document."""
    return HTTPException(404, f"no document {document_id} in collection '{name}'")


def _download(record: FileRecord) -> StreamingResponse:
    """Always as bytes to save: a browser must not run an indexed page under this server's name."""
    name = os.path.basename(record.path)
    file = open_indexed(record)
    return StreamingResponse(
        _blocks(file),
        media_type="application/octet-stream",
        headers={
            "Content-Length": str(record.size),
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='', errors='replace')}",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "sandbox; default-src 'none'",
        },
    )


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while block := file.read(BLOCK_BYTES):
            yield block
