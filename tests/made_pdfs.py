"""PDF documents for tests. The Chinese font is one that no file holds and readers know by name."""

import io

from PIL import Image, ImageDraw, ImageFont
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas

from seesay.cli.contact_sheet import chinese_font

SIZE = (595, 842)
CHINESE = "STSong-Light"
pdfmetrics.registerFont(UnicodeCIDFont(CHINESE))


def pdf(*pages, size=SIZE, encrypt=None):
    """A PDF; each page is a function that draws on a canvas whose origin is at the top left."""
    stream = io.BytesIO()
    canvas = Canvas(stream, pagesize=size, encrypt=encrypt)
    for draw in pages:
        draw(canvas)
        canvas.showPage()
    canvas.save()
    return stream.getvalue()


def write(canvas, lines, *, at=(72, 100), size=10, font="Helvetica", step=None):
    """Lines below each other; the first has its base `at` points from the left and the top."""
    canvas.setFont(font, size)
    for number, line in enumerate(lines):
        canvas.drawString(at[0], SIZE[1] - at[1] - number * (step or 1.3 * size), line)


def paint(lines, *, size=36, width=1240, height=600):
    """A picture of lines of text."""
    picture = Image.new("RGB", (width, height), "white")
    file = chinese_font()
    font = ImageFont.truetype(str(file), size) if file else ImageFont.load_default(size)
    pen = ImageDraw.Draw(picture)
    for number, line in enumerate(lines):
        pen.text((80, 60 + number * int(1.6 * size)), line, "black", font)
    return picture


def scan(lines, **options):
    """Draws a page that a picture fills."""
    picture = paint(lines, **{"height": 1754, **options})

    def draw(canvas):
        canvas.drawImage(ImageReader(picture), 0, 0, *SIZE)

    return draw
