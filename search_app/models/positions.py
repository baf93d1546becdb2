"""How many tokens a model accepts."""

from __future__ import annotations

from transformers import PretrainedConfig

from search_app.models.pruned import PREFIX

_OFFSET_BY_PADDING = {
    "camembert",
    "mpnet",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
}
"""Model types that number positions from behind the padding id: 514 positions hold 512 tokens."""


def longest_input(config: PretrainedConfig) -> int:
    """Tokens that the model has positions for, special tokens included; 512 if the configuration has no limit."""
    positions = int(getattr(config, "max_position_embeddings", 0) or 512)
    if config.model_type.removeprefix(PREFIX) in _OFFSET_BY_PADDING:
        positions -= (config.pad_token_id or 0) + 1
    return positions
