from __future__ import annotations

import html
import io
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from scripted_api import ScriptedService, Text, index, remove, running
from streamlit.testing.v1 import AppTest

import ui
from search_app.queue.jobs import Job, JobKind, JobState, WorkerIdentity
from search_app.queue.queue import JobQueue
from search_app.queue.schedules import Schedules
from search_app.settings import JobSettings, Settings
from ui import job_cards, session
from ui.client import API_URL_VARIABLE, ApiError, Client

VIEWS = Path(ui.__file__).with_name("views")
HOSTILE = "<img src=x onerror=window.ran=1> **b** [x](javascript:run).pdf"
PLAN = {"added": 2, "changed": 1, "unchanged": 0, "removed": 0, "skipped": 1, "failed": 0}
RESULT = {**PLAN, "added": 1, "failed": 1, "passages": 57, "passages_encoded": 57, "deleted": 0, "seconds": 12.3}

Open = Callable[..., AppTest]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "handbook").mkdir()
    settings = Settings(
        home=tmp_path / "home",
        jobs=JobSettings(folders={"handbook": str(tmp_path / "handbook")}, max_upload_mb=1),
    )
    index(settings, [Text("guide.txt", "Names refer to globals.", "Guide"), Text("other.txt", "Other.", "Other")])
    return settings


@pytest.fixture
def queue(settings: Settings) -> Iterator[JobQueue]:
    """With a worker that is alive; what it does with its jobs is up to the test."""
    queue = JobQueue.from_settings(settings)
    queue.heartbeat(WORKER)
    yield queue
    queue.close()


WORKER = WorkerIdentity.of_this_process()


