"""The layers of a BERT-family model, whatever the architecture calls them."""

from __future__ import annotations

from torch import nn
from transformers import PreTrainedModel

from search_app.errors import ConfigurationError
from search_app.models import pruned


def layers_of(model: PreTrainedModel) -> nn.ModuleList:
    """From the lowest to the highest. Raises ConfigurationError for layers that share their weights."""
    try:
        return pruned.layers(model)
    except LookupError as error:
        raise ConfigurationError(str(error)) from None


def freeze_encoder(model: PreTrainedModel, trained: int) -> None:
    """Leave only the head and the `trained` highest layers to be trained."""
    for parameter in model.base_model.parameters():
        parameter.requires_grad = False
    if trained:
        for parameter in layers_of(model)[-trained:].parameters():
            parameter.requires_grad = True
