"""Find the indices of a collection: the live one and the others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from search_app.errors import BackendUnavailable
from search_app.stores.elasticsearch import schema
from search_app.stores.elasticsearch.connection import Connection, ExpectedStatus
from search_app.stores.elasticsearch.schema import IndexVersion


@dataclass(frozen=True, slots=True)
class Indices:
    """The live index of a collection, and its other indices by name (None: not made by this program)."""

    live: IndexVersion | None
    others: Mapping[str, IndexVersion | None]

    @property
    def previous(self) -> IndexVersion | None:
        """The index that `rollback` restores."""
        return None if self.live is None else self.others.get(self.live.previous)

    @property
    def building(self) -> IndexVersion | None:
        """The newest unfinished version, which may only lack the alias swap."""
        found = [version for version in self.others.values() if version is not None and self._is_unfinished(version)]
        return max(found, key=lambda version: version.index, default=None)

    def _is_unfinished(self, version: IndexVersion) -> bool:
        if version.state == "ready":
            live = self.live.index if self.live else ""
            return version.previous == live and (self.live is None or version.index != self.live.previous)
        return version.state == "building"


def live_version(connection: Connection, collection: str) -> IndexVersion | None:
    """The live version in one small request, for queries; None without an index."""
    name = schema.alias(connection.settings.prefix, collection)
    try:
        found = connection.question(
            lambda client: client.indices.get(index=name, features="mappings", filter_path="*.mappings._meta")
        )
    except ExpectedStatus:
        return None
    return _one(name, found)


def all_indices(connection: Connection, collection: str) -> Indices:
    """All indices of a collection with their aliases in one request, for jobs."""
    name = schema.alias(connection.settings.prefix, collection)
    found: Mapping[str, Any] = connection.job(
        lambda client: client.indices.get(
            index=f"{name}.*",
            features="aliases,mappings",
            filter_path="*.aliases,*.mappings._meta",
            expand_wildcards="open,closed,hidden",
        )
    )
    versions = {index: IndexVersion.of(index, about.get("mappings", {})) for index, about in found.items()}
    served = [index for index, about in found.items() if name in about.get("aliases", {})]
    live = versions[served[0]] if served else None
    return Indices(live, {index: version for index, version in versions.items() if index not in served})


def collections(connection: Connection) -> list[str]:
    """Names of all collections with a live index."""
    prefix = connection.settings.prefix
    try:
        found = connection.question(
            lambda client: client.indices.get_alias(index=f"{prefix}.*", filter_path="*.aliases")
        )
    except ExpectedStatus:
        return []
    pattern = re.compile(re.escape(prefix) + r"\.[^.]+")
    names = {name for about in found.values() for name in about.get("aliases", {}) if pattern.fullmatch(name)}
    return sorted(schema.collection_of(prefix, name) for name in names)


def _one(name: str, found: Mapping[str, Any]) -> IndexVersion | None:
    for index, about in found.items():
        version = IndexVersion.of(index, about.get("mappings", {}))
        if version is not None:
            return version
    if found:
        raise BackendUnavailable(
            f"the index {name} was not made by this program", hint="set another SEARCH_APP_ELASTICSEARCH__PREFIX"
        )
    return None
