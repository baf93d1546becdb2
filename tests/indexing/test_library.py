"""Unsafe names and zip files are refused; an upload leaves no file in the library that was not indexed."""

from __future__ import annotations

import os
import stat
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
import samples

from indexing import sources
from indexing.sources import Skip
from indexing.worker.library import JOURNAL, Library, Upload
from indexing.worker.uploads import Budget, TakenNames, Unpacked, unpack
from search_app.errors import SearchAppError
from search_app.queue.staging import UploadError, safe_name
from search_app.settings import JobSettings, Settings


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("a/b.pdf", "a/b.pdf"),
        ("a\\b.pdf", "a/b.pdf"),
        ("./a//b.pdf", "a/b.pdf"),
        ("Ko\u0308ln.txt", "Köln.txt"),
        ("a b…c.txt", "a b…c.txt"),
        ("..a/b..txt", "..a/b..txt"),
        ("é" * 127, "é" * 127),
    ],
)
def test_names_are_normalised(given: str, name: str) -> None:
    assert safe_name(given) == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../a.txt", "leaves its folder"),
        ("a/../../b.txt", "leaves its folder"),
        ("a\\..\\b.txt", "leaves its folder"),
        ("/etc/passwd", "absolute"),
        ("\\\\server\\share\\a.txt", "absolute"),
        ("C:\\a.txt", "absolute"),
        ("c:a.txt", "absolute"),
        ("./D:/a.txt", "absolute"),
        ("a\0.txt", "control"),
        ("a\nb.txt", "control"),
        ("a\u2028b.txt", "control"),
        ("a\udcff.txt", "control"),
        ("", "is empty"),
        ("./", "is empty"),
        ("é" * 128, "too long"),
        ("a/" * 600 + "b.txt", "too long"),
    ],
)
def test_unsafe_names_are_refused(name: str, reason: str) -> None:
    with pytest.raises(UploadError, match=reason):
        safe_name(name)


def zipped(path: Path, members: Mapping[str, bytes], *, mode: int = stat.S_IFREG | 0o644) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            bundle.writestr(info, content)
    return path


def unpacked(archive: Path, *, files: int = 100, mib: int = 50, ratio: int = 100) -> Unpacked:
    budget = Budget(files, mib << 20, ratio)
    return unpack(archive, archive.parent / "out", budget=budget, taken=TakenNames(), skip_reason=lambda name: None)


def test_a_zip_is_unpacked_to_numbered_files(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", {"top.txt": b"top", "in\\side.txt": b"inside", "folder\\": b"", "b/": b""})

    found = unpacked(archive)

    assert [(member.name, member.path.read_bytes()) for member in found.members] == [
        ("top.txt", b"top"),
        ("in/side.txt", b"inside"),
    ]
    assert [member.path for member in found.members] == [tmp_path / "out" / "0", tmp_path / "out" / "1"]


def bomb(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("small.txt", b"fine")
        bundle.writestr("big.txt", bytes(10 << 20))
    return folder / "bomb.zip"


def lying_bomb(folder: Path) -> Path:
    """A zip bomb that declares an unpacked size of 4 bytes."""
    archive = bomb(folder)
    content = archive.read_bytes().replace(struct.pack("<L", 10 << 20), struct.pack("<L", 4))
    archive.write_bytes(content)
    return archive


def encrypted(folder: Path) -> Path:
    archive = zipped(folder / "a.zip", {"secret.txt": b"secret"})
    content = bytearray(archive.read_bytes())
    content[6] |= 1
    content[content.rindex(b"PK\1\2") + 8] |= 1
    archive.write_bytes(content)
    return archive


def overlapping(folder: Path) -> Path:
    """A zip with two directory entries for the same data."""
    archive = zipped(folder / "a.zip", {"1.txt": os.urandom(4000), "2.txt": os.urandom(4000)})
    content = bytearray(archive.read_bytes())
    place = content.rindex(b"PK\1\2") + 42
    content[place : place + 4] = bytes(4)
    archive.write_bytes(content)
    return archive


def damaged(folder: Path) -> Path:
    archive = zipped(folder / "a.zip", {"noise.txt": os.urandom(4000)})
    content = bytearray(archive.read_bytes())
    content[2000] ^= 255
    archive.write_bytes(content)
    return archive


def packed_by_lzma(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_LZMA) as bundle:
        bundle.writestr("a.txt", b"a" * 1000)
    return folder / "a.zip"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (bomb, "big.txt: it unpacks to more than 100 times its size"),
        (lying_bomb, "big.txt: (it unpacks|the zip file is damaged)"),
        (encrypted, "secret.txt: it is encrypted"),
        (overlapping, "2.txt: the zip file is damaged"),
        (damaged, "noise.txt: the zip file is damaged"),
        (packed_by_lzma, "a.txt: its compression method is not deflate"),
        (lambda folder: zipped(folder / "a.zip", {"ok.txt": b"1", "../a.txt": b"2"}), r"\.\./a.txt: the name leaves"),
        (lambda folder: zipped(folder / "a.zip", {"/a.txt": b"1"}), "/a.txt: the name is absolute"),
        (lambda folder: zipped(folder / "a.zip", {"a.txt": b"/etc/passwd"}, mode=stat.S_IFLNK | 0o777), "it is a link"),
        (lambda folder: zipped(folder / "a.zip", {"a.txt": b""}, mode=stat.S_IFIFO | 0o644), "not a regular file"),
        (lambda folder: zipped(folder / "a.zip", {"a.txt": b"1", "A.TXT": b"2"}), "A.TXT: another file has"),
        (lambda folder: zipped(folder / "a.zip", {"a.md": b"1", "a.md/b.md": b"2"}), "a file and a folder"),
        (lambda folder: samples.raw_pdf(folder / "a.zip", []), "the zip file is damaged"),
    ],
)  # fmt: skip
def test_a_malicious_zip_is_refused_whole_and_its_member_named(tmp_path: Path, make: object, reason: str) -> None:
    archive = make(tmp_path)  # type: ignore[operator]
    before = sorted(tmp_path.iterdir())

    with pytest.raises(UploadError, match=reason):
        unpacked(archive)

    assert sorted(tmp_path.iterdir()) == before, "nothing of it stays"


