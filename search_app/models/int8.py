"""The layers of a BERT-family model in 8-bit integers, for processors that multiply these fastest (VNNI, AMX).

A matrix product reads activations as unsigned bytes, with one scale and zero point found by a calibration, and weights
as signed bytes with a scale for each output. Activations differ widely between channels, so each channel is first
divided by a factor that its weights are multiplied by (SmoothQuant, Xiao et al. 2023). Attention, residuals and
normalisation stay in float32. The products are those of oneDNN, as torch has them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pydoc_data.topics import topics
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from search_app.errors import ModelUnavailable
from search_app.models.checkpoint import Checkpoint
from search_app.models.pruned import layers

SMOOTHING = 0.85
"""Share of a channel's range that moves to the weights: the best of 0.3 to 1 for all-MiniLM-L6-v2's vectors."""
HIGHEST = 0.8
"""Share of the range of GELU's output that is kept: its few largest values would cost all others precision."""
LEAST_AGREEMENT = 0.98
"""Mean cosine between the output in int8 and in float32."""
TEXTS = 64
"""Texts of a calibration."""
_HINT = "set its precision to float32"
_INPUTS = ("attention.self.query", "attention.output.dense", "intermediate.dense", "output.dense")
_PARTS = (*_INPUTS, "attention.self.key", "attention.self.value", "attention.output.LayerNorm", "output.LayerNorm")


def quantise(model: Any, checkpoint: Checkpoint, run: Callable[[], torch.Tensor]) -> None:
    """Replace the layers of a float32 model of transformers.

    `run` calls it on typical inputs and returns (inputs, numbers). Raises ModelUnavailable if the layers are not those
    of BERT, or if the result differs too much.
    """
    try:
        found = layers(model)
    except LookupError:
        found = nn.ModuleList()
    if not found or getattr(model.config, "hidden_act", None) != "gelu" or not all(map(_is_bert, found)):
        raise ModelUnavailable(
            f"{checkpoint} ({model.config.model_type}) cannot run in int8: its layers are not those of BERT", hint=_HINT
        )
    wanted, ranges = _observe(found, run)
    for number, layer in enumerate(found):
        found[number] = Int8Layer(layer, ranges[number])
    with torch.inference_mode():
        agreement = float(F.cosine_similarity(wanted, run(), dim=-1).mean())
    if agreement < LEAST_AGREEMENT:
        raise ModelUnavailable(
            f"{checkpoint} loses too much in int8: cosine {agreement:.3f} to its own output in float32, "
            f"{LEAST_AGREEMENT} is needed", hint=_HINT,
        )  # fmt: skip


