"""The schema of an index: names, mapping, and the entries for files, documents and passages.

A collection is one index, so that one alias swap publishes it. Its entries have the kinds `file`, `document`, `text`
(the rest of a very long document) and `passage`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_app.manifest import Manifest, encoded_text, vector_key
from search_app.protocols import FileRecord
from search_app.settings import ElasticsearchSettings, KeywordSettings
from search_app.stores.elasticsearch.connection import dumps
from search_app.stores.filters import items
from search_app.text import analysis as text_analysis
from search_app.text import outline
from search_app.text.reading import keyword_texts
from search_app.types import RESERVED_META, Document, Hit, Meta, Passage, PassageBatch

QUANTISED = frozenset({"int8_hnsw", "int4_hnsw", "bbq_hnsw", "int8_flat", "int4_flat", "bbq_flat"})
TEXT_CHARACTERS = 1_000_000
"""Characters of a document in one entry: requests are limited to 100 MB."""
_LONGEST_TERM = 800
"""Bytes of UTF-8: the bounds of keyword ranges are limited to 1,000."""
_INT64 = 1 << 63
_META = "search_app"


@dataclass(frozen=True, slots=True)
class IndexVersion:
    """One version of a collection's index, as its mapping describes it.

    `base`: the index that it was cloned from; `previous`: the index that it replaced. `state`: "building", then
    "ready"; "removing" while documents are deleted, "renaming" while the collection is renamed.
    """

    index: str
    manifest: str
    generation: int
    state: str
    vectors: str
    base: str = ""
    previous: str = ""
    fields: Mapping[str, str] | None = None
    analyses: tuple[str, ...] = ()

    @classmethod
    def of(cls, index: str, mapping: Mapping[str, Any]) -> IndexVersion | None:
        """None for an index of another program."""
        about = mapping.get("_meta", {}).get(_META)
        if about is None:
            return None
        return cls(index, **{**about, "analyses": tuple(about.get("analyses", ()))})

    def meta(self) -> dict[str, Any]:
        about = asdict(self)
        del about["index"]
        return {_META: {**about, "analyses": sorted(self.analyses), "fields": dict(self.fields or {})}}


# --- names


def alias(prefix: str, collection: str) -> str:
    """Index names are lower case, so a capital letter becomes "=" and the small letter."""
    return f"{prefix}." + re.sub("[A-Z]", lambda match: "=" + match.group().lower(), collection)


def collection_of(prefix: str, name: str) -> str:
    """The collection's name, from the name of its alias."""
    return re.sub("=([a-z])", lambda match: match.group(1).upper(), name.removeprefix(f"{prefix}."))


def new_index(prefix: str, collection: str) -> str:
    """A new index name: the alias, the time and a random part."""
    return f"{alias(prefix, collection)}.{time.strftime('%Y%m%d%H%M%S', time.gmtime())}-{secrets.token_hex(4)}"


def leases(prefix: str) -> str:
    """The name of the index that holds leases."""
    return f"{prefix}-leases"


# --- mapping


def index_body(version: IndexVersion, settings: ElasticsearchSettings, keyword: KeywordSettings) -> dict[str, Any]:
    """Mapping and settings of a new index."""
    dim = Manifest.from_json(version.manifest, oldest=1).encoder.dim
    exact = {"type": "keyword"}
    return {
        "settings": {
            "number_of_shards": settings.shards,
            **replicas(settings),
            **WHILE_BUILDING,
            "mapping.total_fields.limit": 1000 + 5 * settings.max_fields,
            "analysis": _analysis(),
            "similarity": {"default": {"type": "BM25", "k1": keyword.k1, "b": keyword.b}},
        },
        "mappings": {
            "_meta": version.meta(),
            "dynamic": False,
            # Search fields are not returned: `text` and `vector` hold the original values.
            "_source": {"excludes": ["embedding", "vector", "words", "m"]},
            "properties": {
                **dict.fromkeys(("kind", "file", "revision", "document", "key", "path", "sort"), exact),
                **{name: {"type": "long"} for name in ("order", "start")},
                "vector": {"type": "binary", "store": True},
                "embedding": {
                    "type": "dense_vector",
                    "dims": dim,
                    "index": True,
                    "similarity": "dot_product",
                    "index_options": {"type": version.vectors},
                },
                "words": {
                    "properties": {
                        name: {"type": "text", "analyzer": _analyzer(name), "index_options": "freqs"}
                        for name in ANALYSES
                    }
                },
                "m": {"type": "object", "dynamic": "strict"},
            },
        },
    }


