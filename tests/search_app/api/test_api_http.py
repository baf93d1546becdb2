from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fakes import UnreliableCatalog
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scripted_api import ScriptedReader, ScriptedService, Text, index, no_answer, running, table_text

from search_app.api.app import check_bind, serve
from search_app.api.schemas import AnswerOut, SearchResponse
from search_app.errors import ConfigurationError
from search_app.settings import ApiSettings, LimitSettings, Settings
from search_app.stores.embedded.catalog import EmbeddedCatalog
from search_app.stores.fallback import FallbackCatalog
from search_app.types import Answer, Box, Hit, Passage, SearchResult, Span

GLOBAL = "The global statement makes names refer to globals.\n\nIt would be impossible to assign to a global otherwise."
HEBREW = "ירושלים היא בירת ישראל.\n\nתל אביב היא עיר גדולה."
ALLOWANCES = [["Country", "Daily allowance"], ["Portugal", "EUR 46"], ["Spain 🚀", "EUR 51"]]
TABLE = table_text(
    "rates.html", "Rates 🚀 of 2026:", ALLOWANCES, "Ask before you book.", pages=(80, 20),
    boxes=[Box(55, 6, 0.5, 0.25, 0.6, 0.28), Box(72, 6, 0.5, 0.3, 0.6, 0.33)],
)  # fmt: skip
TEXTS = [
    Text("global.txt", GLOBAL, "Statements", {"size": 100, "url": "https://docs.example.org/global"}),
    Text("hebrew.md", HEBREW, "ערים", {"size": 2000, "url": "javascript:alert(1)"}, language="he"),
    Text("page.html", "<script>alert(1)</script> text of a page", "Page", {"size": 300}),
    Text("report.pdf", "First page here.\n\nSecond page there.", "Report", {"size": 500}, pages=(18, 18)),
]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = Settings(
        home=tmp_path_factory.mktemp("home"), limits=LimitSettings(k=20), api=ApiSettings(max_body_bytes=20_000)
    )
    index(settings, TEXTS)
    index(settings, [Text("other.txt", "Bananas are yellow.")], collection="fruit")
    index(settings, [TABLE], collection="tables")
    return settings


@pytest.fixture(scope="module")
def service(settings: Settings) -> ScriptedService:
    return ScriptedService(settings, ScriptedReader("names refer to globals", "תל אביב", "EUR 51"))


@pytest.fixture(scope="module")
def api(service: ScriptedService, settings: Settings) -> Iterator[httpx.Client]:
    with running(service, settings) as url, httpx.Client(base_url=url, trust_env=False) as client:
        yield client


def error_of(response: httpx.Response) -> dict[str, str]:
    assert set(response.json()) == {"error"}
    found: dict[str, str] = response.json()["error"]
    assert set(found) == {"type", "message", "hint", "field"}
    return found


def test_an_answer_stands_at_its_offsets_in_passage_and_document(api: httpx.Client) -> None:
    found = api.post("/v1/collections/default/answer", json={"question": "what does global do?"}).json()
    answer = found["answers"][0]
    assert answer["text"] == "names refer to globals"
    begin, end = answer["start"] - answer["passage_start"], answer["end"] - answer["passage_start"]
    assert answer["passage"][begin:end] == answer["text"]
    document = api.get(f"/v1/collections/default/documents/{answer['document_id']}").json()
    assert document["text"][answer["start"] : answer["end"]] == answer["text"]
    assert answer["confidence"] == 0.87
    assert found["generation"] >= 1
    assert found["timings"]["read"] == 0.12


def test_offsets_count_code_points_in_hebrew(api: httpx.Client) -> None:
    found = api.post("/v1/collections/default/answer", json={"question": "תל אביב"}).json()
    answer = next(item for item in found["answers"] if item["text"] == "תל אביב")
    document = api.get(f"/v1/collections/default/documents/{answer['document_id']}").json()
    assert document["text"][answer["start"] : answer["end"]] == "תל אביב"


def in_utf16(text: str, start: int, end: int) -> str:
    return text.encode("utf-16-le")[2 * start : 2 * end].decode("utf-16-le")


