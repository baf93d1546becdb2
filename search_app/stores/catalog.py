"""All collections of an installation, on whichever store the settings name."""

from __future__ import annotations

from search_app.settings import Settings
from search_app.stores.embedded.catalog import EmbeddedCatalog
from search_app.stores.index import Catalog


def open_catalog(settings: Settings) -> Catalog:
    """Connects to nothing yet. Raises MissingExtra where the store's library is not installed."""
    if settings.store == "embedded":
        return EmbeddedCatalog(settings)
    from search_app.stores.elasticsearch.catalog import ElasticsearchCatalog

    catalog = ElasticsearchCatalog(settings)
    if not settings.elasticsearch.fallback:
        return catalog
    from search_app.stores.fallback import FallbackCatalog

    return FallbackCatalog(catalog, EmbeddedCatalog(settings))
