"""Objects in stores that are no folders of this machine, by their URL: the one place that knows fsspec.

Credentials and endpoints are the stores' own business: their libraries take them from the environment or a profile.
"""

from __future__ import annotations

import contextlib
import datetime as dt
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
_SETTLED = 2
"""Seconds; an object that was changed this recently may change again within the same second of its time."""
_UNCHANGED = "nothing was changed"


@dataclass(frozen=True, slots=True)
class Object:
    """`version` is a fingerprint of what the store says of its content, `size` in bytes: 0 and None where it does not.

    `modified_ns` is in whole seconds, which all answers of a store agree upon.
    """

    url: str
    size: int | None
    version: int
    modified_ns: int


class Location:
    """A URL that was given: an object, all below a prefix, or what a glob matches; `*` stays within a folder."""

    def __init__(self, url: str) -> None:
        require(url)
        self.url = url
        glob = re.search(r"\*" if scheme_of(url) in _WEB else r"[*?\[]", url)
        self.prefix = url[: url.rindex("/", 0, glob.start()) + 1] if glob else url
        self._pattern = re.compile(_fsspec().utils.glob_translate(url)) if glob else None

    def covers(self, url: str) -> bool:
        if self._pattern is not None:
            return self._pattern.match(url) is not None
        return url == self.url or url.startswith(self.url.rstrip("/") + "/")

    def check(self) -> None:
        """Asks once. Raises SearchAppError where nothing is there, or nobody may see it."""
        with _listing(self.prefix):
            _info(_filesystem(scheme_of(self.prefix), os.getpid()), self.prefix)

    def objects(self) -> Iterator[Object]:
        """All that it covers. Raises SearchAppError where the listing is not whole."""
        with _listing(self.prefix):
            for found in _objects(_filesystem(scheme_of(self.prefix), os.getpid()), self.prefix):
                if self.covers(found.url):
                    yield found

    @property
    def is_certain(self) -> bool:
        """Is what a listing leaves out not there? A web server's page is no such listing."""
        return scheme_of(self.url) not in _WEB


def is_url(path: str) -> bool:
    return _URL.match(path) is not None


def scheme_of(url: str) -> str:
    found = _URL.match(url)
    return found[1].lower() if found else ""


def name_of(url: str) -> str:
    """The last part, without what a web address asks."""
    path = urlsplit(url).path if scheme_of(url) in _WEB else url
    return path.rstrip("/").rsplit("/", 1)[-1]


def require(url: str) -> None:
    """Raises MissingExtra, or ConfigurationError for a scheme that nobody knows; asks no server."""
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
            f"no such kind of PATH: {url}", hint="give a folder, a file, or a URL as s3://BUCKET/PREFIX"
        ) from error


def describe(url: str) -> Object:
    """Raises OSError: FileNotFoundError only where it is clearly not there."""
    require(url)
    with _as_os_errors():
        info = _info(_filesystem(scheme_of(url), os.getpid()), url)
        if info["type"] == "directory":
            raise FileNotFoundError(url)
        return _object(url, info)


def is_gone(url: str) -> bool:
    try:
        describe(url)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


def download(url: str, to: Path) -> None:
    """Raises OSError. Blocks of some megabytes are in memory."""
    require(url)
    with _as_os_errors():
        _filesystem(scheme_of(url), os.getpid()).get_file(url, str(to))


def read(url: str, *, most: int) -> bytes:
    """All of it. Raises OSError, as where it is larger than `most` bytes."""
    if (describe(url).size or 0) > most:
        raise OSError(errno.EFBIG, f"larger than {most >> 20} MB")
    with _as_os_errors():
        content: bytes = _filesystem(scheme_of(url), os.getpid()).cat_file(url)
        return content


def close() -> None:
    """Ends all connections; what comes later opens them anew."""
    _filesystem.cache_clear()


def _fsspec(scheme: str = "") -> Any:
    try:
        import fsspec
    except ImportError as error:
        raise MissingExtra("fsspec", _EXTRAS.get(scheme, "s3")) from error
    return fsspec


@functools.cache
def _filesystem(scheme: str, process: int) -> Any:
    """One for all threads; what one process has opened is of no use to its child."""
    options: dict[str, Any] = {}
    if _EXTRAS.get(scheme) == "s3":
        options["max_concurrency"] = 1  # several parts of one object at once would be held in memory
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
    """S3's own listing, a thousand keys at a time: `find` and `walk` would hold all of them."""
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
    """Folder by folder, each in order of name."""
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
                continue  # a page's own links, as those that sort it
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
        if scheme_of(url) in _WEB and error.__cause__ is not None:  # whatever went wrong there is "not found"
            raise error.__cause__ from None
        raise


def _object(url: str, info: dict[str, Any]) -> Object:
    modified = _time(next((info[name] for name in ("LastModified", "updated", "Last-Modified", "mtime", "last_modified",
                                                    "created") if info.get(name)), None))  # fmt: skip
    named = next((info[name] for name in ("ETag", "etag", "md5Hash", "Content-MD5", "Digest") if info.get(name)), None)
    seconds = int(modified.timestamp()) if modified else 0
    says = named or (seconds if seconds < time.time() - _SETTLED else 0)
    version = 0
    if says and info.get("size") is not None:
        digest = hashlib.sha256(f"{says}".encode()).digest()
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
    except Exception as error:  # each store's library has exceptions of its own
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
            f"nothing is there: {url}", hint=f"{_UNCHANGED}; check the PATH and run the command again"
        ) from error
    except PermissionError as error:
        raise ConfigurationError(
            f"no permission to list {url} ({_in_a_line(error)})",
            hint=f"{_UNCHANGED}; check the credentials that the environment or a profile gives, as AWS_PROFILE",
        ) from error
    except OSError as error:
        raise BackendUnavailable(
            f"cannot list {url} ({_in_a_line(error)})",
            hint=f"{_UNCHANGED}; check the network and the endpoint, as AWS_ENDPOINT_URL, and run the command again",
        ) from error


def _in_a_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
