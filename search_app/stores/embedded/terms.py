"""A passage's words for BM25, as a row of the table `terms`."""

from __future__ import annotations

from collections.abc import Iterable

from search_app.manifest import Manifest
from search_app.stores.embedded import checksums
from search_app.text import analysis as text_analysis

INSERT = "INSERT INTO terms (passage, length, words, counts, checksum) VALUES (?, ?, ?, ?, ?)"


def row(
    passage: int, texts: Iterable[str], source: str, language: str, manifest: Manifest
) -> tuple[int, int, bytes, bytes, int]:
    """`texts`: its keyword_texts; `language`: the document's, which counts if the manifest has "auto"."""
    language = language if manifest.analysis == "auto" else manifest.analysis
    words = text_analysis.passage_terms(texts, source, language, manifest.words)
    hashes, counts = text_analysis.hash_terms(words)
    values = (passage, len(words), hashes.astype("<u8").tobytes(), counts.astype("<u2").tobytes())
    return (*values, checksums.of_terms(*values))
