"""Check that an index is complete and consistent."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from search_app.errors import IndexNotFound
from search_app.manifest import Manifest, encoded_text, vector_key
from search_app.stores.elasticsearch import schema
from search_app.stores.elasticsearch.connection import Connection, dumps
from search_app.stores.elasticsearch.indices import all_indices
from search_app.stores.elasticsearch.schema import IndexVersion
from search_app.stores.elasticsearch.store import ElasticsearchStore, count, counts_of, walk

_SAMPLE = 200
_NEAREST = 20
_UNIT = 1e-2


def verify(connection: Connection, collection: str) -> list[str]:
    """Check the manifest and counts, and texts and vectors of a sample. Raises IndexNotFound."""
    live = all_indices(connection, collection).live
    if live is None:
        raise IndexNotFound(collection)
    manifest = Manifest.from_json(live.manifest, oldest=1)
    problems = _counts(connection, live)
    store = ElasticsearchStore(connection, collection)
    sample = _sample(connection, live)
    for hit in sample:
        passage = schema.passage_of(hit)
        document = store.document(passage.document_id)
        if document is None:
            problems.append(f"passage {passage.id} has no document")
        elif document.text[passage.start : passage.end] != passage.text:
            problems.append(f"passage {passage.id} differs from the text of {passage.source}")
        vector = schema.vector_of(hit["fields"]["vector"][0])
        if vector.shape != (manifest.encoder.dim,) or abs(float(np.linalg.norm(vector)) - 1) > _UNIT:
            problems.append(f"passage {passage.id} has no unit vector of {manifest.encoder.dim} numbers")
        elif hit["fields"]["key"][0] != vector_key(encoded_text(passage), manifest.encoder):
            problems.append(f"passage {passage.id} has the vector of another text")
    return problems + _unfindable(connection, live, sample)


def _counts(connection: Connection, live: IndexVersion) -> list[str]:
    found = counts_of(connection.job(lambda client: count(client, live.index)))
    stated = {"documents": 0, "passages": 0}
    problems = []
    for hit in walk(connection.job, live.index, {"term": {"kind": "file"}}, ["path"], True):
        source = hit["_source"]
        if not source["digest"]:
            problems.append(f"{source['source']} is only partly indexed; run: search-index apply")
            continue
        stated["documents"] += source["documents"]
        stated["passages"] += source["passages"]
    if not problems:
        problems += [
            f"the index has {found[name]} {name}, but its files have {number}"
            for name, number in stated.items()
            if found[name] != number
        ]
    return problems


def _sample(connection: Connection, live: IndexVersion) -> list[Any]:
    """A uniform sample: passages from a random point in the order of their hashed keys."""
    start = f"{random.randrange(16**8):08x}"
    hits: list[Any] = []
    for condition in ({"range": {"key": {"gte": start}}}, {"range": {"key": {"lt": start}}}):
        size = _SAMPLE - len(hits)
        if size:
            query = {"bool": {"filter": [{"term": {"kind": "passage"}}, condition]}}
            found = connection.job(
                lambda client: client.search(
                    index=live.index,
                    query=query,  # noqa: B023
                    sort=[{"key": {"order": "asc"}}],
                    size=size,  # noqa: B023
                    source={"includes": list(schema.PASSAGE_FIELDS)},
                    stored_fields=["vector"],
                    docvalue_fields=[{"field": "key"}],
                )
            )
            hits += found["hits"]["hits"]
    return hits


def _unfindable(connection: Connection, live: IndexVersion, sample: list[Any]) -> list[str]:
    """Sampled passages that a search with their own vector does not find."""
    checked = sample[: _SAMPLE // 4]
    if not checked:
        return []
    header = dumps({"index": live.index})
    lines: list[Any] = []
    for hit in checked:
        knn: dict[str, Any] = {
            "field": "embedding",
            "query_vector": schema.vector_of(hit["fields"]["vector"][0]),
            "k": _NEAREST,
            "num_candidates": 10 * _NEAREST,
        }
        if live.vectors in schema.QUANTISED:
            knn["rescore_vector"] = {"oversample": 3.0}
        lines += [header, dumps({"knn": knn, "size": 1, "_source": False})]
    answers = connection.job(lambda client: client.msearch(searches=lines))["responses"]
    missed = 0
    for answer in answers:
        hits = answer.get("hits", {}).get("hits", [])
        missed += not hits or 2 * float(hits[0]["_score"]) - 1 < 1 - _UNIT
    # An approximate search may miss a few.
    return (
        [f"{missed} of {len(checked)} passages are not found by their own vector"] if missed > len(checked) / 10 else []
    )
