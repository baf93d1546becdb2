"""Object stores over real sockets: an S3-compatible server, and a web server with a folder."""

from __future__ import annotations

import functools
import gc
import http.server
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import HashEncoder

from indexing import job, object_stores, sources
from indexing.job import Summary
from indexing.sources import SkippedFile, scan
from indexing.verification import differences
from search_app.errors import BackendUnavailable, ConfigurationError, MissingExtra
from search_app.settings import Settings
from search_app.stores.embedded.store import SqliteStore

pytest.importorskip("s3fs", reason="needs the extra s3")
pytest.importorskip("moto", reason="needs moto, which stands in for S3")

Apply = Callable[..., Summary]
NOBODY = {
    "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true", "AWS_MAX_ATTEMPTS": "1", "AWS_CONFIG_FILE": "/nowhere",
    "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
}  # fmt: skip


class Server:
    """An S3-compatible server that notes which objects were fetched."""

    def __init__(self) -> None:
        from moto.server import ThreadedMotoServer

        self._server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self._server.start()
        self._gets: list[str] = []
        running: Any = self._server._server
        inner = running.app

        def application(environ: Any, start_response: Any) -> Any:
            if environ["REQUEST_METHOD"] == "GET" and environ["PATH_INFO"].count("/") > 1 and "?" not in environ:
                self._gets.append(environ["PATH_INFO"])
            return inner(environ, start_response)

        running.app = application
        self.url = "http://{}:{}".format(*self._server.get_host_and_port())

    def fetched(self) -> list[str]:
        """Names of the objects since the last call."""
        taken, self._gets = self._gets, []
        return sorted(path.rsplit("/", 1)[-1] for path in taken)

    def stop(self) -> None:
        self._server.stop()
        self._server._server.server_close()  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in {**NOBODY, "AWS_ENDPOINT_URL": server.url}.items():
        monkeypatch.setenv(name, value)
    yield
    object_stores.close()
    gc.collect()  # what was left open warns here, in the test that left it


@pytest.fixture
def bucket(server: Server, environment: None, request: pytest.FixtureRequest) -> Iterator[Any]:
    import boto3

    resource = boto3.resource("s3", config=None)
    made = resource.create_bucket(Bucket="docs")
    for key, text in {
        "guide/a.txt": "Valves are opened slowly.", "guide/b.md": "# Pumps\n\nPumps are primed first.",
        "guide/deep/c.jsonl": '{"title": "Seals", "text": "Seals are replaced each year."}\n',
        "guide/empty.txt": "", "guide/picture.bin": "x", "guide/.cache/d.txt": "hidden", "other.txt": "Another text.",
    }.items():  # fmt: skip
        made.put_object(Key=key, Body=text.encode())
    server.fetched()
    yield made
    made.objects.delete()
    made.delete()
    resource.meta.client.close()


@pytest.fixture
def apply(tmp_path: Path) -> Apply:
    settings = Settings(home=tmp_path / "home")
    encoder = HashEncoder()

    def run(*paths: str, **options: Any) -> Summary:
        return job.apply(paths, settings=settings, encoder=encoder, **options)

    return run


@pytest.fixture
def store(tmp_path: Path, apply: Apply) -> Iterator[Callable[[], SqliteStore]]:
    opened: list[SqliteStore] = []

    def reader() -> SqliteStore:
        folder = Settings(home=tmp_path / "home").collection_folder("default")
        opened.append(SqliteStore.open(folder, collection="default"))
        return opened[-1]

    yield reader
    for item in opened:
        item.close()


def counted(summary: Summary) -> tuple[int, int, int, int, int, int]:
    return summary.added, summary.changed, summary.unchanged, summary.removed, summary.skipped, summary.failed


def texts(store: SqliteStore) -> dict[str, str]:
    whole = [store.document(item.id) for item in store.documents(limit=100)]
    return {item.source: item.text for item in whole if item is not None}


def names(*paths: str, **globs: list[str]) -> list[str]:
    return [file.path for file in scan(paths, **globs).files()]


