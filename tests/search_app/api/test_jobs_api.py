"""Jobs over a real socket: what is queued, what is refused, and what is left of an upload that fails."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from scripted_api import ScriptedService, Text, index, running

from search_app.api.schemas import FoldersResponse, JobOut, JobsResponse, SchedulesResponse
from search_app.api.uploads import check_name
from search_app.errors import InvalidQuery
from search_app.queue.jobs import JobKind, JobState, WorkerIdentity
from search_app.queue.queue import JobQueue
from search_app.queue.staging import safe_name
from search_app.settings import ApiSettings, JobSettings, Settings

JOBS = "/v1/collections/default/jobs"
MIB = 1 << 20


def settings_for(home: Path) -> Settings:
    folders = {"handbook": "/srv/handbook", "wiki": "/srv/wiki"}
    return Settings(home=home, jobs=JobSettings(folders=folders, max_upload_mb=2, max_files=3))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_for(tmp_path)


@pytest.fixture
def api(settings: Settings) -> Iterator[httpx.Client]:
    with running(ScriptedService(settings), settings) as url, httpx.Client(base_url=url, trust_env=False) as client:
        yield client


@dataclass(frozen=True)
class Empty:
    """A server that only gets what it refuses."""

    api: httpx.Client
    settings: Settings

    def refuses(self, status: int = 422, **request: Any) -> dict[str, str]:
        response = self.api.post(JOBS, **request)
        assert response.status_code == status, response.text
        assert staged(self.settings) == []
        assert self.api.get(JOBS).json()["total"] == 0
        return error_of(response)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Empty]:
    settings = settings_for(tmp_path_factory.mktemp("empty"))
    with running(ScriptedService(settings), settings) as url, httpx.Client(base_url=url, trust_env=False) as client:
        yield Empty(client, settings)


@pytest.fixture
def queue(settings: Settings) -> Iterator[JobQueue]:
    queue = JobQueue.from_settings(settings)
    yield queue
    queue.close()


def part(name: str, content: bytes = b"text") -> tuple[str, tuple[str, bytes, str]]:
    return "files", (name, content, "application/octet-stream")


def error_of(response: httpx.Response) -> dict[str, str]:
    error: dict[str, str] = response.json()["error"]
    return error


def staged(settings: Settings) -> list[Path]:
    folder = settings.jobs_folder / "staging"
    return sorted(folder.iterdir()) if folder.exists() else []


def settled(settings: Settings) -> list[Path]:
    """What is staged when the server has noticed that a client is gone."""
    deadline = time.monotonic() + 10
    while staged(settings) and time.monotonic() < deadline:
        time.sleep(0.02)
    return staged(settings)


def test_a_charset_of_a_part_is_kept(api: httpx.Client, queue: JobQueue) -> None:
    named = ("files", ("a.txt", b"text", "text/plain; charset=KOI8-R"))
    response = api.post(JOBS, files=[named, part("b.txt")])
    files = queue.get(response.json()["id"]).request["files"]
    assert [file.get("charset") for file in files] == ["KOI8-R", None]


def test_an_upload_is_on_the_disk_and_in_the_queue_before_it_is_answered(
    api: httpx.Client, settings: Settings, queue: JobQueue
) -> None:
    names = ["guide.pdf", "manuals/français – 手册.txt", "odd ' name;=(1).html"]
    contents = [os.urandom(300_000), b"\r\n--not-the-boundary\r\n" * 5000, b""]
    response = api.post(JOBS, files=[part(name, content) for name, content in zip(names, contents, strict=True)])
    assert response.status_code == 202, response.text
    job = JobOut.model_validate(response.json())
    assert (job.kind, job.state, job.title, job.collection) == (JobKind.UPLOAD, JobState.QUEUED, "3 files", "default")
    assert response.headers["location"] == f"{JOBS}/{job.id}"
    stored = queue.get(job.id)
    assert stored is not None
    assert stored.request == {
        "files": [
            {"name": name, "stored": str(number), "size": len(content)}
            for number, (name, content) in enumerate(zip(names, contents, strict=True))
        ]
    }
    folder = settings.jobs_folder / "staging" / job.id
    assert [(folder / str(number)).read_bytes() for number in range(3)] == contents
    assert len(list(folder.iterdir())) == 3
    assert api.get(response.headers["location"]).json() == response.json()


@pytest.mark.parametrize(
    "name",
    ["../up.txt", "a/../../up.txt", "a\\..\\up.txt", "/etc/passwd", "\\server\\x.txt", "C:x.txt", "a\x01b.txt",
     "a\x7f.txt", "a\u0085b.txt", "", "/", "./", "x" * 256, "ü" * 128, "a/" * 600 + "b"],
)  # fmt: skip
def test_a_name_that_no_file_may_have_is_refused_and_leaves_nothing(empty: Empty, name: str) -> None:
    raw = '--b\r\nContent-Disposition: form-data; name="files"; filename="good.txt"\r\n\r\ngood\r\n'
    raw += f'--b\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\nbad\r\n--b--\r\n'
    error = empty.refuses(content=raw.encode(), headers={"Content-Type": "multipart/form-data; boundary=b"})
    assert error["field"] == "files"
    assert "name" in error["message"]


@given(
    st.text(
        st.one_of(st.sampled_from("./\\:a\x00\u2028é"), st.characters(exclude_categories=["Cs"])),
        min_size=0,
        max_size=300,
    )
)
def test_an_accepted_name_stays_below_its_folder(name: str) -> None:
    try:
        assert check_name(name) == name
    except InvalidQuery:
        return
    path = safe_name(name)
    assert os.path.normpath(f"/folder/{path}") == f"/folder/{path}"
    assert safe_name(path) == path


@pytest.mark.parametrize(
    ("body", "boundary"),
    [
        (b"", "b"),
        (b"--b--\r\n", "b"),
        (b"--other\r\n\r\n", "b"),
        (b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\n\r\nhalf', "b"),
        (b'--b\r\nContent-Disposition: form-data; name="files"\r\n\r\ntext\r\n--b--\r\n', "b"),
        (b'--b\r\nContent-Disposition: form-data; name="other"; filename="a.txt"\r\n\r\ntext\r\n--b--\r\n', "b"),
        (b"--b\r\n\r\ntext\r\n--b--\r\n", "b"),
        (b"--b\r\n" + b"X: y\r\n" * 1000, "b"),
        (b"--b--\r\n", ""),
        (b"--b--\r\n", "b" * 300),
    ],
)
def test_a_form_without_files_or_that_is_none_is_refused(empty: Empty, body: bytes, boundary: str) -> None:
    error = empty.refuses(content=body, headers={"Content-Type": f"multipart/form-data; boundary={boundary}"})
    assert error["field"] == "files"


def test_more_files_than_allowed_are_refused(empty: Empty) -> None:
    assert empty.refuses(files=[part(f"{number}.txt") for number in range(4)])["message"] == "more than 3 files"


def connected(api: httpx.Client) -> socket.socket:
    return socket.create_connection((api.base_url.host, int(api.base_url.port or 0)), timeout=10)


HEAD = "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n{more}\r\n\r\n"
FILE = b'--b\r\nContent-Disposition: form-data; name="files"; filename="big.txt"\r\n\r\n'


def test_an_upload_that_states_too_much_is_refused_unread(api: httpx.Client, settings: Settings) -> None:
    with connected(api) as client:
        client.sendall(HEAD.format(path=JOBS, more=f"Content-Length: {2 * MIB + 1}").encode())
        assert client.recv(1000).startswith(b"HTTP/1.1 413 ")
    assert staged(settings) == []


def test_an_upload_that_goes_on_and_on_is_cut_off_and_leaves_nothing(api: httpx.Client, settings: Settings) -> None:
    with connected(api) as client:
        client.sendall(HEAD.format(path=JOBS, more="Transfer-Encoding: chunked").encode())
        sent = 0
        try:
            client.sendall(b"%x\r\n%s\r\n" % (len(FILE), FILE))
            while sent < 64 * MIB:
                client.sendall(b"%x\r\n%s\r\n" % (MIB, b"x" * MIB))
                sent += MIB
        except OSError:
            pass
    assert sent < 64 * MIB
    assert settled(settings) == []
    assert api.get(JOBS).json()["total"] == 0


def test_an_upload_that_breaks_off_leaves_nothing(api: httpx.Client, settings: Settings) -> None:
    with connected(api) as client:
        client.sendall(HEAD.format(path=JOBS, more="Content-Length: 1000000").encode() + FILE + b"x" * 200_000)
        deadline = time.monotonic() + 10
        while not staged(settings):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert settled(settings) == []
    assert api.get(JOBS).json()["total"] == 0


def test_only_an_upload_may_be_larger_than_other_bodies(api: httpx.Client) -> None:
    assert api.post(JOBS, files=[part("a.txt", b"x" * (3 * MIB // 2))]).status_code == 202
    large = {"delete": {"sources": ["x" * (3 * MIB // 2)]}}
    assert api.post(JOBS, json=large).status_code == 413
    for path in ("/v1/collections/default/search", f"{JOBS}/x/cancel", "/v1/collections/jobs/search"):
        assert api.post(path, files=[part("a.txt", b"x" * (3 * MIB // 2))]).status_code == 413


def test_a_folder_is_named_and_nothing_else(api: httpx.Client, queue: JobQueue) -> None:
    job = api.post(JOBS, json={"folder": "handbook"}).json()
    assert (job["kind"], job["title"], job["state"]) == ("folder", "folder handbook", "queued")
    stored = queue.get(job["id"])
    assert stored is not None
    assert stored.request == {"folder": "handbook"}
    for name in ("nosuch", "/srv/handbook", "", "handbook/.."):
        refused = api.post(JOBS, json={"folder": name})
        assert refused.status_code == 422
        assert (error_of(refused)["field"], error_of(refused)["hint"]) == ("folder", "choose one of: handbook, wiki")
    listed = FoldersResponse.model_validate(api.get("/v1/folders").json())
    assert [folder.name for folder in listed.folders] == ["handbook", "wiki"]


def test_a_delete_names_documents_or_a_filter(api: httpx.Client, queue: JobQueue) -> None:
    where = {"field": "meta.format", "operator": "==", "value": "pdf"}
    wanted: list[tuple[dict[str, Any], str, Any]] = [
        ({"documents": ["a", "b"]}, "delete 2 documents", None),
        ({"sources": ["guide.pdf"]}, "delete 1 source", None),
        ({"where": "format = pdf"}, "delete by filter", where),
        ({"documents": ["a"], "where": where}, "delete 1 document, by filter", where),
    ]
    for body, title, kept in wanted:
        response = api.post(JOBS, json={"delete": body})
        assert response.status_code == 202, response.text
        assert response.json()["title"] == title
        stored = queue.get(response.json()["id"])
        assert stored is not None
        assert stored.request["where"] == kept
        assert stored.request["documents"] == body.get("documents", [])


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ({"folder": "handbook", "delete": {"documents": ["a"]}}, "body"),
        ({"every": "0 0 * * *"}, "body"),
        ({"delete": {"documents": ["a"]}, "every": "0 0 * * *"}, "body"),
        ({"delete": {}}, "delete"),
        ({"delete": {"where": {}}}, "delete"),
        ({"delete": {"where": " "}}, "delete"),
        ({"delete": {"where": "format ="}}, "where"),
        ({"delete": {"where": {"operator": "=="}}}, "where"),
        ({"delete": {"documents": "a"}}, "delete"),
        ({"delete": {"documents": [1]}}, "delete"),
        ({"folder": 3}, "folder"),
        ({"folder": "handbook", "every": "nightly"}, "every"),
        ({"files": ["a.txt"]}, "files"),
        ([], "body"),
    ],
)
def test_a_job_that_makes_no_sense_is_refused(empty: Empty, body: Any, field: str) -> None:
    assert empty.refuses(json=body)["field"] == field


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [(b'{"folder": "handbook"}', "text/plain", 422), (b"{", "application/json", 400), (b"", "", 422)],
)
def test_a_body_that_is_neither_a_form_nor_json_is_refused(
    empty: Empty, content: bytes, kind: str, status: int
) -> None:
    assert empty.refuses(status, content=content, headers={"Content-Type": kind})["message"]


def test_a_folder_is_repeated_until_its_schedule_is_removed(api: httpx.Client) -> None:
    job = api.post(JOBS, json={"folder": "handbook", "every": "30 2 * * *"}).json()
    assert (job["kind"], job["state"]) == ("folder", "queued")
    (schedule,) = SchedulesResponse.model_validate(api.get("/v1/collections/default/schedules").json()).schedules
    assert (schedule.folder, schedule.every, schedule.last_job) == ("handbook", "30 2 * * *", job["id"])
    assert api.get("/v1/collections/other/schedules").json() == {"schedules": []}
    assert api.delete(f"/v1/collections/other/schedules/{schedule.id}").status_code == 404
    assert api.delete(f"/v1/collections/default/schedules/{schedule.id}").status_code == 204
    assert api.delete(f"/v1/collections/default/schedules/{schedule.id}").status_code == 404
    assert api.get(JOBS).json()["total"] == 1


def test_a_job_is_followed_from_queue_to_end(api: httpx.Client, queue: JobQueue) -> None:
    job_id = api.post(JOBS, files=[part("guide.pdf")]).json()["id"]
    assert api.get(JOBS).json()["workers"] == 0
    worker = WorkerIdentity.of_this_process()
    queue.heartbeat(worker)
    job = queue.lease(worker)
    assert job is not None
    queue.set_plan(job, {"added": 1, "skipped": 1}, bytes_total=4)
    queue.set_progress(job, stage="encoding", bytes_done=2, bytes_total=4)
    shown = JobOut.model_validate(api.get(f"{JOBS}/{job_id}").json())
    assert (shown.state, shown.stage, shown.bytes_done, shown.bytes_total) == (JobState.RUNNING, "encoding", 2, 4)
    assert shown.plan is not None
    assert (shown.plan.added, shown.plan.changed) == (1, 0)
    assert shown.eta_seconds is None
    queue.finish(
        job,
        JobState.DONE,
        result={"added": 1, "passages": 7, "seconds": 0.5},
        problems=[{"source": "b.pdf", "reason": "it is no PDF"}],
        warnings=["one page is a picture"],
    )
    listed = JobsResponse.model_validate(api.get(JOBS).json())
    assert (listed.total, listed.workers) == (1, 1)
    (shown,) = listed.jobs
    assert shown.result is not None
    assert (shown.state, shown.result.passages, shown.problems[0].reason) == (JobState.DONE, 7, "it is no PDF")
    assert shown.created.utcoffset() is not None
    assert shown.ended is not None
    assert shown.ended >= shown.created


def test_jobs_come_newest_first_in_pages_of_their_collection(api: httpx.Client) -> None:
    ids = [api.post(JOBS, json={"folder": "handbook"}).json()["id"] for _ in range(5)]
    other = api.post("/v1/collections/other/jobs", json={"folder": "wiki"}).json()["id"]
    page = api.get(JOBS, params={"limit": 2, "offset": 1}).json()
    assert [job["id"] for job in page["jobs"]] == [ids[3], ids[2]]
    assert page["total"] == 5
    assert api.get(f"{JOBS}/{other}").status_code == 404
    for wrong in ({"limit": 0}, {"limit": 201}, {"offset": -1}, {"offset": 1 << 60}):
        assert api.get(JOBS, params=wrong).status_code == 422


def test_a_job_is_cancelled_once(api: httpx.Client, queue: JobQueue) -> None:
    first, second = (api.post(JOBS, json={"folder": "handbook"}).json()["id"] for _ in range(2))
    worker = WorkerIdentity.of_this_process()
    held = queue.lease(worker)
    assert held is not None
    running_job = api.post(f"{JOBS}/{first}/cancel")
    assert (running_job.status_code, running_job.json()["state"]) == (200, "running")
    assert running_job.json()["cancel_requested"]
    assert api.post(f"{JOBS}/{second}/cancel").json()["state"] == "cancelled"
    queue.finish(held, JobState.CANCELLED)
    for ended in (first, second):
        assert api.post(f"{JOBS}/{ended}/cancel").status_code == 409
    assert api.post(f"{JOBS}/nosuch/cancel").status_code == 404
    assert api.get(f"{JOBS}/nosuch").status_code == 404


@pytest.mark.parametrize("name", ["a%20b", "x" * 65, "-a"])
def test_a_collection_name_is_checked_before_anything_is_kept(empty: Empty, name: str) -> None:
    assert empty.api.post(f"/v1/collections/{name}/jobs", files=[part("a.txt")]).status_code == 422
    assert staged(empty.settings) == []
    assert empty.api.get(f"/v1/collections/{name}/schedules").status_code == 422


def test_jobs_need_the_key_and_no_byte_of_an_upload_is_kept_without(settings: Settings) -> None:
    locked = settings.model_copy(update={"api": ApiSettings(key="s3cret")})
    with running(ScriptedService(locked), locked) as url, httpx.Client(base_url=url, trust_env=False) as api:
        assert api.post(JOBS, files=[part("a.txt")]).status_code == 401
        assert api.get("/v1/folders").status_code == 401
        assert not settings.jobs_folder.exists()
        assert api.post(JOBS, files=[part("a.txt")], headers={"X-API-Key": "s3cret"}).status_code == 202


def test_a_web_page_of_another_site_cannot_upload(api: httpx.Client, settings: Settings) -> None:
    for origin in ("https://evil.example.org", "null", "http://127.0.0.1:1"):
        assert api.post(JOBS, files=[part("a.txt")], headers={"Origin": origin}).status_code == 403
    assert staged(settings) == []
    own = f"http://{urlsplit(str(api.base_url)).netloc}"
    assert api.post(JOBS, files=[part("a.txt")], headers={"Origin": own}).status_code == 202


def test_without_a_folder_for_jobs_the_rest_is_served(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings = Settings(home=tmp_path, jobs=JobSettings(folder=tmp_path / "file" / "jobs", folders={"handbook": "/x"}))
    with running(ScriptedService(settings), settings) as url, httpx.Client(base_url=url, trust_env=False) as api:
        answers = [
            api.post(JOBS, files=[part("a.txt")]), api.post(JOBS, json={"folder": "handbook"}),
            api.get(JOBS), api.get(f"{JOBS}/x"), api.get("/v1/collections/default/schedules"),
        ]  # fmt: skip
        for answer in answers:
            assert answer.status_code == 503
            assert str(tmp_path / "file" / "jobs") in error_of(answer)["message"]
            assert "SEARCH_APP_JOBS__FOLDER" in error_of(answer)["hint"]
        assert api.get("/v1/collections").status_code == 200
        assert api.get("/metrics").status_code == 200


SERVER = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from scripted_api import ScriptedService, Text, index, running
from search_app.settings import JobSettings, Settings
settings = Settings(home=Path(sys.argv[2]), jobs=JobSettings())
with running(ScriptedService(settings), settings) as url:
    if len(sys.argv) > 3:  # a file that grows further fails as on a full disk
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
    print(url, flush=True)
    sys.stdin.read()
"""


