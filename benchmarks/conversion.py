"""Processor time of `apply` on PDF, HTML and Word files, by this version of the program and by another checkout.

    python -m benchmarks.conversion --data SQUAD.json --other CHECKOUT

The files hold paragraphs of SQuAD, each with a table, a header and a footer. Time is user and system time of the whole
process tree, so that a busy machine does not change it. The stub encoder hashes words and takes next to no time.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from html import escape
from itertools import cycle, islice
from pathlib import Path
from typing import Any

_SECTIONS = 8
"""Paragraphs of a file; a PDF has about four pages."""
_TABLE = [["Country", "Allowance", "Nights"], *(["Portugal", f"EUR {46 + row}", str(row)] for row in range(8))]
_ROOT = Path(__file__).resolve().parents[1]
_STUB = """
import sys, tempfile
from pathlib import Path
from typing import Any
sys.path.insert(0, "tests")
from fakes import HashEncoder
from indexing import job
from search_app.settings import Settings
with tempfile.TemporaryDirectory() as home:
    summary = job.apply([sys.argv[1]], settings=Settings(home=Path(home)), encoder=HashEncoder())
print(summary.passages)
"""
_BUNDLED = """
import sys, tempfile
from indexing.cli import cli
with tempfile.TemporaryDirectory() as home:
    cli(["apply", sys.argv[1], "--home", home])
"""


def main() -> None:
    """Print the processor seconds of each kind of file, of both versions in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a file of SQuAD")
    parser.add_argument("--other", type=Path, required=True, help="a checkout of another version")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--files", type=int, default=100, help="files of each kind")
    parser.add_argument("--encoder", action="store_true", help="encode with the bundled encoder")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kinds = write(Path(folder), given.data, given.files)
        for number in range(given.rounds):
            for kind in kinds:
                for name, tree in (("other", given.other.resolve()), ("this", _ROOT)):
                    print(number + 1, kind.name, name, f"{_seconds(tree, kind, given.encoder):.2f}", flush=True)


def write(folder: Path, data: Path, files: int) -> list[Path]:
    """Write this many files of each kind; returns their folders."""
    articles = json.loads(data.read_text(encoding="utf-8"))["data"]
    contexts = cycle([part["context"] for article in articles for part in article["paragraphs"]])
    kinds = {"pdf": _pdf, "html": _html, "docx": _docx}
    for kind, make in kinds.items():
        (folder / kind).mkdir()
        for number in range(files):
            make(folder / kind / f"{number}.{kind}", f"Report {number}", list(islice(contexts, _SECTIONS)))
    return [folder / kind for kind in kinds]


def _pdf(path: Path, title: str, texts: list[str]) -> None:
    from reportlab.lib import colors  # type: ignore[import-untyped]
    from reportlab.lib.styles import getSampleStyleSheet  # type: ignore[import-untyped]
    from reportlab.platypus import PageBreak, Paragraph, SimpleDocTemplate, Table  # type: ignore[import-untyped]

    styles = getSampleStyleSheet()
    story: list[Any] = [Paragraph(title, styles["Title"])]
    for number, text in enumerate(texts):
        story += [Paragraph(f"Section {number}", styles["Heading2"]), Paragraph(escape(text), styles["BodyText"])]
        if number % 4 == 3:
            story += [Table(_TABLE, style=[("GRID", (0, 0), (-1, -1), 0.5, colors.black)]), PageBreak()]

    def frame(canvas: Any, document: Any) -> None:
        canvas.drawString(72, 800, f"{title}, confidential")
        canvas.drawString(280, 30, f"Page {document.page}")

    SimpleDocTemplate(str(path)).build(story, onFirstPage=frame, onLaterPages=frame)


def _html(path: Path, title: str, texts: list[str]) -> None:
    menu = "".join(f'<li><a href="/{name}">{name}</a></li>' for name in ("Home", "News", "Help", "About"))
    rows = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in _TABLE)
    body = "".join(f"<h2>Section {number}</h2><p>{escape(text)}</p>" for number, text in enumerate(texts))
    path.write_text(
        f"<html><head><title>{title}</title><style>p{{margin:0}}</style></head><body><nav><ul>{menu}</ul></nav>"
        f"<main><h1>{title}</h1>{body}<table>{rows}</table></main><footer>© 2024 The office</footer></body></html>",
        encoding="utf-8",
    )


def _docx(path: Path, title: str, texts: list[str]) -> None:
    import docx

    document = docx.Document()
    document.sections[0].header.paragraphs[0].text = f"{title}, confidential"
    document.add_heading(title, 1)
    for number, text in enumerate(texts):
        document.add_heading(f"Section {number}", 2)
        document.add_paragraph(text)
    table = document.add_table(len(_TABLE), len(_TABLE[0]))
    for row, cells in zip(table.rows, _TABLE, strict=True):
        for cell, text in zip(row.cells, cells, strict=True):
            cell.text = text
    document.save(str(path))


def _seconds(tree: Path, folder: Path, encoder: bool) -> float:
    """Processor seconds of `apply` and all its processes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", _BUNDLED if encoder else _STUB, str(folder)]
    subprocess.run(command, cwd=tree, env=environment, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
