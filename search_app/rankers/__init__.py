"""Reorder hits by reading question and passage together."""
