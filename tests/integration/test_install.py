from __future__ import annotations

import importlib.metadata
import os
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from search_app.errors import install_command

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKED_EXTRAS = ("cpu", "elasticsearch", "train", "beside", "dev")


def lock(name: str) -> dict[str, Version]:
    lines = [line for line in (ROOT / name).read_text().splitlines() if line and not line.startswith("#")]
    return {canonicalize_name(package): Version(version) for package, version in (line.split("==") for line in lines)}


@pytest.mark.parametrize("extra", ["", *LOCKED_EXTRAS])
def test_the_lock_satisfies_pyproject_and_all_transitive_requirements(extra: str) -> None:
    pins = lock("requirements.lock")
    named = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    todo = [Requirement(line) for line in named]
    seen: set[tuple[str, frozenset[str]]] = set()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        assert name in pins, f"{requirement} is not in the lock"
        assert requirement.specifier.contains(pins[name]), f"the lock has {name} {pins[name]}, not {requirement}"
        key = name, frozenset(requirement.extras)
        if key in seen:
            continue
        seen.add(key)
        for line in importlib.metadata.requires(name) or []:
            needed = Requirement(line)
            if needed.marker is None or any(
                needed.marker.evaluate({"extra": extra}) for extra in ("", *requirement.extras)
            ):
                todo.append(needed)


def test_the_tests_run_with_the_locked_versions() -> None:
    installed = {
        canonicalize_name(item.metadata["Name"]): Version(Version(item.version).public)
        for item in importlib.metadata.distributions()
    }
    different = {
        name: (str(version), str(installed.get(name)))
        for name, version in lock("requirements.lock").items()
        if installed.get(name) != version
    }
    assert not different, "locked and installed versions differ: run make setup, or write the lock anew"


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-peers.lock"])
def test_the_lock_has_no_cuda_packages(name: str) -> None:
    pins = lock(name)
    assert not [package for package in pins if package.startswith(("nvidia", "cuda", "triton", "faiss-gpu"))]
    assert pins.get("torch", Version("2.13.0")) == Version("2.13.0")


WITHOUT_FAISS = (
    "import sys; sys.modules['faiss'] = None; from search_app.stores.vectors.flat import FlatIndex; FlatIndex(3)"
)


def test_without_faiss_the_error_shows_how_to_install_it() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_FAISS], capture_output=True, text=True)
    assert "MissingExtra" in done.stderr
    assert "run: pip install 'faiss-cpu>=1.15'\n" in done.stderr


@pytest.mark.parametrize(
    "extra", ["cpu", "gpu", "gpu-cuda13", "elasticsearch", "s3", "gcs", "http", "ray", "train", "beside"]
)
def test_an_install_command_lists_the_packages_of_its_extra(extra: str) -> None:
    assert shlex.split(install_command(extra))[:2] == ["pip", "install"]
    listed = {Requirement(package) for package in shlex.split(install_command(extra))[2:]}
    assert listed == {Requirement(package) for package in PROJECT["optional-dependencies"][extra]}


def test_an_install_command_takes_several_extras() -> None:
    listed = {Requirement(package).name for package in shlex.split(install_command("elasticsearch", "ray"))[2:]}
    assert listed == {"elasticsearch", "orjson", "ray"}


def test_without_an_installation_the_command_names_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> list[str]:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", missing)
    assert install_command("s3") == "pip install '.[s3]' in the folder of pyproject.toml"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the files for the wheel."""
    source = tmp_path_factory.mktemp("source")
    for package in ("search_app", "indexing", "ui"):
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    return source


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder, source],
        check=True,
        capture_output=True,
    )
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as packed:
        packed.extractall(folder / "unpacked")
    return folder / "unpacked"


def test_the_wheel_contains_the_reader_and_the_pages_with_their_styles(source: Path, wheel: Path) -> None:
    for package in ("search_app", "indexing", "ui"):
        for path in (source / package).rglob("*"):
            assert not path.is_file() or (wheel / path.relative_to(source)).is_file()
    assert (wheel / "search_app/models/reader/model.safetensors").is_file()


def test_a_wheel_without_faiss_shows_the_same_install_command(wheel: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_FAISS],
        env={**os.environ, "PYTHONPATH": str(wheel)},
        cwd=wheel,
        capture_output=True,
        text=True,
    )
    assert str(wheel / "search_app") in done.stderr
    assert "run: pip install 'faiss-cpu>=1.15'\n" in done.stderr


class TestMake:
    """The Makefile on machines with missing requirements."""

    @pytest.fixture
    def checkout(self, tmp_path: Path) -> Path:
        for name in ("Makefile", "requirements.lock", "requirements-peers.lock", "pyproject.toml"):
            shutil.copy(ROOT / name, tmp_path)
        return tmp_path

    @pytest.fixture
    def tools(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("bin")
        for name in ("awk", "df", "dirname", "mkdir", "rm", "sh", "touch", "grep", "uname"):
            (folder / name).symlink_to(str(shutil.which(name)))
        return folder

    def setup(self, checkout: Path, tools: Path) -> str:
        """The stderr of `make setup` with only `tools` on PATH."""
        make = shutil.which("make")
        assert make
        environment = {"PATH": str(tools), "HOME": str(checkout)}
        done = subprocess.run(
            [make, "setup"], cwd=checkout, env=environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 2
        assert not (checkout / ".venv").exists()
        return done.stderr

    @staticmethod
    def script(path: Path, body: str) -> None:
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def test_a_missing_lock_file_is_reported(self, checkout: Path, tools: Path) -> None:
        (checkout / "requirements.lock").unlink()
        assert "error: requirements.lock is missing" in self.setup(checkout, tools)

    def test_an_old_python_is_refused(self, checkout: Path, tools: Path) -> None:
        self.script(tools / "python3", "exit 1")
        assert "error: no Python 3.11 or newer on PATH" in self.setup(checkout, tools)

    def test_a_python_without_venv_is_reported(self, checkout: Path, tools: Path) -> None:
        self.script(tools / "python3", 'case "$2" in *ensurepip*) exit 1;; esac')
        assert "error: python3 cannot create environments" in self.setup(checkout, tools)

    def test_a_nearly_full_disk_is_reported(self, checkout: Path, tools: Path) -> None:
        (tools / "df").unlink()
        self.script(tools / "df", 'echo header; echo "disk 100 90 1048576 99% /"')
        self.script(tools / "python3", "exit 0")
        assert "error: not enough disk space: 4 GB needed, 1 GB free" in self.setup(checkout, tools)


def test_the_ci_script_is_executable_and_every_make_target_resolves() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    benchmarks = {"bench", "bench-peers", "bench-elasticsearch", "evaluate"}
    for target in {"setup", "demo", "test-fast", "test", "test-all", "check", "format", "clean"} | benchmarks:
        assert f"make {target} " in done.stdout
