"""A contact sheet: one PNG with a grid of what was found and captions below."""

import io
import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from seesay.data.files import write_whole
from seesay.web.report import Tile

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

COLUMNS, CELL, GAP = 5, 256, 16
_TEXT, _FAINT, _PAPER, _FRAME = "#1c1c1e", "#6b6b70", "#ffffff", "#f1f1f3"
_CAPTION, _HEAD = 15, 22  # heights of letters
_CLOSING = tuple("，。；：！？、）”…")  # never begin a line
_LINES = 9  # of a text that was found

# Files of fonts that hold the characters of both scripts, the better looking first.
_CHINESE = (
    *("NotoSansCJK-Regular.ttc", "NotoSansCJKsc-Regular.otf", "NotoSansSC-Regular.otf"),
    *("NotoSansSC-Regular.ttf", "SourceHanSansSC-Regular.otf", "SourceHanSansCN-Regular.otf"),
    *("PingFang.ttc", "Hiragino Sans GB.ttc", "STHeiti Light.ttc", "msyh.ttc", "Deng.ttf"),
    *("wqy-microhei.ttc", "wqy-zenhei.ttc", "DroidSansFallbackFull.ttf", "DroidSansFallback.ttf"),
    *("simhei.ttf", "simsun.ttc", "uming.ttc", "ArialUni.ttf", "Arial Unicode.ttf"),
)


def write_contact_sheet(file: Path, title: str, cards: tuple[Tile, ...]) -> None:
    """Write the sheet. Chinese characters need a font of the system: see `shows_chinese`.

    Raises DataError where `file` cannot be written."""
    sheet = draw(title, cards)
    with write_whole(file) as unfinished:
        sheet.save(unfinished, "PNG", optimize=True)


def shows_chinese() -> bool:
    """Whether captions in Chinese can be drawn on this machine."""
    return chinese_font() is not None


def draw(title: str, cards: tuple[Tile, ...]) -> Image.Image:
    """The sheet as a picture."""
    columns = max(1, min(COLUMNS, len(cards)))
    rows = -(-len(cards) // columns)
    head = _HEAD + 2 * GAP
    tall = CELL + 3 * _CAPTION + GAP
    width = max(columns * (CELL + GAP) + GAP, 2 * (CELL + GAP))
    sheet = Image.new("RGB", (width, head + rows * tall + GAP), _PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text(
        (GAP, GAP), _fitting(title, load_font(_HEAD), width - 2 * GAP), _TEXT, load_font(_HEAD)
    )
    for number, card in enumerate(cards):
        left = GAP + number % columns * (CELL + GAP)
        _draw_card(sheet, pen, card, (left, head + number // columns * tall))
    return sheet


def _draw_card(
    sheet: Image.Image, pen: ImageDraw.ImageDraw, card: Tile, at: tuple[int, int]
) -> None:
    left, top = at
    font = load_font(_CAPTION)
    pen.rectangle((left, top, left + CELL, top + CELL), _FRAME)
    if card.picture is not None:
        with Image.open(io.BytesIO(card.picture)) as picture:
            small = picture.convert("RGB")
        small.thumbnail((CELL, CELL))
        sheet.paste(small, (left + (CELL - small.width) // 2, top + (CELL - small.height) // 2))
    elif card.text:
        lines = _wrapped(card.text, font, CELL - 2 * GAP)
        pen.multiline_text((left + GAP, top + GAP), "\n".join(lines), _TEXT, font, spacing=6)
    sure = "" if card.confidence is None else f"{card.confidence:.0f}%  "
    pen.text((left, top + CELL + 6), _fitting(sure + card.name, font, CELL), _TEXT, font)
    below = top + CELL + 8 + int(1.3 * _CAPTION)
    pen.text((left, below), _fitting(card.folder, font, CELL, from_end=True), _FAINT, font)


def _fitting(text: str, font: Font, width: int, *, from_end: bool = False) -> str:
    """As much of a line as fits, with … for what does not."""
    text = _drawable(text)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[1:] if from_end else text[:-1]
    return f"…{text}" if from_end else f"{text}…"


def _wrapped(text: str, font: Font, width: int) -> list[str]:
    lines: list[str] = []
    rest = _drawable(" ".join(text.split()))
    while rest and len(lines) < _LINES:
        end = len(rest)
        while end > 1 and font.getlength(rest[:end]) > width:
            end -= max(1, end // 8) if font.getlength(rest[:end]) > 2 * width else 1
        space = rest.rfind(" ", 0, end)
        if end < len(rest) and rest[end] != " " and space > end // 2:
            end = space
        end += rest[end : end + 1] in _CLOSING
        lines.append(rest[:end].strip())
        rest = rest[end:].strip()
    return [*lines[:-1], lines[-1] + " …"] if rest else lines


def _drawable(text: str) -> str:
    """Without what the font has no shape for: a box of Pillow says less than a question mark."""
    known = 0x10FFFF if chinese_font() else 0x2000
    return "".join(c if c.isprintable() and ord(c) <= known else "?" for c in text)


@cache
def chinese_font() -> Path | None:
    """The file of a font with Chinese characters, where this machine has one."""
    wanted = {name.casefold(): place for place, name in enumerate(_CHINESE)}
    found = [
        (wanted[name.casefold()], Path(root, name))
        for folder in _folders()
        for root, _, names in os.walk(folder)
        for name in names
        if name.casefold() in wanted
    ]
    return min(found)[1] if found else None


@cache
def load_font(size: int) -> Font:
    """A font of this size in pixels."""
    file = chinese_font()
    if file is not None:
        return ImageFont.truetype(str(file), size)
    return ImageFont.load_default(size)


def _folders() -> Iterator[Path]:
    if sys.platform == "win32":
        yield Path(os.environ.get("WINDIR", r"C:\Windows")) / "Fonts"
    elif sys.platform == "darwin":
        yield from (Path("/System/Library/Fonts"), Path("/Library/Fonts"))
        yield Path.home() / "Library" / "Fonts"
    else:
        yield from (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"))
        yield from (Path.home() / ".local" / "share" / "fonts", Path.home() / ".fonts")
