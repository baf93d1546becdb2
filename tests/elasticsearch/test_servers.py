"""The test servers and the faulty proxy."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from certificates import Authority
from faults import Proxy, answered, cut_short, delayed, reset, reset_when_done, then
from servers import Address, Cluster, missing, remove_indices

pytestmark = [pytest.mark.elasticsearch]


@pytest.fixture
def proxy(elasticsearch: Address) -> Iterator[Proxy]:
    with Proxy(elasticsearch) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[httpx.Client]:
    with proxy.address.http() as client:
        yield client


def test_the_proxy_passes_responses_unchanged(
    proxy: Proxy, client: httpx.Client, elasticsearch: Address, elasticsearch_prefix: str
) -> None:
    document = {"text": "Grüße 東京 " * 2000}
    put = client.put(f"/{elasticsearch_prefix}-a/_doc/1?refresh=true", json=document)
    assert put.status_code == 201
    with elasticsearch.http() as http:
        direct = http.get(f"/{elasticsearch_prefix}-a/_doc/1").json()
    assert client.get(f"/{elasticsearch_prefix}-a/_doc/1").json() == direct
    assert direct["_source"] == document
    assert client.head(f"/{elasticsearch_prefix}-b").status_code == 404
    assert [request.split()[0] for request in proxy.requests] == ["PUT", "GET", "HEAD"]


def test_the_proxy_produces_the_faults(proxy: Proxy, client: httpx.Client, elasticsearch_prefix: str) -> None:
    with proxy.failing(answered(429, retry_after=3), times=1):
        busy = client.get("/")
        assert (busy.status_code, busy.headers["Retry-After"]) == (429, "3")
        assert client.get("/").status_code == 200
    with proxy.failing(reset), pytest.raises(httpx.ReadError):
        client.get("/")
    with proxy.failing(reset_when_done), pytest.raises(httpx.ReadError):
        client.put(f"/{elasticsearch_prefix}-a/_doc/1", json={})
    assert client.get(f"/{elasticsearch_prefix}-a/_doc/1").status_code == 200
    with proxy.failing(cut_short, only="GET /_cluster"):
        with pytest.raises(httpx.HTTPError):
            client.get("/_cluster/health")
        assert client.get("/").status_code == 200
    with proxy.failing(delayed(60)), pytest.raises(httpx.ReadTimeout):
        client.get("/", timeout=0.2)
    happened: list[str] = []
    with proxy.failing(then(lambda: happened.append("now"))):
        assert client.get("/").status_code == 200
    assert happened == ["now"]
    with proxy.refusing(), pytest.raises(httpx.ConnectError):
        client.get("/")
    assert client.get("/").status_code == 200


def test_only_indices_with_the_prefix_are_removed(elasticsearch: Address, elasticsearch_prefix: str) -> None:
    with elasticsearch.http() as http:
        for name in (f"{elasticsearch_prefix}.a", f"{elasticsearch_prefix}-b", f"other-{elasticsearch_prefix}"):
            assert http.put(f"/{name}").status_code == 200
        http.put(f"/{elasticsearch_prefix}.a/_alias/{elasticsearch_prefix}.alias")
        remove_indices(elasticsearch, elasticsearch_prefix)
        assert http.get(f"/{elasticsearch_prefix}*").json() == {}
        assert http.delete(f"/other-{elasticsearch_prefix}").status_code == 200


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_a_killed_server_keeps_its_data(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    with Cluster(certificate=authority.sign("server"), ca=authority.ca, password="correct horse") as cluster:
        address = cluster.address()
        with address.http() as http:
            assert http.put("/kept/_doc/1", json={"a": 1}).status_code == 201
            cluster.kill(0)
            with pytest.raises(httpx.ConnectError):
                http.get("/")
        began = time.monotonic()
        cluster.start(0)
        cluster.wait(status="yellow")
        print(f"back after {time.monotonic() - began:.1f} s")
        with address.http() as http:
            assert http.get("/kept/_doc/1").json()["_source"] == {"a": 1}
            assert httpx.get(f"{address.urls[0]}/", verify=str(authority.ca), trust_env=False).status_code == 401
    with address.http() as http, pytest.raises(httpx.ConnectError):
        http.get("/")
