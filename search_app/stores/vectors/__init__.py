"""Vector search by inner product, in memory or on a GPU: one protocol, one module per implementation."""
