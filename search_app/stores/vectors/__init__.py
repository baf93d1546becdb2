"""Vectors in memory or on a GPU, searched by inner product: one protocol, an implementation a file."""
