"""One SQLite file a collection, the truth, and what is derived from it: the store of one machine."""
