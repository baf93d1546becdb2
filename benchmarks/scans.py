"""Scanned pages: seconds per page and characters wrong, on pages of known text at 150 and 300 dpi, straight and skewed.

    python -m benchmarks.scans [--pages 4] [--data FILE] [--report]

A page is printed, turned, blurred and covered with noise, and saved as a JPEG in a PDF, as an office scanner does.
Two processes in the sandbox read them. `--report` writes the section of docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import textwrap
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pypdfium2
from PIL import Image, ImageFilter

from benchmarks.corpus import SQUAD
from benchmarks.machine import measured_line
from benchmarks.page import put_section
from indexing.sandbox import Sandbox
from search_app.evaluation.datasets import load_squad

REPORT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
TITLE = "Scanned pages"
LINES, WIDTH, SIZE, LEADING = 48, 92, 10.5, 14.5
KINDS = [(dpi, angle) for dpi in (150, 300) for angle in (0.0, 1.0, -2.0)]


def texts(data: Path, count: int) -> Iterator[list[str]]:
    """The lines of `count` pages."""
    paragraphs = dict.fromkeys(paragraph.text for paragraph in load_squad(data).paragraphs)
    latin = [text for text in paragraphs if text.encode("cp1252", "replace").decode("cp1252") == text]
    lines = [line for text in latin for line in textwrap.wrap(text, WIDTH, break_on_hyphens=False)]
    for number in range(count):
        yield lines[LINES * number : LINES * (number + 1)]


def scanned(lines: Sequence[str], path: Path, dpi: int, angle: float, seed: int) -> None:
    """A PDF of one page that is a picture of the lines."""
    from reportlab.lib.pagesizes import A4  # type: ignore[import-untyped]
    from reportlab.lib.utils import ImageReader  # type: ignore[import-untyped]
    from reportlab.pdfgen.canvas import Canvas  # type: ignore[import-untyped]

    printed = io.BytesIO()
    canvas = Canvas(printed, pagesize=A4)
    canvas.setFont("Times-Roman", SIZE)
    for number, line in enumerate(lines):
        canvas.drawString(72, 770 - LEADING * number, line)
    canvas.save()
    with pypdfium2.PdfDocument(printed.getvalue()) as pdf:
        picture = pdf[0].render(scale=dpi / 72, grayscale=True).to_pil()
    picture = picture.rotate(angle, resample=Image.Resampling.BICUBIC, fillcolor=255)
    picture = picture.filter(ImageFilter.GaussianBlur(dpi / 300))
    noise = np.random.default_rng(seed).normal(0, 12, (picture.height, picture.width))
    noisy = np.clip(np.asarray(picture, np.float64) * 0.92 + 10 + noise, 0, 255).astype(np.uint8)
    jpeg = io.BytesIO()
    Image.fromarray(noisy).save(jpeg, "JPEG", quality=75)
    canvas = Canvas(str(path), pagesize=A4)
    canvas.drawImage(ImageReader(jpeg), 0, 0, *A4)
    canvas.save()


def wrong(wanted: str, found: str) -> int:
    """The edit distance of two texts (Wagner and Fischer, 1974), row by row."""
    other = np.array([ord(character) for character in found], np.int64)
    steps = np.arange(len(found) + 1)
    row = steps.copy()
    for number, character in enumerate(wanted, start=1):
        new = np.empty_like(row)
        new[0] = number
        new[1:] = np.minimum(row[1:] + 1, row[:-1] + (other != ord(character)))
        row = np.minimum.accumulate(new - steps) + steps
    return int(row[-1])


def read(sandbox: Sandbox, path: Path) -> str:
    spool = sandbox.convert(path, "pdf", path.stat().st_size)
    try:
        [content] = spool.lines()
        return str(content["text"])
    finally:
        spool.discard()


def measure(pages: Sequence[Sequence[str]], folder: Path, dpi: int, angle: float) -> tuple[float, float, float]:
    """Seconds of processor time of a page; seconds on the clock with two processes; the share of wrong characters."""
    paths = [folder / f"{number}.pdf" for number in range(len(pages))]
    for number, (lines, path) in enumerate(zip(pages, paths, strict=True)):
        scanned(lines, path, dpi, angle, number)
    with Sandbox() as one, Sandbox() as two:
        for sandbox in (one, two):
            read(sandbox, paths[0])  # loads the models
        before, began = one.processor_seconds() + two.processor_seconds(), time.perf_counter()
        with ThreadPoolExecutor(2) as pool:
            halves = [(one, paths[::2]), (two, paths[1::2])]
            first, second = pool.map(lambda half: [read(half[0], path) for path in half[1]], halves)
        clock = (time.perf_counter() - began) / len(paths)
        spent = (one.processor_seconds() + two.processor_seconds() - before) / len(paths)
    found = dict(zip([*paths[::2], *paths[1::2]], [*first, *second], strict=True))
    wanted = [" ".join(" ".join(lines).split()) for lines in pages]
    errors = sum(wrong(text, " ".join(found[path].split())) for text, path in zip(wanted, paths, strict=True))
    return spent, clock, errors / sum(map(len, wanted))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=4)
    parser.add_argument("--data", type=Path, default=SQUAD)
    parser.add_argument("--report", action="store_true")
    given = parser.parse_args()
    pages = list(texts(given.data, given.pages))
    rows = [
        "| dpi | turned by | processor time of a page, s | a page with two processes, s | characters wrong |",
        "|---:|---:|---:|---:|---:|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for dpi, angle in KINDS:
            spent, clock, share = measure(pages, Path(folder), dpi, angle)
            rows.append(f"| {dpi} | {abs(angle):g}° | {spent:.1f} | {clock:.1f} | {share:.2%} |")
            print(rows[-1], flush=True)
    about = (
        f"{given.pages} pages of {LINES} lines and about {WIDTH} characters each, as noisy grey JPEGs inside of PDFs."
    )
    text = "\n".join([measured_line("python -m benchmarks.scans --report"), "", about, "", *rows])
    print(text)
    if given.report:
        put_section(REPORT, TITLE, text)


if __name__ == "__main__":
    main()