def replicas(settings: ElasticsearchSettings) -> dict[str, Any]:
    """The replica settings of an index."""
    if "-" in settings.replicas:
        return {"auto_expand_replicas": settings.replicas}
    return {"auto_expand_replicas": False, "number_of_replicas": int(settings.replicas)}


WHILE_BUILDING: dict[str, Any] = {"refresh_interval": -1, "blocks.write": False}
WHEN_READY: dict[str, Any] = {"refresh_interval": None, "blocks.write": True}

ANALYSES = (*sorted(text_analysis.STEMMERS), "th", "und")


def analysis_of(language: str) -> str:
    """The analysis for a language: its stemmer, a dictionary for Thai, otherwise words without stemming."""
    code = text_analysis.normalise_language(language) or text_analysis.DEFAULT_LANGUAGE
    return code if code in ANALYSES else "und"


def _analyzer(name: str) -> str:
    return "thai" if name == "th" else f"words_{name}"


def _analysis() -> dict[str, Any]:
    words = ["cjk_width", "lowercase", "cjk_bigram"]
    analyzers = {
        _analyzer(name): {
            "type": "custom",
            "tokenizer": "standard",
            "filter": [*words, "porter_stem" if name == "en" else f"stem_{name}"],
        }
        for name in text_analysis.STEMMERS
    }
    analyzers["words_und"] = {"type": "custom", "tokenizer": "standard", "filter": words}
    stemmers = {
        f"stem_{name}": {"type": "snowball", "language": stemmer.capitalize()}
        for name, stemmer in text_analysis.STEMMERS.items()
        if name != "en"
    }
    return {"analyzer": analyzers, "filter": stemmers}


# --- metadata

_KINDS = {bool: "b", int: "i", float: "d", str: "t"}
_TYPES = {"b": "boolean", "i": "long", "d": "double", "t": "keyword"}


def field_path(name: str, kind: str) -> str:
    """The path for values of one kind: Elasticsearch allows one type per field, and only plain names."""
    safe = re.sub(r"[^A-Za-z0-9_-]", lambda match: "%" + match.group().encode("utf-8", "replace").hex(), name)
    if not 0 < len(safe) <= 200:
        safe = "~" + hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()
    return f"m.{kind}.{safe}"


def field_mappings(paths: set[str]) -> dict[str, Any]:
    """The mapping of new metadata fields."""
    kinds: dict[str, Any] = {}
    for path in sorted(paths):
        _, kind, name = path.split(".", 2)
        kinds.setdefault(kind, {"properties": {}})["properties"][name] = {"type": _TYPES[kind]}
    return {"m": {"type": "object", "dynamic": "strict", "properties": kinds}} if kinds else {}


def typed(meta: Meta) -> dict[str, list[Any]]:
    """Values by field path, as they are indexed."""
    found: dict[str, list[Any]] = {}
    for name, value in meta.items():
        for item in items(value) if name != RESERVED_META else []:
            kind, stored = kind_and_value(item)
            found.setdefault(field_path(name, kind), []).append(stored)
    return found


def kind_and_value(item: str | int | float | bool) -> tuple[str, Any]:
    """The field kind of a metadata value, and the value as Elasticsearch stores it."""
    if isinstance(item, int) and not isinstance(item, bool) and not -_INT64 <= item < _INT64:
        return "d", float(item)
    return _KINDS[type(item)], term(item) if isinstance(item, str) else item


