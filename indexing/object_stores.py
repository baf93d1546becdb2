"""Files in object stores and on web servers, by URL. The one module that imports fsspec.

The stores' own libraries take credentials and endpoints from the environment or a profile.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import email.message
import email.utils
import errno
import functools
import hashlib
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from search_app.errors import BackendUnavailable, ConfigurationError, MissingExtra, SearchAppError

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "http": "http", "https": "http"}
_WEB = ("http", "https")
_NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "DefaultCredentialsError")
_SECONDS = 60
_CLOCK_TICK = 2
"""An object changed this recently, in seconds, may change again without a change of its time."""
_UNCHANGED = "nothing was changed"


@dataclass(frozen=True, slots=True)
class Object:
    """An object in a store. `size` is in bytes, None if unknown; `version` a fingerprint of its content, 0 if unknown.

    `modified_ns` is rounded to seconds, as some answers of a store are.
    """

    url: str
    size: int | None
    version: int
    modified_ns: int


class Location:
    """A URL given as PATH: an object, a prefix, or a glob, in which `*` does not cross folders."""

    def __init__(self, url: str) -> None:
        require(url)
        self.url = url
        glob = re.search(r"\*" if scheme_of(url) in _WEB else r"[*?\[]", url)
        self.prefix = url[: url.rindex("/", 0, glob.start()) + 1] if glob else url
        self._pattern = re.compile(_fsspec().utils.glob_translate(url)) if glob else None

    def covers(self, url: str) -> bool:
        """Whether the URL is at, under, or matched by this one."""
        if self._pattern is not None:
            return self._pattern.match(url) is not None
        return url == self.url or url.startswith(self.url.rstrip("/") + "/")

    def check(self) -> None:
        """Raise SearchAppError if nothing is found or listing is not permitted."""
        with _listing(self.prefix):
            _info(_filesystem(scheme_of(self.prefix), os.getpid()), self.prefix)

    def objects(self) -> Iterator[Object]:
        """List all objects. Raises SearchAppError if the listing is not complete."""
        with _listing(self.prefix):
            for found in _objects(_filesystem(scheme_of(self.prefix), os.getpid()), self.prefix):
                if self.covers(found.url):
                    yield found

    @property
    def is_certain(self) -> bool:
        """Whether an object missing from a listing does not exist. A web server's page proves nothing."""
        return scheme_of(self.url) not in _WEB


def is_url(path: str) -> bool:
    """Whether the PATH has a scheme, such as s3://."""
    return _URL.match(path) is not None


def scheme_of(url: str) -> str:
    """The URL's scheme in lower case."""
    found = _URL.match(url)
    return found[1].lower() if found else ""


def name_of(url: str) -> str:
    """The last part of the path, without a web address's query."""
    path = urlsplit(url).path if scheme_of(url) in _WEB else url
    return path.rstrip("/").rsplit("/", 1)[-1]


def require(url: str) -> None:
    """Raise MissingExtra, or ConfigurationError for an unknown scheme. Contacts no server."""
    scheme = scheme_of(url)
    utils = _fsspec(scheme)
    try:
        utils.get_filesystem_class(scheme)
    except ImportError as error:
        if scheme not in _EXTRAS:
            raise ConfigurationError(f"{scheme}:// needs a library: {error}", hint=_UNCHANGED) from error
        raise MissingExtra(f"what reads {scheme}://", _EXTRAS[scheme]) from error
    except ValueError as error:
        raise ConfigurationError(
            f"unknown kind of PATH: {url}", hint="give a folder, a file, or a URL such as s3://BUCKET/PREFIX"
        ) from error


def describe(url: str) -> Object:
    """Raises OSError; FileNotFoundError only if the object certainly does not exist."""
    require(url)
    with _as_os_errors():
        info = _info(_filesystem(scheme_of(url), os.getpid()), url)
        if info["type"] == "directory":
            raise FileNotFoundError(url)
        return _object(url, info)


def is_gone(url: str) -> bool:
    """Whether the object certainly does not exist."""
    try:
        describe(url)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


def charset_of(url: str) -> str:
    """The encoding that the server or store states for an object's text, "" for none. Raises OSError."""
    require(url)
    with _as_os_errors():
        filesystem = _filesystem(scheme_of(url), os.getpid())
        if scheme_of(url) in _WEB:
            return _charset(_fsspec().asyn.sync(filesystem.loop, _content_type, filesystem, url))
        info = _info(filesystem, url)
        return _charset(info.get("ContentType") or info.get("contentType") or "")


async def _content_type(filesystem: Any, url: str) -> str:
    """The header as sent: the information of fsspec has no charset."""
    session = await filesystem.set_session()
    async with session.get(filesystem.encode_url(url), **filesystem.kwargs) as answer:
        answer.raise_for_status()
        return str(answer.headers.get("Content-Type", ""))


def _charset(content_type: str) -> str:
    message = email.message.Message()
    message["Content-Type"] = content_type
    return message.get_content_charset("")


def download(url: str, to: Path) -> None:
    """Download in blocks of some megabytes. Raises OSError."""
    require(url)
    with _as_os_errors():
        _filesystem(scheme_of(url), os.getpid()).get_file(url, str(to))


def read(url: str, *, most: int) -> bytes:
    """Read the whole object. Raises OSError, also if it is larger than `most` bytes."""
    if (describe(url).size or 0) > most:
        raise OSError(errno.EFBIG, f"larger than {most >> 20} MB")
    with _as_os_errors():
        content: bytes = _filesystem(scheme_of(url), os.getpid()).cat_file(url)
        return content


def close() -> None:
    """Close all connections; they are reopened when needed."""
    _filesystem.cache_clear()


