"""Whose lease a process takes over, told by the holder's machine, pid and start time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from collections_on import MANIFEST, catalog_on
from servers import Address

from search_app.leases import this_process
from search_app.stores.elasticsearch import lease
from search_app.stores.elasticsearch.catalog import ElasticsearchCatalog

pytestmark = [pytest.mark.elasticsearch]


@pytest.fixture
def catalog(elasticsearch: Address, elasticsearch_prefix: str) -> Iterator[ElasticsearchCatalog]:
    with catalog_on(elasticsearch, elasticsearch_prefix) as catalog:
        yield catalog


def hold(address: Address, prefix: str, **changes: Any) -> None:
    """Write a lease of collection c that nobody renews, as if by this process."""
    here = this_process()
    holder = {"token": "other", "step": "", "host": "here", "machine": here.machine, "process": here.pid}
    with address.http() as http:
        url = f"/{prefix}-leases/_doc/c"
        http.put(url, params={"refresh": "true"}, json={**holder, "renewed": time.time(), **changes}).raise_for_status()


def seconds_to_take(catalog: ElasticsearchCatalog) -> float:
    began = time.monotonic()
    with catalog.writer("c", MANIFEST):
        return time.monotonic() - began


def test_a_lease_is_taken_at_once_if_a_later_process_has_the_holders_pid(
    catalog: ElasticsearchCatalog, elasticsearch: Address, elasticsearch_prefix: str
) -> None:
    hold(elasticsearch, elasticsearch_prefix, started="1")
    assert seconds_to_take(catalog) < lease.EXPIRY_SECONDS / 2


@pytest.mark.parametrize("started", [{}, {"started": this_process().started}, {"started": "1", "machine": "another"}])
def test_a_lease_lasts_until_it_expires_if_its_process_may_live(
    catalog: ElasticsearchCatalog, elasticsearch: Address, elasticsearch_prefix: str,
    monkeypatch: pytest.MonkeyPatch, started: dict[str, str],
) -> None:  # fmt: skip
    monkeypatch.setattr(lease, "EXPIRY_SECONDS", 3.0)
    hold(elasticsearch, elasticsearch_prefix, **started)
    assert seconds_to_take(catalog) > 3.0