def test_a_bucket_is_indexed_and_unchanged_objects_are_not_read_again(
    bucket: Any, server: Server, apply: Apply, store: Callable[[], SqliteStore]
) -> None:
    assert counted(apply("s3://docs/guide")) == (3, 0, 0, 0, 3, 0)
    assert server.fetched() == ["a.txt", "b.md", "c.jsonl"]
    found = texts(store())
    assert sorted(found) == ["s3://docs/guide/a.txt", "s3://docs/guide/b.md", "s3://docs/guide/deep/c.jsonl"]
    assert found["s3://docs/guide/a.txt"] == "Valves are opened slowly."
    [document] = [item for item in store().documents(limit=9) if item.source.endswith("a.txt")]
    assert document.meta["size"] == 25
    assert str(document.meta["modified"]).startswith("20")
    assert {len(record.digest) for record in store().files()} == {64}

    assert counted(apply("s3://docs/guide")) == (0, 0, 3, 0, 3, 0)
    assert server.fetched() == []

    bucket.put_object(Key="guide/b.md", Body=b"# Pumps\n\nPumps are vented last.")
    bucket.Object("guide/a.txt").delete()
    assert counted(apply("s3://docs/guide")) == (0, 1, 1, 1, 3, 0)
    assert server.fetched() == ["b.md"]
    found = texts(store())
    assert sorted(found) == ["s3://docs/guide/b.md", "s3://docs/guide/deep/c.jsonl"]
    assert "vented last" in found["s3://docs/guide/b.md"]

    assert differences(store(), sample=10) == []


def test_a_prefix_a_glob_and_patterns_select(bucket: Any) -> None:
    assert names("s3://docs/guide/*.txt") == ["s3://docs/guide/a.txt"]
    assert names("s3://docs/**/*.jsonl") == ["s3://docs/guide/deep/c.jsonl"]
    assert names("s3://docs/other.txt") == ["s3://docs/other.txt"]
    assert names("s3://docs/guide/", exclude=["deep/*", "*.md"]) == ["s3://docs/guide/a.txt"]
    assert names("s3://docs", include=["*.txt"]) == ["s3://docs/guide/a.txt", "s3://docs/other.txt"]
    assert {item.source: item.reason for item in scan(["s3://docs/guide"]) if isinstance(item, SkippedFile)} == {
        "s3://docs/guide/.cache/d.txt": "hidden file",
        "s3://docs/guide/empty.txt": "empty file",
        "s3://docs/guide/picture.bin": "unknown type .bin",
    }


def test_only_objects_under_the_path_are_removed(bucket: Any, apply: Apply, store: Callable[[], SqliteStore]) -> None:
    apply("s3://docs")
    for key in ("guide/a.txt", "guide/b.md", "other.txt"):
        bucket.Object(key).delete()
    assert apply("s3://docs/guide/*.md").removed == 1
    assert apply("s3://docs/guide", exclude=["*.jsonl"]).removed == 1  # what is left out now, and is there, stays
    assert sorted(texts(store())) == ["s3://docs/guide/deep/c.jsonl", "s3://docs/other.txt"]
    bucket.objects.delete()
    assert apply("s3://docs").removed == 2
    assert texts(store()) == {}


def test_a_sidecar_object_gives_metadata(
    bucket: Any, server: Server, apply: Apply, store: Callable[[], SqliteStore]
) -> None:
    bucket.put_object(Key="guide/a.txt.meta.json", Body=json.dumps({"reviewer": "Ada"}).encode())
    assert counted(apply("s3://docs/guide")) == (3, 0, 0, 0, 3, 0)
    server.fetched()
    assert counted(apply("s3://docs/guide")) == (0, 0, 3, 0, 3, 0)
    assert server.fetched() == []
    bucket.put_object(Key="guide/a.txt.meta.json", Body=json.dumps({"reviewer": "Grace"}).encode())
    assert counted(apply("s3://docs/guide")) == (0, 1, 2, 0, 3, 0)
    [document] = [item for item in store().documents(limit=9) if item.source.endswith("a.txt")]
    assert document.meta["reviewer"] == "Grace"


def test_a_failed_object_does_not_end_the_job(bucket: Any, apply: Apply, store: Callable[[], SqliteStore]) -> None:
    bucket.put_object(Key="guide/broken.pdf", Body=b"no pdf")

    def vanish(work: object) -> None:
        bucket.Object("guide/a.txt").delete()

    summary = apply("s3://docs/guide", start=vanish)
    assert (summary.added, summary.failed) == (2, 1)
    assert [problem.source for problem in summary.problems] == ["s3://docs/guide/broken.pdf"]
    assert ("s3://docs/guide/a.txt", "it was deleted while the job ran") in [
        (s.source, s.reason) for s in summary.skips
    ]


def test_an_empty_prefix_is_an_error_and_changes_nothing(bucket: Any, tmp_path: Path, apply: Apply) -> None:
    for url in ("s3://nowhere/prefix", "s3://docs/nowhere", "s3://docs/nowhere/*.pdf"):
        with pytest.raises(ConfigurationError, match=r"no such object or prefix: s3://.*nothing was changed"):
            scan([url])
    with pytest.raises(ConfigurationError, match="no such object or prefix: s3://nowhere"):
        apply("s3://nowhere")
    assert not (tmp_path / "home" / "collections").exists()


