"""search-index with the real encoder; in processes of its own where they are what is tested."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import samples
from click.testing import CliRunner, Result
from fakes import HashEncoder

from indexing import job
from indexing.cli import cli
from indexing.cli.terminal import Interrupt, Progress
from indexing.job import splitter_of
from search_app.errors import IndexNotFound
from search_app.manifest import encoded_text
from search_app.settings import Settings
from search_app.stores.embedded.store import SqliteStore
from search_app.stores.embedded.verify import verify
from search_app.types import Document

COMMAND = [sys.executable, "-m", "indexing.cli"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    root = tmp_path / "docs"
    root.mkdir()
    (root / "a.md").write_text("# Bridges\n\nAn arch carries its load to the piers.\n")
    (root / "b.txt").write_text("The global statement is a declaration for the whole code block.\n")
    return root


def run(*arguments: object, home: Path) -> Result:
    """In this process, so that the libraries are loaded once."""
    return CliRunner().invoke(cli, [*map(str, arguments), "--home", str(home)])


def as_json(done: Result) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_a_folder_is_planned_applied_verified_and_described(home: Path, docs: Path) -> None:
    (docs / "c.bin").write_bytes(b"x")
    planned = run("plan", docs, home=home)
    assert planned.exit_code == 0, planned.stderr
    assert f"skip     {docs / 'c.bin'}: unknown type .bin" in planned.stdout
    assert "2 to add, 1 skipped\n" in planned.stdout
    assert not home.exists()
    applied = run("apply", docs, "--json", home=home)
    assert applied.exit_code == 0, applied.stderr
    assert applied.stderr == ""
    summary = as_json(applied)
    names = "added changed unchanged removed skipped failed passages passages_encoded truncated_tokens seconds"
    assert set(names.split()) <= set(summary)
    assert (summary["added"], summary["skipped"], summary["passages_encoded"], summary["truncated_tokens"]) == (
        2,
        1,
        2,
        0,
    )
    assert summary["seconds"] > 0
    assert run("verify", home=home).stdout == "collection 'default' is sound\n"
    info = as_json(run("info", "--json", home=home))
    assert (info["files"], info["passages"], info["splitter"]) == (2, 2, "v1 224/32")
    assert info["encoder"]["model"] == "all-MiniLM-L6-v2"
    assert {"modified", "size", "format"} <= set(info["fields"])


def test_a_terminal_sees_the_progress_and_the_time_left(home: Path, many: Path) -> None:
    theirs, ours = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    with os.fdopen(ours, "w") as terminal, contextlib.redirect_stderr(terminal):
        bar = Progress(False, "indexing")
        job.apply([many], settings=Settings(home=home), encoder=HashEncoder(), start=bar.start, progress=bar.update)
        bar.close()
    shown = _everything(theirs)
    assert "indexing:   0%" in shown
    assert "100%" in shown
    assert re.search(r"\d\d:\d\d<\d\d:\d\d", shown)  # elapsed and left


def _everything(theirs: int) -> str:
    """A terminal hands its text over in pieces; the last is followed by an error, as nobody writes any more."""
    pieces = []
    with contextlib.suppress(OSError):
        while piece := os.read(theirs, 1 << 16):
            pieces.append(piece)
    os.close(theirs)
    return b"".join(pieces).decode()


def test_errors_are_one_line_with_an_exit_code(home: Path, docs: Path) -> None:
    for arguments, code, words in [
        (["apply", docs / "nowhere"], 2, "no such file or folder"),
        (["apply", docs, "--collection", "../x"], 2, "invalid collection name"),
        (["apply"], 2, "PATH"),
        (["info"], 3, "search-index apply PATH"),
        (["verify", "--collection", "other"], 3, "search-index apply --collection other PATH"),
        (["apply", docs, "--encoder", docs], 2, "safetensors"),
    ]:
        done = run(*arguments, home=home)
        assert (done.exit_code, words in done.stderr) == (code, True), done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
    assert isinstance(run("info", "--debug", home=home).exception, IndexNotFound)


def test_failed_files_are_named_and_set_the_exit_code(home: Path, docs: Path) -> None:
    samples.pdf(docs / "locked.pdf", [["x"]], password="pw")
    done = run("apply", docs, home=home)
    assert done.exit_code == 1
    assert f"failed   {docs / 'locked.pdf'}: it is encrypted" in done.stdout
    assert "2 added, 1 failed, 2 passages in " in done.stdout


def test_source_is_the_path_as_given(home: Path, docs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(docs.parent)
    assert run("apply", "docs", home=home).exit_code == 0
    store = SqliteStore.open(home / "collections" / "default", collection="default")
    assert [document.source for document in store.documents(limit=9)] == ["docs/a.md", "docs/b.txt"]
    store.close()


def test_damage_is_found_by_verify(home: Path, docs: Path) -> None:
    run("apply", docs, home=home)
    path = home / "collections" / "default" / "index.db"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    done = run("verify", home=home)
    assert done.exit_code == 3
    assert "search-index verify --repair" in done.stderr
    repaired = run("verify", "--repair", home=home)
    if repaired.exit_code:
        assert "search-index restore SNAPSHOT --replace" in repaired.stderr
    else:
        assert "rebuilt the" in repaired.stdout
        assert run("verify", home=home).stdout == "collection 'default' is sound\n"


def test_what_the_documents_have_lost_is_told_with_the_ways_to_bring_it_back(home: Path, docs: Path) -> None:
    run("apply", docs, home=home)
    path = home / "collections" / "default" / "index.db"
    data = path.read_bytes()
    place = data.index(b"The global statement")
    path.write_bytes(data[:place] + b"t" + data[place + 1 :])
    repaired = run("verify", "--repair", home=home)
    assert repaired.exit_code == 3
    assert "cannot be repaired" in repaired.stdout
    assert "search-index restore SNAPSHOT --replace" in repaired.stderr
    applied = run("apply", docs, "--rebuild", "--verbose", home=home)
    assert applied.exit_code == 0
    lines = applied.stdout.splitlines()
    assert [line.split()[0] for line in lines[-8:-1]] == [
        "compare", "convert", "read", "tokenise", "encode", "write", "finish",
    ]  # fmt: skip
    assert re.fullmatch(
        r"encoded 2 passages: [\d.]+ passages/s, \d+ tokens/s; the encoder was busy \d+% of the time", lines[-1]
    )
    assert run("verify", home=home).stdout == "collection 'default' is sound\n"


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """More text than goes into one transaction, in many files."""
    root = tmp_path / "many"
    root.mkdir()
    for number in range(60):
        lines = [f"File {number} tells in line {line} about subject {number * 41 + line}." for line in range(400)]
        (root / f"{number:02}.txt").write_text("\n\n".join(" ".join(lines[i : i + 8]) for i in range(0, 400, 8)))
    return root


JOB = """
import sys
sys.path.insert(0, {tests!r})
from fakes import HashEncoder
from indexing import job
from search_app.settings import Settings
class Slow(HashEncoder):
    def encode_passages(self, texts):
        import time
        time.sleep(0.2)
        return super().encode_passages(texts)
