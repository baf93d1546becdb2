"""The store for one machine: each collection is a SQLite file, with vectors and postings derived from it."""
