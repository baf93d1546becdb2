"""What this machine can do: processor, cores, devices, precision; and the process settings that follow from it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

_MALLOC = {-8: 1, -3: 32 << 20, -1: 256 << 20}
"""glibc's M_ARENA_MAX, M_MMAP_THRESHOLD and M_TRIM_THRESHOLD."""
_GPU_DRIVERS = (
    "/dev/nvidiactl",
    "/proc/driver/nvidia/version",
    "/dev/dxg",
    "/dev/nvhost-ctrl",
    "/dev/nvmap",
    "/dev/kfd",
)
"""NVIDIA on servers and desktops, under WSL, and on Jetson boards; AMD, which torch calls CUDA too."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """`precision` is the fastest one for BERT here that keeps its answers; `flags` are the CPU's instruction sets."""

    processor: str
    cores: int
    flags: frozenset[str]
    device: str
    precision: str


def detect(device: str = "auto") -> Hardware:
    """Read the processor's flags, and ask torch for a CUDA device if a driver is installed."""
    name, flags = _cpu()
    if device == "auto":
        device = "cuda" if cuda_devices() else "cpu"
    # bfloat16 without AMX or AVX512-BF16 is emulated: three times slower than float32.
    native_bf16 = device.startswith("cuda") or bool(flags & {"amx_bf16", "avx512_bf16"})
    return Hardware(name, cores(), flags, device, "bfloat16" if native_bf16 else "float32")


def cores() -> int:
    """Cores that this process may use, by affinity and, in a container, by the quota of its cgroup."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()[:2]
    except (OSError, ValueError):
        return usable
    return usable if quota == "max" else max(1, min(usable, int(quota) // int(period)))


def set_threads(threads: int = 0) -> int:
    """Set the compute threads of this process and return their number; 0 takes OMP_NUM_THREADS or all usable cores."""
    import torch

    threads = threads or int(os.environ.get("OMP_NUM_THREADS") or 0) or cores()
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    return threads


def bound_memory() -> None:
    """Configure glibc's malloc so that the memory of a long job stays flat. Call it before any thread starts.

    All threads share one arena: with one each, every thread would keep what its busiest moment needed. Blocks of
    megabytes are reused: fresh ones from the system would have to be cleared for every layer of every batch.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in _MALLOC.items():
            mallopt(option, value)


def cuda_devices() -> int:
    """CUDA devices that torch can use. Torch is imported only if a driver is installed."""
    if sys.platform == "linux" and not any(Path(path).exists() for path in _GPU_DRIVERS):
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _cpu() -> tuple[str, frozenset[str]]:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine(), frozenset()
    fields = dict(line.split(":", 1) for line in text.split("\n\n", 1)[0].splitlines() if ":" in line)
    values = {key.strip(): value.strip() for key, value in fields.items()}
    return values.get("model name", platform.machine()), frozenset(values.get("flags", "").split())
