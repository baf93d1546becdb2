"""BERT-family models with fewer attention heads in some layers, as `search-app prune` makes them.

The classes of transformers give every layer the same number of heads, and the output of its attention the width of the
model, so a checkpoint with heads removed does not fit them. Here each architecture of FAMILIES gets a second one,
"pruned-bert" for "bert" and so on: the same code, with narrower matrices where `config.heads` says so. It is
registered with transformers' Auto classes, so whatever loads a model by its configuration (sentence-transformers too)
loads it, once `register` has run. That happens for every checkpoint that search-app loads.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, AutoModelForQuestionAnswering, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

PREFIX = "pruned-"
FAMILIES = ("bert", "electra", "roberta", "xlm-roberta")
_TASKS = (AutoModel, AutoModelForQuestionAnswering)
_INPUTS = ("query", "key", "value")


def register(model_type: str) -> None:
    """Make transformers' Auto classes load `model_type`, if it is a pruned family; else nothing happens."""
    if model_type.startswith(PREFIX) and model_type.removeprefix(PREFIX) in FAMILIES:
        _register(model_type.removeprefix(PREFIX))


def register_for(folder: Path) -> None:
    """`register` the architecture of a checkpoint's folder."""
    try:
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return  # whoever loads it tells what is wrong
    if isinstance(values, dict):
        register(str(values.get("model_type", "")))


def attentions(model: PreTrainedModel) -> list[Any]:
    """The attention module of each layer, with its parts `self` (query, key, value) and `output.dense`."""
    return [layer.attention for layer in layers(model)]


def layers(model: PreTrainedModel) -> torch.nn.ModuleList:
    """The layers of an encoder, alone or below a head, lowest first. Raises LookupError if they share their weights."""
    for module in model.base_model.modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == model.config.num_hidden_layers:
            return module
    raise LookupError(f"the layers of {model.config.model_type} cannot be told apart: they share their weights")


@functools.cache
def _register(family: str) -> None:
    base = CONFIG_MAPPING[family]
    config = type(f"Pruned{base.__name__}", (base,), {"model_type": PREFIX + family, "__module__": __name__})
    AutoConfig.register(PREFIX + family, config)
    for task in _TASKS:
        cls: Any = task._model_mapping[base]
        task.register(config, _narrow(cls, config))


def _narrow(cls: type[PreTrainedModel], config: type[Any]) -> type[PreTrainedModel]:
    """A subclass of a model class that has `config.heads[i]` heads in layer i."""

    def start(self: Any, values: Any, *more: Any, **named: Any) -> None:
        cls.__init__(self, values, *more, **named)
        for attention, heads in zip(attentions(self), values.heads, strict=True):
            narrow(attention, heads)

    members = {"__init__": start, "config_class": config, "__module__": __name__}
    return type(f"Pruned{cls.__name__}", (cls,), members)


def narrow(attention: Any, heads: int) -> None:
    """Give the attention new matrices for so many heads; their weights are for the caller to load."""
    inner = attention.self
    width, model = heads * inner.attention_head_size, attention.output.dense.out_features
    for name in _INPUTS:
        setattr(inner, name, torch.nn.Linear(model, width))
    attention.output.dense = torch.nn.Linear(width, model)
    inner.num_attention_heads, inner.all_head_size = heads, width
