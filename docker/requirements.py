"""Prints what `pip install` has to be given for the image's app: all of pyproject.toml's dependencies but the UI's."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

ELSEWHERE = ("streamlit",)
"""In the image of the UI, which in turn needs nothing of the rest."""


def requirements(accelerator: str) -> list[str]:
    """`accelerator`: the extra that names FAISS, cpu or gpu, each in the version that the lock has for faiss-cpu."""
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
