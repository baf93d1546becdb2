"""The one-shot services of docker-compose.yml, which create secrets and users for the other services.

setup.py secrets              create every missing secret, each in its own volume under /secrets
setup.py elasticsearch URL    create a role and a user for the API and for the indexer
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import httpx

from search_app.api.key import read_or_make

SECRETS = Path("/secrets")
PASSWORD = "search_app_elasticsearch__password"
MODES = {
    "api/key": 0o440,  # Prometheus reads it too, as a member of the group
    f"reader/{PASSWORD}": 0o400,
    f"indexer/{PASSWORD}": 0o400,
    "elasticsearch/elastic": 0o400,
    "grafana/admin": 0o440,
}
ROLES: dict[str, dict[str, Any]] = {
    "reader": {
        "cluster": ["monitor"],
        "indices": [{"names": ["search-app.*"], "privileges": ["read", "view_index_metadata", "monitor"]}],
    },
    "indexer": {
        "cluster": ["monitor"],
        "indices": [{"names": ["search-app.*", "search-app-leases"], "privileges": ["read", "write", "manage"]}],
    },
}
"""The roles of docs/elasticsearch.md."""
WAIT_S = 300


def make_secrets() -> None:
    """Create the secrets that do not exist yet."""
    for name, mode in MODES.items():
        read_or_make(SECRETS / name, mode=mode)


def introduce(url: str) -> None:
    """Create roles and users on the server; existing ones are overwritten, so this is safe to repeat."""
    password = read_or_make(SECRETS / "elasticsearch" / "elastic")
    with httpx.Client(base_url=url, auth=("elastic", password), timeout=10, trust_env=False) as client:
        wait_until_up(client)
        for name, role in ROLES.items():
            own = read_or_make(SECRETS / name / PASSWORD)
            user = {"password": own, "roles": [f"search-app-{name}"]}
            client.put(f"/_security/role/search-app-{name}", json=role).raise_for_status()
            client.put(f"/_security/user/search-app-{name}", json=user).raise_for_status()


def wait_until_up(client: httpx.Client) -> None:
    """Wait up to WAIT_S seconds for the cluster; exit with an error after that."""
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            response = client.get("/_cluster/health", params={"wait_for_status": "yellow", "timeout": "5s"})
            response.raise_for_status()
            return
        except httpx.HTTPError as error:
            if time.monotonic() > deadline:
                raise SystemExit(f"error: Elasticsearch was not ready after {WAIT_S} s: {error}") from error
        time.sleep(1)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["secrets"]:
            make_secrets()
        case ["elasticsearch", url]:
            introduce(url)
        case _:
            sys.exit(__doc__)
