"""Builds a service from settings. Only this module chooses concrete classes."""

from __future__ import annotations

import os

# Haystack reports usage by default; this program reports nothing.
os.environ.setdefault("HAYSTACK_TELEMETRY_ENABLED", "False")

import importlib.metadata
from contextlib import closing
from typing import Any

from search_app.errors import BackendUnavailable
from search_app.hardware import Hardware, detect, set_threads
from search_app.protocols import Encoder, PassageStore, Ranker, Reader
from search_app.service import SearchService
from search_app.settings import Settings, load_settings
from search_app.stores.catalog import open_catalog
from search_app.stores.index import CatalogReader
from search_app.stores.vectors import faiss, gpu
from search_app.text.compounds import RULES


def open_service(settings: Settings | None = None, **overrides: Any) -> SearchService:
    """Open a service over the collections under `settings.home`. Overrides are settings by name: `home="docs.index"`.

    Raises ConfigurationError and ModelUnavailable. A missing index raises with the first question.
    """
    from search_app.encoders.registry import EncoderRegistry  # 5 s of CPU, which `search-app info` need not spend

    settings = settings or load_settings(**overrides)
    set_threads(settings.threads)
    hardware = detect()
    encoders = EncoderRegistry(settings.encoder, hardware)
    catalog = open_catalog(settings)

    def open_collection(name: str) -> tuple[PassageStore, Encoder]:
        store = catalog.open(name)
        try:
            return store, encoders.for_manifest(store.manifest)
        except BaseException:
            store.close()
            raise

    def make_reader() -> Reader:
        from search_app.readers.extractive import ExtractiveReader

        return ExtractiveReader(settings.calibrated_reader, hardware)

    def make_ranker() -> Ranker:
        from search_app.rankers.cross_encoder import CrossEncoderRanker

        return CrossEncoderRanker(settings.ranker, hardware)

    def describe() -> dict[str, Any]:
        return {"encoder": _fields(encoders.own.stamp), **describe_installation(settings, hardware)}

    service = SearchService
    if settings.pipeline:
        from search_app.haystack.user_pipeline import PipelineService

        service = PipelineService
    return service(
        settings,
        open_collection,
        make_reader,
        make_ranker if settings.ranker.model else None,
        describe,
        collections=catalog.names,
        close=catalog.close,
    )


def describe_installation(settings: Settings, hardware: Hardware) -> dict[str, Any]:
    """Machine, versions, settings, and each collection with its manifest and counts, for `search-app info`."""
    return {
        "home": str(settings.home),
        "processor": {
            "name": hardware.processor,
            "cores": hardware.cores,
            "device": hardware.device,
            "precision": hardware.precision,
            "bfloat16": sorted(hardware.flags & {"amx_bf16", "avx512_bf16"}),
        },
        "versions": {
            name: importlib.metadata.version(name)
            for name in ("search-app", "torch", "transformers", "sentence-transformers", "haystack-ai", "apsw")
        },
        "faiss": faiss.describe(),
        "gpu": gpu.describe(settings.vectors),
        "reader": settings.reader.model,
        "ranker": settings.ranker.model,
        "store": settings.store,
        "collections": _describe_collections(settings),
    }


_OLD_WORDS = "by older rules, without joined words; run: search-index compact (on Elasticsearch: search-index rebuild)"


def _describe_collections(settings: Settings) -> dict[str, Any]:
    with closing(open_catalog(settings)) as catalog:
        try:
            return {name: _describe_collection(catalog, name) for name in catalog.names()}
        except BackendUnavailable as error:
            return {"error": str(error)}


def _describe_collection(catalog: CatalogReader, name: str) -> dict[str, Any]:
    with closing(catalog.open(name)) as store:
        manifest = store.manifest
        return {
            **catalog.describe(name),
            **store.counts(),
            "generation": store.generation,
            "encoder": _fields(manifest.encoder),
            "splitter": manifest.splitter,
            "analysis": manifest.analysis,
            **({"words": _OLD_WORDS} if manifest.words < RULES else {}),
            "fields": store.fields(),
        }


def _fields(stamp: Any) -> dict[str, Any]:
    return {name: getattr(stamp, name) for name in stamp.__slots__}
