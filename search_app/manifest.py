"""What built an index, kept inside it: who opens it with other settings is refused before a wrong answer."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from search_app.errors import IndexCorrupt, IndexMismatch
from search_app.protocols import EncoderStamp
from search_app.types import Passage

FORMAT = 2
"""Of the embedded index; what Elasticsearch holds is as it was in format 1."""
_REBUILD = "rebuild it with: search-index apply --rebuild PATH"
EXCHANGEABLE_PRECISIONS = frozenset({"float32", "bfloat16", "float16"})
"""An index made in one of these is served in another: the cosine of their vectors stays above 0.999 (tested)."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """`splitter` names version and sizes; `analysis` is "auto" or the one language of the index."""

    encoder: EncoderStamp
    splitter: str
    analysis: str
    format: int = FORMAT

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str, *, oldest: int = FORMAT) -> Manifest:
        """In today's format, from `oldest` or a later one; raises IndexMismatch for any other, and IndexCorrupt."""
        try:
            data = json.loads(text)
            found = data.get("format")
        except (ValueError, TypeError, AttributeError) as error:
            raise _damaged() from error
        if not isinstance(found, int) or not oldest <= found <= FORMAT:
            older = isinstance(found, int) and found < oldest
            command = "bring it up to date with: search-index compact" if older else _REBUILD
            raise IndexMismatch(f"the index has format {found}, this program reads format {FORMAT}", hint=command)
        try:
            return cls(EncoderStamp(**data["encoder"]), data["splitter"], data["analysis"])
        except (TypeError, KeyError) as error:
            raise _damaged() from error

    def require_encoder(self, stamp: EncoderStamp) -> None:
        """Raises IndexMismatch unless questions encoded under `stamp` can be compared with this index."""
        ours = self.encoder
        if ours.precision != stamp.precision and not {ours.precision, stamp.precision} <= EXCHANGEABLE_PRECISIONS:
            raise _mismatch("encoder precision", ours.precision, stamp.precision)
        if (ours.digest, ours.dim) != (stamp.digest, stamp.dim):
            raise _mismatch("encoder", f"{ours.model} ({ours.digest[:12]})", f"{stamp.model} ({stamp.digest[:12]})")

    def require(self, other: Manifest) -> None:
        """Raises IndexMismatch unless documents may be added under `other`."""
        self.require_encoder(other.encoder)
        for name, ours, theirs in (
            ("encoder.max_tokens", self.encoder.max_tokens, other.encoder.max_tokens),
            ("splitter", self.splitter, other.splitter),
            ("analysis", self.analysis, other.analysis),
        ):
            if ours != theirs:
                raise _mismatch(name, str(ours), str(theirs))


def encoded_text(passage: Passage) -> str:
    """What the encoder sees of a passage: its title path, then its text."""
    return f"{passage.title}\n{passage.text}" if passage.title else passage.text


def vector_key(text: str, stamp: EncoderStamp) -> str:
    """Under which a vector is kept: the text that was encoded and the encoder, whatever the file's name."""
    return hashlib.sha256(f"{stamp.digest}\0{stamp.max_tokens}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()


def _damaged() -> IndexCorrupt:
    return IndexCorrupt("the manifest of the index is damaged")


def _mismatch(what: str, index: str, settings: str) -> IndexMismatch:
    return IndexMismatch(
        f"{what}: the index was built with {index}, the settings say {settings}",
        hint="set it back, or rebuild with: search-index apply --rebuild PATH",
    )
