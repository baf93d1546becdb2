"""Text to words and tokens: shared by indexing, stores and models."""