def test_a_zip_over_the_remaining_budget_is_refused(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", {f"{number}.txt": os.urandom(700_000) for number in range(3)})

    with pytest.raises(UploadError, match=r"2\.txt: the upload unpacks to more than the 2 MiB"):
        unpacked(archive, mib=2)
    with pytest.raises(UploadError, match="it has 3 files; this upload may have 2 more"):
        unpacked(archive, files=2)
    assert len(unpacked(archive, files=3, mib=3).members) == 3


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, jobs=JobSettings(max_files=10, max_unpacked_mb=5))


@pytest.fixture
def library(settings: Settings) -> Library:
    return Library(settings, "default")


def upload(
    settings: Settings, library: Library, files: Mapping[str, bytes], *, job: str = "1", charset: str = ""
) -> Upload:
    """An upload as written by the API, after `prepare`; with `charset`, the form states it for each file."""
    folder = settings.jobs_folder / "staging" / job
    folder.mkdir(parents=True)
    request = []
    for number, (name, content) in enumerate(files.items()):
        (folder / str(number)).write_bytes(content)
        stated = {"charset": charset} if charset else {}
        request.append({"name": name, "stored": str(number), "size": len(content), **stated})
    result = Upload(folder, library)
    result.prepare(request, settings.jobs)
    return result


def contents(library: Library) -> dict[str, str]:
    found = sorted(path for path in library.folder.rglob("*") if path.is_file() or path.is_symlink())
    return {path.relative_to(library.folder).as_posix(): path.read_text() for path in found}


def bytes_of_zip(folder: Path, members: Mapping[str, bytes]) -> bytes:
    return zipped(folder / "made.zip", members).read_bytes()


def test_files_and_zip_members_enter_the_library_and_others_have_a_reason(
    settings: Settings, library: Library, tmp_path: Path
) -> None:
    inner = bytes_of_zip(tmp_path, {"x.txt": b"x"})
    outer = bytes_of_zip(
        tmp_path, {"in/a.txt": b"a", "in/again.zip": inner, "__MACOSX/._a.txt": b"m", ".git/config": b"g"}
    )
    files = {"Doc.ZIP": outer, "b.md": b"b", "B.md": b"twice", "../c.txt": b"c", "d.exe": b"d", "e.txt": b""}

    journal = (one := upload(settings, library, files)).journal
    assert not library.folder.exists(), "nothing is touched before the journal is written"
    paths = one.place()

    assert contents(library) == {"b.md": "b", "in/a.txt": "a"}
    assert paths == [library.path("in/a.txt"), library.path("b.md")]
    assert {problem.source for problem in journal.problems} == {"B.md", "../c.txt"}
    assert journal.skips == [
        Skip("Doc.ZIP: in/again.zip", "unknown type .zip: unpack it"),
        Skip("Doc.ZIP: __MACOSX/._a.txt", "metadata of macOS"),
        Skip("Doc.ZIP: .git/config", "hidden file"),
        Skip("d.exe", "unknown type .exe"),
        Skip("e.txt", "empty file"),
    ]


def test_files_that_were_not_indexed_are_replaced_by_their_earlier_version(
    settings: Settings, library: Library
) -> None:
    first = upload(settings, library, {"a.txt": b"old", "deep/b.txt": b"kept"}, job="1")
    first.place()
    first.complete(lambda path: True)
    second = upload(settings, library, {"a.txt": b"new", "deep/c/d.txt": b"broken", "e.txt": b"fine"}, job="2")
    second.place()
    assert contents(library)["a.txt"] == "new"

    second.complete(lambda path: path.name == "e.txt")

    assert contents(library) == {"a.txt": "old", "deep/b.txt": "kept", "e.txt": "fine"}
    assert not (library.folder / "deep" / "c").exists()
    assert not second.has_journal()