def test_an_unreachable_server_is_an_error_and_changes_nothing(
    bucket: Any, apply: Apply, store: Callable[[], SqliteStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    apply("s3://docs/guide")
    object_stores.close()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(BackendUnavailable, match=r"cannot list s3://docs/guide .*nothing was changed"):
        apply("s3://docs/guide")
    assert len(texts(store())) == 3
    assert not sources.has_vanished("s3://docs/guide/a.txt")
    assert differences(store(), sample=10) == []


def test_missing_credentials_are_reported(bucket: Any, apply: Apply, monkeypatch: pytest.MonkeyPatch) -> None:
    object_stores.close()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ConfigurationError, match=r"s3://docs/guide .*credentials.*AWS_PROFILE"):
        apply("s3://docs/guide")


@pytest.mark.parametrize(
    ("url", "error", "message"),
    [
        ("gs://docs/guide", MissingExtra, "pip install 'gcsfs>=2025.9'"),
        ("nothing://docs", ConfigurationError, "unknown kind of PATH: nothing://docs"),
    ],
)
def test_a_missing_library_or_scheme_is_reported(url: str, error: type[Exception], message: str) -> None:
    if url.startswith("gs") and pytest.importorskip("importlib.util").find_spec("gcsfs"):
        pytest.skip("gcsfs is installed")
    with pytest.raises(error, match=message):
        scan([url])


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[str, Path, list[str]]]:
    """A folder over HTTP, with pages that list it: address, folder and the paths that were fetched."""
    folder = tmp_path / "web"
    (folder / "dir" / "sub").mkdir(parents=True)
    (folder / "dir" / "one.jsonl").write_text('{"title": "One", "text": "The first record."}\n')
    (folder / "dir" / "two.txt").write_text("The second text.")
    (folder / "dir" / "sub" / "three.md").write_text("# Three\n\nThe third text.")
    gets: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            gets.append(self.path)
            super().do_GET()

        def guess_type(self, path: Any) -> str:
            kind = super().guess_type(path)
            return f"{kind}; charset=KOI8-R" if str(path).endswith("koi8.txt") else kind

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))
    ) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", folder, gets
        object_stores.close()
        running.shutdown()
        thread.join()


def settle(folder: Path) -> None:
    """As if the files were a minute old: a web server names no version but the second of the last change."""
    for file in folder.rglob("*.*"):
        os.utime(file, (time.time() - 60, time.time() - 60))


def test_files_of_a_web_server_are_indexed_by_url(
    web: tuple[str, Path, list[str]], apply: Apply, store: Callable[[], SqliteStore]
) -> None:
    pytest.importorskip("aiohttp")
    url, folder, gets = web
    assert names(f"{url}/dir/*.jsonl") == [f"{url}/dir/one.jsonl"]
    assert names(f"{url}/dir/two.txt") == [f"{url}/dir/two.txt"]
    settle(folder)
    assert counted(apply(f"{url}/dir/")) == (3, 0, 0, 0, 0, 0)
    assert texts(store())[f"{url}/dir/sub/three.md"].endswith("The third text.")
    gets.clear()
    assert apply(f"{url}/dir/").unchanged == 3
    assert [path for path in gets if not path.endswith("/")] == []
    (folder / "dir" / "two.txt").unlink()
    (folder / "dir" / "index.html").write_text("<title>Sign in</title><p>Please sign in.</p>")
    assert apply(f"{url}/dir/").removed == 1  # what such a page does not list, and is there, stays
    assert len(texts(store())) == 2
    with pytest.raises(ConfigurationError, match="no such object or prefix"):
        scan([f"{url}/dir/two.txt"])


MEETING = "Собрание в зале"
"""Too short for a safe guess: `iso8859-5` and `cp1251` fit too."""


def test_the_charset_of_a_web_server_reaches_the_text(
    web: tuple[str, Path, list[str]], apply: Apply, store: Callable[[], SqliteStore]
) -> None:
    pytest.importorskip("aiohttp")
    url, folder, _ = web
    (folder / "dir" / "koi8.txt").write_bytes(MEETING.encode("koi8-r"))
    (folder / "dir" / "sub" / "wrong-koi8.txt").write_text(MEETING)
    summary = apply(f"{url}/dir/")
    assert (summary.failed, summary.warnings) == (0, ())
    found = texts(store())
    assert found[f"{url}/dir/koi8.txt"] == found[f"{url}/dir/sub/wrong-koi8.txt"] == MEETING


def test_the_charset_of_an_object_reaches_the_text(bucket: Any, apply: Apply, store: Callable[[], SqliteStore]) -> None:
    bucket.put_object(Key="koi8.txt", Body=MEETING.encode("koi8-r"), ContentType="text/plain; charset=koi8-r")
    assert apply("s3://docs/koi8.txt").warnings == ()
    assert texts(store())["s3://docs/koi8.txt"] == MEETING