def served_apart(home: Path, *more: str) -> tuple[subprocess.Popen[str], str]:
    tests = str(Path(__file__).resolve().parents[2])
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, tests, str(home), *more],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_a_disk_that_takes_no_more_is_said_and_leaves_nothing(tmp_path: Path, settings: Settings) -> None:
    process, url = served_apart(tmp_path, str(1 * MIB))
    with process, httpx.Client(base_url=url, trust_env=False) as api:
        response = api.post(JOBS, files=[part("small.txt"), part("large.txt", b"x" * (2 * MIB))])
        assert response.status_code in (503, 507)
        assert str(settings.jobs_folder) in error_of(response)["message"]
        assert staged(settings) == []
        assert api.post(JOBS, files=[part("small.txt")]).status_code == 202
        process.kill()


def test_what_was_answered_survives_a_killed_server(tmp_path: Path, settings: Settings, queue: JobQueue) -> None:
    process, url = served_apart(tmp_path)
    with process, httpx.Client(base_url=url, trust_env=False) as api:
        job_id = api.post(JOBS, files=[part("a.txt")]).json()["id"]
        process.kill()
    job = queue.get(job_id)
    assert job is not None
    assert job.state is JobState.QUEUED
    assert (settings.jobs_folder / "staging" / job_id / "0").read_bytes() == b"text"


