"""Scanned pages and pictures of text: their words, the places of them, and pictures that are too large."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pypdfium2
import pytest
import samples
from PIL import Image
from reportlab.lib.pagesizes import A4
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from indexing.converters import convert, ocr
from indexing.converters.content import Content, ConversionError
from indexing.converters.pdf.document import body
from indexing.converters.pdf.scans import Scan, read_picture
from indexing.sandbox import Limits, Sandbox

LINES = ("Harbour rules", "The reserve fund holds 4,200 euros.", "It is managed by the council of elders.")


def picture(folder: Path, lines: Sequence[str] = LINES, *, angle: float = 0.0) -> Image.Image:
    canvas = Canvas(str(folder / "printed.pdf"), pagesize=(420, 300))
    canvas.setFont("Helvetica", 14)
    for number, line in enumerate(lines):
        for column, text in enumerate(line.split(" | ")):
            canvas.drawString(40 + 120 * column, 240 - 22 * number, text)
    canvas.save()
    with pypdfium2.PdfDocument(folder / "printed.pdf") as pdf:
        image = pdf[0].render(scale=150 / 72).to_pil().convert("RGB")
    return image.rotate(angle, resample=Image.Resampling.BICUBIC, fillcolor="white")


def only(path: Path, kind: str) -> Content:
    [content] = convert(path, kind)
    return content


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Content]:
    """Three pages: text, a scan that continues its sentence, and an empty one."""
    folder = tmp_path_factory.mktemp("scans")
    canvas = Canvas(str(folder / "mixed.pdf"), pagesize=A4)
    canvas.setFont("Helvetica", 15)
    canvas.drawString(72, 700, "This page is text, and the next one")
    canvas.showPage()
    scan = picture(folder, ["is a scan of a letter.", "The reserve fund holds 4,200 euros."])
    canvas.drawImage(ImageReader(scan), 80, 400, 420, 300)
    canvas.showPage()
    canvas.showPage()
    canvas.save()
    return folder / "mixed.pdf", only(folder / "mixed.pdf", "pdf")


def test_only_pages_without_text_are_read_by_ocr(mixed: tuple[Path, Content]) -> None:
    _, content = mixed
    assert content.text == (
        "This page is text, and the next one is a scan of a letter.\nThe reserve fund holds 4,200 euros."
    )
    assert content.meta["ocr.pages"] == ["2"]
    [confidence] = content.meta["ocr.confidence"]  # type: ignore[misc]
    assert float(confidence) > 0.9
    assert [bool(page.runs) for page in content.pages] == [True, False, False]
    assert content.warnings == ()


def test_words_of_a_scan_have_their_places(mixed: tuple[Path, Content]) -> None:
    path, content = mixed
    page = content.pages[1]
    words = {content.text[box.start : box.start + box.length]: box for box in page.boxes}
    assert "euros." in words
    with pypdfium2.PdfDocument(path) as pdf:
        shown = np.asarray(pdf[1].render(scale=2).to_pil().convert("L"))
    box = words["4,200"]
    rows = slice(int(box.top * shown.shape[0]), int(box.bottom * shown.shape[0]) + 1)
    columns = slice(int(box.left * shown.shape[1]), int(box.right * shown.shape[1]) + 1)
    assert shown[rows, columns].min() < 100  # ink
    assert box.right - box.left < 0.2
    assert words["The"].right <= words["reserve"].left <= words["fund"].left < box.left


@pytest.mark.parametrize("ending", [".png", ".jpg", ".tiff"])
def test_pictures_of_text_are_read(tmp_path: Path, ending: str) -> None:
    picture(tmp_path).save(tmp_path / f"a{ending}")
    content = only(tmp_path / f"a{ending}", "picture")
    assert content.text.split() == " ".join(LINES).split()
    assert [page.number for page in content.pages] == [1]


def test_each_picture_of_a_tiff_is_a_page(tmp_path: Path) -> None:
    pages = [picture(tmp_path, [f"The page number {word}."]) for word in ("one", "two", "three")]
    pages[0].save(tmp_path / "a.tiff", save_all=True, append_images=pages[1:])
    content = only(tmp_path / "a.tiff", "picture")
    assert [content.text[page.start : page.end].strip() for page in content.pages] == [
        "The page number one.", "The page number two.", "The page number three.",
    ]  # fmt: skip


def test_a_skewed_table_has_its_rows(tmp_path: Path) -> None:
    rows = [
        "Country | Allowance | Hotel",
        "Portugal | EUR 46 | EUR 120",
        "Spain | EUR 52 | EUR 135",
        "Norway | EUR 75 | EUR 180",
    ]
    picture(tmp_path, rows, angle=-2).save(tmp_path / "a.png")
    content = only(tmp_path / "a.png", "picture")
    assert content.text == "\n".join(rows)
    assert content.tables[0].columns == ("Country", "Allowance", "Hotel")


def test_a_picture_that_is_a_bomb_is_refused(tmp_path: Path) -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 1, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(7501 * 600))
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(bomb)
    with pytest.raises(ConversionError, match="megapixels"):
        only(tmp_path / "bomb.png", "picture")


def test_a_page_with_a_bomb_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    data = zlib.compress(bytes(2500 * 1000))
    path = samples.raw_pdf(
        tmp_path / "bomb.pdf",
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
            b" /Resources << /XObject << /I 5 0 R >> >> >>",
            b"<< /Length 31 >>\nstream\nq 595 0 0 842 0 0 cm /I Do Q   \nendstream",
            b"<< /Type /XObject /Subtype /Image /Width 20000 /Height 20000 /BitsPerComponent 1 /ColorSpace /DeviceGray"
            b" /Filter /FlateDecode /Length %d >>\nstream\n%s\nendstream" % (len(data), data),
        ],
    )
    [warning] = only(path, "pdf").warnings
    assert "page 1 of 1" in warning
    assert "megapixels" in warning


@pytest.mark.parametrize(
    "data", [b"", b"no picture", b"\x89PNG\r\n\x1a\n", b"II*\x00\x08\x00\x00\x00\xff\xff", b"\xff\xd8\xff\xe0"]
)
def test_damaged_pictures_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(ConversionError, match=r"picture|damaged"):
        only(tmp_path / "a.png", "picture")


def test_without_the_extra_a_warning_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ocr, "is_installed", lambda: False)
    picture(tmp_path).save(tmp_path / "a.png")
    [warning] = only(tmp_path / "a.png", "picture").warnings
    assert "search-app[ocr]" in warning
    [warning] = only(samples.pdf(tmp_path / "a.pdf", [["words"], [], ["more"]]), "pdf").warnings
    assert warning.startswith("no text on page 2 of 3: scanned; install search-app[ocr]")


def test_text_that_was_hard_to_recognise_is_warned_of(tmp_path: Path) -> None:
    scan = read_picture(np.asarray(picture(tmp_path), np.uint8), 1)
    assert body([], [scan], 1).warnings == ()
    [warning] = body([], [Scan(scan.sheet, 0.7)], 1).warnings
    assert "page 1 of 1" in warning


def test_ocr_works_within_the_limits_of_the_sandbox(mixed: tuple[Path, Content]) -> None:
    path, content = mixed
    with Sandbox() as sandbox:
        spool = sandbox.convert(path, "pdf", path.stat().st_size)
        [found] = spool.lines()
        assert isinstance(found, dict)
        assert Content.from_json(found).text == content.text
        spool.discard()


def test_a_plan_counts_the_pages_that_need_ocr(mixed: tuple[Path, Content], tmp_path: Path) -> None:
    path, _ = mixed
    pages = [picture(tmp_path, [word]) for word in ("one", "two")]
    pages[0].save(tmp_path / "a.tiff", save_all=True, append_images=pages[1:])
    with Sandbox(Limits(ocr=False)) as sandbox:
        for file, kind, counted in [(path, "pdf", [2]), (tmp_path / "a.tiff", "picture", [1, 2])]:
            spool = sandbox.convert(file, kind, file.stat().st_size)
            [found] = spool.lines()
            assert isinstance(found, dict)
            assert [page.number for page in Content.from_json(found).pages if page.boxes] == counted
            assert spool.warnings == ()
            spool.discard()
