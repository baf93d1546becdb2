"""Small records shared by several jobs, stored beside the leases and updated with optimistic locking."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from search_app.stores.elasticsearch import schema
from search_app.stores.elasticsearch.connection import Connection, ExpectedStatus
from search_app.stores.elasticsearch.schema import IndexVersion

Content = dict[str, Any]


class Record:
    """A JSON object with an id. The lease index must exist, as it does once a lease was taken."""

    def __init__(self, connection: Connection, id: str) -> None:
        self._connection = connection
        self._index = schema.leases(connection.settings.prefix)
        self._id = id

    def read(self) -> Content | None:
        return self._read()[0]

    def change(self, edit: Callable[[Content | None], Content | None]) -> Content | None:
        """Returns the new content; None deletes it. `edit` may be called several times, also on its own result."""
        while True:
            before, condition = self._read()
            after = edit(before)
            if after == before:
                return after
            try:
                self._put(after, condition)
            except ExpectedStatus:
                continue  # a concurrent change, or a lost answer
            return after

    def delete(self) -> None:
        self.change(lambda found: None)

    def _read(self) -> tuple[Content | None, dict[str, Any]]:
        try:
            found = self._connection.job(lambda client: client.get(index=self._index, id=self._id))
        except ExpectedStatus:
            return None, {"op_type": "create"}
        # As text, so that its keys do not become fields of the index.
        content: Content = json.loads(found["_source"]["record"])
        return content, {"if_seq_no": found["_seq_no"], "if_primary_term": found["_primary_term"]}

    def _put(self, content: Content | None, condition: dict[str, Any]) -> None:
        if content is None:
            self._connection.job(lambda client: client.delete(index=self._index, id=self._id, **condition))
            return
        document = {"record": json.dumps(content)}
        self._connection.job(
            lambda client: client.index(index=self._index, id=self._id, document=document, **condition)
        )


class Fields:
    """The metadata fields (at most `max_fields`) and analyses of a version, shared by all its writers."""

    def __init__(self, connection: Connection, version: IndexVersion) -> None:
        self._record = fields_record(connection, version.index)
        self._most = connection.settings.max_fields
        self.names = dict(version.fields or {})
        self.analyses = set(version.analyses)
        self.refresh()

    def refresh(self) -> None:
        """Load what other writers have claimed."""
        self._take(self._record.read())

    def claim(self, names: Mapping[str, str], analyses: Sequence[str]) -> bool:
        """Whether the names fit into the limit; if not, nothing is claimed."""
        if names.items() <= self.names.items() and self.analyses.issuperset(analyses):
            return True
        room = True

        def edit(found: Content | None) -> Content | None:
            nonlocal room
            self._take(found)
            merged = {**self.names, **names}
            room = len(merged) <= self._most
            return {"fields": merged, "analyses": sorted(self.analyses | set(analyses))} if room else found

        self._take(self._record.change(edit))
        return room

    def _take(self, found: Content | None) -> None:
        if found is not None:
            self.names |= found["fields"]
            self.analyses |= set(found["analyses"])


def fields_record(connection: Connection, index: str) -> Record:
    """The record of an index's metadata fields."""
    return Record(connection, f"{index}.fields")
