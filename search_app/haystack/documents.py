"""Conversion between Haystack's documents and answers and ours.

A document that is written through the document store becomes one file, one document and one passage. Fields that our
types lack are kept as JSON in the metadata field `RESERVED_META`, which filters ignore.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from haystack import Document, ExtractedAnswer
from haystack.dataclasses import ByteStream, SparseEmbedding
from haystack.document_stores.errors import DocumentStoreError
from numpy.typing import NDArray

from search_app import types
from search_app.protocols import FileChange, FileRecord
from search_app.text import outline
from search_app.text.analysis import detect_language, normalise_language
from search_app.types import RESERVED_META, Answer, Edit, Hit, Passage, PassageBatch, Span

EDITS = "edits"
"""The metadata field with a passage's edits (search_app.text.reading): [start, end, text] each."""
UNIT_TOLERANCE = 1e-6
"""Tolerance for a unit vector. Other vectors are normalised for the search, and the original is kept beside."""
_INT64 = 1 << 63


def path_of(document_id: str) -> str:
    """The path under which the index keeps a written document."""
    return f"haystack:{document_id}"


def is_own(passage: Passage) -> bool:
    """Whether the passage was written through the document store, not split from a file by `search-index apply`."""
    return passage.id == passage.document_id


def to_change(document: Document, *, dim: int, language: str) -> FileChange:
    """Raises DocumentStoreError for a document that no index can hold. `language` "auto" is detected."""
    edits = edits_in(document.meta)
    filterable = dict(_flat({name: value for name, value in document.meta.items() if name != EDITS or not edits}))
    kept: dict[str, Any] = {}
    if filterable != document.meta:
        kept["meta"] = document.meta
    text = _storable(document.content or "")
    if text != document.content:
        kept["content"] = document.content
    if document.blob is not None:
        blob = document.blob
        data = base64.b64encode(blob.data).decode("ascii")
        kept["blob"] = {"data": data, "meta": blob.meta, "mime_type": blob.mime_type}
    if document.sparse_embedding is not None:
        kept["sparse_embedding"] = document.sparse_embedding.to_dict()
    if document.score is not None:
        kept["score"] = document.score
    vector, exact = _unit(document, dim)
    if exact:
        kept["embedding"] = exact
    try:
        reserved = json.dumps(kept)
    except (TypeError, ValueError, RecursionError) as error:
        raise DocumentStoreError(f"document '{document.id}': its metadata is not JSON: {error}") from error
    if kept:
        filterable[RESERVED_META] = reserved
    source = next((str(document.meta[name]) for name in _SOURCES if document.meta.get(name)), path_of(document.id))
    stated = normalise_language(str(document.meta.get("language") or "")) or ("" if language == "auto" else language)
    title = _storable(str(document.meta.get("title") or ""))
    source = _storable(source)
    owned = types.Document(document.id, title, text, source, filterable, stated or detect_language(text))
    passage = Passage(document.id, document.id, "", text, 0, len(text), None, source, filterable, edits)
    digest = hashlib.sha256(f"{text}\0{sorted(filterable.items())}".encode("utf-8", "replace") + vector.tobytes())
    record = FileRecord(path_of(document.id), source, digest.hexdigest(), len(text), 1, 1)
    return FileChange(record, (owned,), PassageBatch((passage,), vector[None]))


def hit_to_document(hit: Hit, vector: NDArray[np.float32] | None = None) -> Document:
    """The passage with the hit's score. A passage of a file has the score of each retriever in `meta["scores"]`."""
    document = to_document(hit.passage, vector, embedding=vector is not None, score=hit.score)
    if not is_own(hit.passage):
        document.meta["scores"] = dict(hit.scores)
    return document


def to_hit(document: Document) -> Hit:
    """The passage of a document from our retrievers; for other documents, the content as a passage of its own."""
    meta = dict(document.meta)
    scores = meta.pop("scores", None)
    text = document.content or ""
    start = int(meta.pop("start", 0))
    meta.pop("end", None)
    if edits := edits_in(meta):
        del meta[EDITS]
    passage = Passage(
        document.id,
        str(meta.pop("document_id", document.id)),
        str(meta.pop("title", "")),
        text,
        start,
        start + len(text),
        meta.pop("page", None),
        str(meta.pop("source", "")),
        dict(_flat(meta)),
        edits,
    )
    return Hit(passage, 1.0 if document.score is None else document.score, scores if isinstance(scores, dict) else {})


def to_extracted(question: str, answer: Answer, documents: Sequence[Document]) -> ExtractedAnswer:
    """Offsets count in the document's content, as in Haystack. `score` is the confidence if the reader has one.

    `documents` are those that were read. "No answer" has no `data` and no `document`.
    """
    meta = {"confidence": answer.confidence, "score": answer.score, "reliable": answer.reliable}
    score = answer.score if answer.confidence is None else answer.confidence
    if answer.hit is None or answer.span is None:
        return ExtractedAnswer(query=question, score=score, data=None, meta=meta)
    passage = answer.hit.passage
    offset = ExtractedAnswer.Span(answer.span.start - passage.start, answer.span.end - passage.start)
    return ExtractedAnswer(
        query=question,
        score=score,
        data=answer.text,
        document=next(document for document in documents if document.id == passage.id),
        context=passage.text,
        document_offset=offset,
        context_offset=offset,
        meta=meta,
    )


