"""One digest for the identity of a model: weights, tokenizer, and whatever else decides its output."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import numpy as np
import torch


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