@pytest.fixture
def api(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with running(ScriptedService(settings), settings) as url:
        monkeypatch.setenv(API_URL_VARIABLE, url)
        session.client.clear()
        yield url
        session.client.clear()


@pytest.fixture
def opened(api: str) -> Open:
    def start(page: str = "add", collection: str = "default") -> AppTest:
        app = AppTest.from_file(VIEWS / f"{page}.py", default_timeout=30)
        app.session_state["collection"] = collection
        return app.run()

    return start


def upload(queue: JobQueue, *names: str) -> Job:
    files = [{"name": name, "stored": str(number), "size": 1} for number, name in enumerate(names)]
    return queue.enqueue("default", JobKind.UPLOAD, {"files": files})


def leased(queue: JobQueue) -> Job:
    job = queue.lease(WORKER)
    assert job is not None
    return job


def markup(app: AppTest) -> str:
    assert not app.exception
    return "\n".join(element.body for element in app.main.get("html"))


def shown(app: AppTest) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", markup(app))))


def pressed(app: AppTest, label: str) -> AppTest:
    return next(button for button in app.button if button.label == label).click().run()


def test_files_that_are_chosen_wait_in_the_queue_byte_for_byte(opened: Open, queue: JobQueue) -> None:
    app = opened()
    assert app.button[0].disabled
    app.file_uploader[0].set_value([("guide.txt", b"one", "text/plain"), ("sub dir/ü.pdf", b"two", "")])
    app = pressed(app.run(), "Add 2 files")
    (job,) = queue.list("default")
    assert [file["name"] for file in job.request["files"]] == ["guide.txt", "sub dir/ü.pdf"]
    assert [(queue.staging / job.id / file["stored"]).read_bytes() for file in job.request["files"]] == [b"one", b"two"]
    assert "2 files Waiting just now" in shown(app)
    assert app.button[0].disabled, "the box is empty again"


def test_a_new_collection_is_named_where_one_is_chosen(opened: Open, queue: JobQueue) -> None:
    app = opened(collection="notes")
    app.file_uploader[0].set_value([("guide.txt", b"one", "text/plain")])
    pressed(app.run(), "Add")
    assert [job.title for job in queue.list("notes")] == ["guide.txt"]


def test_a_name_that_no_collection_can_have_is_refused_in_words(opened: Open) -> None:
    assert "Invalid collection name: '../etc' use 1 to 64 letters" in shown(opened(collection="../etc"))


def test_an_upload_goes_in_blocks_and_never_whole(api: str, queue: JobQueue) -> None:
    class Watched(io.BytesIO):
        largest = 0

        def read(self, size: int | None = -1) -> bytes:
            block = super().read(size)
            self.largest = max(self.largest, len(block))
            return block

    client, content = Client(api), Watched(bytes(700_000))
    job = client.upload("default", [("large.txt", content)])
    client.close()
    assert (queue.staging / job.id / "0").stat().st_size == 700_000
    assert 0 < content.largest <= 1 << 16


def test_an_upload_over_the_servers_limit_is_refused_in_words(opened: Open, queue: JobQueue) -> None:
    app = opened()
    app.file_uploader[0].set_value([("large.txt", bytes(2 << 20), "text/plain")])
    app = pressed(app.run(), "Add")
    assert 'role="alert"' in markup(app)
    assert f"more than {1 << 20} bytes" in shown(app)
    assert queue.count() == 0


def test_the_limit_of_a_file_stands_on_the_page(opened: Open) -> None:
    (said,) = [caption.value for caption in opened().caption if "MB" in caption.value]
    assert re.search(r"Up to \d+ MB each; for more, let the server index a folder\.$", said)


def test_without_a_worker_the_command_that_starts_one_is_shown(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened()
    assert "No worker is running" in shown(app)
    assert app.code[0].value == "search-index worker"
    monkeypatch.setenv(session.WORKER_COMMAND_VARIABLE, "docker compose up -d worker")
    assert opened().code[0].value == "docker compose up -d worker"


def test_a_running_job_shows_plan_and_progress_and_can_be_cancelled(opened: Open, queue: JobQueue) -> None:
    upload(queue, "a.pdf", "b.pdf")
    job = leased(queue)
    app = opened()
    assert "No worker" not in shown(app)
    assert "2 files Running" in shown(app)
    assert app.get("progress")[0].proto.text == "Getting ready"
    queue.set_plan(job, PLAN, bytes_total=1000)
    queue.set_progress(job, stage="indexing", bytes_done=420, bytes_total=1000)
    app.run()
    assert "Plan: 2 to add, 1 to change, 1 skipped" in shown(app)
    assert (app.get("progress")[0].proto.value, app.get("progress")[0].proto.text) == (42, "42%")
    assert "2 files Stopping" in shown(pressed(app, "Cancel"))
    found = queue.get(job.id)
    assert found is not None
    assert found.cancel_requested


def test_a_job_that_waits_says_for_what(opened: Open, queue: JobQueue) -> None:
    upload(queue, "a.pdf")
    queue.release(leased(queue), "another job writes the index")
    assert "a.pdf Waiting just now another job writes the index" in shown(opened())


def test_failed_files_come_first_and_skipped_ones_are_folded_away(opened: Open, queue: JobQueue) -> None:
    upload(queue, "a.md", "b.md", HOSTILE)
    job = leased(queue)
    queue.set_plan(job, PLAN, bytes_total=10)
    queue.finish(
        job,
        JobState.DONE,
        result=RESULT,
        problems=[{"source": HOSTILE, "reason": "not a PDF <b>"}] * 12,
        skips=[{"source": "photo.jpg", "reason": "of no known kind"}],
        warnings=["a.md: no title"],
    )
    app = opened()
    said = shown(app)
    assert "3 files Done, 1 failed" in said
    assert "1 added, 1 changed, 1 failed, 1 skipped in 12 seconds · 57 passages" in said
    assert said.index("Could not be indexed") < said.index(HOSTILE) < said.index("photo.jpg")
    assert said.index("not a PDF <b>") < said.index("2 more")
    assert "<summary>1 skipped</summary>" in markup(app)
    assert 'href="./?collection=default" target="_self">Ask about them</a>' in markup(app)
    assert not re.search(r"<(img|b)\b", markup(app))


def test_a_job_of_several_formats_shows_what_was_read_and_skipped_of_each(opened: Open, queue: JobQueue) -> None:
    formats = [
        {"format": "pdf", "read": 1200, "warnings": 3, "ocr_pages": 40},
        {"format": ".<b>x", "skipped": 7},
        {"format": "", "failed": 1},
    ]
    upload(queue, "all.zip")
    queue.finish(leased(queue), JobState.DONE, result={**RESULT, "formats": formats})
    table = re.search('<div class="sa-table sa-formats".*?</div>', markup(opened()))
    assert table is not None
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall("<tr>(.*?)</tr>", table[0])]
    assert rows == [
        ["Format", "Read", "Skipped", "Failed", "With warnings", "Scanned pages read"],
        ["pdf", "1,200", "", "", "3", "40"],
        [".&lt;b&gt;x", "", "7", "", "", ""],
        ["no ending", "", "", "1", "", ""],
    ]


def test_a_job_of_many_formats_shows_the_first_ones_and_counts_the_rest(opened: Open, queue: JobQueue) -> None:
    upload(queue, "all.zip")
    formats = [{"format": f".x{number}", "skipped": 1} for number in range(15)]
    queue.finish(leased(queue), JobState.DONE, result={**RESULT, "formats": formats})
    assert ".x9 1 … and 5 formats more" in shown(opened())


def test_a_job_that_failed_as_a_whole_says_why_and_what_to_do(opened: Open, queue: JobQueue) -> None:
    queue.enqueue("default", JobKind.FOLDER, {"folder": "handbook"})
    queue.finish(leased(queue), JobState.FAILED, error="folder 'handbook' is not there", hint="mount it")
    app = opened()
    assert "folder handbook Failed" in shown(app)
    assert "Folder 'handbook' is not there mount it" in shown(app)
    assert "Ask about them" not in markup(app)


def test_earlier_jobs_are_listed_below_newest_first(opened: Open, queue: JobQueue) -> None:
    for name in ("first.md", "second.md", "third.md"):
        upload(queue, name)
        queue.finish(leased(queue), JobState.DONE, result=RESULT)
    app = opened()
    assert re.findall(r"(\w+)\.md Done", shown(app)) == ["third", "second", "first"]
    assert re.findall(r'<details class="sa-job"><summary>.*?(\w+)\.md', markup(app)) == ["second", "first"]


def test_names_of_jobs_are_text(opened: Open, queue: JobQueue) -> None:
    for _ in range(2):
        upload(queue, HOSTILE)
        job = leased(queue)
        queue.finish(job, JobState.FAILED, error=f"{HOSTILE}: refused", hint=HOSTILE)
    app = opened()
    assert shown(app).count(HOSTILE) >= 4
    assert "<img" not in markup(app)
    assert not any("window.ran" in element.value for element in app.markdown)


def test_a_folder_of_the_server_is_indexed_with_one_click(opened: Open, queue: JobQueue) -> None:
    assert "folder handbook Waiting" in shown(pressed(opened(), "Index this folder"))
    assert [job.kind for job in queue.list("default")] == [JobKind.FOLDER]


def test_a_folder_is_repeated_by_plain_choices_and_until_it_is_removed(opened: Open, queue: JobQueue) -> None:
    app = opened()
    app.selectbox(key="every").set_value("0 2 * * *")
    app = pressed(app.run(), "Index this folder")
    (schedule,) = Schedules(queue).list("default")
    assert schedule.cron == "0 2 * * *"
    assert re.search(r"handbook Every night at 2:00 next run in \d+ (hour|minute|second)", shown(app))
    pressed(app, "Remove")
    assert not Schedules(queue).list("default")


def test_times_that_do_not_parse_are_refused_in_words(opened: Open, queue: JobQueue) -> None:
    app = opened()
    app.selectbox(key="every").set_value(job_cards.OWN)
    for text in ("", "every day", "61 * * * *"):
        app.run().text_input(key="cron").set_value(text)
        assert 'role="alert"' in markup(pressed(app, "Index this folder"))
    assert (queue.count(), Schedules(queue).list()) == (0, [])
    app.text_input(key="cron").set_value("30 6 * * 1-5")
    pressed(app, "Index this folder")
    assert [schedule.cron for schedule in Schedules(queue).list()] == ["30 6 * * 1-5"]


def test_a_document_is_deleted_from_the_list(opened: Open, queue: JobQueue) -> None:
    app = opened("documents")
    assert queue.count() == 0
    pressed(app, "Delete this document")
    assert "Deleting" in shown(app)
    job = leased(queue)
    assert job.kind is JobKind.DELETE
    assert len(job.request["documents"]) == 1
    queue.finish(job, JobState.DONE, result={"deleted": 1})
    assert "Deleting" not in shown(app.run())


def test_a_click_on_a_document_that_is_gone_meanwhile_deletes_no_other(
    opened: Open, settings: Settings, queue: JobQueue
) -> None:
    app = opened("documents")
    assert shown(app).index("guide.txt") < shown(app).index("other.txt")
    remove(settings, "guide.txt")
    app = pressed(app, "Delete this document")
    assert "guide.txt" not in shown(app)
    assert "other.txt" in shown(app)
    assert queue.count() == 0


def test_a_collection_without_documents_leads_to_this_page(opened: Open, settings: Settings) -> None:
    index(settings, [], collection="notes")
    for page in ("search", "documents"):
        assert 'href="add?collection=notes"' in markup(opened(page, collection="notes"))


def test_an_index_that_is_not_there_leads_to_this_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = Settings(home=tmp_path)
    with running(ScriptedService(empty), empty) as url:
        monkeypatch.setenv(API_URL_VARIABLE, url)
        session.client.clear()
        for page in ("search", "documents"):
            assert 'href="add?collection=default"' in markup(AppTest.from_file(VIEWS / f"{page}.py").run())
        assert AppTest.from_file(VIEWS / "add.py").run().file_uploader
        session.client.clear()


def test_a_server_that_is_away_is_said(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(API_URL_VARIABLE, "http://127.0.0.1:1")
    session.client.clear()
    app = opened()
    assert "does not answer" in shown(app)
    assert app.code[0].value == "search-app serve"


def test_a_schedule_that_is_gone_is_an_error(api: str) -> None:
    client = Client(api)
    with pytest.raises(ApiError, match="no schedule"):
        client.unschedule("default", "nosuch")
    client.close()


@pytest.mark.parametrize(
    ("passed", "words"),
    [
        (0, "just now"),
        (-3, "now"),
        (59, "1 minute ago"),
        (150, "2 minutes ago"),
        (3500, "1 hour ago"),
        (-7200, "in 2 hours"),
        (86400 * 3, "3 days ago"),
    ],
)
def test_times_are_told_from_now(passed: float, words: str) -> None:
    now = datetime(2026, 5, 1, tzinfo=UTC)
    assert job_cards.relative(now - timedelta(seconds=passed), now) == words
