from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from scripted_api import ScriptedService, running

from search_app.api.app import check_bind
from search_app.api.key import api_key, read_or_make
from search_app.errors import ConfigurationError
from search_app.settings import ApiSettings, Settings

ROOT = Path(__file__).resolve().parents[3]


def test_a_key_is_made_once_and_read_by_all_that_come_later(tmp_path: Path) -> None:
    settings = ApiSettings(key_file=tmp_path / "private" / "key")
    made = api_key(settings)
    assert len(made) >= 43, "256 bits in base64"
    assert api_key(settings) == made
    assert settings.key_file is not None
    assert stat.S_IMODE(settings.key_file.stat().st_mode) == 0o400
    assert [path.name for path in settings.key_file.parent.iterdir()] == ["key"]


def test_every_installation_has_another_key(tmp_path: Path) -> None:
    assert read_or_make(tmp_path / "one") != read_or_make(tmp_path / "other")


def test_a_key_that_is_given_goes_over_the_file(tmp_path: Path) -> None:
    assert api_key(ApiSettings(key="given", key_file=tmp_path / "key")) == "given"
    assert not (tmp_path / "key").exists()


def test_processes_that_start_at_once_agree_on_one_key(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from search_app.api.key import read_or_make
sys.stdin.readline()
print(read_or_make(Path(sys.argv[1])))
"""
    for attempt in range(5):
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", code, tmp_path / str(attempt) / "key"],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(4)
        ]
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        said = {process.communicate()[0] for process in processes}
        assert len(said) == 1
        assert said != {""}


def test_a_key_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    with pytest.raises(ConfigurationError, match=r"key file .*empty is empty"):
        read_or_make(tmp_path / "empty")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigurationError, match=r"key file .* cannot be used: Not a directory"):
        read_or_make(tmp_path / "file" / "key")
    (tmp_path / "binary").write_bytes(os.urandom(64) + b"\xff")
    with pytest.raises(ConfigurationError, match="it is not a key"):
        read_or_make(tmp_path / "binary")


def test_the_key_in_the_file_opens_the_server_to_others_and_is_asked_for(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, api=ApiSettings(host="0.0.0.0", key_file=tmp_path / "key"))
    check_bind(settings)
    key = (tmp_path / "key").read_text()
    with running(ScriptedService(settings), settings) as url:
        assert httpx.get(f"{url}/v1/collections", trust_env=False).status_code == 401
        assert httpx.get(f"{url}/v1/collections", headers={"X-API-Key": key}, trust_env=False).status_code == 200