def term(value: str) -> str:
    """The text; a very long one as its beginning and a hash, which preserves equality and nearly all order."""
    encoded = value.encode("utf-8", "replace")
    if len(encoded) <= _LONGEST_TERM:
        return value
    return value[: _LONGEST_TERM // 4] + "\0" + hashlib.sha256(encoded).hexdigest()


# --- entries


def file_key(path: str) -> str:
    """The id of a file, from its path."""
    return hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def file_entry(record: FileRecord, revision: str, passages: int) -> dict[str, Any]:
    """A file's record as a document of Elasticsearch."""
    file = file_key(record.path)
    return {"kind": "file", "file": file, "revision": revision, **asdict(record), "passages": passages}


def file_record(source: Mapping[str, Any]) -> FileRecord:
    """A file's record from its document in Elasticsearch."""
    return FileRecord(**{name: source[name] for name in FileRecord.__slots__})


def document_entries(document: Document, file: str, revision: str, order: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """The entry of a document, then those for the text that does not fit into it."""
    headings, pages, tables = outline.to_lists(document)
    common = {"file": file, "revision": revision, "document": document.id}
    texts = [document.text[start : start + TEXT_CHARACTERS] for start in range(0, len(document.text), TEXT_CHARACTERS)]
    yield (
        f"d:{document.id}",
        {
            "kind": "document",
            **common,
            "sort": document.source[:1000],
            "order": order,
            "title": document.title,
            "source": document.source,
            "language": document.language,
            "meta": json.dumps(dict(document.meta), ensure_ascii=False),
            "headings": headings,
            "pages": pages,
            **({"tables": tables} if tables else {}),
            "texts": len(texts),
            "text": texts[0] if texts else "",
        },
    )
    for number, text in enumerate(texts[1:], start=1):
        yield f"t:{document.id}:{number}", {"kind": "text", **common, "order": number, "text": text}


OUTLINE = ("headings", "pages", "tables")


def document_of(id: str, source: Mapping[str, Any], text: str) -> Document:
    """A document from its entry in Elasticsearch and its text."""
    return Document(
        id,
        source["title"],
        text,
        source["source"],
        json.loads(source["meta"]),
        source["language"],
        *outline.from_lists(*(source.get(name, ()) for name in OUTLINE)),
    )


PASSAGE_FIELDS = ("document", "title", "text", "start", "end", "page", "source", "meta", "edits")


def passage_entry(
    passage: Passage,
    vector: NDArray[np.float32],
    *,
    file: str,
    revision: str,
    analysis: str,
    manifest: Manifest,
    meta: str,
    filters: Mapping[str, list[Any]],
) -> bytes:
    """One line of JSON; `meta` and `filters` belong to the document and are shared by its passages.

    A passage without a vector (all NaN) has no key and is found by its words only.
    """
    encoded = encoded_text(passage)
    words = keyword_texts(passage.title, passage.text, passage.edits)
    vector = np.ascontiguousarray(vector, dtype="<f4")
    vectors = {
        "key": vector_key(encoded, manifest.encoder),
        "vector": base64.b64encode(vector.tobytes()).decode("ascii"),
        "embedding": vector,
    }
    return dumps(
        {
            "kind": "passage",
            "file": file,
            "revision": revision,
            "document": passage.document_id,
            "title": passage.title,
            "text": passage.text,
            "start": passage.start,
            "end": passage.end,
            "page": passage.page,
            "source": passage.source,
            "meta": meta,
            **({"edits": outline.edits_to_list(passage.edits)} if passage.edits else {}),
            **filters,
            f"words.{analysis}": text_analysis.passage_words(words, passage.source, manifest.words),
            **({} if np.isnan(vector).any() else vectors),
        }
    )


def passage_of(hit: Mapping[str, Any]) -> Passage:
    """A passage from a search hit of Elasticsearch."""
    source = hit["_source"]
    return Passage(
        hit["_id"].removeprefix("p:"),
        source["document"],
        source["title"],
        source["text"],
        source["start"],
        source["end"],
        source["page"],
        source["source"],
        json.loads(source["meta"]),
        outline.edits_from_list(source.get("edits", ())),
    )


def batch_of(hits: Sequence[Mapping[str, Any]], dim: int) -> PassageBatch:
    """Passages with vectors (n, dim), NaN for missing ones; `dim` 0 omits the vectors."""
    embeddings = np.full((len(hits), dim), np.nan, dtype=np.float32)
    for row, hit in enumerate(hits):
        if dim and (stored := hit.get("fields", {}).get("vector")):
            embeddings[row] = vector_of(stored[0])
    return PassageBatch(tuple(map(passage_of, hits)), embeddings)


def scored(hit: Mapping[str, Any], retriever: str) -> Hit:
    """Elasticsearch scores vectors as (1 + inner product) / 2."""
    score = float(hit["_score"])
    score = 2 * score - 1 if retriever == "dense" else score
    return Hit(passage_of(hit), score, {retriever: score})


def vector_of(encoded: str) -> NDArray[np.float32]:
    """float32 (dim,), from its base64 text."""
    raw = base64.b64decode(encoded)
    return np.frombuffer(raw[: len(raw) // 4 * 4], dtype="<f4")
