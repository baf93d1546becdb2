"""A real Docker engine, the images built from the Dockerfile, and a compose project for tests."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from ports import free_port

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT.parent / "shared" / "docker" / "engine"
DOCKER = "/usr/bin/docker"
COMPOSE = "/usr/bin/docker-compose"
IMAGES = {"app": "search-app:test", "ui": "search-app-ui:test"}
START_S = 180
LEASE_S = 4


def missing() -> str:
    """Why no engine can be started here; empty if one can be."""
    if not ENGINE.is_file():
        return f"no Docker engine for tests at {ENGINE}"
    return "" if os.geteuid() == 0 else "a Docker engine for tests needs root"


class Engine:
    """A Docker daemon; one that already ran keeps running afterwards."""

    def __init__(self) -> None:
        folder = os.environ.get("ENGINE_DIR", "/var/tmp/docker-engine")
        self.environment = {
            name: os.environ[name] for name in ("PATH", "HOME", "ENGINE_DIR", "PIP_FIND_LINKS") if name in os.environ
        } | {"DOCKER_HOST": f"unix://{folder}/docker.sock", "DOCKER_BUILDKIT": "1"}
        self.was_up = Path(DOCKER).exists() and self.docker("info", check=False).returncode == 0
        subprocess.run([ENGINE, "up"], check=True, env=self.environment, stdout=subprocess.DEVNULL)

    def docker(self, *arguments: str, check: bool = True, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        return _run([DOCKER, *arguments], self.environment, check=check, timeout=timeout)

    def build(self, target: str) -> None:
        _run(
            [DOCKER, "build", "--network", "host", "--target", target, "--tag", IMAGES[target], str(ROOT)],
            self.environment,
            timeout=1500,
        )

    def size(self, target: str) -> int:
        """Size of the image in bytes."""
        return int(self.docker("image", "inspect", "--format", "{{.Size}}", IMAGES[target]).stdout)

    def close(self) -> None:
        """Stop the daemon if this test run started it; build results are kept for a day."""
        for kind in ("image", "builder"):
            self.docker(kind, "prune", "--force", "--filter", "until=24h")
        if not self.was_up:
            subprocess.run([ENGINE, "down"], check=True, env=self.environment)


@dataclass
class Stack:
    """A compose project on `documents` with its own ports, volumes and networks; `settings` go into its .env."""

    engine: Engine
    folder: Path
    documents: Path
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.project = f"satest{secrets.token_hex(4)}"
        self.ports = {"api": free_port(), "ui": free_port()}
        self._environment = self.engine.environment | {
            "COMPOSE_PROJECT_NAME": self.project,
            "COMPOSE_FILE": f"{ROOT / 'docker-compose.yml'}:{self._override()}",
        }
        given = {
            "SEARCH_APP_IMAGE": IMAGES["app"],
            "SEARCH_APP_UI_IMAGE": IMAGES["ui"],
            "SEARCH_APP_DOCUMENTS": str(self.documents),
            "SEARCH_APP_API_PORT": str(self.ports["api"]),
            "SEARCH_APP_UI_PORT": str(self.ports["ui"]),
            **{name: value.replace("PROJECT", self.project) for name, value in self.settings.items()},
        }
        (self.folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in given.items()))
        self.url = f"http://127.0.0.1:{self.ports['api']}"
        self.page = f"http://127.0.0.1:{self.ports['ui']}"

    def _override(self) -> Path:
        """Give the project its own indexer network; the default name is shared by all projects of a machine.

        A worker that was killed is missed after seconds here, not after half a minute.
        """
        path = self.folder / "override.yml"
        path.write_text(
            f"networks: {{indexing: {{name: {self.project}-indexing, internal: true}}}}\n"
            "services:\n"
            f"  worker: {{environment: {{SEARCH_APP_JOBS__LEASE_SECONDS: {LEASE_S}}}, healthcheck: {{interval: 2s}}}}\n"
            f"  api: {{environment: {{SEARCH_APP_JOBS__LEASE_SECONDS: {LEASE_S}}}}}\n"
        )
        return path

    def compose(self, *arguments: str, check: bool = True, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        # Ignore a developer's .env next to docker-compose.yml.
        places = ["--project-directory", str(ROOT), "--env-file", str(self.folder / ".env")]
        command = [COMPOSE, *places, *arguments]
        return _run(command, self._environment, check=check, timeout=timeout)

    def up(self, *services: str) -> None:
        self.compose("up", "--detach", "--no-build", *services)

    def index(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run docker-compose run --rm indexer … as a user does."""
        return self.compose("run", "--rm", "-T", "indexer", *arguments, check=check)

    def container(self, service: str) -> dict[str, Any]:
        """The output of `docker inspect` for the service's container."""
        identity = self.compose("ps", "-q", service).stdout.split()[0]
        (found,) = json.loads(self.engine.docker("inspect", identity).stdout)
        return dict(found)

    def python(self, service: str, code: str) -> str:
        """Run Python code in the service's container and return what it prints."""
        return self.compose("exec", "-T", service, "python", "-c", code).stdout

    def until_healthy(self, *services: str) -> None:
        for service in services:
            wait(
                lambda service=service: self.container(service)["State"].get("Health", {}).get("Status") == "healthy",
                f"{service} to be healthy",
                lambda service=service: self.compose("logs", "--tail", "40", service).stdout,
            )

    def key(self) -> str:
        return self.python("api", "print(open('/secrets/api/key').read())").strip()

    def api(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.key()}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False)

    def crash(self, service: str) -> None:
        """Send SIGKILL to the container's first process and wait until the engine has restarted it."""
        before = self.container(service)
        os.kill(before["State"]["Pid"], 9)
        wait(
            lambda: (
                self.container(service)["RestartCount"] > before["RestartCount"]
                and self.container(service)["State"]["Running"]
            ),
            f"{service} to be started again",
        )
        self.until_healthy(service)

    def down(self) -> None:
        """Remove containers and networks, keep volumes."""
        self.compose("--profile", "monitoring", "down", "--remove-orphans")

    def remove(self) -> list[str]:
        """Remove everything; returns what is left nevertheless."""
        self.compose("--profile", "monitoring", "down", "--volumes", "--remove-orphans", check=False)
        label = f"label=com.docker.compose.project={self.project}"
        left = self.engine.docker("ps", "--all", "--quiet", "--filter", label).stdout.split()
        for kind in ("network", "volume"):
            left += self.engine.docker(kind, "ls", "--quiet", "--filter", label).stdout.split()
        return left


def wait(done: Callable[[], bool], what: str, say: Callable[[], str] = str, *, seconds: float = START_S) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}\n{say()}"
        time.sleep(0.25)


def _run(
    command: Sequence[str], environment: dict[str, str], *, check: bool = True, timeout: float
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout
    )
    assert not check or done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done
