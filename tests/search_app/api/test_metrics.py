from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from scripted_api import ScriptedReader, ScriptedService, Text, index, running

from search_app.observability import stage
from search_app.settings import ApiSettings, Settings

KEY = {"Authorization": "Bearer s3cret"}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[httpx.Client]:
    settings = Settings(home=tmp_path, api=ApiSettings(key="s3cret"))
    index(settings, [Text("one.txt", "Bananas are yellow.\n\nLemons are too."), Text("two.txt", "Limes are green.")])
    with (
        running(ScriptedService(settings, ScriptedReader()), settings) as url,
        httpx.Client(base_url=url, trust_env=False) as client,
    ):
        yield client


def samples(api: httpx.Client) -> dict[tuple[str, ...], float]:
    """Values by name and labels' values."""
    response = api.get("/metrics", headers=KEY)
    assert response.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def test_requests_are_counted_by_route_and_status(api: httpx.Client) -> None:
    search = "/v1/collections/default/search"
    for question in ("yellow", "green"):
        assert api.post(search, json={"question": question}, headers=KEY).status_code == 200
    assert api.post(search, json={"question": "explode"}, headers=KEY).status_code == 500
    assert api.post("/v1/collections/nosuch/search", json={"question": "x"}, headers=KEY).status_code == 404
    assert api.post(search, json={"question": "yellow"}).status_code == 401
    assert api.get("/v1/../../etc/passwd", headers=KEY).status_code == 404
    found = samples(api)
    route = "/v1/collections/{name}/search"
    assert found["search_app_requests_total", route, "200"] == 2
    assert found["search_app_requests_total", route, "500"] == 1
    assert found["search_app_requests_total", route, "404"] == 1
    assert found["search_app_requests_total", "", "401"] == 1
    assert found["search_app_requests_total", "", "404"] == 1
    assert found["search_app_request_seconds_count", route] == 4
    assert found["search_app_request_seconds_sum", route] > 0


def test_no_client_can_make_up_a_label(api: httpx.Client) -> None:
    for number in range(20):
        api.get(f"/made-up/{number}", headers=KEY)
        api.get(f"/v1/collections/made-up-{number}/documents", headers=KEY)
    assert not [labels for labels in samples(api) if "made-up" in "".join(labels)]


def test_each_index_has_its_counts_and_generation(api: httpx.Client) -> None:
    found = samples(api)
    assert found["search_app_index_documents", "default"] == 2
    assert found["search_app_index_passages", "default"] == 3
    assert found["search_app_index_generation", "default"] == 2


def test_stages_and_the_process_are_there(api: httpx.Client) -> None:
    with stage("retrieve"):
        pass
    found = samples(api)
    assert found["search_app_stage_seconds_count", "retrieve"] >= 1
    assert found[("process_resident_memory_bytes",)] > 0


def test_metrics_are_behind_the_key(api: httpx.Client) -> None:
    assert api.get("/metrics").status_code == 401


def test_a_broken_index_does_not_hide_the_others(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    index(settings, [Text("one.txt", "Bananas are yellow.")])
    broken = settings.collection_folder("broken")
    broken.mkdir(parents=True)
    (broken / "index.db").write_bytes(b"not an index" * 1000)
    with running(ScriptedService(settings), settings) as url, httpx.Client(base_url=url, trust_env=False) as api:
        found = samples(api)
    assert found["search_app_index_documents", "default"] == 1
    assert ("search_app_index_documents", "broken") not in found
