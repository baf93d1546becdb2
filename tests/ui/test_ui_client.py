from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from search_app.settings import ApiSettings, Settings
from ui.client import API_KEY_VARIABLE, API_URL_VARIABLE, ApiError, Client
from ui.launch import streamlit_command, streamlit_environment


class Stranger(BaseHTTPRequestHandler):
    """Another program at the API's address."""

    def do_GET(self) -> None:
        status, body = {"/v1/collections": (200, b"<html>hello")}.get(self.path, (502, b"Bad Gateway"))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def stranger() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_another_program_at_the_address_is_not_taken_for_the_api(stranger: str) -> None:
    client = Client(stranger)
    with pytest.raises(ApiError, match="is not the API of search-app"):
        client.collections()
    with pytest.raises(ApiError, match="HTTP status 502"):
        client.documents("default", limit=1, offset=0)
    client.close()


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "not a url", "http://[::1", "ftp://127.0.0.1"])
def test_an_address_that_cannot_be_reached_is_an_api_error(url: str) -> None:
    with pytest.raises(ApiError, match="does not answer"):
        Client(url).collections()


def test_the_key_goes_by_the_environment_and_never_by_the_command() -> None:
    settings = Settings(api=ApiSettings(key="s3cret"))
    assert streamlit_environment(settings, "http://127.0.0.1:9") == {
        API_URL_VARIABLE: "http://127.0.0.1:9",
        API_KEY_VARIABLE: "s3cret",
    }
    command = streamlit_command(8501)
    assert not any("s3cret" in part for part in command)
    assert "--server.address=127.0.0.1" in command
    assert "--server.port=8501" in command


def test_the_key_of_a_file_is_sent_too(tmp_path: Path) -> None:
    settings = Settings(api=ApiSettings(key_file=tmp_path / "key"))
    sent = streamlit_environment(settings, "http://127.0.0.1:9")[API_KEY_VARIABLE]
    assert sent == (tmp_path / "key").read_text()


@pytest.mark.parametrize(
    ("host", "names", "known"),
    [
        ("127.0.0.1", (), []),
        ("0.0.0.0", (), []),
        ("::", ("search.example.org",), ["search.example.org"]),
        ("192.168.1.5", (), ["192.168.1.5"]),
        ("fe80::1", (), ["[fe80::1]"]),
    ],
)
def test_on_any_address_only_names_that_are_its_own_are_answered(
    host: str, names: tuple[str, ...], known: list[str]
) -> None:
    command = streamlit_command(8501, host, names=names)
    assert f"--server.address={host}" in command
    prefix = "--server.allowedHosts="
    allowed = [part.removeprefix(prefix) for part in command if part.startswith(prefix)]
    assert allowed == ["localhost", "127.0.0.1", "[::1]", *known]
    assert not [part for part in command if "CORS" in part or "Xsrf" in part or part.endswith("=*")]