def typical_texts() -> list[str]:
    """Paragraphs of Python's own documentation, which is on every machine."""
    paragraphs = [part for text in topics.values() for part in text.split("\n\n") if 100 <= len(part) <= 1200]
    return [" ".join(part.split()) for part in paragraphs[:: max(1, len(paragraphs) // TEXTS)]][:TEXTS]


@dataclass(slots=True)
class Range:
    """The least and the largest value of each channel that a product has read."""

    low: torch.Tensor
    high: torch.Tensor

    def clamped(self, share: float) -> Range:
        """Values above `share` of the largest one are cut."""
        return Range(self.low, self.high.clamp(max=float(self.high.max()) * share))


class Int8Layer(nn.Module):
    """A layer of BERT: attention and feed-forward network, each added to its input and normalised."""

    def __init__(self, layer: Any, ranges: dict[str, Range]) -> None:
        super().__init__()
        attention, up, down = layer.attention, layer.intermediate.dense, layer.output.dense
        query, key, value = (getattr(attention.self, name) for name in ("query", "key", "value"))
        self._size = int(attention.self.attention_head_size)
        context = _smoothing([attention.output.dense], ranges["attention.output.dense"])
        # What attention returns is smoothed already: its values are, and the rest of it is linear in them.
        weights = torch.cat([query.weight / self._size**0.5, key.weight, value.weight / context[:, None]])
        biases = torch.cat([query.bias / self._size**0.5, key.bias, value.bias / context])
        entry = ranges["attention.self.query"]
        self._attend = Product(weights, biases, entry, _smoothing([query, key, value], entry))
        self._project = Product.of(attention.output.dense, ranges["attention.output.dense"], context)
        self._up = Product.of(up, ranges["intermediate.dense"], _smoothing([up], ranges["intermediate.dense"]))
        # Its input comes from the product before it, in bytes, so nothing can smooth it.
        self._down = Product.of(down, ranges["output.dense"].clamped(HIGHEST), torch.ones(down.in_features))
        self._norms = (attention.output.LayerNorm, layer.output.LayerNorm)

    def forward(
        self, hidden: torch.Tensor, attention_mask: torch.Tensor | None = None, *_: Any, **__: Any
    ) -> torch.Tensor:
        """float32 (rows, tokens, width) in and out; `attention_mask` as for torch's attention."""
        rows, tokens, width = hidden.shape
        x = hidden.reshape(-1, width)
        query, key, value = (
            self._attend(self._attend.bytes(x)).view(rows, tokens, 3, -1, self._size).permute(2, 0, 3, 1, 4)
        )
        context = F.scaled_dot_product_attention(query, key, value, attn_mask=attention_mask, scale=1.0)
        context = context.transpose(1, 2).reshape(rows * tokens, -1)
        x = self._norms[0](self._project(self._project.bytes(context, smoothed=True)).add_(x))
        raised = self._up.gelu_for(self._down, self._up.bytes(x))
        result: torch.Tensor = self._norms[1](self._down(raised).add_(x))
        return result.view(rows, tokens, width)


class Product:
    """x @ weights.T + bias with x in bytes; (outputs, inputs) weights, smoothed by a factor for each input."""

    def __init__(self, weights: torch.Tensor, bias: torch.Tensor, observed: Range, smoothing: torch.Tensor) -> None:
        low = min(float((observed.low / smoothing).min()), 0.0)
        high = max(float((observed.high / smoothing).max()), 0.0)
        self._scale = max(high - low, 1e-8) / 255
        self._zero = round(-low / self._scale)
        smoothed = weights.detach() * smoothing
        self._weight_scales = smoothed.abs().amax(1).clamp(min=1e-8) / 127
        quantised = torch.round(smoothed / self._weight_scales[:, None]).to(torch.int8)
        self._weights = torch.ops.onednn.qlinear_prepack(quantised, None)
        self._weight_zeros = torch.zeros(len(weights), dtype=torch.int32)
        self._bias = bias.detach().clone()
        self._factors = 1 / (smoothing * self._scale)
        # Half a step, as the conversion to bytes rounds down.
        self._offsets = torch.full_like(smoothing, self._zero + 0.5)

    @classmethod
    def of(cls, linear: nn.Linear, observed: Range, smoothing: torch.Tensor) -> Product:
        return cls(linear.weight, linear.bias, observed, smoothing)

    def bytes(self, x: torch.Tensor, *, smoothed: bool = False) -> torch.Tensor:
        """Its input as uint8, (tokens, inputs)."""
        scaled: torch.Tensor = (
            x / self._scale + self._offsets if smoothed else torch.addcmul(self._offsets, x, self._factors)
        )
        return scaled.clamp_(0, 255).to(torch.uint8)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """uint8 in, float32 out."""
        return self._run(x, 1.0, 0, torch.float32, "none", "")

    def gelu_for(self, following: Product, x: torch.Tensor) -> torch.Tensor:
        """GELU of the product, as the bytes that the product `following` reads."""
        return self._run(x, following._scale, following._zero, torch.uint8, "gelu", "none")

    def _run(self, x: torch.Tensor, scale: float, zero: int, dtype: torch.dtype, op: str, kind: str) -> torch.Tensor:
        result: torch.Tensor = torch.ops.onednn.qlinear_pointwise(
            x, self._scale, self._zero, self._weights, self._weight_scales, self._weight_zeros, self._bias,
            scale, zero, dtype, op, [], kind,
        )  # fmt: skip
        return result


def _is_bert(layer: Any) -> bool:
    try:
        parts = [layer.get_submodule(name) for name in _PARTS]
    except AttributeError:
        return False
    return all(isinstance(part, nn.Linear | nn.LayerNorm) for part in parts)


def _smoothing(linears: Iterable[nn.Linear], observed: Range) -> torch.Tensor:
    """(inputs,) factors; the linears read the same input."""
    values = torch.maximum(observed.low.abs(), observed.high.abs()).clamp(min=1e-5)
    weights = torch.cat([linear.weight.detach() for linear in linears]).abs().amax(0).clamp(min=1e-5)
    return (values**SMOOTHING / weights ** (1 - SMOOTHING)).clamp(min=1e-4)


@torch.inference_mode()
def _observe(found: Iterable[Any], run: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, list[dict[str, Range]]]:
    """The output of `run`, and what the products of each layer read meanwhile."""
    observed: list[dict[str, Range]] = []
    hooks = []
    for layer in found:
        observed.append({})
        hooks += [layer.get_submodule(name).register_forward_pre_hook(_watch(observed[-1], name)) for name in _INPUTS]
    try:
        return run(), observed
    finally:
        for hook in hooks:
            hook.remove()


def _watch(ranges: dict[str, Range], name: str) -> Callable[[nn.Module, tuple[torch.Tensor]], None]:
    def watch(_: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        x = inputs[0].reshape(-1, inputs[0].shape[-1])
        low, high = x.amin(0), x.amax(0)
        if name in ranges:
            low, high = torch.minimum(low, ranges[name].low), torch.maximum(high, ranges[name].high)
        ranges[name] = Range(low, high)

    return watch
