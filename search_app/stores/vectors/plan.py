"""Which index suits how many vectors: the rule, and the sentence that explains it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from search_app.settings import VectorSettings

_FLAT_DIM = 384
"""The dimension that `flat_limit` is meant for: the time of a scan goes with dimension times count."""
_SAMPLE_PER_LIST = 100
_MIN_TO_TRAIN = 1_000
_LEAST_PROBES = 128
"""Of few lists, a larger share has to be looked into for the same recall."""


@dataclass(frozen=True, slots=True)
class IndexPlan:
    """`parameters` of a compressed index: lists, probes, sample (vectors to train on), codes (whether 8-bit ones)."""

    kind: Literal["flat", "compressed"]
    parameters: Mapping[str, int] = field(default_factory=dict)
    why: str = ""


def plan_index(count: int, dim: int, settings: VectorSettings) -> IndexPlan:
    """Follows count, dimension and memory; what the settings say goes before that."""
    limit = settings.flat_limit * _FLAT_DIM // dim
    memory = settings.memory_mb << 20 or math.inf
    many = f"{count:,} passages of {dim} dimensions"
    if settings.index == "flat":
        return IndexPlan("flat", why="vectors.index asks for it")
    if count < _MIN_TO_TRAIN:
        return IndexPlan("flat", why=f"{many} are fewer than the {_MIN_TO_TRAIN:,} that a compressed one is trained on")
    if settings.index == "auto" and count <= limit and count * dim * 4 <= memory:
        return IndexPlan("flat", why=f"up to {limit:,} passages of {dim} dimensions every vector is compared")
    if settings.index == "compressed":
        why = "vectors.index asks for it"
    elif count > limit:
        why = f"{many} are more than the {limit:,} up to which every vector is compared"
    else:
        why = f"{many} in full are more than vectors.memory_mb, {settings.memory_mb:,}"
    codes = count * bytes_per_vector(dim, codes=True) <= memory
    if not codes:
        why += f"; without 8-bit codes, which do not fit into vectors.memory_mb, {settings.memory_mb:,}"
    lists = min(settings.lists or 1 << round(math.log2(math.sqrt(count))), count)
    probes = min(settings.probes or max(_LEAST_PROBES, lists * 3 // 8), lists)
    sample = min(count, max(lists * _SAMPLE_PER_LIST, _MIN_TO_TRAIN))
    return IndexPlan("compressed", {"lists": lists, "probes": probes, "sample": sample, "codes": int(codes)}, why)


def bytes_per_vector(dim: int, *, codes: bool) -> int:
    """Of a compressed index: a bit a dimension with 8 bytes of factors, the row twice, whether it lives, the codes."""
    return -(-dim // 8) + 8 + 8 + 8 + 1 + (dim if codes else 0)
