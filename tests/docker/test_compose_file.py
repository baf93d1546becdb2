"""Static checks of Dockerfile, docker-compose.yml and the files in docker/."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from search_app.api.metrics import Metrics
from search_app.observability import stage
from search_app.queue.jobs import WorkerIdentity
from search_app.queue.queue import JobQueue

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT.parent / "shared" / "docker" / "compose-spec.json"
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
DASHBOARD = json.loads((ROOT / "docker/grafana/dashboards/search-app.json").read_text())
OURS = sorted(name for name, service in SERVICES.items() if "build" in service)
STAYING = sorted(name for name, service in SERVICES.items() if service["restart"] == "unless-stopped")
VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


def script(name: str) -> ModuleType:
    """Import a script of `docker/`, which is not a package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docker" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestCompose:
    def test_it_is_valid(self) -> None:
        if not SCHEMA.exists():
            pytest.skip(f"no schema at {SCHEMA}")
        schema = json.loads(SCHEMA.read_text())
        validator = jsonschema.Draft202012Validator(schema)
        assert [f"{list(error.path)}: {error.message}" for error in validator.iter_errors(COMPOSE)] == []

    @pytest.mark.parametrize("profile", ["", "indexer", "elasticsearch", "monitoring", "gpu"])
    def test_compose_1_29_reads_it(self, profile: str) -> None:
        program = shutil.which("docker-compose")
        if program is None:
            pytest.skip("no docker-compose on this machine")
        arguments = ["--profile", profile] if profile else []
        done = subprocess.run(
            [program, "--project-directory", ROOT, "--file", ROOT / "docker-compose.yml", *arguments, "config"],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert not done.stderr, "no variable is unset"

    @pytest.mark.parametrize("name", SERVICES)
    def test_every_service_is_hardened(self, name: str) -> None:
        service = SERVICES[name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["user"].split(":")[0] not in ("0", "root", "")
        assert any(mount.startswith("/tmp:size=") for mount in service["tmpfs"])
        assert {"mem_limit", "pids_limit", "cpus", "logging"} <= set(service)
        assert not {"privileged", "cap_add", "devices", "pid", "ipc", "userns_mode"} & set(service)
        assert service.get("network_mode") != "host"

    @pytest.mark.parametrize("name", SERVICES)
    def test_ports_are_published_on_loopback_only(self, name: str) -> None:
        for port in SERVICES[name].get("ports", []):
            assert port.startswith("127.0.0.1:")

    def test_only_the_api_and_the_pages_have_ports(self) -> None:
        published = {name for name, service in SERVICES.items() if service.get("ports")}
        assert published == {"api", "ui", "api-gpu", "grafana"}
        assert SERVICES["grafana"]["profiles"] == ["monitoring"]

    def test_the_default_profile_has_api_page_and_worker(self) -> None:
        without = {name for name, service in SERVICES.items() if "profiles" not in service}
        assert without == {"setup", "api", "ui", "worker"}

    @pytest.mark.parametrize("name", STAYING)
    def test_every_long_running_service_has_a_health_check(self, name: str) -> None:
        check = SERVICES[name]["healthcheck"]
        assert {"test", "interval", "timeout", "retries"} <= set(check)

    def test_the_page_waits_until_the_api_is_live(self) -> None:
        assert SERVICES["ui"]["depends_on"] == {"api": {"condition": "service_healthy"}}
        assert "/health/live" in SERVICES["api"]["healthcheck"]["test"][-1]

    @pytest.mark.parametrize("name", OURS)
    def test_compute_threads_match_the_cpu_limit(self, name: str) -> None:
        service = SERVICES[name]
        for variable in ("OMP_NUM_THREADS", "SEARCH_APP_THREADS"):
            if variable in service.get("environment", {}):
                assert str(service["environment"][variable]) == str(service["cpus"])
        if name not in ("setup", "elasticsearch-setup"):
            assert "OMP_NUM_THREADS" in service["environment"]

    @pytest.mark.parametrize("name", SERVICES)
    def test_secrets_are_files_and_not_environment_variables(self, name: str) -> None:
        for variable, value in SERVICES[name].get("environment", {}).items():
            if re.search(r"PASSWORD|KEY|SECRET|TOKEN", variable):
                assert str(value).startswith("/secrets/"), f"{variable} is a file"

    def test_indexers_have_no_network_by_default(self) -> None:
        for name in ("setup", "indexer", "indexer-gpu", "worker", "worker-gpu", "info-gpu"):
            assert SERVICES[name]["network_mode"] in ("none", "${SEARCH_APP_INDEXER_NETWORK:-none}")

    def test_the_indexers_network_reaches_only_elasticsearch(self) -> None:
        there = {name for name, service in SERVICES.items() if "indexing" in service.get("networks", [])}
        assert there == {"elasticsearch"}
        assert COMPOSE["networks"]["indexing"]["internal"] is True
        assert COMPOSE["networks"]["store"]["internal"] is True
        assert "front" not in SERVICES["elasticsearch"]["networks"]
        assert "front" not in SERVICES["prometheus"]["networks"]

    def test_volumes_are_writable_only_where_needed(self) -> None:
        for name, service in SERVICES.items():
            for mount in service.get("volumes", []):
                source, target, *mode = re.sub(r"\$\{[^}]*\}", "VARIABLE", mount).split(":")
                if source == "index" and name not in ("setup", "indexer", "indexer-gpu", "worker", "worker-gpu"):
                    assert mode == ["ro"]
                if source == "jobs":
                    assert name.removesuffix("-gpu") in ("setup", "api", "worker", "info")
                if target.startswith("/secrets") and name != "setup":
                    assert mode == ["ro"]
                if target == "/data":
                    assert mode == ["ro"]

    @pytest.mark.parametrize("suffix", ["", "-gpu"])
    def test_api_and_worker_share_the_queue_and_the_folders(self, suffix: str) -> None:
        api, worker = (SERVICES[name + suffix] for name in ("api", "worker"))
        for variable in ("SEARCH_APP_JOBS__FOLDER", "SEARCH_APP_JOBS__FOLDERS"):
            assert api["environment"][variable] == worker["environment"][variable]
        folder = api["environment"]["SEARCH_APP_JOBS__FOLDER"]
        assert f"jobs:{folder}" in api["volumes"]
        assert f"jobs:{folder}" in worker["volumes"]
        assert f" {folder} " in DOCKERFILE, "made for the images' user"
        for path in json.loads(api["environment"]["SEARCH_APP_JOBS__FOLDERS"]).values():
            for service in (api, worker):
                assert any(mount.endswith(f":{path}:ro") for mount in service["volumes"])

    def test_a_stopping_worker_has_time_to_release_its_job(self) -> None:
        assert SERVICES["worker"]["command"] == ["search-index", "worker"]
        assert SERVICES["worker"]["stop_grace_period"] == "30s"
        assert SERVICES["worker"]["restart"] == "unless-stopped"

    def test_each_service_sees_only_its_own_secrets(self) -> None:
        seen = {
            name: {m.split(":")[0] for m in service.get("volumes", []) if ":/secrets/" in m}
            for name, service in SERVICES.items()
        }
        assert seen["ui"] == seen["prometheus"] == {"api-secrets"}
        assert seen["api"] == {"api-secrets", "reader-secrets"}
        assert seen["indexer"] == seen["worker"] == {"indexer-secrets"}
        assert seen["elasticsearch"] == {"elasticsearch-secrets"}
        assert seen["grafana"] == {"grafana-secrets"}

    def test_images_have_exact_tags(self) -> None:
        for name, service in SERVICES.items():
            tag = VARIABLE.fullmatch(service["image"])
            assert tag, f"{name}: an image is a variable with a default"
            assert re.search(r":[\w.-]*\d+\.\d+[\w.-]*$", tag[2])

    def test_the_gpu_profile_reserves_a_gpu(self) -> None:
        for service in SERVICES.values():
            gpu = service.get("profiles") == ["gpu"]
            assert ("deploy" in service) == gpu
            if gpu:
                (device,) = service["deploy"]["resources"]["reservations"]["devices"]
                assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
                assert service["build"]["args"]["ACCELERATOR"] == "gpu"
                assert service["image"] != SERVICES["api"]["image"]

    def test_env_example_lists_every_variable_with_its_default(self) -> None:
        documented = dict(re.findall(r"^#?\s*(\w+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
        used: dict[str, set[str]] = {}
        for variable, default in VARIABLE.findall(TEXT):
            used.setdefault(variable, set()).add(default)
        for variable, defaults in used.items():
            assert documented.get(variable) in defaults, f"{variable} is one of {defaults}"
            assert len(defaults) == 1 or variable == "SEARCH_APP_INDEXER_NETWORK"
        assert not re.findall(r"\$\{(?!\w+:-)", TEXT), "every variable has a default"


class TestImages:
    def test_every_package_is_installed_at_its_locked_version(self) -> None:
        logical = DOCKERFILE.replace("\\\n", " ")
        for command in re.findall(r"(?:pip|\$pip)(?: --python \S+)? install (.*?)(?:\|\||&&|;|\n)", logical):
            assert "-c requirements.lock" in command or "--no-deps" in command
        assert "grep '^torch==' requirements.lock" in DOCKERFILE

    def test_the_build_pulls_only_the_base_image(self) -> None:
        assert "# syntax" not in DOCKERFILE
        stages = set(re.findall(r" AS ([\w-]+)", DOCKERFILE))
        bases = {name for name in re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) if name not in stages}
        assert bases == {"${PYTHON_IMAGE}"}
        assert "ARG PYTHON_IMAGE=python:3.11-slim-bookworm" in DOCKERFILE

    @pytest.mark.parametrize("target", ["ui", "app"])
    def test_nothing_runs_as_root(self, target: str) -> None:
        stage_text = re.search(rf"^FROM \S+ AS {target}$(.*?)(?=^FROM|\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL)
        assert stage_text
        assert "USER 1000:1000" in stage_text[1]

    def test_the_build_context_has_only_what_the_images_need(self) -> None:
        lines = (ROOT / ".dockerignore").read_text().splitlines()
        assert "*" in lines
        kept = {line[1:] for line in lines if line.startswith("!")}
        assert kept == {
            "docker", "indexing", "search_app", "ui", "LICENSE", "README.md", "pyproject.toml", "requirements.lock",
        }  # fmt: skip

    @pytest.mark.parametrize("accelerator", ["cpu", "gpu"])
    def test_the_app_image_has_every_dependency_except_streamlit(
        self, accelerator: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(ROOT)
        wanted = script("requirements").requirements(accelerator)
        names = {re.split(r"[<>=\[]", line)[0] for line in wanted}
        assert {"apsw", "torch", "elasticsearch", "fastapi", "haystack-ai", f"faiss-{accelerator}"} <= names
        assert {"cronsim", "python-multipart"} <= names
        assert "streamlit" not in names
        assert not names & {"pytest", "mypy", "faiss-gpu" if accelerator == "cpu" else "faiss-cpu"}
        lock = (ROOT / "requirements.lock").read_text()
        version = re.search(r"^faiss-cpu==(.*)$", lock, re.MULTILINE)
        assert version
        assert (f"faiss-gpu=={version[1]}" in wanted) == (accelerator == "gpu")

    def test_the_ui_image_has_what_the_ui_imports(self) -> None:
        """Every package that is imported by `ui` and by the parts of `search_app` that it uses."""
        code = (
            "import sys; import ui.__main__, ui.launch, ui.client, ui.cards, ui.highlight, ui.job_cards, ui.session; "
            "print({name.split('.')[0] for name in sys.modules} & "
            "{'torch', 'fastapi', 'haystack', 'apsw', 'faiss', 'transformers', 'prometheus_client', 'uvicorn'})"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "set()"


class TestWorkerHealth:
    def test_it_is_healthy_while_a_worker_of_this_container_reports_to_the_queue(self, tmp_path: Path) -> None:
        environment = {**os.environ, "SEARCH_APP_JOBS__FOLDER": str(tmp_path)}
        command = [sys.executable, ROOT / "docker" / "worker_health.py"]

        def ended() -> int:
            return subprocess.run(command, env=environment, cwd=ROOT).returncode

        assert ended() == 1
        with closing(JobQueue(tmp_path)) as queue:
            here = WorkerIdentity.of_this_process()
            queue.heartbeat(replace(here, name="elsewhere-1-x"))
            assert ended() == 1
            queue.heartbeat(here)
            assert ended() == 0
            queue.remove_worker(here)
            assert ended() == 1


class TestSecrets:
    def test_each_secret_is_created_once_with_minimal_permissions(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        setup = script("setup")
        monkeypatch.setattr(setup, "SECRETS", tmp_path)
        setup.make_secrets()
        made = {
            path.relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.rglob("*") if path.is_file()
        }
        assert set(made) == set(setup.MODES)
        assert len(set(made.values())) == len(made), "no two are the same"
        for name, mode in setup.MODES.items():
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == mode
        setup.make_secrets()
        assert all((tmp_path / name).read_text() == secret for name, secret in made.items())

    def test_elasticsearch_reads_its_password_from_a_private_file(self) -> None:
        """Elasticsearch's entry point accepts only modes 400 and 600."""
        assert script("setup").MODES["elasticsearch/elastic"] == 0o400

    def test_the_roles_match_the_documentation(self) -> None:
        text = (ROOT / "docs" / "elasticsearch.md").read_text()
        documented = dict(re.findall(r"<!-- role: (\w+) -->\n```json\n(.*?)```", text, re.DOTALL))
        assert {name: json.loads(role) for name, role in documented.items()} == script("setup").ROLES

    def test_every_secret_has_a_volume_and_a_folder_owned_by_the_image_user(self) -> None:
        folders = {name.split("/")[0] for name in script("setup").MODES}
        assert {f"{folder}-secrets" for folder in folders} <= set(COMPOSE["volumes"])
        for folder in folders:
            assert f"secrets/{folder}" in DOCKERFILE


class TestMonitoring:
    def test_prometheus_sends_the_api_key(self) -> None:
        (job,) = yaml.safe_load((ROOT / "docker/prometheus.yml").read_text())["scrape_configs"]
        assert job["authorization"] == {"credentials_file": SERVICES["api"]["environment"]["SEARCH_APP_API__KEY_FILE"]}
        assert job["static_configs"] == [{"targets": ["api:8000"]}]
        assert job.get("metrics_path", "/metrics") == "/metrics"

    def test_grafana_finds_its_data_source_and_dashboard(self) -> None:
        provisioning = ROOT / "docker/grafana/provisioning"
        (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())["datasources"]
        (provider,) = yaml.safe_load((provisioning / "dashboards/search-app.yml").read_text())["providers"]
        assert source["url"] == "http://prometheus:9090"
        mounts = dict(mount.split(":")[:2] for mount in SERVICES["grafana"]["volumes"])
        assert mounts["./docker/grafana/dashboards"] == provider["options"]["path"]
        assert mounts["./docker/grafana/provisioning"] == "/etc/grafana/provisioning"
        used = {panel["datasource"]["uid"] for panel in DASHBOARD["panels"]}
        used |= {target["datasource"]["uid"] for panel in DASHBOARD["panels"] for target in panel["targets"]}
        assert used == {source["uid"]}

    def test_the_dashboards_panels_do_not_overlap(self) -> None:
        cells = [
            (x, y)
            for place in (panel["gridPos"] for panel in DASHBOARD["panels"])
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        ]
        assert len(cells) == len(set(cells))
        assert max(x for x, _ in cells) < 24
        assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])

    def test_the_dashboard_uses_metrics_that_the_api_exports(self, tmp_path: Path) -> None:
        class Stores:
            def collections(self) -> list[str]:
                return ["default"]

            def store(self, collection: str) -> Any:
                return type("Store", (), {"generation": 1, "counts": lambda self: {"documents": 1, "passages": 1}})()

        with closing(JobQueue(tmp_path)) as queue:
            queue.heartbeat(WorkerIdentity.of_this_process())
            metrics = Metrics(Stores(), queue)
            metrics.count("/v1/collections/{name}/answer", 200, 0.1)
            with stage("retrieve"):
                pass
            text = bytes(metrics.response().body).decode()
        samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
        known = {sample.name: set(sample.labels) for sample in samples}
        for panel in DASHBOARD["panels"]:
            for target in panel["targets"]:
                names = re.findall(r"\b((?:search_app|process)_\w+)", target["expr"])
                assert names
                assert set(names) <= set(known), target["expr"]
                for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                    assert any(label in known[name] for name in names)
        routes = {
            route
            for p in DASHBOARD["panels"]
            for t in p["targets"]
            for route in re.findall(r'route="([^"]*)"', t["expr"])
        }
        assert routes == {"/v1/collections/{name}/answer"}


class TestPinning:
    """`make pin-images` with a script that stands in for docker."""

    DIGEST = "sha256:" + "ab" * 32

    @pytest.fixture
    def docker(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        program = tmp_path / "bin" / "docker"
        program.parent.mkdir()
        program.write_text(
            "#!/bin/sh\n"
            f'echo "$@" >> {tmp_path}/calls\n'
            'for image in "$@"; do :; done\n'
            'case "$1 $image" in\n'
            '  *missing*) echo "manifest unknown" >&2; exit 1;;\n'
            '  "pull "*) ;;\n'
            f'  "image "*) echo "mirror.example.org/other@sha256:00"; echo "${{image%:*}}@{self.DIGEST}";;\n'
            "esac\n"
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.chdir(tmp_path)
        shutil.copy(ROOT / "docker-compose.yml", tmp_path)
        return tmp_path

    def test_digests_are_written_to_env_and_other_lines_stay(self, docker: Path) -> None:
        (docker / ".env").write_text("SEARCH_APP_CPUS=4\nGRAFANA_IMAGE=old\n")
        script("pin_images").main()
        lines = (docker / ".env").read_text().splitlines()
        assert lines[0] == "SEARCH_APP_CPUS=4"
        pins = dict(line.split("=", 1) for line in lines[1:])
        assert set(pins) == {"PYTHON_IMAGE", "ELASTICSEARCH_IMAGE", "PROMETHEUS_IMAGE", "GRAFANA_IMAGE"}
        assert pins["PYTHON_IMAGE"] == f"python:3.11-slim-bookworm@{self.DIGEST}"
        assert len((docker / "calls").read_text().splitlines()) == 8
        script("pin_images").main()
        assert (docker / ".env").read_text().splitlines() == lines

    def test_an_image_that_cannot_be_pulled_is_named_and_env_stays(self, docker: Path) -> None:
        text = (docker / "docker-compose.yml").read_text().replace("grafana/grafana:11", "grafana/missing:11")
        (docker / "docker-compose.yml").write_text(text)
        with pytest.raises(SystemExit, match=r"grafana/missing:.* cannot be pulled: manifest unknown"):
            script("pin_images").main()
        assert not (docker / ".env").exists()
