"""Documents to parts of bounded size, and parts to batches, wherever the documents come from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from indexing.pipeline.parts import SplitPart, SplitParts
from indexing.splitter import Stretch
from search_app.protocols import FileRecord
from search_app.types import Document, Passage

BATCH_CHARACTERS = 163_840
"""Text of one transaction, some 250 passages: enough to sort by length, little to lose, a few seconds' work."""
PER_DOCUMENT = 200
"""Characters that a document counts beside its text: many small ones make a batch too."""


class PartStream:
    """Parts in order: `take` goes on where the last call stopped. `waited`: seconds that it stood still for others."""

    def __init__(self, parts: Iterator[SplitPart]) -> None:
        self._parts = parts
        self._passed_over = 0
        self.exhausted = False
        self.waited = 0.0

    def take(self, characters: int) -> SplitParts:
        """The next parts, together about as many characters; none at the end."""
        taken: list[SplitPart] = []
        size = 0
        while size < characters:
            part = next(self._parts, None)
            if part is None:
                self.exhausted = True
                break
            taken.append(part)
            size += part.size + PER_DOCUMENT
        passed_over, self._passed_over = self._passed_over, 0
        return SplitParts(tuple(taken), passed_over + sum(part.bytes for part in taken))

    def pass_over(self, size: int) -> None:
        """Counts bytes of which no part will come as dealt with."""
        self._passed_over += size

    def stop(self) -> None:
        """Makes a `take` that waits in another thread end soon, with whatever error."""


def in_parts(
    record: FileRecord, contents: Iterable[Document | Stretch], *, total: int, most: int = BATCH_CHARACTERS
) -> Iterator[SplitPart]:
    """One file's documents, each followed by its passages, in parts of about `most` characters.

    `total` characters, an estimate will do, share out the file's bytes among the parts; the last one takes the rest.
    """
    documents: list[Document] = []
    passages: list[Passage] = []
    size = given = 0
    first = True
    for item in contents:
        if size >= most:
            share = min(record.size - given, record.size * size // max(1, total))
            yield SplitPart(record, tuple(documents), tuple(passages), first, False, share, size)
            documents, passages, size, given, first = [], [], 0, given + share, False
        if isinstance(item, Document):
            documents.append(item)
            size += PER_DOCUMENT
        else:
            passages.extend(item.passages)
            size += item.characters
    yield SplitPart(record, tuple(documents), tuple(passages), first, True, record.size - given, size)
