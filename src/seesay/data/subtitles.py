"""Subtitle files: SubRip (.srt), WebVTT (.vtt) and Advanced SubStation Alpha (.ass, .ssa).

The formats: https://www.w3.org/TR/webvtt1/ and http://www.tcax.org/docs/ass-specs.htm. SubRip has
no specification: a time line, lines of text, and an empty line.
"""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

from seesay.data.encodings import decode_text

ENDINGS = (".srt", ".vtt", ".ass", ".ssa")

_CLOCK = r"(?:(\d+):)?(\d\d?):(\d\d?)[.,](\d{1,3})"
_CUE = re.compile(rf"^[ \t]*{_CLOCK}[ \t]*-->[ \t]*{_CLOCK}.*\n((?:.*\S.*(?:\n|$))*)", re.M)
_ASS_CLOCK = re.compile(r"(\d+):(\d\d?):(\d\d?)[.:](\d{1,3})")
_MARKUP = re.compile(r"\{\\[^}]*\}|</?[a-zA-Z][^<>]*>|<\d[\d:.]*>")
_BREAK = re.compile(r"\\[Nn]")
_ASS_FIELDS = ("start", "end", "text")


@dataclass(frozen=True, kw_only=True)
class Subtitle:
    """Words that are shown between two times, in seconds from the start of the video."""

    text: str
    start_s: float
    end_s: float


def read_subtitles(data: bytes) -> list[Subtitle]:
    """Returns the subtitles of a file in order of time, without markup; none if it has none. Raises
    DataError if its encoding is unknown."""
    text = decode_text(data).replace("\r\n", "\n").replace("\r", "\n")
    is_ass = "[Events]" in text
    found = [one for one in (_ass(text) if is_ass else _cues(text)) if one.end_s >= one.start_s]
    return sorted((one for one in found if one.text), key=lambda one: (one.start_s, one.end_s))


def plain_text(text: str) -> str:
    """Returns the words of a subtitle, without markup."""
    return html.unescape(_MARKUP.sub("", _BREAK.sub("\n", text)).replace("\\h", " ")).strip()


def _cues(text: str) -> Iterator[Subtitle]:
    for found in _CUE.finditer(text):
        start, end = _seconds(*found.groups()[:4]), _seconds(*found.groups()[4:8])
        yield Subtitle(text=plain_text(found[9]), start_s=start, end_s=end)


def _ass(text: str) -> Iterator[Subtitle]:
    columns = list[str]()
    for line in text.partition("[Events]")[2].splitlines():
        name, _, rest = line.partition(":")
        if name == "Format":
            columns = [one.strip().lower() for one in rest.split(",")]
        elif name == "Dialogue" and set(_ASS_FIELDS) <= set(columns):
            # The text stands last and may hold commas; a damaged line may have fewer columns.
            cells = dict(zip(columns, rest.split(",", len(columns) - 1), strict=False))
            times = [_ASS_CLOCK.fullmatch(cells.get(one, "").strip()) for one in _ASS_FIELDS[:2]]
            if times[0] and times[1]:
                start, end = (_seconds(*time.groups()) for time in times if time)
                yield Subtitle(text=plain_text(cells.get("text", "")), start_s=start, end_s=end)


def _seconds(hours: str | None, minutes: str, seconds: str, fraction: str) -> float:
    whole = 3600 * int(hours or 0) + 60 * int(minutes) + int(seconds)
    return whole + int(fraction) / 10 ** len(fraction)
