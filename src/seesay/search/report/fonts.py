"""A font for captions: one of the system's with Chinese characters, else the one inside Pillow."""

import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Files of fonts that hold the characters of both scripts, the better looking first.
_CHINESE = (
    *("NotoSansCJK-Regular.ttc", "NotoSansCJKsc-Regular.otf", "NotoSansSC-Regular.otf"),
    *("NotoSansSC-Regular.ttf", "SourceHanSansSC-Regular.otf", "SourceHanSansCN-Regular.otf"),
    *("PingFang.ttc", "Hiragino Sans GB.ttc", "STHeiti Light.ttc", "msyh.ttc", "Deng.ttf"),
    *("wqy-microhei.ttc", "wqy-zenhei.ttc", "DroidSansFallbackFull.ttf", "DroidSansFallback.ttf"),
    *("simhei.ttf", "simsun.ttc", "uming.ttc", "ArialUni.ttf", "Arial Unicode.ttf"),
)


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
