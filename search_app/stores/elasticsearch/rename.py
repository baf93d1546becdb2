"""Move a collection to another name.

An index belongs to the collection that its own name starts with, so its indices are cloned under the new name; the
clones share the files of the originals. One alias update then makes the clone live and deletes the old live index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from search_app.errors import ConfigurationError, IndexBusy, IndexNotFound
from search_app.stores.elasticsearch import schema
from search_app.stores.elasticsearch.builds import clone, delete_indices, set_meta
from search_app.stores.elasticsearch.connection import Connection, ExpectedStatus
from search_app.stores.elasticsearch.indices import all_indices
from search_app.stores.elasticsearch.lease import Lease
from search_app.stores.elasticsearch.schema import Build

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
    for build in (source.live, *source.others.values()):
        if build is not None:  # before they are cloned: a clone begins with the state of its original
            set_meta(connection, replace(build, state=_RENAMING))
    previous = _cloned(connection, source.previous, new) if source.previous else None
    live = _cloned(connection, source.live, new, previous=previous.index if previous else "")
    for lease in leases:
        lease.require()
    _swap(connection, source.live, live, new)
    delete_indices(connection, list(source.others))
    for build in (live, previous):
        if build is not None:
            set_meta(connection, replace(build, state="ready"))


def taken(name: str) -> ConfigurationError:
    return ConfigurationError(f"collection '{name}' already exists", hint="choose another name", field="collection")


def _cloned(connection: Connection, build: Build, collection: str, *, previous: str = "") -> Build:
    index = schema.new_index(connection.settings.prefix, collection)
    copy = replace(build, index=index, state=_RENAMING, base="", previous=previous)
    clone(connection, build, copy, schema.WHEN_READY)
    return copy


def _swap(connection: Connection, live: Build, renamed: Build, new: str) -> None:
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
