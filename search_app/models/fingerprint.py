"""One digest for the identity of a model: weights, tokenizer, and whatever else decides its output."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
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
        digest.update(np.ascontiguousarray(tensor.float().numpy()).data)
    digest.update(tokenizer_json.encode())
    for detail in details:
        digest.update(detail.encode())
    return digest.hexdigest()


def fingerprint_of(cls: Any, checkpoint: Checkpoint) -> str:
    """Fingerprint of a model class of transformers, loaded in float32: the precision in use does not change it."""
    config, tokenizer = load_tokenizer(checkpoint)
    model, _ = load_transformers(cls, checkpoint, config, dtype=torch.float32)
    return fingerprint(model.state_dict(), tokenizer.backend_tokenizer.to_str())