def test_jobs_and_workers_are_counted_for_prometheus(api: httpx.Client, queue: JobQueue) -> None:
    def samples() -> dict[str, float]:
        return {
            sample.labels.get("state", "workers"): sample.value
            for family in text_string_to_metric_families(api.get("/metrics").text)
            for sample in family.samples
            if sample.name.startswith("search_app_job")
        }

    assert samples() == {}
    queue.heartbeat(WorkerIdentity.of_this_process())
    for _ in range(2):
        api.post(JOBS, json={"folder": "handbook"})
    queue.lease(WorkerIdentity.of_this_process())
    expected = {"queued": 1, "running": 1, "done": 0, "failed": 0, "cancelled": 0, "workers": 1}
    assert samples() == expected


def test_openapi_tells_both_ways_to_queue_a_job(api: httpx.Client) -> None:
    content = api.get("/openapi.json").json()["paths"]["/v1/collections/{name}/jobs"]["post"]["requestBody"]["content"]
    assert content["multipart/form-data"]["schema"]["properties"]["files"]["items"]["format"] == "binary"
    assert "sources" in content["application/json"]["schema"]["properties"]["delete"]["anyOf"][0]["properties"]


def test_a_collection_is_renamed_and_dropped_by_jobs(api: httpx.Client, queue: JobQueue, settings: Settings) -> None:
    index(settings, [Text("a.txt", "The Danube crosses Vienna.")])
    renamed = api.patch("/v1/collections/default", json={"name": "rivers"})
    assert renamed.status_code == 202, renamed.text
    job = JobOut.model_validate(renamed.json())
    assert (job.kind, job.title) == (JobKind.RENAME, "rename collection to rivers")
    assert api.get(renamed.headers["location"]).json()["id"] == job.id
    dropped = api.delete("/v1/collections/default")
    assert dropped.status_code == 202
    assert dropped.json()["title"] == "drop collection default"
    assert [(item.kind, item.request) for item in reversed(queue.list())] == [
        (JobKind.RENAME, {"name": "rivers"}),
        (JobKind.DROP, {}),
    ]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("DELETE", "missing", None, 404),
        ("PATCH", "missing", {"name": "new"}, 404),
        ("PATCH", "default", {"name": "default"}, 422),
        ("PATCH", "default", {"name": "no/name"}, 422),
        ("PATCH", "default", {}, 422),
        ("DELETE", "no%2Fname", None, 404),
    ],
)
def test_a_collection_that_cannot_be_changed_is_refused(
    api: httpx.Client, queue: JobQueue, settings: Settings, method: str, path: str, body: Any, status: int
) -> None:
    index(settings, [Text("a.txt", "The Danube crosses Vienna.")])
    response = api.request(method, f"/v1/collections/{path}", json=body)
    assert response.status_code == status, response.text
    assert error_of(response)["message"]
    assert queue.list() == []
