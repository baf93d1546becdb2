"""`make pin-images`: write the registry images of docker-compose.yml into .env, each with its current digest.

A tag can be moved to other content; NAME:TAG@sha256:… cannot. `docker pull` gives the digests.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

_IMAGE = re.compile(r"\$\{(?!SEARCH_APP_)(\w+_IMAGE):-([^}\s]+)\}")


def images(compose_file: str) -> dict[str, str]:
    """Default tag by variable, without the application's own images, which are built and not pulled."""
    return dict(_IMAGE.findall(compose_file))


def digest(image: str) -> str:
    """Pull the image and return its digest, as sha256:…."""
    pulled = subprocess.run(["docker", "pull", "--quiet", image], capture_output=True, text=True)
    if pulled.returncode:
        raise SystemExit(f"error: {image} cannot be pulled: {pulled.stderr.strip()}")
    template = "{{range .RepoDigests}}{{println .}}{{end}}"
    found = subprocess.run(
        ["docker", "image", "inspect", "--format", template, image], capture_output=True, text=True, check=True
    ).stdout.split()
    repository = image.rpartition(":")[0]
    for name in found:
        if name.rpartition("@")[0] == repository:
            return name.rpartition("@")[2]
    raise SystemExit(f"error: {image} has no digest: it was not pulled from a registry")


def write(env_file: Path, pins: dict[str, str]) -> None:
    """Set the variables in the file; other lines stay."""
    lines = env_file.read_text().splitlines() if env_file.exists() else []
    kept = [line for line in lines if line.partition("=")[0] not in pins]
    env_file.write_text("\n".join([*kept, *(f"{name}={image}" for name, image in pins.items())]) + "\n")


def main() -> None:
    pins = {name: f"{image}@{digest(image)}" for name, image in images(Path("docker-compose.yml").read_text()).items()}
    write(Path(".env"), pins)
    for name, image in pins.items():
        print(f"{name}={image}")


if __name__ == "__main__":
    sys.exit(main())
