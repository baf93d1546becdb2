"""The catalog of the store that the settings name, and the errors for what that store cannot do."""

from __future__ import annotations

from search_app.errors import ConfigurationError
from search_app.settings import Settings
from search_app.stores.embedded.catalog import EmbeddedCatalog
from search_app.stores.index import Catalog, CatalogReader, CatalogWriter, Repairs, Replicas, ShardWriters, Snapshots


def open_catalog(settings: Settings) -> Catalog:
    """Does not connect yet. Raises MissingExtra when the store's library is not installed."""
    if settings.store == "embedded":
        return EmbeddedCatalog(settings)
    from search_app.stores.elasticsearch.catalog import ElasticsearchCatalog

    catalog = ElasticsearchCatalog(settings)
    if not settings.elasticsearch.fallback:
        return catalog
    from search_app.stores.fallback import FallbackCatalog

    return FallbackCatalog(catalog, EmbeddedCatalog(settings))


def require_repairs(catalog: CatalogReader) -> Repairs:
    """The catalog as one that repairs indexes. Raises ConfigurationError if it cannot."""
    if isinstance(catalog, Repairs):
        return catalog
    raise ConfigurationError(
        "verify --repair: an index on Elasticsearch has no derived data; the cluster repairs its own copies",
        hint="run: search-index rollback, or: search-index apply --rebuild PATH",
        field="store",
    )


def require_snapshots(catalog: CatalogReader) -> Snapshots:
    """The catalog as one that makes snapshots. Raises ConfigurationError if it cannot."""
    if isinstance(catalog, Snapshots):
        return catalog
    raise ConfigurationError(
        "Elasticsearch makes and restores its own snapshots",
        hint="use its API: PUT _snapshot/REPOSITORY/NAME and POST _snapshot/REPOSITORY/NAME/_restore",
        field="store",
    )


def require_shard_writers(catalog: CatalogWriter) -> ShardWriters:
    """The catalog as one that several shards write to. Raises ConfigurationError if it cannot."""
    if isinstance(catalog, ShardWriters):
        return catalog
    raise ConfigurationError(
        "--shard: an embedded index has one writer",
        hint="leave out --shard, or index on a server: SEARCH_APP_STORE=elasticsearch",
        field="shard",
    )


def require_replicas(catalog: CatalogReader) -> Replicas:
    """The catalog as one with replicas. Raises ConfigurationError if it has none."""
    if isinstance(catalog, Replicas):
        return catalog
    raise ConfigurationError(
        "there is no replica to update",
        hint="set SEARCH_APP_STORE=elasticsearch and SEARCH_APP_ELASTICSEARCH__FALLBACK=true",
        field="elasticsearch.fallback",
    )
