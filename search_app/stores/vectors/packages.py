"""The FAISS packages: they all install the same module, so only one of them may be present."""

from __future__ import annotations

from importlib import metadata

from search_app.errors import ConfigurationError, install_command

EXTRAS = {"faiss-cpu": "cpu", "faiss-gpu": "gpu", "faiss-gpu-cuvs": "gpu-cuda13"}
_OTHERS = ("faiss", "faiss-cuda", "faiss-gpu-cu11", "faiss-gpu-cu12", "faiss-gpu-raft", "faiss-cpu-noavx2")


def installed() -> dict[str, str]:
    """Versions by package name."""
    found = {}
    for name in (*EXTRAS, *_OTHERS):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def for_gpu(packages: dict[str, str]) -> bool:
    """Whether one of the packages is named as a CUDA build."""
    return any(name not in ("faiss", "faiss-cpu", "faiss-cpu-noavx2") for name in packages)


def check(packages: dict[str, str]) -> None:
    """Raises ConfigurationError if several packages overwrote each other."""
    if len(packages) > 1:
        named = " and ".join(f"{name} {version}" for name, version in sorted(packages.items()))
        kept = next((EXTRAS[name] for name in reversed(EXTRAS) if name in packages), "cpu")
        raise ConfigurationError(
            f"{named} are installed, but they overwrite each other",
            hint=f"run: pip uninstall --yes {' '.join(sorted(packages))} && {install_command(kept)}",
        )


def extra(packages: dict[str, str]) -> str:
    """The extra that installs the present package; "cpu" without one."""
    return next((EXTRAS[name] for name in packages if name in EXTRAS), "cpu")
