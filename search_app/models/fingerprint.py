"""One digest for the identity of a model: weights, tokenizer, and whatever else decides its output."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any

import numpy as np
import torch

from search_app.models.checkpoint import Checkpoint, load_tokenizer, load_transformers


def fingerprint(weights: Mapping[str, torch.Tensor], tokenizer_json: str, details: Iterable[str] = ()) -> str:
    """SHA-256, in hex, over the weights as float32, the tokenizer, and `details`, in that order.

    Indexes store the encoder's digest, so the order and format of the bytes must never change.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.detach().float().numpy()).data)
    digest.update(tokenizer_json.encode())
    for detail in details:
        digest.update(detail.encode())
    return digest.hexdigest()


def without_random(
    weights: Mapping[str, torch.Tensor], stored: Container[str], output: Callable[[], torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The weights without those that are random in each process: not in `stored`, and `output` does not need them.

    Many checkpoints lack the pooler, for one. `output` is a forward pass with gradients. A name of `weights` may have
    two names of modules more than in `stored`.
    """
    missing = {name for name in weights if not any(name.split(".", cut)[-1] in stored for cut in range(3))}
    if not missing:
        return dict(weights)
    needed = _leaves(output())
    return {name: weight for name, weight in weights.items() if name not in missing or id(weight) in needed}


def _leaves(output: torch.Tensor) -> set[int]:
    """The ids of the tensors that `output` was computed from."""
    nodes: list[Any] = [output.grad_fn]
    seen, leaves = set(nodes), set()
    while nodes:
        node = nodes.pop()
        leaves.add(id(getattr(node, "variable", None)))
        following = {child for child, _ in node.next_functions if child is not None} - seen
        seen |= following
        nodes += following
    return leaves


def fingerprint_of(cls: Any, checkpoint: Checkpoint) -> str:
    """Fingerprint of a model class of transformers, loaded in float32: the precision in use does not change it."""
    config, tokenizer = load_tokenizer(checkpoint)
    model, missing = load_transformers(cls, checkpoint, config, dtype=torch.float32)
    weights = {name: weight for name, weight in model.state_dict().items() if name not in missing}
    return fingerprint(weights, tokenizer.backend_tokenizer.to_str())