def test_an_answer_has_its_place_in_utf_16_units_too(api: httpx.Client) -> None:
    found = api.post("/v1/collections/tables/answer", json={"question": "allowance for Spain"}).json()
    answer = next(item for item in found["answers"] if item["text"] == "EUR 51")
    begin = answer["start"] - answer["passage_start"]
    assert answer["passage"][begin : begin + 6] == "EUR 51"
    assert in_utf16(answer["passage"], answer["utf16_start"], answer["utf16_end"]) == "EUR 51"
    assert answer["utf16_start"] == begin + 1
    document = f"/v1/collections/tables/documents/{answer['document_id']}"
    whole = api.get(document).json()
    units = api.get(document, params={"offsets": "utf16"}).json()
    assert (units["length"], units["text"]) == (whole["length"] + 2, whole["text"])
    cell = units["tables"][0]["rows"][2][1]
    assert in_utf16(units["text"], cell["start"], cell["end"]) == "EUR 51"
    box = units["pages"][0]["boxes"][1]
    assert (box["end"], box["left"]) == (whole["pages"][0]["boxes"][1]["end"] + 2, 0.5)
    part = api.get(document, params={"offsets": "utf16", "start": cell["start"], "end": cell["end"]}).json()
    assert (part["text"], part["start"], part["end"]) == ("EUR 51", cell["start"], cell["end"])
    assert error_of(api.get(document, params={"offsets": "bytes"}))["field"] == "offsets"


def test_a_passage_with_a_table_has_its_cells_and_columns(api: httpx.Client) -> None:
    found = api.post("/v1/collections/tables/answer", json={"question": "allowance for Spain", "k": 20}).json()
    hit = next(item for item in found["hits"] if item["text"].startswith("Country"))
    answer = next(item for item in found["answers"] if item["text"] == "EUR 51")
    for tables, text, offset in (
        (hit["tables"], hit["text"], hit["start"]),
        (answer["tables"], answer["passage"], answer["passage_start"]),
    ):
        (table,) = tables
        assert (table["columns"], table["header"]) == (["Country", "Daily allowance"], 0)
        rows = [[text[cell["start"] - offset : cell["end"] - offset] for cell in row] for row in table["rows"]]
        assert rows == ALLOWANCES[1:]
        assert text[table["start"] - offset :].startswith("Country | Daily allowance\n")
    assert [item["tables"] for item in found["hits"] if item is not hit] == [[], []]


def test_a_document_has_its_tables_and_the_places_on_its_scanned_pages(api: httpx.Client) -> None:
    path = f"/v1/collections/tables/documents/{document_id(api, 'rates.html', collection='tables')}"
    whole = api.get(path).json()
    (table,) = whole["tables"]
    assert (table["columns"], table["header"], len(table["rows"])) == (["Country", "Daily allowance"], 1, 3)
    rows = [[whole["text"][cell["start"] : cell["end"]] for cell in row] for row in table["rows"]]
    assert rows == ALLOWANCES
    assert [[whole["text"][box["start"] : box["end"]] for box in page["boxes"]] for page in whole["pages"]] == [
        ["EUR 46", "EUR 51"],
        [],
    ]
    last = table["rows"][2]
    part = api.get(path, params={"start": last[0]["start"], "end": last[1]["end"]}).json()
    assert part["tables"] == [{**table, "header": 0, "rows": [last]}]
    assert [len(page["boxes"]) for page in part["pages"]] == [1, 0]
    assert api.get(path, params={"start": 0, "end": 5}).json()["tables"] == []


def test_the_passages_of_a_document_come_in_order_as_encoder_and_reader_get_them(api: httpx.Client) -> None:
    path = f"/v1/collections/tables/documents/{document_id(api, 'rates.html', collection='tables')}"
    whole = api.get(path).json()
    found = api.get(f"{path}/passages").json()
    before, table, after = found["passages"]
    assert [item["start"] for item in found["passages"]] == sorted(item["start"] for item in found["passages"])
    assert all(whole["text"][item["start"] : item["end"]] == item["text"] for item in found["passages"])
    assert (before["reading"], after["reading"]) == (before["text"], after["text"])
    assert table["reading"] == (
        "Country: Portugal; Daily allowance: EUR 46\nCountry: Spain 🚀; Daily allowance: EUR 51"
    )
    assert [len(item["tables"]) for item in found["passages"]] == [0, 1, 0]
    assert found["next"] is None


