"""Where and how a model runs: the settings, with "auto" replaced by what suits the machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from search_app.hardware import Hardware


class ExecutionSettings(Protocol):
    """The part that the settings of encoder, ranker and reader share; "auto" leaves the choice to the hardware."""

    @property
    def device(self) -> str: ...

    @property
    def precision(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Execution:
    """Device, and precision by its name in torch: "float32", "bfloat16" or "float16"."""

    device: torch.device
    precision: str

    @classmethod
    def choose(cls, settings: ExecutionSettings, hardware: Hardware) -> Execution:
        """Take each value from the settings, or from the hardware where the setting is "auto"."""
        return cls(
            torch.device(hardware.device if settings.device == "auto" else settings.device),
            hardware.precision if settings.precision == "auto" else settings.precision,
        )

    @property
    def dtype(self) -> torch.dtype:
        dtype: torch.dtype = getattr(torch, self.precision)
        return dtype

    @property
    def batch_tokens(self) -> int:
        """Tokens of a forward pass, padding included: the fastest measured on a CPU, an estimate for a GPU."""
        return 1_024 if self.device.type == "cpu" else 16_384
