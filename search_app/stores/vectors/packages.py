"""Which build of FAISS is installed: all of them are one module, and the last that was installed wins."""

from __future__ import annotations

from importlib import metadata

from search_app.errors import ConfigurationError

EXTRAS = {"faiss-cpu": "cpu", "faiss-gpu": "gpu", "faiss-gpu-cuvs": "gpu-cuda13"}
_OTHERS = ("faiss", "faiss-cuda", "faiss-gpu-cu11", "faiss-gpu-cu12", "faiss-gpu-raft", "faiss-cpu-noavx2")


def installed() -> dict[str, str]:
    """Versions by the names of distributions."""
    found = {}
    for name in (*EXTRAS, *_OTHERS):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def for_gpu(builds: dict[str, str]) -> bool:
    """Whether one of them was built for CUDA, by its name."""
    return any(name not in ("faiss", "faiss-cpu", "faiss-cpu-noavx2") for name in builds)


def check(builds: dict[str, str]) -> None:
    """Raises ConfigurationError where two of them have overwritten each other."""
    if len(builds) > 1:
        named = " and ".join(f"{name} {version}" for name, version in sorted(builds.items()))
        kept = next((EXTRAS[name] for name in reversed(EXTRAS) if name in builds), "cpu")
        raise ConfigurationError(
            f"{named} are installed, and each overwrites the other",
            hint=f"run: pip uninstall --yes {' '.join(sorted(builds))} && pip install 'search-app[{kept}]'",
        )


def extra(builds: dict[str, str]) -> str:
    """The extra that brings what is installed, complete; the one for CPUs where nothing is."""
    return next((EXTRAS[name] for name in builds if name in EXTRAS), "cpu")