def test_metadata_stays_only_with_its_file_and_causes_it_to_be_indexed(settings: Settings, library: Library) -> None:
    first = upload(settings, library, {"a.pdf": b"pdf"}, job="1")
    first.place()
    first.complete(lambda path: True)
    second = upload(settings, library, {"a.meta.json": b"{}", "lost.pdf.meta.json": b"{}"}, job="2")

    assert library.path("a.pdf") in second.place()

    second.complete(lambda path: path.name == "a.pdf")
    assert contents(library) == {"a.pdf": "pdf", "a.meta.json": "{}"}
    library.remove([str(library.path("a.pdf"))])
    assert contents(library) == {}


def test_the_charset_of_a_form_is_kept_as_metadata_of_its_text(settings: Settings, library: Library) -> None:
    first = upload(settings, library, {"a.txt.meta.json": b'{"author": "Ada"}', "a.txt": b"old"}, job="1")
    first.place()
    first.complete(lambda path: True)
    second = upload(settings, library, {"a.txt": b"new", "b.pdf": b"pdf"}, job="2", charset="koi8-r")
    paths = second.place()
    [file] = [item for item in sources.scan(paths).files() if item.path.endswith("a.txt")]
    assert file.sidecar is not None
    stated = sources.sidecar_meta(file.sidecar)
    assert (stated, sources.charset_of(file, stated)) == ({"author": "Ada", "charset": "koi8-r"}, "koi8-r")
    second.complete(lambda path: False)
    assert contents(library) == {"a.txt": "old", "a.txt.meta.json": '{"author": "Ada"}'}


def test_a_kill_between_any_two_steps_does_not_change_the_result(
    settings: Settings, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def outcome(kill_at: int) -> tuple[dict[str, str], bool]:
        job = f"job-{kill_at}"
        collection = Library(settings, job)
        first = upload(settings, collection, {"a.txt": b"old"}, job=f"{job}-first")
        first.place()
        first.complete(lambda path: True)
        folder = settings.jobs_folder / "staging" / job
        folder.mkdir()
        request = []
        for number, (name, text) in enumerate({"a.txt": "new", "b.txt": "bad", "c.txt": "good"}.items()):
            (folder / str(number)).write_text(text)
            request.append({"name": name, "stored": str(number), "size": len(text)})
        steps = 0

        def dying(original: object) -> object:
            def step(*arguments: object) -> object:
                nonlocal steps
                steps += 1
                if steps == kill_at:
                    raise Killed
                return original(*arguments)  # type: ignore[operator]

            return step

        def whole() -> None:
            one = Upload(folder, collection)
            one.prepare(request, settings.jobs)
            one.place()
            one.complete(lambda path: path.name == "c.txt")

        killed = False
        with monkeypatch.context() as patch:
            for name in ("link", "replace", "fsync", "unlink"):
                patch.setattr(os, name, dying(getattr(os, name)))
            try:
                whole()
            except Killed:
                killed = True
        if killed:
            whole()
        return contents(collection), killed

    number, killed = 0, True
    while killed:
        number += 1
        found, killed = outcome(number)
        assert found == {"a.txt": "old", "c.txt": "good"}, f"killed at step {number}"
    assert number > 15


def test_a_name_conflict_is_a_problem_of_that_file_only(settings: Settings, library: Library, tmp_path: Path) -> None:
    (library.folder / "folder").mkdir(parents=True)
    (library.folder / "file.txt").write_text("file")
    (library.folder / "link").symlink_to(tmp_path)
    (library.folder / "link.txt").symlink_to(tmp_path / "elsewhere.txt")
    names = ["folder", "file.txt/a.txt", "link/a.txt", "link.txt", "good.txt"]

    one = upload(settings, library, {f"{name}" if "." in name else f"{name}/": b"1" for name in names})
    one.place()

    assert {problem.source for problem in one.journal.problems} == {"file.txt/a.txt", "link/a.txt", "link.txt"}
    assert (library.folder / "good.txt").read_text() == "1"
    assert not (tmp_path / "a.txt").exists()
    assert not (tmp_path / "elsewhere.txt").exists()


def test_a_full_disk_is_reported_with_the_path_and_keeps_the_journal(
    settings: Settings, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = upload(settings, library, {"a.txt": b"a"})
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(SearchAppError, match=r"a\.txt: No space left"):
            one.place()

    assert (settings.jobs_folder / "staging" / "1" / JOURNAL).exists()
    one.complete(lambda path: False)
    assert contents(library) == {}


def full(*arguments: object) -> None:
    raise OSError(28, "No space left on device")
