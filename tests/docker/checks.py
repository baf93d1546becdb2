"""Checks that every profile must pass, from outside and inside the containers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import httpx
from stack import Stack

QUESTION = "How long does it take to tokenize a GB of text?"
ANSWER = "less than 20 seconds"
JOBS = "/var/lib/search-app-jobs"
WRITABLE = {"api": [JOBS, "/tmp"], "ui": ["/tmp"], "worker": ["/var/lib/search-app", JOBS, "/tmp"]}

INSIDE = """
import json, os
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
def writable(folder):
    try:
        open(os.path.join(folder, ".probe"), "w").close()
        os.unlink(os.path.join(folder, ".probe"))
        return True
    except OSError:
        return False
folders = ["/", "/etc", "/opt", "/usr/local", "/var/lib/search-app", "/var/lib/search-app-jobs", "/data",
           "/secrets/api", "/secrets/indexer", "/tmp"]
print(json.dumps({
    "uid": os.getuid(), "gid": os.getgid(),
    "capabilities": [status[name].strip() for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")],
    "no_new_privileges": status["NoNewPrivs"].strip(), "seccomp": status["Seccomp"].strip(),
    "writable": [folder for folder in folders if os.path.isdir(folder) and writable(folder)],
}))
"""


def ask(api: httpx.Client, question: str = QUESTION, collection: str = "default") -> dict[str, Any]:
    response = api.post(f"/v1/collections/{collection}/answer", json={"question": question})
    assert response.status_code == 200, response.text
    return dict(response.json())


def best(found: dict[str, Any]) -> str:
    return " ".join(str(found["answers"][0]["text"]).split())


def see_the_answer(page: Any, stack: Stack) -> None:
    """Ask on the search page and wait for the highlighted answer."""
    page.goto(stack.page)
    box = page.get_by_role("textbox", name="Question")
    box.fill(QUESTION)
    box.press("Enter")
    mark = page.locator(".sa-passage mark").first
    mark.wait_for()
    assert " ".join(mark.inner_text().split()) == ANSWER


def require_locked_down(container: dict[str, Any]) -> None:
    host = container["HostConfig"]
    assert container["Config"]["User"].split(":")[0] not in ("", "0", "root")
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["Privileged"] is False
    assert host["Memory"] > 0
    assert host["PidsLimit"] > 0
    assert host["NanoCpus"] > 0


def require_locked_down_inside(stack: Stack, service: str, *, writable: Sequence[str]) -> None:
    seen = json.loads(stack.python(service, INSIDE))
    assert (seen["uid"], seen["gid"]) == (1000, 1000)
    assert set(seen["capabilities"]) == {"0" * 16}
    assert seen["no_new_privileges"] == "1"
    assert seen["seccomp"] == "2"
    assert seen["writable"] == list(writable)


def published(stack: Stack) -> set[tuple[str, str, str]]:
    """(service, address, port) of every port that the project's containers publish."""
    label = f"label=com.docker.compose.project={stack.project}"
    found = set()
    for identity in stack.engine.docker("ps", "--quiet", "--filter", label).stdout.split():
        (container,) = json.loads(stack.engine.docker("inspect", identity).stdout)
        service = container["Config"]["Labels"]["com.docker.compose.service"]
        for bindings in container["NetworkSettings"]["Ports"].values():
            found |= {(service, binding["HostIp"], binding["HostPort"]) for binding in bindings or []}
    return found


def secrets_in_sight(stack: Stack, services: Sequence[str]) -> list[str]:
    """Services whose settings or logs contain the API key."""
    key = stack.key()
    shown = {name: json.dumps(stack.container(name)) + stack.compose("logs", name).stdout for name in services}
    return [name for name, text in shown.items() if key in text]
