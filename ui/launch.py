"""How the UI is started; what is the same for every start stands in `.streamlit/config.toml` beside `app.py`."""

from __future__ import annotations

import sys
from pathlib import Path

from search_app.settings import Settings
from ui.client import API_KEY_VARIABLE, API_URL_VARIABLE

HOST = "127.0.0.1"


def streamlit_command(port: int) -> list[str]:
    """On loopback only: the UI itself asks nobody for a password."""
    return [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        str(Path(__file__).with_name("app.py")),
        f"--server.address={HOST}",
        f"--server.port={port}",
    ]


def streamlit_environment(settings: Settings, api_url: str) -> dict[str, str]:
    """What the UI's process needs beside its parent's environment: never in the command, which others can see."""
    key = settings.api.key
    return {API_URL_VARIABLE: api_url} | ({API_KEY_VARIABLE: key.get_secret_value()} if key else {})
