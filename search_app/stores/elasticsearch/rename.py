"""Move a collection to another name.

An index belongs to the collection that its own name starts with, so its indices are cloned under the new name; the
clones share the files of the originals. One alias update then makes the clone live and deletes the old live index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from search_app.errors import ConfigurationError, IndexBusy, IndexNotFound
from search_app.stores.elasticsearch import schema
from search_app.stores.elasticsearch.connection import Connection, ExpectedStatus
from search_app.stores.elasticsearch.index_versions import clone, delete_indices, set_meta
from search_app.stores.elasticsearch.indices import all_indices
from search_app.stores.elasticsearch.lease import Lease
from search_app.stores.elasticsearch.schema import IndexVersion

_RENAMING = "renaming"
"""State of an index that no job continues, in case this one is killed half-way; the live index may have any state."""


def rename(connection: Connection, old: str, new: str, leases: Sequence[Lease]) -> None:
    """The caller holds the `leases` of both names.

    Raises IndexNotFound, or ConfigurationError when `new` already exists.
    """
    source, target = all_indices(connection, old), all_indices(connection, new)
    if source.live is None:
        raise IndexNotFound(old)
    if target.live is not None:
        raise taken(new)
    delete_indices(connection, list(target.others))
    for version in (source.live, *source.others.values()):
        if version is not None:  # before they are cloned: a clone begins with the state of its original
            set_meta(connection, replace(version, state=_RENAMING))
    previous = _cloned(connection, source.previous, new) if source.previous else None
    live = _cloned(connection, source.live, new, previous=previous.index if previous else "")
    for lease in leases:
        lease.require()
    _swap(connection, source.live, live, new)
    delete_indices(connection, list(source.others))
    for version in (live, previous):
        if version is not None:
            set_meta(connection, replace(version, state="ready"))


def taken(name: str) -> ConfigurationError:
    """The error for a name that another collection has."""
    return ConfigurationError(f"collection '{name}' already exists", hint="choose another name", field="collection")


def _cloned(connection: Connection, version: IndexVersion, collection: str, *, previous: str = "") -> IndexVersion:
    index = schema.new_index(connection.settings.prefix, collection)
    copy = replace(version, index=index, state=_RENAMING, base="", previous=previous)
    clone(connection, version, copy, schema.WHEN_READY)
    return copy


def _swap(connection: Connection, live: IndexVersion, renamed: IndexVersion, new: str) -> None:
    alias = schema.alias(connection.settings.prefix, new)
    actions = [{"add": {"index": renamed.index, "alias": alias}}, {"remove_index": {"index": live.index}}]
    try:
        connection.job(lambda client: client.indices.update_aliases(actions=actions))
    except ExpectedStatus:  # the answer to an earlier attempt got lost, or the old index is gone
        found = all_indices(connection, new).live
        if found is None or found.index != renamed.index:
            raise IndexBusy(
                f"the collection changed while it was renamed to '{new}'", hint="run the same command again"
            ) from None
