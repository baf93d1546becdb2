"""The store on an Elasticsearch cluster; only this package imports the client."""
