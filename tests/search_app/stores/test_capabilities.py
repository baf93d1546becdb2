"""What each store offers, and the one error for what it does not."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from search_app.errors import ConfigurationError
from search_app.settings import Settings
from search_app.stores.catalog import (
    open_catalog,
    require_repairs,
    require_replicas,
    require_shard_writers,
    require_snapshots,
)

STORES: dict[str, dict[str, Any]] = {
    "embedded": {},
    "elasticsearch": {"store": "elasticsearch"},
    "with a replica": {"store": "elasticsearch", "elasticsearch": {"fallback": True}},
}
CAPABILITIES: dict[Callable[[Any], Any], tuple[set[str], str]] = {
    require_repairs: ({"embedded"}, "run: search-index rollback"),
    require_snapshots: ({"embedded"}, "use its API: PUT _snapshot"),
    require_shard_writers: ({"elasticsearch", "with a replica"}, r"--shard.*SEARCH_APP_STORE=elasticsearch"),
    require_replicas: ({"with a replica"}, "SEARCH_APP_ELASTICSEARCH__FALLBACK=true"),
}


@pytest.mark.parametrize("require", CAPABILITIES, ids=lambda require: require.__name__)
@pytest.mark.parametrize("store", STORES)
def test_a_store_offers_a_capability_or_says_what_to_do_instead(
    store: str, require: Callable[[Any], Any], tmp_path: Path
) -> None:
    offered_by, hint = CAPABILITIES[require]
    with closing(open_catalog(Settings(home=tmp_path, **STORES[store]))) as catalog:
        if store in offered_by:
            assert require(catalog) is catalog
        else:
            with pytest.raises(ConfigurationError, match=hint):
                require(catalog)
