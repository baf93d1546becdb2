"""Remove layers and attention heads from a BERT-family model, for real: what is left has smaller matrices."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from transformers import PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from search_app.errors import ConfigurationError
from search_app.models import pruned
from search_app.training.layers import layers_of

B = TypeVar("B")
Kept = Mapping[int, Sequence[int]]
"""The heads to keep in each layer to keep, by their numbers in the model."""
_LAYER = re.compile(r"^(.*?\blayer\.)(\d+)(\..*)$")


def all_of(model: PreTrainedModel) -> dict[int, list[int]]:
    """Every layer with every head. Raises ConfigurationError for an architecture that no layer can be removed from."""
    count = len(layers_of(model))
    if not any(map(_LAYER.match, model.state_dict())):
        raise ConfigurationError(
            f"layers of {model.config.model_type} cannot be removed: they differ in kind",
            hint="BERT, RoBERTa, XLM-RoBERTa, ELECTRA, DistilBERT, MobileBERT and MPNet work",
            field="checkpoint",
        )
    return {i: list(range(_heads(model, i))) for i in range(count)}


def require_heads(model: PreTrainedModel) -> None:
    """Raise ConfigurationError if heads of this architecture cannot be removed from its matrices."""
    family = model.config.model_type.removeprefix(pruned.PREFIX)
    if family not in pruned.FAMILIES:
        raise ConfigurationError(
            f"heads of {family} cannot be removed; those of {', '.join(pruned.FAMILIES)} can",
            hint="leave out --heads",
            field="heads",
        )


def smaller(model: PreTrainedModel, kept: Kept, auto: Any) -> PreTrainedModel:
    """A new model with the kept layers and heads only; `auto` is the Auto class of transformers that makes it."""
    new = auto.from_config(_config(model, kept))
    new.load_state_dict(dict(_weights(model, kept)))
    made: PreTrainedModel = new.eval()
    return made


def head_importance(model: PreTrainedModel, loss: Callable[[B], torch.Tensor], batches: Iterable[B]) -> list[Any]:
    """How much the loss depends on each head: for each layer, float (heads,), of length 1.

    The expected size of the gradient with respect to a factor on the output of the head (Michel et al. 2019). Each row
    of a batch counts on its own; layers are made comparable by the length of their vector.
    """
    attentions = pruned.attentions(model)
    total = [torch.zeros(attention.self.num_attention_heads) for attention in attentions]
    seen: dict[int, Any] = {}

    def remember(layer: int, given: tuple[torch.Tensor, ...]) -> None:
        given[0].retain_grad()
        seen[layer] = given[0]

    hooks = [
        attention.output.dense.register_forward_pre_hook(lambda _, given, layer=layer: remember(layer, given))
        for layer, attention in enumerate(attentions)
    ]
    try:
        for batch in batches:
            model.zero_grad()
            loss(batch).backward()  # type: ignore[no-untyped-call]
            for layer, output in seen.items():
                by_head = (output * output.grad).detach().unflatten(-1, (len(total[layer]), -1))
                total[layer] += by_head.sum(dim=(1, 3)).abs().sum(dim=0)
    finally:
        for hook in hooks:
            hook.remove()
        model.zero_grad()
    return [values / values.norm().clamp(min=1e-12) for values in total]


def least_useful_heads(importance: Sequence[Any], count: int) -> dict[int, list[int]]:
    """What to keep without the `count` least important heads; each layer keeps its best one."""
    ranked = sorted(
        (float(value), layer, head) for layer, row in enumerate(importance) for head, value in enumerate(row)
    )
    kept = {layer: list(range(len(row))) for layer, row in enumerate(importance)}
    for _, layer, head in ranked:
        if count and len(kept[layer]) > 1:
            kept[layer].remove(head)
            count -= 1
    return kept


def least_useful_layer(model: PreTrainedModel, loss: Callable[[B], torch.Tensor], batches: Sequence[B]) -> int:
    """The layer without which the mean loss is lowest (Sajjad et al. 2023)."""
    losses = []
    for layer in range(len(pruned.layers(model))):
        with _without(model, layer), torch.inference_mode():
            losses.append(sum(float(loss(batch)) for batch in batches))
    return losses.index(min(losses))


@contextmanager
def _without(model: PreTrainedModel, layer: int) -> Iterator[None]:
    found = pruned.layers(model)
    taken = found.pop(layer)
    try:
        yield
    finally:
        found.insert(layer, taken)


def _heads(model: PreTrainedModel, layer: int) -> int:
    if model.config.model_type.startswith(pruned.PREFIX):
        return int(model.config.heads[layer])
    return int(model.config.num_attention_heads)


def _config(model: PreTrainedModel, kept: Kept) -> Any:
    old = model.config
    heads = [len(numbers) for numbers in kept.values()]
    family = old.model_type.removeprefix(pruned.PREFIX)
    model_type = family if all(count == old.num_attention_heads for count in heads) else pruned.PREFIX + family
    pruned.register(model_type)
    values = copy.deepcopy(old.to_dict())
    values = {key: value for key, value in values.items() if key not in ("model_type", "heads", "architectures")}
    config = CONFIG_MAPPING[model_type](**values)
    config.num_hidden_layers = len(kept)
    if model_type != family:
        config.heads = heads
    return config


def _weights(model: PreTrainedModel, kept: Kept) -> Iterator[tuple[str, Any]]:
    place = {layer: new for new, layer in enumerate(kept)}
    for name, weight in model.state_dict().items():
        found = _LAYER.match(name)
        if not found:
            yield name, weight
        elif int(found[2]) in place:
            layer = int(found[2])
            yield f"{found[1]}{place[layer]}{found[3]}", _narrowed(found[3], weight, kept[layer], _heads(model, layer))


def _narrowed(name: str, weight: Any, kept: Sequence[int], heads: int) -> Any:
    """The rows of queries, keys and values, and the columns of the output, that belong to the kept heads."""
    if len(kept) == heads:
        return weight
    if re.search(r"attention\.self\.(query|key|value)\.", name):
        return weight.unflatten(0, (heads, -1))[list(kept)].flatten(0, 1)
    if name.endswith("attention.output.dense.weight"):
        return weight.unflatten(1, (heads, -1))[:, list(kept)].flatten(1, 2)
    return weight