def test_the_passages_of_a_long_document_are_read_part_by_part(api: httpx.Client) -> None:
    path = f"/v1/collections/default/documents/{document_id(api, 'global.txt')}/passages"
    first = api.get(path, params={"limit": 1}).json()
    rest = api.get(path, params={"limit": 1, "start": first["next"]}).json()
    assert [item["text"] for item in first["passages"] + rest["passages"]] == GLOBAL.split("\n\n")
    assert rest["next"] is None
    assert api.get(path, params={"start": 10, "end": 20}).json()["passages"] == first["passages"]
    assert api.get(path, params={"start": 10**9}).json() == {"passages": [], "next": None}
    for wrong in ({"limit": 0}, {"limit": 201}, {"start": -1}, {"end": 10**30}):
        assert api.get(path, params=wrong).status_code == 422


def test_the_passages_of_an_unknown_document_are_404(api: httpx.Client) -> None:
    response = api.get("/v1/collections/default/documents/nosuch/passages")
    assert (response.status_code, error_of(response)["message"]) == (
        404,
        "no document nosuch in collection 'default'",
    )


def test_a_hit_names_the_retrievers_that_found_it(api: httpx.Client) -> None:
    found = api.post("/v1/collections/default/search", json={"question": "global statement", "k": 2}).json()
    assert set(found["hits"][0]["scores"]) == {"dense", "keyword"}
    assert found["answers"] == []
    assert len(found["hits"]) == 2
    assert found["hits"][0]["score"] >= found["hits"][1]["score"]


def test_only_web_addresses_become_a_url(api: httpx.Client) -> None:
    documents = api.get("/v1/collections/default/documents").json()["documents"]
    urls = {item["source"]: item["url"] for item in documents}
    assert urls["global.txt"] == "https://docs.example.org/global"
    assert urls["hebrew.md"] is None


def test_a_filter_is_text_or_an_object_and_both_mean_the_same(api: httpx.Client) -> None:
    as_text = {"question": "page", "where": "size>=500"}
    as_object = {"question": "page", "where": {"field": "meta.size", "operator": ">=", "value": 500}}
    answers = [api.post("/v1/collections/default/search", json=body).json()["hits"] for body in (as_text, as_object)]
    assert answers[0] == answers[1]
    assert {hit["source"] for hit in answers[0]} == {"hebrew.md", "report.pdf"}


def test_a_question_to_one_collection_finds_nothing_of_another(api: httpx.Client) -> None:
    found = api.post("/v1/collections/fruit/search", json={"question": "global statement"}).json()
    assert {hit["source"] for hit in found["hits"]} == {"other.txt"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "question"),
        ({"question": ""}, "question"),
        ({"question": "   "}, "question"),
        ({"question": "x" * 1001}, "question"),
        ({"question": 5}, "question"),
        ({"question": "a \ud800"}, "question"),
        ({"question": "a", "k": 0}, "k"),
        ({"question": "a", "k": 10**6}, "k"),
        ({"question": "a", "k": "many"}, "k"),
        ({"question": "a", "top_k": 0}, "top_k"),
        ({"question": "a", "top_k": 21}, "top_k"),
        ({"question": "a", "where": 5}, "where"),
        ({"question": "a", "where": "size >"}, "where"),
        ({"question": "a", "where": "nosuchfield = 1"}, "where"),
        ({"question": "a", "where": {"operator": "XOR", "conditions": []}}, "where"),
        ({"question": "a", "collection": "b"}, "collection"),
        ({"question": "refuse"}, "question"),
    ],
)
def test_a_bad_request_names_its_field(api: httpx.Client, body: object, field: str) -> None:
    content = json.dumps(body)
    response = api.post("/v1/collections/default/answer", content=content, headers={"Content-Type": "application/json"})
    assert response.status_code == 422, response.text
    assert error_of(response)["field"] == field
    assert error_of(response)["message"]


