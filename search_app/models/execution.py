"""Where and how a model runs: the settings, with "auto" replaced by what suits the machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from search_app.errors import ConfigurationError
from search_app.hardware import Hardware

INT8_FLAGS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})
"""Instruction sets, any of which makes products of 8-bit numbers fast."""


class ExecutionSettings(Protocol):
    """The part that the settings of encoder, ranker and reader share; "auto" leaves the choice to the hardware."""

    @property
    def device(self) -> str: ...

    @property
    def precision(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Execution:
    """Device, and precision: "int8", or by its name in torch "float32", "bfloat16" or "float16"."""

    device: torch.device
    precision: str

    @classmethod
    def choose(cls, settings: ExecutionSettings, hardware: Hardware) -> Execution:
        """Take each value from the settings, or from the hardware where the setting is "auto".

        Raises ConfigurationError for int8 on a device or processor that is not made for it.
        """
        device = torch.device(hardware.device if settings.device == "auto" else settings.device)
        precision = hardware.precision if settings.precision == "auto" else settings.precision
        if precision == "int8" and (device.type != "cpu" or not hardware.flags & INT8_FLAGS):
            raise ConfigurationError(
                f"precision int8 needs a CPU with VNNI, and this is {hardware.processor} ({device.type})",
                hint="set it to auto",
                field="precision",
            )
        return cls(device, precision)

    @property
    def is_int8(self) -> bool:
        return self.precision == "int8"

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights as they are loaded."""
        dtype: torch.dtype = torch.float32 if self.is_int8 else getattr(torch, self.precision)
        return dtype

    @property
    def batch_tokens(self) -> int:
        """Tokens of a forward pass, padding included: the fastest measured on a CPU, an estimate for a GPU."""
        return 1_024 if self.device.type == "cpu" else 16_384