job.apply([{docs!r}], settings=Settings(home={home!r}), encoder=Slow(), progress=lambda size: print(size, flush=True))
"""


@pytest.fixture
def killed(home: Path, many: Path) -> Settings:
    """A job that got kill -9 after its second transaction, and the converter that it leaves behind."""
    code = JOB.format(tests=str(Path(__file__).parents[1]), docs=str(many), home=str(home))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.readline()
        time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
    return Settings(home=home)


def test_kill_9_loses_nothing_and_the_next_run_goes_on(killed: Settings, many: Path) -> None:
    folder = killed.collection_folder("default")
    store = SqliteStore.open(folder, collection="default")
    whole = {record.path for record in store.files()}
    assert 0 < len(whole) < 60
    assert verify(folder, collection="default") == []
    encoder = HashEncoder()
    summary = job.apply([many], settings=killed, encoder=encoder)
    assert (summary.added, summary.unchanged) == (60 - len(whole), len(whole))
    straight = killed.model_copy(update={"home": killed.home / "straight"})
    job.apply([many], settings=straight, encoder=encoder)
    reference = SqliteStore.open(straight.collection_folder("default"), collection="default")
    question = np.full((1, 64), 0.1, dtype=np.float32)
    ids = [{hit.passage.id for hit in item.search_dense(question, k=10_000)[0]} for item in (store, reference)]
    assert ids[0] == ids[1]
    assert verify(folder, collection="default") == []
    store.close()
    reference.close()


def test_ctrl_c_stops_cleanly(home: Path, many: Path) -> None:
    command = [*COMMAND, "apply", str(many), "--home", str(home)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        for _ in range(600):
            if (home / "collections" / "default" / "index.db").exists():
                break
            time.sleep(0.1)
        time.sleep(0.5)
        os.killpg(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, output + errors
    assert "run the same command again" in errors
    assert "Traceback" not in errors
    assert verify(home / "collections" / "default", collection="default") == []


def test_ctrl_c_is_not_lost_where_python_drops_the_exception() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interrupt() as interrupt:
        interrupt.check()
        with contextlib.suppress(KeyboardInterrupt):  # as a destructor would
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            interrupt.check()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_process_is_told_who_writes(home: Path, many: Path, docs: Path) -> None:
    code = JOB.format(tests=str(Path(__file__).parents[1]), docs=str(many), home=str(home)).replace(
        "print(size, flush=True)", "(print(size, flush=True), sys.stdin.read())"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        first.stdout.readline()
        second = run("apply", docs, home=home)
        assert second.exit_code == 3
        assert f"process {first.pid}" in second.stderr
        first.kill()


@pytest.mark.skipif(os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root writes everywhere")
def test_a_read_only_index_is_searched_but_not_written(home: Path, docs: Path) -> None:
    run("apply", docs, home=home)
    folder = home / "collections" / "default"
    for path in (*folder.iterdir(), folder):
        path.chmod(0o555 if path.is_dir() else 0o444)
    dropped = "-dac_override,-dac_read_search"
    prefix = ["setpriv", f"--bounding-set={dropped}", f"--inh-caps={dropped}"] if os.geteuid() == 0 else []
    try:
        (docs / "new.txt").write_text("new")
        code = (
            "from pathlib import Path; from search_app.stores.embedded.store import SqliteStore;"
            f"s = SqliteStore.open(Path({str(folder)!r}), collection='default');"
            "print(s.search_keyword(['global statement'], k=1)[0][0].passage.source)"
        )
        read = subprocess.run([*prefix, sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert read.stdout.strip().endswith("b.txt"), read.stderr
        command = [*prefix, *COMMAND, "apply", str(docs), "--home", str(home)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 2, done.stderr
        assert str(folder) in done.stderr
        assert "Traceback" not in done.stderr
    finally:
        folder.chmod(0o755)


def test_the_real_encoder_never_cuts_a_token(real_encoder: Any) -> None:
    splitter = splitter_of(Settings(), real_encoder)
    words = (
        "internationalization naïve 日本語の文章 Übergröße 👩‍👩‍👧 x"
        + "y" * 90
        + " … don't — https://example.org/a/b?c=d "
    )
    text = "\n\n".join([words * 40, "z" * 5000, "a.b" * 3000, "\u0301" * 3000, "word " * 3000, "1\n" * 2000])
    document = Document("d", "A title of some length " * 5, text, "a.txt")
    passages = list(splitter.passages(document))
    before = real_encoder.truncated_tokens
    limit = real_encoder.stamp.max_tokens - real_encoder.special_tokens
    spans = real_encoder.token_spans([encoded_text(passage) for passage in passages])
    assert max(map(len, spans)) <= limit
    real_encoder.encode_passages([encoded_text(passage) for passage in passages[:8]])
    assert real_encoder.truncated_tokens == before
    assert all(document.text[passage.start : passage.end] == passage.text for passage in passages)


@pytest.fixture(scope="module")
def real_encoder() -> Any:
    from search_app.encoders.sentence_transformer import SentenceTransformerEncoder
    from search_app.hardware import detect
    from search_app.settings import EncoderSettings

    return SentenceTransformerEncoder(EncoderSettings(), detect("cpu"))