def to_answer(extracted: ExtractedAnswer) -> Answer:
    """Also for the answers of other readers, which have no calibrated confidence."""
    confidence = extracted.meta.get("confidence")
    score = float(extracted.meta.get("score", extracted.score))
    if extracted.data is None or extracted.document is None or extracted.document_offset is None:
        return Answer("", None, score, confidence, None, reliable=False)
    hit = to_hit(extracted.document)
    start = hit.passage.start
    span = Span(start + extracted.document_offset.start, start + extracted.document_offset.end)
    return Answer(extracted.data, span, score, confidence, hit, bool(extracted.meta.get("reliable", True)))


def to_document(
    passage: Passage, vector: NDArray[np.float32] | None = None, *, score: float | None = None, embedding: bool = True
) -> Document:
    """The document as it was written. A passage of a file has its place in `meta`. `score` replaces a written one."""
    meta = dict(passage.meta)
    kept = json.loads(str(meta.pop(RESERVED_META, "{}")))
    if not is_own(passage):
        # A rebuild turns a written document into passages with new texts and vectors.
        kept, meta = {}, {**meta, **place_of(passage)}
    values: list[float] | None = None
    if embedding:
        if "embedding" in kept:
            values = _decoded(*kept["embedding"]).tolist()
        elif vector is not None and vector.size and not np.isnan(vector[0]):
            values = vector.tolist()
    blob = kept.get("blob")
    sparse = kept.get("sparse_embedding")
    return Document(
        id=passage.id,
        content=kept.get("content", passage.text),
        blob=ByteStream(base64.b64decode(blob["data"]), blob["meta"], blob["mime_type"]) if blob else None,
        meta=kept.get("meta", meta),
        score=kept.get("score") if score is None else score,
        embedding=values,
        sparse_embedding=SparseEmbedding.from_dict(sparse) if sparse else None,
    )


_SOURCES = ("file_path", "url", "source")


def place_of(passage: Passage) -> dict[str, Any]:
    """Where the passage is in its document, as metadata, and what is put into it to be read."""
    edits = {EDITS: outline.edits_to_list(passage.edits)} if passage.edits else {}
    return {
        "document_id": passage.document_id,
        "title": passage.title,
        "start": passage.start,
        "end": passage.end,
        "page": passage.page,
        "source": passage.source,
        **edits,
    }


def edits_in(meta: Mapping[str, Any]) -> tuple[Edit, ...]:
    """The edits in the metadata of a passage; none if the field is the user's own."""
    match meta.get(EDITS):
        case [*edits] if all(_is_edit(edit) for edit in edits):
            return outline.edits_from_list(edits)
    return ()


def _is_edit(value: object) -> bool:
    match value:
        case [int(), int(), str()]:
            return True
    return False


def _flat(meta: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested fields under dotted names, without values that filters do not support."""
    for key, value in meta.items():
        name = f"{prefix}{key}"
        if not isinstance(key, str) or not name or name == RESERVED_META or _storable(name) != name:
            continue
        if isinstance(value, dict):
            yield from _flat(value, f"{name}.")
        elif isinstance(value, list):
            yield name, [item for item in value if _is_plain(item)]
        elif _is_plain(value):
            yield name, value


def _is_plain(value: object) -> bool:
    if type(value) is str:
        return _storable(value) == value
    if type(value) is float:
        return math.isfinite(value)
    return type(value) is bool or (type(value) is int and -_INT64 <= value < _INT64)


def _storable(text: str) -> str:
    """Replace lone surrogates, which UTF-8 cannot encode."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _unit(document: Document, dim: int) -> tuple[NDArray[np.float32], tuple[str, str] | None]:
    """The vector to search by (NaN: none), and the original embedding if it differs."""
    nothing = np.full(dim, np.nan, dtype=np.float32)
    if document.embedding is None:
        return nothing, None
    given = np.asarray(document.embedding, dtype=np.float64)
    if given.shape != (dim,):
        raise DocumentStoreError(
            f"document '{document.id}' has an embedding of {given.size} numbers, this collection takes {dim}"
        )
    single = given.astype(np.float32)
    is_single = bool(np.array_equal(single, given, equal_nan=True))
    length = float(np.linalg.norm(given))
    if is_single and abs(length - 1) < UNIT_TOLERANCE:
        return single, None
    exact = _encoded(single if is_single else given)
    if not length or not math.isfinite(length):
        return nothing, exact
    return (given / length).astype(np.float32), exact


def _encoded(values: NDArray[Any]) -> tuple[str, str]:
    kind = "<f4" if values.dtype == np.float32 else "<f8"
    return kind, base64.b64encode(values.astype(kind).tobytes()).decode("ascii")


def _decoded(kind: str, values: str) -> NDArray[Any]:
    return np.frombuffer(base64.b64decode(values), dtype=kind)
