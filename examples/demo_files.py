"""The folder that `make demo` asks: photographs, a PDF, a scanned page, a workbook and a video."""

import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from photographs import folder, photographs

REPORT = (
    (
        "Harwick Library: annual report",
        "The library stands on Lantern Street, in the old customs house of Harwick.",
        "Tobias Finch designed the building. It was opened in 1931.",
    ),
    (
        "Visitors and staff",
        "Last year 118,400 people came, 6% more than the year before.",
        "The library employs 42 people and holds 18,500 books.",
    ),
)
LETTER = (
    "Harbour Estates",
    "",
    "To the Potters' Guild",
    "",
    "The rent of the workshop is 480 euros a month.",
    "The lease begins on 1 March 2024.",
    "Please hand over the keys to Ms Alder.",
)
SALES = {
    "Sales": (
        ("region", "year", "revenue"),
        *(("east", 2022, 410), ("west", 2022, 380), ("east", 2023, 455), ("west", 2023, 390)),
    ),
    "用电": (
        ("车间", "月份", "用电量"),
        *(("一车间", "1月", 1240), ("二车间", "1月", 980)),
        *(("一车间", "2月", 1130), ("二车间", "2月", 1015)),
    ),
}
SCENES = ("chelsea.png", "rocket.jpg", "coffee.png")
SUBTITLES = """1
00:00:00,500 --> 00:00:02,500
这只橘猫名叫切尔西。

2
00:00:03,500 --> 00:00:05,500
这枚火箭于2013年在海边发射。

3
00:00:06,500 --> 00:00:08,500
最后，来一杯热咖啡。
"""
_SCENE_S, _RATE = 3, 10  # seconds, frames a second
_SIZE = (320, 240)


def write_files(place: Path) -> Path:
    """Writes the folder anew, and returns it."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for picture in (*photographs(), folder() / "motorcycle_left.png"):
        shutil.copy(picture, place)
    write_report(place / "report.pdf")
    write_scan(place / "letter.pdf")
    write_workbook(place / "figures.xlsx")
    write_film(place / "film.webm")
    (place / "film.srt").write_text(SUBTITLES, encoding="utf-8")
    return place


def write_report(file: Path) -> None:
    """A PDF with text."""
    from reportlab.lib.pagesizes import A4
    from reportlab.pdfgen.canvas import Canvas

    canvas = Canvas(str(file), pagesize=A4)
    for heading, *lines in REPORT:
        canvas.setFont("Helvetica-Bold", 16)
        canvas.drawString(72, 750, heading)
        canvas.setFont("Helvetica", 11)
        for number, line in enumerate(lines):
            canvas.drawString(72, 715 - 18 * number, line)
        canvas.showPage()
    canvas.save()


def write_scan(file: Path) -> None:
    """A PDF that is a picture of a page, a little aslant, as a scanner makes it."""
    page = Image.new("L", (1240, 1754), 250)
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(36)
    for number, line in enumerate(LETTER):
        pen.text((140, 180 + 64 * number), line, 30, font)
    page = page.rotate(0.4, Image.Resampling.BICUBIC, fillcolor=250)
    grain = np.random.default_rng(0).normal(0, 5, (page.height, page.width))
    levels = (np.asarray(page) + grain).clip(0, 255).astype(np.uint8)
    Image.fromarray(levels).save(file, resolution=150)


def write_workbook(file: Path) -> None:
    from openpyxl import Workbook

    book = Workbook()
    book.remove(book.worksheets[0])
    for name, rows in SALES.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(file)


def write_film(file: Path) -> None:
    """Three photographs, one after the other; the subtitles lie in a file beside it."""
    import av

    with av.open(str(file), "w") as container:
        stream = container.add_stream("libvpx", rate=_RATE)
        stream.width, stream.height, stream.pix_fmt = *_SIZE, "yuv420p"
        for scene, name in enumerate(SCENES):
            with Image.open(folder() / name) as picture:
                pixels = np.asarray(picture.convert("RGB").resize(_SIZE))
            for number in range(_SCENE_S * _RATE):
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts, frame.time_base = scene * _SCENE_S * _RATE + number, Fraction(1, _RATE)
                container.mux(stream.encode(frame))
        container.mux(stream.encode())
