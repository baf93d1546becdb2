from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from indexing import sources
from indexing.converters.content import ConversionError
from indexing.diff import Counts, diff
from indexing.sources import SkippedFile, scan
from search_app.errors import ConfigurationError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a bit of everything."""
    root = tmp_path / "docs"
    for name, text in {
        "b.txt": "b", "a.md": "# a", "sub/c.HTML": "<p>c", "sub/deep/d.txt": "d", ".git/config.txt": "hidden",
        "sub/.cache/e.txt": "hidden", ".hidden.txt": "hidden", "image.bin": "x", "Makefile": "x", "empty.txt": "",
    }.items():  # fmt: skip
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def names(found: sources.Scan, root: Path) -> list[str]:
    return [os.path.relpath(file.path, root) for file in found.files()]


def reasons(found: sources.Scan) -> dict[str, str]:
    return {os.path.basename(item.source): item.reason for item in found if isinstance(item, SkippedFile)}


def test_a_scan_finds_known_formats_in_order_and_gives_reasons_for_others(folder: Path) -> None:
    found = scan([folder])
    assert names(found, folder) == ["a.md", "b.txt", "sub/c.HTML", "sub/deep/d.txt"]
    assert [file.format for file in found.files()] == ["markdown", "txt", "html", "txt"]
    assert reasons(found) == {
        ".hidden.txt": "hidden file",
        "image.bin": "unknown type .bin",
        "Makefile": "unknown type: no file extension",
        "empty.txt": "empty file",
    }


def test_source_is_the_path_as_given_and_path_is_absolute(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    [first, *_] = scan(["docs"]).files()
    assert (first.source, first.path) == ("docs/a.md", str(folder / "a.md"))
    [only] = scan(["docs/../docs/b.txt"]).files()
    assert (only.source, only.path) == ("docs/../docs/b.txt", str(folder / "b.txt"))


def test_a_file_reached_through_two_paths_comes_once(folder: Path) -> None:
    with diff(scan([folder, folder / "sub", folder / "b.txt"]), ()) as work:
        assert work.counts == Counts(added=4, skipped=4)


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        (["*.txt"], [], ["b.txt", "sub/deep/d.txt"]),
        (["sub/*"], [], ["sub/c.HTML", "sub/deep/d.txt"]),
        (["**/*.txt"], [], ["b.txt", "sub/deep/d.txt"]),
        ([], ["sub"], ["a.md", "b.txt"]),
        ([], ["sub/"], ["a.md", "b.txt"]),
        ([], ["deep"], ["a.md", "b.txt", "sub/c.HTML"]),
        (["*.txt", "*.md"], ["b.*"], ["a.md", "sub/deep/d.txt"]),
    ],
)
def test_globs_match_names_and_paths(folder: Path, include: list[str], exclude: list[str], expected: list[str]) -> None:
    assert names(scan([folder], include=include, exclude=exclude), folder) == expected


def test_a_path_that_does_not_exist_is_an_error(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no such file or folder: .*nowhere"):
        scan([folder, folder / "nowhere"])


def test_an_empty_folder_is_an_empty_scan(tmp_path: Path) -> None:
    found = scan([tmp_path])
    assert list(found) == []


def test_links_and_special_files_are_reported_without_loops(folder: Path) -> None:
    (folder / "loop").symlink_to(folder)
    (folder / "x.txt").symlink_to(folder / "y.txt")
    (folder / "y.txt").symlink_to(folder / "x.txt")
    (folder / "broken.txt").symlink_to(folder / "nowhere.txt")
    (folder / "linked.txt").symlink_to(folder / "sub" / "deep" / "d.txt")
    os.mkfifo(folder / "pipe.txt")
    found = scan([folder])
    assert names(found, folder) == ["a.md", "b.txt", "linked.txt", "sub/c.HTML", "sub/deep/d.txt"]
    assert reasons(found) | {
        "loop": "a symbolic link to a folder; give the folder itself as a PATH",
        "x.txt": "a loop of symbolic links",
        "y.txt": "a loop of symbolic links",
        "broken.txt": "a broken symbolic link",
        "pipe.txt": "not a regular file",
    } == reasons(found)


def test_a_name_that_is_not_utf8_is_skipped(tmp_path: Path) -> None:
    try:
        (tmp_path / os.fsdecode(b"bad\xff.txt")).write_text("x")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    [left_out] = scan([tmp_path])
    assert isinstance(left_out, SkippedFile)
    assert "UTF-8" in left_out.reason
    left_out.source.encode()


def test_a_sidecar_belongs_to_its_file_and_changes_its_digest(folder: Path) -> None:
    [plain] = scan([folder / "a.md"]).files()
    assert (plain.sidecar, len(sources.digest(plain))) == (None, 64)
    sidecar = folder / "a.md.meta.json"
    sidecar.write_text(json.dumps({"author": "Ada", "reviewed on": "2026-01-31", "n": 3}))
    found = scan([folder], include=["a.*"])
    [file] = found.files()
    assert file.sidecar == str(sidecar)
    assert sources.digest(file) != sources.digest(plain)
    assert sources.sidecar_meta(str(sidecar)) == {"author": "Ada", "reviewed_on": "2026-01-31", "n": 3}
    assert not any(name.endswith(".json") for name in reasons(found))


def test_a_sidecar_without_its_file_is_reported(folder: Path) -> None:
    (folder / "gone.md.meta.json").write_text("{}")
    assert reasons(scan([folder]))["gone.md.meta.json"] == "metadata of a file that does not exist"


@pytest.mark.parametrize("text", ["{", "[1]", "\xff"])
def test_a_broken_sidecar_gives_a_reason(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.md.meta.json").write_text(text, encoding="latin-1")
    with pytest.raises(ConversionError, match=r"a\.md\.meta\.json"):
        sources.sidecar_meta(str(tmp_path / "a.md.meta.json"))


def test_an_old_mtime_with_new_content_does_not_pass_as_unchanged(folder: Path) -> None:
    path = folder / "b.txt"
    [before] = scan([path]).files()
    settled = sources.record_of(before, sources.digest(before), 1)
    assert settled.modified_ns == 0  # just written: it may change again within the clock's tick
    time.sleep(2.1)
    [before] = scan([path]).files()
    record = sources.record_of(before, sources.digest(before), 1)
    assert sources.is_unchanged(before, record)
    times = path.stat()
    path.write_text("c")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    [after] = scan([path]).files()
    assert (after.size, after.modified_ns) == (before.size, before.modified_ns)
    assert not sources.is_unchanged(after, record)


def test_only_a_certainly_deleted_file_has_vanished(folder: Path) -> None:
    assert sources.has_vanished(str(folder / "nowhere.txt"))
    assert sources.has_vanished(str(folder / "b.txt" / "below.txt"))
    assert not sources.has_vanished(str(folder / "b.txt"))
