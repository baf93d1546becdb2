"""Documents to parts of bounded size, and parts to batches, wherever the documents come from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from indexing.parts import Part, Parts
from indexing.splitter import Piece
from search_app.protocols import FileRecord
from search_app.types import Document

BATCH_CHARACTERS = 163_840
"""Text of one transaction, some 250 passages: enough to sort by length, little to lose, a few seconds' work."""
PER_DOCUMENT = 200
"""Characters that a document counts beside its text: many small ones make a batch too."""


class PartStream:
    """Parts in order: `take` goes on where the last call stopped."""

    def __init__(self, parts: Iterator[Part]) -> None:
        self._parts = parts
        self._dealt_with = 0
        self.exhausted = False

    def take(self, characters: int) -> Parts:
        """The next parts, together about as many characters; none at the end."""
        taken: list[Part] = []
        size = 0
        while size < characters:
            part = next(self._parts, None)
            if part is None:
                self.exhausted = True
                break
            taken.append(part)
            self._dealt_with += part.bytes
            size += sum(piece.end - piece.start for piece in part.pieces) + PER_DOCUMENT * (1 + len(part.documents))
        return Parts(tuple(taken))

    def take_progress(self) -> int:
        """Bytes of files dealt with since the last call."""
        done, self._dealt_with = self._dealt_with, 0
        return done

    def pass_over(self, size: int) -> None:
        """Counts bytes of which no part will come as dealt with."""
        self._dealt_with += size


def in_parts(
    record: FileRecord, contents: Iterable[Document | Piece], *, total: int, most: int = BATCH_CHARACTERS
) -> Iterator[Part]:
    """One file's documents, each followed by its pieces, in parts of about `most` characters.

    `total` characters, an estimate will do, share out the file's bytes among the parts; the last one takes the rest.
    """
    documents: list[Document] = []
    pieces: list[Piece] = []
    size = given = 0
    first = True
    for item in contents:
        if size >= most:
            share = min(record.size - given, record.size * size // max(1, total))
            yield Part(record, tuple(documents), tuple(pieces), first, False, share)
            documents, pieces, size, given, first = [], [], 0, given + share, False
        if isinstance(item, Document):
            documents.append(item)
            size += PER_DOCUMENT
        else:
            pieces.append(item)
            size += item.end - item.start
    yield Part(record, tuple(documents), tuple(pieces), first, True, record.size - given)
