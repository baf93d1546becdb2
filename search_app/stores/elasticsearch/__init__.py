"""The same store on an Elasticsearch cluster; nothing outside of this package imports its client."""