def test_a_question_of_one_character_and_of_chinese_is_answered(api: httpx.Client) -> None:
    for question in ("x", "这是什么？", "x" * 1000):
        assert api.post("/v1/collections/default/answer", json={"question": question}).status_code == 200


@pytest.mark.parametrize(
    ("content", "status"), [(b"{", 400), (b"\xff\xfe", 400), (b"[" * 9000, 400), (b"null", 422), (b"", 422)]
)
def test_a_body_that_is_not_json_is_refused(api: httpx.Client, content: bytes, status: int) -> None:
    response = api.post("/v1/collections/default/search", content=content, headers={"Content-Type": "application/json"})
    assert response.status_code == status
    assert error_of(response)["message"]


def test_a_form_from_another_site_is_not_taken_for_json(api: httpx.Client) -> None:
    response = api.post(
        "/v1/collections/default/search", content=b'{"question":"a"}', headers={"Content-Type": "text/plain"}
    )
    assert response.status_code == 422


def test_a_collection_that_does_not_exist_is_404_with_the_command(api: httpx.Client) -> None:
    responses = [
        api.post("/v1/collections/nowhere/answer", json={"question": "a"}),
        api.post("/v1/collections/nowhere/search", json={"question": "a"}),
        api.get("/v1/collections/nowhere/documents"),
        api.get("/v1/collections/nowhere/documents/a"),
        api.get("/v1/collections/nowhere/documents/a/original"),
        api.get("/v1/collections/nowhere/documents/a/passages"),
    ]
    for response in responses:
        assert response.status_code == 404
        assert error_of(response)["type"] == "IndexNotFound"
        assert "search-index apply --collection nowhere" in error_of(response)["hint"]


@pytest.mark.parametrize("name", ["..", "%2E%2E", "a%20b", "x" * 65, "-a"])
def test_a_collection_name_cannot_leave_the_home_folder(api: httpx.Client, name: str) -> None:
    response = api.get(f"/v1/collections/{name}/documents")
    assert response.status_code in (404, 422)
    assert error_of(response)["message"]


def test_an_unknown_failure_shows_nothing_of_the_inside(api: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.CRITICAL):
        response = api.post("/v1/collections/default/search", json={"question": "explode"})
    assert response.status_code == 500
    assert error_of(response)["type"] == "InternalError"
    assert "secret" not in response.text
    assert "shadow" not in response.text


def test_documents_come_in_pages(api: httpx.Client) -> None:
    first = api.get("/v1/collections/default/documents", params={"limit": 3}).json()
    rest = api.get("/v1/collections/default/documents", params={"limit": 3, "offset": 3}).json()
    assert first["total"] == rest["total"] == 4
    assert [item["source"] for item in first["documents"] + rest["documents"]] == sorted(item.name for item in TEXTS)
    assert api.get("/v1/collections/default/documents", params={"limit": 0}).status_code == 422
    assert api.get("/v1/collections/default/documents", params={"offset": 10**30}).status_code == 422


def document_id(api: httpx.Client, source: str, *, collection: str = "default") -> str:
    documents = api.get(f"/v1/collections/{collection}/documents").json()["documents"]
    found: str = next(item["id"] for item in documents if item["source"] == source)
    return found


def test_a_part_of_a_document_keeps_the_places_of_the_whole(api: httpx.Client) -> None:
    path = f"/v1/collections/default/documents/{document_id(api, 'report.pdf')}"
    whole = api.get(path).json()
    part = api.get(path, params={"start": 6, "end": 25}).json()
    assert part["text"] == whole["text"][6:25]
    assert (part["start"], part["end"], part["length"]) == (6, 25, len(whole["text"]))
    assert [(page["number"], page["start"]) for page in part["pages"]] == [(1, 0), (2, 18)]
    beyond = api.get(path, params={"start": 10**6, "end": 3}).json()
    assert beyond["text"] == ""


def test_an_unknown_document_is_404(api: httpx.Client) -> None:
    for path in ("nosuch", "nosuch/original", "..%2F..%2Fetc%2Fpasswd"):
        response = api.get(f"/v1/collections/default/documents/{path}")
        assert response.status_code == 404
        assert error_of(response)["message"]


