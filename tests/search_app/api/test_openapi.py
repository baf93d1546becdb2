"""What OpenAPI states is what the server does: the key, names, status codes and methods."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from scripted_api import ScriptedService, Text, index, running

from search_app.api.schemas import ErrorResponse
from search_app.settings import ApiSettings, Settings

KEY = "s3cret-key"
METHODS = ("get", "post", "put", "patch", "delete")


@contextmanager
def served(home: Path, key: str | None) -> Iterator[httpx.Client]:
    settings = Settings(home=home, api=ApiSettings(key=key))
    index(settings, [Text("global.txt", "The global statement makes names refer to globals.")])
    with running(ScriptedService(settings), settings) as url, httpx.Client(base_url=url, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with served(tmp_path_factory.mktemp("open"), None) as client:
        yield client


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with served(tmp_path_factory.mktemp("locked"), KEY) as client:
        yield client


def operations(api: httpx.Client) -> list[tuple[str, str, dict[str, Any]]]:
    paths = api.get("/openapi.json").json()["paths"]
    return [(method, path, item[method]) for path, item in paths.items() for method in METHODS if method in item]


def test_openapi_states_both_headers_for_exactly_the_operations_that_need_the_key(locked: httpx.Client) -> None:
    schema = locked.get("/openapi.json").json()
    schemes = schema["components"]["securitySchemes"]
    assert {name: (scheme["type"], scheme.get("name"), scheme.get("scheme")) for name, scheme in schemes.items()} == {
        "HTTPBearer": ("http", None, "bearer"),
        "APIKeyHeader": ("apiKey", "X-API-Key", None),
    }
    stated = {(method, path): operation.get("security") for method, path, operation in operations(locked)}
    for (method, path), security in stated.items():
        refused = locked.request(method, re.sub(r"\{\w+\}", "x", path)).status_code == 401
        assert refused == (security == [{"HTTPBearer": []}, {"APIKeyHeader": []}]), (method, path)
        assert refused == (not path.startswith("/health/")), (method, path)


def test_without_a_key_openapi_states_no_security(api: httpx.Client) -> None:
    assert "securitySchemes" not in api.get("/openapi.json").json()["components"]
    assert not any("security" in operation for _, _, operation in operations(api))


def test_the_documentation_opens_without_the_key_and_names_no_other_host(locked: httpx.Client) -> None:
    page = locked.get("/docs")
    assert page.status_code == 200
    assert "://" not in page.text
    assets = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(assets) == 3
    for asset in assets:
        assert locked.get(f"/{asset}").status_code == 200
    for path in ("/docs/assets/../../v1/collections", "/docs/assets/main.py", "/docsx", "/redoc"):
        assert locked.get(path).status_code in (401, 404)


def test_names_and_ids_state_their_pattern_and_length(api: httpx.Client) -> None:
    expected = {
        "name": "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$",
        "document_id": "^[^/]+$",
        "job_id": "^[0-9a-z]+$",
        "schedule_id": "^[0-9a-z]+$",
    }
    found = set()
    for _, _, operation in operations(api):
        for parameter in operation.get("parameters", []):
            if parameter["in"] == "path" and parameter["name"] == "number":
                assert (parameter["schema"]["minimum"], parameter["schema"]["maximum"]) == (1, 1_000_000)
            elif parameter["in"] == "path":
                schema = parameter["schema"]
                assert schema["pattern"] == expected[parameter["name"]]
                assert (schema["minLength"], schema["maxLength"]) == (
                    1,
                    256 if parameter["name"] == "document_id" else 64,
                )
                found.add(parameter["name"])
    assert found == set(expected)


def test_every_operation_states_its_errors_in_one_shape(api: httpx.Client) -> None:
    for method, path, operation in operations(api):
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                schema = response["content"]["application/json"]["schema"]
                assert schema == {"$ref": f"#/components/schemas/{ErrorResponse.__name__}"}, (method, path, status)
        if "requestBody" in operation:
            assert {"400", "413", "422"} <= set(operation["responses"]), (method, path)


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/v1/collections/default/jobs", "GET, OPTIONS, POST"),
        ("/v1/collections/default/documents", "GET, OPTIONS"),
        ("/v1/collections/default/search", "OPTIONS, POST"),
    ],
)
def test_options_lists_every_method_of_a_path(api: httpx.Client, path: str, methods: str) -> None:
    response = api.options(path)
    assert (response.status_code, response.headers["allow"]) == (204, methods)
    response = api.put(path)
    assert (response.status_code, response.headers["allow"]) == (405, methods)
    assert response.json()["error"]["type"] == "MethodNotAllowed"
    assert api.options("/v1/nosuch").status_code == 404
