"""The size limit of request bodies."""

from __future__ import annotations

import re

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from search_app.api import errors
from search_app.api.uploads import is_form

_UPLOADS = re.compile(r"/v1/collections/[^/]+/jobs")


class LimitBody:
    """Answers 413 to a body over `most` bytes, or `most_upload` for an upload.

    A body that states its length is refused unread, any other as soon as it exceeds the limit.
    """

    def __init__(self, app: ASGIApp, most: int, most_upload: int) -> None:
        self.app = app
        self.most = most
        self.most_upload = most_upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        is_upload = _UPLOADS.fullmatch(scope["path"]) is not None and is_form(headers.get("content-type", ""))
        most = self.most_upload if is_upload else self.most
        # Closing the connection spares the server from reading the rest.
        too_large = HTTPException(413, f"the body has more than {most} bytes", headers={"Connection": "close"})
        stated = headers.get("content-length", "")
        if stated.isascii() and stated.isdigit() and int(stated) > most:
            await errors.http_error(too_large)(scope, receive, send)
            return
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > most:
                raise too_large
            return message

        await self.app(scope, limited, send)
