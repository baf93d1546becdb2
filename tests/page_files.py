"""A PDF with a sentence over two pages and a scan, indexed for the tests of pictures of pages."""

from __future__ import annotations

import io

from fakes import HashEncoder
from PIL import Image
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas
from scripted_api import Text, index

from indexing import job
from search_app.settings import Settings
from search_app.types import Box

LINES = [
    "Every field was visited twice a year, in spring and again in the late autumn, by the same two people",
    "who noted the depth of the water and the colour of the soil, and the highest value of all was measured",
]
REST = ["on plot 19, at the southern end of the field, where the old canal had been filled with rubble and clay."]
SCAN = "Boiler 7\nInspected on 3 May"
BOXES = (Box(0, 8, 0.1, 0.1, 0.4, 0.2), Box(9, 18, 0.1, 0.5, 0.9, 0.6))
"""Of the two lines of SCAN."""
PICTURE = {"format": "picture"}
SIZE = (400, 200)


def png(width: int = SIZE[0], height: int = SIZE[1]) -> bytes:
    """A white picture."""
    file = io.BytesIO()
    Image.new("1", (width, height), 1).save(file, "PNG")
    return file.getvalue()


def index_pages(settings: Settings) -> None:
    """The collection `pages`: survey.pdf, read by its converter."""
    folder = settings.home / "pages"
    folder.mkdir(parents=True)
    canvas = Canvas(str(folder / "survey.pdf"), pagesize=A4)
    for lines in (LINES, REST, ["The report ends here."]):
        canvas.setFont("Helvetica", 10)
        for row, line in enumerate(lines):
            canvas.drawString(40, 760 - 16 * row, line)
        canvas.showPage()
    canvas.save()
    job.apply([folder], settings=settings, encoder=HashEncoder(), collection="pages")


def index_scans(settings: Settings) -> None:
    """The collection `scans`: a scan, and files whose pages cannot be drawn."""
    texts = [
        Text("scan.png", SCAN, pages=(len(SCAN),), boxes=BOXES, content=png(), meta=PICTURE),
        Text("huge.png", SCAN, pages=(len(SCAN),), boxes=BOXES, content=png(20_000, 20_000), meta=PICTURE),
        Text("broken.pdf", SCAN, pages=(len(SCAN),)),
        Text("slides.pptx", SCAN, pages=(len(SCAN),)),
        Text("changed.png", SCAN, pages=(len(SCAN),), boxes=BOXES, content=png(), meta=PICTURE),
    ]
    index(settings, texts, collection="scans")
    (settings.home / "files" / "changed.png").write_bytes(b"another picture")
