"""Choose the kind and parameters of a vector index from the number of vectors, and explain the choice."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from search_app.settings import VectorSettings

_FLAT_DIM = 384
"""The dimension that `flat_limit` refers to: a scan takes time proportional to dimension times count."""
_SAMPLE_PER_LIST = 100
_MIN_TO_TRAIN = 1_000
_MIN_PROBES = 128
"""With few lists, a larger share of them must be searched for the same recall."""


@dataclass(frozen=True, slots=True)
class IndexPlan:
    """`parameters` of a compressed index: lists, probes, sample (training vectors), codes (1 with 8-bit codes)."""

    kind: Literal["flat", "compressed"]
    parameters: Mapping[str, int] = field(default_factory=dict)
    why: str = ""


def plan_index(count: int, dim: int, settings: VectorSettings) -> IndexPlan:
    """Follow the settings; where they leave the choice, the count, the dimension and the memory limit."""
    limit = settings.flat_limit * _FLAT_DIM // dim
    memory = settings.memory_mb << 20 or math.inf
    many = f"{count:,} passages of {dim} dimensions"
    if settings.index == "flat":
        return IndexPlan("flat", why="vectors.index is flat")
    if count < _MIN_TO_TRAIN:
        return IndexPlan("flat", why=f"{many} are fewer than the {_MIN_TO_TRAIN:,} that training needs")
    if settings.index == "auto" and count <= limit and count * dim * 4 <= memory:
        return IndexPlan("flat", why=f"up to {limit:,} passages of {dim} dimensions, every vector is compared")
    if settings.index == "compressed":
        why = "vectors.index is compressed"
    elif count > limit:
        why = f"{many} are more than {limit:,}"
    else:
        why = f"{many} do not fit uncompressed into vectors.memory_mb, {settings.memory_mb:,}"
    codes = count * bytes_per_vector(dim, codes=True) <= memory
    if not codes:
        why += f"; 8-bit codes do not fit into vectors.memory_mb, {settings.memory_mb:,}"
    lists = min(settings.lists or 1 << round(math.log2(math.sqrt(count))), count)
    probes = min(settings.probes or max(_MIN_PROBES, lists * 3 // 8), lists)
    sample = min(count, max(lists * _SAMPLE_PER_LIST, _MIN_TO_TRAIN))
    return IndexPlan("compressed", {"lists": lists, "probes": probes, "sample": sample, "codes": int(codes)}, why)


def bytes_per_vector(dim: int, *, codes: bool) -> int:
    """Of a compressed index: 1 bit per dimension, 8 bytes of factors, the row twice, a live flag, 8-bit codes."""
    return -(-dim // 8) + 8 + 8 + 8 + 1 + (dim if codes else 0)
