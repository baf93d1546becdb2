"""Files on their way from a form into the staging folder of a job: each byte once, to the disk it stays on."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from search_app.errors import InvalidQuery
from search_app.queue.database import unavailable
from search_app.queue.staging import UploadError, printable, safe_name, sync_folder
from search_app.settings import JobSettings

FIELD = "files"
_MAX_CHARSET = 100


async def receive(request: Request, folder: Path, limits: JobSettings) -> list[dict[str, Any]]:
    """Writes the form's files to `folder`, which must not exist yet; returns the "files" of an upload's request.

    They are on the disk when it returns; nothing of them is left when it raises.
    """
    form = await run_in_threadpool(_Form, folder, request.headers.get("content-type", ""), limits.max_files)
    try:
        async for block in request.stream():
            await run_in_threadpool(form.write, block)
        return await run_in_threadpool(form.finish)
    except ClientDisconnect:
        await run_in_threadpool(form.discard)
        raise HTTPException(400, "the upload broke off") from None
    except BaseException:
        await run_in_threadpool(form.discard)
        raise


def is_form(content_type: str) -> bool:
    """Whether a request's body is a form with files."""
    return content_type.partition(";")[0].strip().lower() == "multipart/form-data"


def check_name(name: str) -> str:
    """The name as given. Raises InvalidQuery if no file below a folder can have it."""
    try:
        safe_name(name)
    except UploadError as error:
        raise InvalidQuery(
            f"'{printable(name)[:300]}': {error}", hint="rename the file, then send it again", field=FIELD
        ) from error
    return name


class _Form:
    """Reads a form block by block; each file is stored under its number."""

    def __init__(self, folder: Path, content_type: str, most_files: int) -> None:
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        if not boundary:
            raise InvalidQuery("the form names no boundary", field=FIELD)
        with _readable():
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._header_name,
                    "on_header_value": self._header_value,
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._open,
                    "on_part_data": self._write,
                    "on_part_end": self._close,
                    "on_end": self._end,
                },
            )
        self._folder = folder
        self._most_files = most_files
        self._files: list[dict[str, Any]] = []
        self._headers: dict[bytes, bytes] = {}
        self._name = self._value = b""
        self._file: BinaryIO | None = None
        self._ended = False
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise unavailable(folder, error) from error

    def write(self, block: bytes) -> None:
        with self._storing(), _readable():
            self._parser.write(block)

    def finish(self) -> list[dict[str, Any]]:
        if not self._ended:
            raise InvalidQuery("the form ends before its last boundary", hint="send it again", field=FIELD)
        if not self._files:
            raise InvalidQuery("no files", hint=f"send them as '{FIELD}', one part for each file", field=FIELD)
        with self._storing():
            for folder in (self._folder, self._folder.parent):
                sync_folder(folder)
        return self._files

    def discard(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _begin(self) -> None:
        self._headers = {}
        self._name = self._value = b""

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _open(self) -> None:
        options = parse_options_header(self._headers.get(b"content-disposition"))[1]
        if options.get(b"name") != FIELD.encode() or b"filename" not in options:
            shown = _text(options.get(b"name", b""))[:100]
            raise InvalidQuery(f"'{shown}' is not a file of '{FIELD}'", hint=f"send files as '{FIELD}'", field=FIELD)
        name = check_name(_text(options[b"filename"]))
        number = len(self._files)
        if number >= self._most_files:
            raise InvalidQuery(
                f"more than {self._most_files} files", hint="send them in parts, or raise jobs.max_files", field=FIELD
            )
        self._file = open(self._folder / str(number), "xb")  # noqa: SIM115
        charset = parse_options_header(self._headers.get(b"content-type"))[1].get(b"charset", b"")
        stated = {"charset": _text(charset)[:_MAX_CHARSET]} if charset else {}
        self._files.append({"name": name, "stored": str(number), "size": 0, **stated})

    def _write(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._file.write(memoryview(data)[start:end])
            self._files[-1]["size"] += end - start

    def _close(self) -> None:
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None

    def _end(self) -> None:
        self._ended = True

    @contextlib.contextmanager
    def _storing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise unavailable(self._folder, error) from error


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except FormParserError as error:
        raise InvalidQuery(f"the form cannot be read: {error}", hint="send it again", field=FIELD) from error


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
