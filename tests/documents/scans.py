"""Pictures of text: scanned PDF files, PDF files with some scanned pages, image files. They need the extra `ocr`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from documents.pdfs import canvas_of, lines
from documents.suite import Family, ask

FAMILY = Family()
_DPI = 200


def picture(text: Sequence[str], *, angle: float = 0.0, height: int = 5) -> Any:
    """A page of A5 width with lines of text, as a scanner gives it: grey, a little skewed."""
    import reportlab
    from PIL import Image, ImageDraw, ImageFont

    page = Image.new("L", (int(6.5 * _DPI), height * _DPI), 250)
    font = ImageFont.truetype(str(Path(reportlab.__file__).with_name("fonts") / "Vera.ttf"), int(_DPI * 11 / 72))
    draw = ImageDraw.Draw(page)
    for number, line in enumerate(text):
        draw.text((_DPI // 2, _DPI // 2 + number * _DPI // 4), line, font=font, fill=30)
    return page.rotate(angle, fillcolor=250, resample=Image.Resampling.BICUBIC)


def scan(path: Path, text: Sequence[str], *, angle: float = 0.0) -> None:
    picture(text, angle=angle).save(path)


def scanned_pdf(path: Path, found: Sequence[tuple[bool, Sequence[str]]], *, title: str) -> None:
    """Pages as (scanned, lines)."""
    from reportlab.lib.utils import ImageReader

    canvas = canvas_of(path, title)
    for scanned, text in found:
        if scanned:
            data = BytesIO()
            picture(text).save(data, "PNG")
            canvas.drawImage(ImageReader(data), 40, 400, 468, 360)
        else:
            lines(canvas, text)
        canvas.showPage()
    canvas.save()


FAMILY.add(
    "scans/bylaws.pdf",
    partial(
        scanned_pdf,
        found=[
            (
                True,
                [
                    "Bylaws of the rowing club",
                    "",
                    "The annual fee of a rower is 180 euros.",
                    "Guests may row twice without a fee.",
                ],
            ),
            (True, ["Boats", "", "The eight is reserved on Tuesday evenings.", "Damage is reported to the boatswain."]),
        ],
        title="Bylaws of the rowing club",
    ),
    ask("What is the annual fee of a rower?", "180 euros", "ocr", page=1),
    ask("When is the eight of the rowing club reserved?", "on Tuesday evenings", "ocr", page=2),
    traits="ocr",
)
FAMILY.add(
    "scans/survey.pdf",
    partial(
        scanned_pdf,
        found=[
            (False, ["Survey of the bell tower", "", "The tower was surveyed on 9 May by two climbers."]),
            (True, ["Appendix", "", "The great bell weighs 3,860 kg.", "It was cast in 1742."]),
        ],
        title="Survey of the bell tower",
    ),
    ask("When was the bell tower surveyed?", "9 May", page=1),
    ask("How much does the great bell weigh?", "3,860 kg", "ocr", page=2),
    traits="ocr mixed",
)
FAMILY.add(
    "scans/parking-permit.png",
    partial(scan, text=["Parking permit", "", "Plate: KR 48213", "Valid until 30 September 2027", "Zone: Old Harbour"]),
    ask("Until when is the parking permit valid?", "30 September 2027", "ocr"),
    traits="ocr image",
)
FAMILY.add(
    "scans/receipt.jpg",
    partial(
        scan, text=["Hardware store Anvil", "", "12 hinges", "1 tin of linseed oil", "Sum: 87.40 euros"], angle=1.0
    ),
    ask("How much was paid at the hardware store Anvil?", "87.40 euros", "ocr"),
    traits="ocr image",
)
FAMILY.add(
    "scans/telegram.tif",
    partial(
        scan, text=["Telegram to Captain Voss", "", "Cargo of cork delayed in Setubal.", "Sail on Thursday without it."]
    ),
    ask("Where is the cargo of cork delayed?", "Setubal", "ocr"),
    traits="ocr image",
)