def test_an_original_is_saved_and_never_shown_as_a_page(api: httpx.Client) -> None:
    response = api.get(f"/v1/collections/default/documents/{document_id(api, 'page.html')}/original")
    assert response.content == b"<script>alert(1)</script> text of a page"
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["content-disposition"] == "attachment; filename*=UTF-8''page.html"
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("change", ["same size", "longer", "gone", "folder", "pipe"])
def test_an_original_that_is_no_longer_what_was_indexed_is_gone(tmp_path: Path, change: str) -> None:
    settings = Settings(home=tmp_path)
    index(settings, [Text("note.txt", "what was indexed")])
    file = tmp_path / "files" / "note.txt"
    file.unlink()
    if change == "same size":
        file.write_text("what was_indexed")
    elif change == "longer":
        file.write_text("what was indexed, and more")
    elif change == "folder":
        file.mkdir()
    elif change == "pipe":
        os.mkfifo(file)
    with running(ScriptedService(settings), settings) as url, httpx.Client(base_url=url, trust_env=False) as api:
        response = api.get(f"/v1/collections/default/documents/{document_id(api, 'note.txt')}/original")
    assert response.status_code == 410
    assert "search-index apply" in error_of(response)["message"]


def test_a_damaged_collection_is_listed_with_its_reason(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    index(settings, [Text("note.txt", "fine")])
    (tmp_path / "collections" / "broken").mkdir()
    (tmp_path / "collections" / "broken" / "index.db").write_bytes(b"not a database" * 1000)
    with running(ScriptedService(settings), settings) as url, httpx.Client(base_url=url, trust_env=False) as api:
        listed = {item["name"]: item for item in api.get("/v1/collections").json()["collections"]}
        assert api.get("/health/ready").status_code == 200
    assert listed["default"]["documents"] == 1
    assert listed["default"]["error"] is None
    assert listed["broken"]["error"]


def test_ready_names_the_command_until_something_is_indexed(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    with running(ScriptedService(settings), settings) as url, httpx.Client(base_url=url, trust_env=False) as api:
        assert api.get("/health/live").json() == {"status": "live"}
        response = api.get("/health/ready")
        assert response.status_code == 503
        assert error_of(response)["hint"] == "run: search-index apply PATH"
        index(settings, [Text("note.txt", "now there is one")])
        assert api.get("/health/ready").status_code == 200


def test_a_server_that_is_away_is_a_503_that_says_so_and_passes(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    index(settings, [Text("note.txt", "what the server holds")])
    server = UnreliableCatalog(EmbeddedCatalog(settings))
    asked = {"question": "what does the server hold?"}
    with (
        running(ScriptedService(settings, catalog=server), settings) as url,
        httpx.Client(base_url=url, trust_env=False) as api,
    ):
        for down in (False, True, False):
            server.down = down
            answers = api.get("/health/ready"), api.post("/v1/collections/default/search", json=asked)
            if not down:
                assert [answer.status_code for answer in answers] == [200, 200]
                assert answers[0].json() == {"status": "ready"}
                assert answers[1].json()["degraded"] is False
                continue
            for answer in answers:
                assert answer.status_code == 503
                assert error_of(answer) == {
                    "type": "BackendUnavailable", "message": "the server is down", "hint": "start it", "field": "",
                }  # fmt: skip


def test_answers_of_a_replica_are_marked_and_readiness_tells(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    index(settings, [Text("note.txt", "what the server holds")])
    server = UnreliableCatalog(EmbeddedCatalog(settings))
    catalog = FallbackCatalog(server, EmbeddedCatalog(settings))
    asked = {"question": "what does the server hold?"}
    with (
        running(ScriptedService(settings, ScriptedReader("server"), catalog=catalog), settings) as url,
        httpx.Client(base_url=url, trust_env=False) as api,
    ):
        for down in (True, False, True):
            server.down = down
            ready = api.get("/health/ready")
            assert (ready.status_code, ready.json()) == (200, {"status": "degraded" if down else "ready"})
            for way in ("search", "answer"):
                found = api.post(f"/v1/collections/default/{way}", json=asked).json()
                assert found["hits"]
                assert found["degraded"] is down


def test_openapi_shows_this_installations_limits_and_examples(api: httpx.Client) -> None:
    schemas = api.get("/openapi.json").json()["components"]["schemas"]
    request = schemas["AnswerRequest"]
    assert request["properties"]["question"]["maxLength"] == 1000
    assert request["properties"]["k"]["maximum"] == 20
    assert request["examples"][0]["question"]
    assert "ErrorResponse" in schemas


def test_a_body_over_the_limit_is_refused_by_its_length(service: ScriptedService, api: httpx.Client) -> None:
    before = len(service.calls)
    response = api.post("/v1/collections/default/search", json={"question": "x" * 30_000})
    assert response.status_code == 413
    assert error_of(response)["message"]
    assert len(service.calls) == before


def test_an_endless_body_is_cut_off_and_not_kept(api: httpx.Client) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(10_000):
            sent += 10_000
            yield b" " * 10_000

    try:
        status = api.post(
            "/v1/collections/default/search", content=endless(), headers={"Content-Type": "application/json"}
        ).status_code
    except httpx.WriteError:
        status = 413  # the server closed while the client still sent
    assert status == 413
    assert sent < 50_000_000


def test_a_page_under_another_name_cannot_read_answers(api: httpx.Client) -> None:
    body = {"question": "a"}
    rebound = api.post("/v1/collections/default/search", json=body, headers={"Host": "evil.example.org"})
    assert rebound.status_code == 400
    assert api.post("/v1/collections/default/search", json=body, headers={"Host": "localhost:80"}).status_code == 200


def test_without_the_key_nothing_but_health_is_served(settings: Settings) -> None:
    locked = settings.model_copy(update={"api": ApiSettings(key="s3cret-key")})
    with running(ScriptedService(locked), locked) as url, httpx.Client(base_url=url, trust_env=False) as api:
        path, body = "/v1/collections/default/search", {"question": "global"}
        for headers in (
            {},
            {"X-API-Key": "wrong"},
            {"Authorization": "Bearer wrong"},
            {"Authorization": "Basic s3cret-key"},
            {"X-API-Key": "s3cret-ke"},
            {"X-API-Key": "\u00fc".encode("latin-1").decode("latin-1")},
        ):
            encoded = {name: value.encode("latin-1") for name, value in headers.items()}
            response = api.post(path, json=body, headers=encoded)
            assert response.status_code == 401
            assert error_of(response)["hint"]
            assert response.headers["www-authenticate"] == "Bearer"
        assert api.get("/health/live").status_code == 200
        assert api.post(path, json=body, headers={"Authorization": "Bearer s3cret-key"}).status_code == 200
        assert api.post(path, json=body, headers={"X-API-Key": "s3cret-key"}).status_code == 200


@pytest.mark.parametrize(("host", "key", "allowed"), [
    ("127.0.0.1", None, True),
    ("localhost", None, True),
    ("::1", None, True),
    ("0.0.0.0", None, False),
    ("0.0.0.0", "", False),
    ("::", None, False),
    ("192.168.1.5", None, False),
    ("example.org", None, False),
    ("0.0.0.0", "key", True),
])  # fmt: skip
def test_only_a_key_opens_the_server_to_others(host: str, key: str | None, allowed: bool) -> None:
    settings = Settings(api=ApiSettings(host=host, key=key))
    if allowed:
        check_bind(settings)
    else:
        with pytest.raises(ConfigurationError, match="without an API key"):
            check_bind(settings)


def test_a_port_in_use_is_one_clear_line_and_loads_nothing(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        busy = settings.model_copy(update={"api": ApiSettings(port=port)})
        with pytest.raises(ConfigurationError, match=f"port {port} of 127.0.0.1 is in use"):
            serve(busy, open_service=lambda _: pytest.fail("the service was opened"))


SERVER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from scripted_api import ScriptedService
from search_app.api.app import serve
from search_app.settings import ApiSettings, Settings
import time

class Slow(ScriptedService):
    def search(self, question, **rest):
        time.sleep(1.0)
        return super().search(question, **rest)

    def close(self):
        super().close()
        print("closed", flush=True)

settings = Settings(home=Path(sys.argv[2]), api=ApiSettings(port=0))
serve(settings, open_service=Slow, ready=lambda url: print(url, flush=True))
"""


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_server_finishes_the_request_it_has(settings: Settings, sent: signal.Signals) -> None:
    tests = str(Path(__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, tests, str(settings.home)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with httpx.Client(base_url=url, trust_env=False, timeout=20) as client:
            while True:
                try:
                    client.get("/health/live")
                    break
                except httpx.TransportError:
                    time.sleep(0.05)
            from concurrent.futures import ThreadPoolExecutor

            with ThreadPoolExecutor(1) as pool:
                asked = pool.submit(client.post, "/v1/collections/default/search", json={"question": "global"})
                time.sleep(0.4)
                process.send_signal(sent)
                assert asked.result().status_code == 200
        assert process.stdout.read().strip() == "closed"
        process.wait(15)


def test_a_result_without_answer_has_empty_text_and_no_place(settings: Settings) -> None:
    service = ScriptedService(settings, no_answer)
    result = service.answer("bananas", collection="default", k=3, top_k=3, where=None)
    answer = SearchResponse.of(result).answers[0]
    assert (answer.text, answer.start, answer.end, answer.passage, answer.document_id) == ("", None, None, None, None)
    service.close()


def test_the_wire_format_loads_neither_fastapi_nor_torch() -> None:
    code = (
        "import sys, search_app.api.schemas; "
        "print([name for name in ('fastapi', 'torch', 'haystack', 'starlette', 'transformers') if name in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


@given(body=st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["question", "k", "where", "field", "operator", "value", "conditions"]) | st.text(), inner,
        max_size=5,
    ),
    max_leaves=15,
))  # fmt: skip
@hypothesis_settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_no_json_body_brings_the_server_down(api: httpx.Client, body: object) -> None:
    response = api.post(
        "/v1/collections/default/search",
        content=json.dumps(body),
        headers={"Content-Type": "application/json"},
    )
    assert response.status_code in (200, 413, 422)
    if response.status_code != 200:
        assert error_of(response)["message"]


@given(where=st.text(max_size=60))
@hypothesis_settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_filter_text_brings_the_server_down(api: httpx.Client, where: str) -> None:
    response = api.post("/v1/collections/default/search", json={"question": "global", "where": where})
    assert response.status_code in (200, 422)


def test_answer_out_is_plain_for_a_reader_without_calibration(settings: Settings) -> None:
    service = ScriptedService(settings, ScriptedReader("names refer", confidence=None))
    result = service.answer("global names", collection="default", k=3, top_k=1, where=None)
    assert AnswerOut.of(result.answers[0]).confidence is None
    service.close()


def test_an_answer_has_its_date_and_the_documents_that_agree() -> None:
    text = "The fee is 8 EUR."
    one, other = (
        Passage(id, id, "", text, 0, len(text), source=f"{id}.txt", meta={"date": "2024-02-03"}) for id in ("a", "b")
    )
    found = AnswerOut.of(Answer("8 EUR", Span(11, 16), 1.0, 0.7, Hit(one, 1.0), also=(other,)))
    assert (found.date, [place.source for place in found.also_in]) == ("2024-02-03", ["b.txt"])


def test_a_hit_marks_the_words_of_a_keyword_query_and_names_its_copies() -> None:
    text = "The lid is part 8Z-4411/B."
    one, other = (Passage(id, f"d-{id}", "Pump", text, 0, len(text), 3, f"{id}.pdf") for id in ("a", "b"))
    hits = (Hit(one, 1.0, {"bm25": 1.0}, (other,), other),)
    for question, marked in (("8Z-4411/B", ["8Z-4411/B"]), ("What is part 8Z-4411/B?", [])):
        (hit,) = SearchResponse.of(SearchResult(question, hits, (), {}, 1)).model_dump()["hits"]
        assert [text[mark["start"] : mark["end"]] for mark in hit["marks"]] == marked
        place = {"passage_id": "b", "document_id": "d-b", "source": "b.pdf", "title": "Pump", "page": 3}
        assert (hit["also_in"], hit["newer"]) == ([place], place)
