"""What one file may cost, as it is typed: 200M pixels, 2G bytes, 60 seconds."""

import re
from typing import TYPE_CHECKING

from seesay.cli.messages import say
from seesay.errors import ConfigError

if TYPE_CHECKING:
    from seesay.search.reading.files import ReadLimits

_MOST = 10**15
_TIMES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
_BESIDE = 2**30  # bytes that a process needs besides the file and its pixels
_COPIES, _PIXEL_BYTES = 4, 8  # that are in memory at the worst moment


def read_limits(
    max_pixels: str | None, max_file_size: str | None, seconds: float | None
) -> "ReadLimits":
    """The limits, None for what is usual. Who allows larger files allows the memory for them.
    Raises ConfigError for what is no amount."""
    from seesay.search.reading.files import ReadLimits

    usual = ReadLimits()
    pixels = _amount(max_pixels, "--max-pixels") or usual.max_pixels
    size = _amount(max_file_size, "--max-file-size")
    largest = size or usual.max_file_bytes
    return ReadLimits(
        max_file_bytes=largest,
        max_text_bytes=size or usual.max_text_bytes,
        max_pixels=pixels,
        memory_bytes=max(
            usual.memory_bytes, _BESIDE + _PIXEL_BYTES * pixels, _BESIDE + _COPIES * largest
        ),
        seconds=usual.seconds if seconds is None else seconds,
    )


def _amount(text: str | None, option: str) -> int | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]?)b?", text.strip().lower())
    amount = float(found[1]) * _TIMES[found[2]] if found else 0
    if not 1 <= amount <= _MOST:
        raise ConfigError(
            say(
                f"{option} {text} is no amount; expected a number from 1 to 1000000G; write it as "
                "in 200M or 2G",
                f"{option} {text} 不能用；应为 1 到 1000000G 之间的数；请写成 200M 或 2G 这样",
            )
        )
    return round(amount)
