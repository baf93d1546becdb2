"""Starts the UI. Options that never change are in `.streamlit/config.toml` beside `app.py`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from search_app.api.key import api_key
from search_app.settings import Settings
from ui.client import API_KEY_VARIABLE, API_URL_VARIABLE

HOST = "127.0.0.1"
LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
_EVERYWHERE = ("0.0.0.0", "::", "")


def streamlit_command(port: int, host: str = HOST, *, names: Sequence[str] = ()) -> list[str]:
    """The command that runs the UI. `names`: host names for browsers, in addition to the local ones and `host`.

    On loopback unless told otherwise: the UI itself asks nobody for a password.
    """
    known = [*LOCAL_NAMES, *([] if host in _EVERYWHERE else [f"[{host}]" if ":" in host else host]), *names]
    return [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        str(Path(__file__).with_name("app.py")),
        f"--server.address={host}",
        f"--server.port={port}",
        *(f"--server.allowedHosts={name}" for name in dict.fromkeys(known)),
    ]


def streamlit_environment(settings: Settings, api_url: str) -> dict[str, str]:
    """Environment variables of the UI's process. Secrets are never in the command, which other users can see."""
    key = api_key(settings.api)
    return {API_URL_VARIABLE: api_url} | ({API_KEY_VARIABLE: key} if key else {})
