"""The layers of a BERT-family model, whatever the architecture calls them."""

from __future__ import annotations

from torch import nn
from transformers import PreTrainedModel

from search_app.errors import ConfigurationError


def layers_of(model: PreTrainedModel) -> nn.ModuleList:
    """From the lowest to the highest. Raises ConfigurationError for layers that share their weights."""
    for module in model.base_model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == model.config.num_hidden_layers:
            return module
    raise ConfigurationError(
        f"the layers of a {model.config.model_type} cannot be told apart: they share their weights"
    )


def freeze_encoder(model: PreTrainedModel, trained: int) -> None:
    """Leave only the head and the `trained` highest layers to be trained."""
    for parameter in model.base_model.parameters():
        parameter.requires_grad = False
    if trained:
        for parameter in layers_of(model)[-trained:].parameters():
            parameter.requires_grad = True
