"""The manifest of an index: the settings it was built with, which prevent opening it with incompatible ones."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace

from search_app.errors import IndexCorrupt, IndexMismatch
from search_app.protocols import EncoderStamp
from search_app.text.compounds import RULES
from search_app.text.reading import reading, titled
from search_app.types import Passage

FORMAT = 3
"""Format of an embedded index. On Elasticsearch, all formats are the same but for tables, which are new in 3."""
READABLE = 2
"""The oldest format that is read as it is."""
_REBUILD = "run: search-index apply --rebuild PATH"
EXCHANGEABLE_PRECISIONS = frozenset({"float32", "bfloat16", "float16", "int8"})
"""Precisions that may differ between index and query: the cosine of their vectors is above 0.999, with int8 0.99."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """`splitter`: its version and sizes; `analysis`: "auto" or the language of all documents.

    `words`: the version of the rules for words.
    """

    encoder: EncoderStamp
    splitter: str
    analysis: str
    format: int = FORMAT
    words: int = RULES

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str, *, oldest: int = READABLE) -> Manifest:
        """Read a manifest of format `oldest` to FORMAT. Raises IndexMismatch for other formats, and IndexCorrupt."""
        try:
            data = json.loads(text)
            found = data.get("format")
        except (ValueError, TypeError, AttributeError) as error:
            raise _damaged() from error
        if not isinstance(found, int) or not oldest <= found <= FORMAT:
            older = isinstance(found, int) and found < oldest
            command = "upgrade it with: search-index compact" if older else _REBUILD
            reads = f"this program reads formats {READABLE} to {FORMAT}"
            raise IndexMismatch(f"the index has format {found}, {reads}", hint=command)
        try:
            return cls(EncoderStamp(**data["encoder"]), data["splitter"], data["analysis"], words=data.get("words", 1))
        except (TypeError, KeyError) as error:
            raise _damaged() from error

    def with_words_of(self, index: Manifest) -> Manifest:
        """For adding documents to an index, which keeps its own rules for words."""
        return replace(self, words=index.words)

    def require_encoder(self, stamp: EncoderStamp) -> None:
        """Raises IndexMismatch unless queries of the encoder `stamp` can be compared with this index."""
        ours = self.encoder
        if ours.precision != stamp.precision and not {ours.precision, stamp.precision} <= EXCHANGEABLE_PRECISIONS:
            raise _mismatch("encoder precision", ours.precision, stamp.precision)
        if (ours.digest, ours.dim) != (stamp.digest, stamp.dim):
            raise _mismatch("encoder", f"{ours.model} ({ours.digest[:12]})", f"{stamp.model} ({stamp.digest[:12]})")

    def require(self, other: Manifest) -> None:
        """Raises IndexMismatch unless documents can be added with the settings of `other`."""
        self.require_encoder(other.encoder)
        for name, ours, theirs in (
            ("encoder.max_tokens", self.encoder.max_tokens, other.encoder.max_tokens),
            ("splitter", self.splitter, other.splitter),
            ("analysis", self.analysis, other.analysis),
        ):
            if ours != theirs:
                raise _mismatch(name, str(ours), str(theirs))


def encoded_text(passage: Passage) -> str:
    """The text that is encoded for a passage: its title path, then its text with the names of columns."""
    return titled(passage.title, reading(passage).text)


def vector_key(text: str, stamp: EncoderStamp) -> str:
    """The key of a stored vector: a hash of the encoded text and the encoder."""
    return hashlib.sha256(f"{stamp.digest}\0{stamp.max_tokens}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()


def _damaged() -> IndexCorrupt:
    return IndexCorrupt("the manifest of the index is damaged")


def _mismatch(what: str, index: str, settings: str) -> IndexMismatch:
    return IndexMismatch(
        f"{what}: the index was built with {index}, but the settings have {settings}",
        hint="change the setting back, or run: search-index apply --rebuild PATH",
    )