def _fsspec(scheme: str = "") -> Any:
    try:
        import fsspec
    except ImportError as error:
        raise MissingExtra("fsspec", _EXTRAS.get(scheme, "s3")) from error
    return fsspec


@functools.cache
def _filesystem(scheme: str, process: int) -> Any:
    """One for all threads of a process; a child process cannot use its parent's."""
    options: dict[str, Any] = {}
    if _EXTRAS.get(scheme) == "s3":
        options["max_concurrency"] = 1  # parallel parts of an object would be kept in memory
    if scheme in _WEB:
        import aiohttp

        options["client_kwargs"] = {"timeout": aiohttp.ClientTimeout(total=None, sock_connect=15, sock_read=_SECONDS)}
    return _fsspec(scheme).filesystem(scheme, use_listings_cache=False, skip_instance_cache=True, **options)


def _objects(filesystem: Any, url: str) -> Iterator[Object]:
    if scheme_of(url) in _WEB and not url.endswith("/"):
        yield _object(url, _info(filesystem, url))
        return
    if scheme_of(url) not in _WEB and not url.endswith("/"):
        info = _info(filesystem, url)
        if info["type"] != "directory":
            yield _object(url, info)
            return
    if _EXTRAS.get(scheme_of(url)) == "s3":
        yield from _pages(filesystem, url)
    else:
        yield from _walk(filesystem, url)


def _pages(filesystem: Any, url: str) -> Iterator[Object]:
    """S3's own listing, a thousand keys at a time; `find` and `walk` would keep all in memory."""
    bucket, key, _ = filesystem.split_path(url)
    request = {"Bucket": bucket, "Prefix": key.rstrip("/") + "/" if key else ""}
    while True:
        page = filesystem.call_s3("list_objects_v2", **request)
        for entry in page.get("Contents", ()):
            if not entry["Key"].endswith("/"):
                yield _object(f"{scheme_of(url)}://{bucket}/{entry['Key']}", {**entry, "size": entry["Size"]})
        if not page.get("IsTruncated"):
            return
        request["ContinuationToken"] = page["NextContinuationToken"]


def _walk(filesystem: Any, url: str) -> Iterator[Object]:
    """All objects, folder by folder, in order of name."""
    is_web = scheme_of(url) in _WEB
    root = url.rstrip("/")
    stripped = root if is_web else filesystem._strip_protocol(url).rstrip("/")
    pending = [root]
    while pending:
        folder = pending.pop()
        entries = {entry["name"]: entry for entry in filesystem.ls(folder + "/" if is_web else folder, detail=True)}
        folders = []
        for name in sorted(entries):
            found = root + name[len(stripped) :]
            if is_web and re.search(r"[?#]|/\.\./", found):
                continue  # the page's own links, such as those that sort it
            if entries[name]["type"] == "directory":
                folders.append(found.rstrip("/"))
            else:
                yield _object(found, _info(filesystem, found) if is_web else entries[name])
        pending.extend(reversed(folders))


def _info(filesystem: Any, url: str) -> dict[str, Any]:
    try:
        info: dict[str, Any] = filesystem.info(url)
        return info
    except FileNotFoundError as error:
        if scheme_of(url) in _WEB and error.__cause__ is not None:  # which reports every error as "not found"
            raise error.__cause__ from None
        raise


def _object(url: str, info: dict[str, Any]) -> Object:
    modified = _time(next((info[name] for name in ("LastModified", "updated", "Last-Modified", "mtime", "last_modified",
                                                    "created") if info.get(name)), None))  # fmt: skip
    named = next((info[name] for name in ("ETag", "etag", "md5Hash", "Content-MD5", "Digest") if info.get(name)), None)
    seconds = int(modified.timestamp()) if modified else 0
    content = named or (seconds if seconds < time.time() - _CLOCK_TICK else 0)
    version = 0
    if content and info.get("size") is not None:
        digest = hashlib.sha256(f"{content}".encode()).digest()
        version = int.from_bytes(digest[:8]) >> 2 or 1
    return Object(url, info.get("size"), version, seconds * 1_000_000_000)


def _time(value: object) -> dt.datetime | None:
    with contextlib.suppress(ValueError, TypeError):
        if isinstance(value, dt.datetime):
            return value
        if isinstance(value, int | float):
            return dt.datetime.fromtimestamp(value, dt.UTC)
        if isinstance(value, str):
            return email.utils.parsedate_to_datetime(value) if "," in value else dt.datetime.fromisoformat(value)
    return None


@contextlib.contextmanager
def _as_os_errors() -> Iterator[None]:
    try:
        yield
    except (OSError, SearchAppError):
        raise
    except Exception as error:  # each store's library has its own exceptions
        status = getattr(error, "status", None)
        if status in (404, 410):
            raise FileNotFoundError(_in_a_line(error)) from error
        if status in (401, 403) or type(error).__name__ in _NO_CREDENTIALS:
            raise PermissionError(_in_a_line(error)) from error
        raise OSError(_in_a_line(error)) from error


@contextlib.contextmanager
def _listing(url: str) -> Iterator[None]:
    try:
        with _as_os_errors():
            yield
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"no such object or prefix: {url}", hint=f"{_UNCHANGED}; check the PATH and try again"
        ) from error
    except PermissionError as error:
        raise ConfigurationError(
            f"no permission to list {url} ({_in_a_line(error)})",
            hint=f"{_UNCHANGED}; check the credentials in the environment or profile, such as AWS_PROFILE",
        ) from error
    except OSError as error:
        raise BackendUnavailable(
            f"cannot list {url} ({_in_a_line(error)})",
            hint=f"{_UNCHANGED}; check the network and the endpoint, such as AWS_ENDPOINT_URL, and try again",
        ) from error


def _in_a_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
