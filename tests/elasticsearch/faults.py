"""A proxy in front of a real server that delays, refuses, breaks and truncates requests on demand."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from servers import Address

_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}


@dataclass
class Exchange:
    """One request, and what a fault can do with it."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes
    proxy: Proxy
    handler: BaseHTTPRequestHandler

    def ask(self) -> tuple[int, list[tuple[str, str]], bytes]:
        """The real server's response."""
        target = urlsplit(self.proxy.upstream)
        if target.scheme == "https":
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                target.hostname or "", target.port, timeout=60, context=self.proxy.trust
            )
        else:
            connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=60)
        try:
            connection.request(self.method, self.path, self.body or None, dict(self.headers))
            response = connection.getresponse()
            body = response.read()
            return response.status, [pair for pair in response.getheaders() if pair[0].lower() not in _HOP], body
        finally:
            connection.close()

    def reply(self, status: int, headers: list[tuple[str, str]], body: bytes, *, send: int | None = None) -> None:
        """`send`: send only this many bytes of the body."""
        self.handler.send_response_only(status)
        for name, value in headers:
            self.handler.send_header(name, value)
        self.handler.send_header("Content-Length", str(len(body)))
        self.handler.end_headers()
        if self.method != "HEAD":
            self.handler.wfile.write(body[:send])

    def reset(self) -> None:
        """Close the connection with RST."""
        self.handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.handler.close_connection = True
        self.handler.connection.close()


Fault = Callable[[Exchange], None]


def passed(exchange: Exchange) -> None:
    """Forward the request and the response."""
    exchange.reply(*exchange.ask())


def delayed(seconds: float) -> Fault:
    def fault(exchange: Exchange) -> None:
        if not exchange.proxy.ended.wait(seconds):
            passed(exchange)

    return fault


def answered(status: int, *, retry_after: int | None = None) -> Fault:
    """Respond without asking the server."""
    headers = [("Content-Type", "application/json"), ("X-elastic-product", "Elasticsearch")]
    if retry_after is not None:
        headers.append(("Retry-After", str(retry_after)))
    return lambda exchange: exchange.reply(status, headers, b'{"error":{"type":"fault","reason":"fault"}}')


def reset(exchange: Exchange) -> None:
    """The connection breaks before the server sees the request."""
    exchange.reset()


def reset_when_done(exchange: Exchange) -> None:
    """Forward the request, then break the connection."""
    exchange.ask()
    exchange.reset()


def cut_short(exchange: Exchange) -> None:
    """Send half of the body, then break the connection."""
    status, headers, body = exchange.ask()
    exchange.reply(status, headers, body, send=len(body) // 2)
    exchange.handler.wfile.flush()
    exchange.reset()


def then(action: Callable[[], object], fault: Fault = passed) -> Fault:
    """Run `action` when a request arrives, then apply `fault`."""

    def both(exchange: Exchange) -> None:
        action()
        fault(exchange)

    return both


class Proxy:
    """Listens on its own port in front of a server's first host; `requests` lists requests as "POST /_msearch"."""

    def __init__(self, server: Address) -> None:
        self.upstream = server.urls[0]
        self.trust = ssl.create_default_context(cafile=server.ca)
        self._server_address = server
        self.requests: list[str] = []
        self.ended = threading.Event()
        self._lock = threading.Lock()
        self._fault: Fault = passed
        self._times: int | None = None
        self._only = re.compile("")
        self.connections: set[socket.socket] = set()
        self._server: _Server | None = None
        self._port = 0
        self._listen()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ended.set()
        self.refuse()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def address(self) -> Address:
        """The server's address through the proxy."""
        return replace(self._server_address, urls=(self.url,), ca=None)

    def seen(self, part: str) -> int:
        """The number of matching requests."""
        return sum(bool(re.search(part, request)) for request in list(self.requests))

    @contextmanager
    def failing(self, fault: Fault, *, times: int | None = None, only: str = "") -> Iterator[None]:
        """Apply the fault to requests whose "METHOD /path" matches `only`: all, or the first `times`."""
        with self._lock:
            self._fault, self._times, self._only = fault, times, re.compile(only)
        try:
            yield
        finally:
            with self._lock:
                self._fault, self._times, self._only = passed, None, re.compile("")

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Stop listening and break all connections."""
        self.refuse()
        try:
            yield
        finally:
            self._listen()

    def refuse(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def fault_for(self, request: str) -> Fault:
        with self._lock:
            self.requests.append(request)
            if self._times == 0 or not self._only.search(request):
                return passed
            if self._times is not None:
                self._times -= 1
            return self._fault

    def _listen(self) -> None:
        self._server = _Server(self, self._port)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, proxy: Proxy, port: int) -> None:
        self.proxy = proxy
        super().__init__(("127.0.0.1", port), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that disconnect."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.proxy.connections.add(self.connection)

    def finish(self) -> None:
        self.server.proxy.connections.discard(self.connection)
        super().finish()

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        headers = [(name, value) for name, value in self.headers.items() if name.lower() not in _HOP]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        exchange = Exchange(self.command, self.path, headers, body, self.server.proxy, self)
        fault = self.server.proxy.fault_for(f"{self.command} {self.path}")
        try:
            fault(exchange)
        except (http.client.HTTPException, OSError):  # the server behind is gone: so are we
            exchange.reset()
            return
        if not self.wfile.closed and not self.close_connection:
            self.wfile.flush()
