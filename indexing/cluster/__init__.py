"""Index on several machines with Ray."""
