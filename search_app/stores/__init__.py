"""Where indexes are stored: on this machine or on an Elasticsearch cluster."""
