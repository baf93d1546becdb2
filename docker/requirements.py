"""Print the requirements of the app image for `pip install`: those of pyproject.toml without the UI's."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

ELSEWHERE = ("streamlit",)
"""Packages that only the UI image needs."""


def requirements(accelerator: str) -> list[str]:
    """`accelerator` is the extra with FAISS, cpu or gpu; both get the version that the lock has for faiss-cpu."""
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["elasticsearch"], *extras[accelerator]]
    lines = Path("requirements.lock").read_text().splitlines()
    wanted += [line.replace("faiss-cpu", "faiss-gpu") for line in lines if line.startswith("faiss-cpu==")][
        : accelerator == "gpu"
    ]
    return [line for line in wanted if not line.startswith(ELSEWHERE)]


if __name__ == "__main__":
    print("\n".join(requirements(sys.argv[1])))
