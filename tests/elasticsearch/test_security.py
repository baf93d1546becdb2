"""TLS with a private authority, credentials, and the roles in docs/elasticsearch.md."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from certificates import Authority
from collections_on import ENCODER, MANIFEST, catalog_on, change, contents, write
from servers import Address, Cluster, missing

from search_app.errors import BackendUnavailable, ConfigurationError, SearchAppError
from search_app.settings import load_settings
from search_app.stores.elasticsearch.catalog import ElasticsearchCatalog

pytestmark = [pytest.mark.elasticsearch, pytest.mark.skipif(bool(missing()), reason=missing())]

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "elasticsearch.md"
PREFIX = "search-app"  # as in the roles of the document


@dataclass
class Secured:
    cluster: Cluster
    authority: Authority
    folder: Path

    @property
    def address(self) -> Address:
        return self.cluster.address()

    def key(self, role: dict[str, Any]) -> str:
        """An API key with a role."""
        with self.address.http() as http:
            body = {"name": f"test-{secrets.token_hex(4)}", "expiration": "1h", "role_descriptors": {"role": role}}
            made = http.post("/_security/api_key", json=body)
            assert made.status_code == 200, made.text
            encoded: str = made.json()["encoded"]
            return encoded


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("authority")
    authority = Authority(folder / "ours")
    with Cluster(certificate=authority.sign("server"), ca=authority.ca, password=secrets.token_hex(8)) as cluster:
        with catalog_on(cluster.address(), PREFIX) as catalog:
            write(catalog, change("a", "a river in Vienna"), change("b", "an engine in Osaka"))
        yield Secured(cluster, authority, folder)


@pytest.fixture
def keyed(secured: Secured) -> Iterator[Any]:
    """A catalog with an API key of a role from the page."""
    opened: list[ElasticsearchCatalog] = []

    def with_key(role: str | dict[str, Any]) -> ElasticsearchCatalog:
        key = secured.key(documented(role) if isinstance(role, str) else role)
        reached = {"urls": secured.address.urls, "ca": secured.address.ca, "api_key": key}
        settings = load_settings(store="elasticsearch", elasticsearch={**reached, "prefix": PREFIX, "vectors": "flat"})
        opened.append(ElasticsearchCatalog(settings))
        return opened[-1]

    yield with_key
    for catalog in opened:
        catalog.close()


def documented(role: str) -> dict[str, Any]:
    found = re.search(rf"<!-- role: {role} -->\n```json\n(.*?)\n```", DOCUMENT.read_text(), re.DOTALL)
    assert found, f"no role {role} in {DOCUMENT}"
    parsed: dict[str, Any] = json.loads(found[1])
    return parsed


def refusal(address: Address) -> BackendUnavailable:
    with catalog_on(address, PREFIX) as catalog, pytest.raises(BackendUnavailable) as caught:
        catalog.open("c")
    return caught.value


# --- TLS and passwords


def test_a_private_authority_is_trusted(secured: Secured) -> None:
    with catalog_on(secured.address, PREFIX) as catalog:
        assert set(contents(catalog)) >= {"docs/a", "docs/b"}
        assert catalog.verify("c") == []


def test_the_servers_name_is_checked_too(secured: Secured) -> None:
    other = secured.authority.sign("other-name", host="192.0.2.1")  # it stands for localhost and 192.0.2.1 only
    with Cluster(certificate=other, ca=secured.authority.ca, password="x" * 8) as cluster:
        by_name = replace(cluster.address(), urls=(cluster.urls[0].replace("127.0.0.1", "localhost"),))
        with catalog_on(by_name, PREFIX) as catalog:
            assert catalog.names() == []
        assert "TLS" in refusal(cluster.address()).message


def test_another_authority_is_not_trusted(secured: Secured) -> None:
    other = Authority(secured.folder / secrets.token_hex(4))
    for ca in (other.ca, None):
        error = refusal(replace(secured.address, ca=ca))
        assert re.search(r"no TLS connection to Elasticsearch at https://127\S+: .*certificate", error.message)
        assert "SEARCH_APP_ELASTICSEARCH__CA" in error.hint


def test_an_expired_certificate_is_not_trusted(secured: Secured) -> None:
    certificate = secured.authority.sign("expired", expired=True)
    with Cluster(certificate=certificate, password="x" * 8) as cluster:
        error = refusal(replace(cluster.address(), ca=secured.authority.ca))
    assert "certificate has expired" in error.message


def test_a_missing_authority_file_is_named(secured: Secured, tmp_path: Path) -> None:
    address = replace(secured.address, ca=tmp_path / "nowhere.pem")
    with pytest.raises(ConfigurationError, match=r"nowhere\.pem"), catalog_on(address, PREFIX):
        pass


def test_plain_http_to_a_tls_server_fails_without_sending_the_password(secured: Secured) -> None:
    refusal(replace(secured.address, urls=(secured.cluster.urls[0].replace("https", "http"),), ca=None))


@pytest.mark.parametrize("username", ["elastic", "nobody", None])
def test_wrong_credentials_are_reported_without_showing_them(secured: Secured, username: str | None) -> None:
    error = refusal(replace(secured.address, username=username, password="hunter2" if username else None))
    assert "refuses the credentials" in error.message
    assert "SEARCH_APP_ELASTICSEARCH__API_KEY" in error.hint
    assert "hunter2" not in str(error)


def test_a_wrong_or_revoked_key_is_refused(secured: Secured, keyed: Any) -> None:
    catalog = keyed("indexer")
    store = catalog.open("c")
    assert store.counts()["files"] == 2
    with secured.address.http() as http:
        made = http.get("/_security/api_key", params={"name": "test-*"}).json()["api_keys"]
        http.request("DELETE", "/_security/api_key", json={"ids": [key["id"] for key in made]})
    with pytest.raises(BackendUnavailable, match="refuses the credentials"):
        store.counts()


# --- roles


def test_the_indexers_role_is_sufficient_for_all_commands(keyed: Any) -> None:
    catalog = keyed("indexer")
    before = contents(catalog)
    write(catalog, change("a", "another river"), change("c", "a third file"))
    with catalog.writer("c", MANIFEST) as writer:
        assert writer.write([change("d", "a fourth file")]) == []
        writer.remove_files(["/docs/b"])
        assert writer.known_vectors(["none"]) == {}
        writer.finish()
    assert sorted(contents(catalog)) == ["docs/a", "docs/c", "docs/d"]
    assert catalog.verify("c") == []
    assert catalog.names() == ["c"]
    assert catalog.describe("c")["bytes"]
    catalog.rollback("c")
    assert sorted(contents(catalog)) == ["docs/a", "docs/b", "docs/c"]
    with catalog.writer("c", MANIFEST) as writer:
        assert writer.remove_documents(["c-0"]) == 1
        writer.finish()
    assert contents(catalog)["docs/c"] == []
    assert catalog.compact("c")["bytes"]
    write(catalog, change("a", "a river in Vienna"), change("b", "an engine in Osaka"), rebuild=True)
    assert contents(catalog) == before


def test_the_readers_role_is_sufficient_to_answer_and_describe(keyed: Any) -> None:
    catalog = keyed("reader")
    with closing(catalog.open("c")) as store:
        vectors = ENCODER.encode_queries(["river"])
        (found,) = store.search_both(["river"], vectors, k=5)
        assert [hit.passage.text for hit in found.keyword] == ["a river in Vienna"]
        assert len(found.dense) == 2
        document = found.keyword[0].passage.document_id
        assert store.document(document).text == "a river in Vienna"
        assert store.file_of(document).path == "/docs/a"
        assert len(store.documents(limit=5)) == len(list(store.files())) == 2
        assert store.counts()["passages"] == 2
        assert not store.is_degraded()
    assert catalog.names() == ["c"]
    assert catalog.describe("c")["bytes"]
    assert catalog.verify("c") == []


def test_the_readers_role_cannot_change_anything(secured: Secured, keyed: Any) -> None:
    catalog = keyed("reader")
    with catalog_on(secured.address, PREFIX) as everything:
        before = contents(everything)
        for attempt in (
            lambda: catalog.writer("c", MANIFEST),
            lambda: catalog.writer("new", MANIFEST),
            lambda: catalog.rollback("c"),
        ):
            with pytest.raises(BackendUnavailable) as caught:
                attempt()
            assert "forbids" in caught.value.message
            assert "docs/elasticsearch.md" in caught.value.hint
        assert contents(everything) == before


@pytest.mark.parametrize("role", ["indexer", "reader"])
def test_neither_role_reaches_anything_else(secured: Secured, role: str) -> None:
    key = {"Authorization": f"ApiKey {secured.key(documented(role))}"}
    name = f"foreign-{secrets.token_hex(4)}"
    with secured.address.http() as http:
        assert http.put(f"/{name}/_doc/1?refresh=true", json={"secret": 1}).status_code == 201
    with replace(secured.address, username=None).http(headers=key) as http:
        asked: list[tuple[str, str, Any]] = [
            ("GET", f"/{name}/_search", None), ("GET", f"/{name}/_doc/1", None), ("GET", f"/{name}/_mapping", None),
            ("PUT", f"/{name}/_doc/2", {}), ("DELETE", f"/{name}", None), ("PUT", "/another", {}),
            ("PUT", f"/{PREFIX}s/_doc/1", {}), ("PUT", "/_cluster/settings", {"transient": {"a": 1}}),
            ("POST", "/_cluster/reroute", {}), ("PUT", "/_index_template/x", {"index_patterns": ["x"]}),
            ("PUT", "/_snapshot/x", {"type": "fs", "settings": {}}), ("GET", "/_security/user", None),
            ("POST", "/_security/api_key", {"name": "more"}), ("GET", "/.security/_search", None),
        ]  # fmt: skip
        statuses = {f"{verb} {path}": http.request(verb, path, json=body).status_code for verb, path, body in asked}
        assert {way: status for way, status in statuses.items() if status != 403} == {}
        # What is not theirs is not there for them.
        everywhere = http.get("/*/_search", params={"size": 100}).json()["hits"]["hits"]
        assert {hit["_index"].split(".")[0] for hit in everywhere} <= {PREFIX, f"{PREFIX}-leases"}
    with secured.address.http() as http:
        assert http.get(f"/{name}/_doc/1").json()["found"]


@pytest.mark.parametrize(
    "weaker",
    [
        {"cluster": [], "indices": [{"names": [f"{PREFIX}.*"], "privileges": ["read", "view_index_metadata"]}]},
        {"cluster": ["monitor"], "indices": [{"names": ["other.*"], "privileges": ["all"]}]},
        {"cluster": ["monitor"], "indices": [{"names": [f"{PREFIX}.*"], "privileges": ["read"]}]},
    ],
)
def test_a_missing_privilege_is_named_with_the_role(keyed: Any, weaker: dict[str, Any]) -> None:
    catalog = keyed(weaker)
    with pytest.raises(BackendUnavailable) as caught:
        catalog.open("c")
    assert re.search(r"forbids this: .*(cluster:monitor|indices:)", caught.value.message)
    assert "docs/elasticsearch.md" in caught.value.hint


@pytest.mark.slow
def test_every_privilege_of_the_roles_is_needed(secured: Secured, keyed: Any) -> None:
    def uses(catalog: ElasticsearchCatalog, *, writes: bool) -> None:
        with closing(catalog.open("c")) as store:
            store.search_both(["river"], ENCODER.encode_queries(["river"]), k=5)
        catalog.describe("c")
        if writes:
            write(catalog, change("a", f"a river in {secrets.token_hex(4)}"))

    for name in ("indexer", "reader"):
        role = documented(name)
        uses(keyed(role), writes=name == "indexer")
        index = role["indices"][0]
        smaller = [{**role, "cluster": []}]
        smaller += [
            {**role, "indices": [{**index, "privileges": [one for one in index["privileges"] if one != left_out]}]}
            for left_out in index["privileges"]
        ]
        smaller += [
            {**role, "indices": [{**index, "names": [one for one in index["names"] if one != left_out] or ["none"]}]}
            for left_out in index["names"]
        ]
        for less in smaller:
            with pytest.raises(SearchAppError) as caught:
                uses(keyed(less), writes=name == "indexer")
            assert isinstance(caught.value, BackendUnavailable), less
    with catalog_on(secured.address, PREFIX) as catalog:
        write(catalog, change("a", "a river in Vienna"), change("b", "an engine in Osaka"), rebuild=True)


def test_without_credentials_the_server_refuses(secured: Secured) -> None:
    with replace(secured.address, username=None).http() as http:
        assert http.get("/").status_code == 401
    with pytest.raises(httpx.ConnectError):
        httpx.get(secured.cluster.urls[0], trust_env=False)
