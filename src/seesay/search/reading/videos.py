"""Videos: a passage for each moment, with the pixels of its frame, and the subtitles as texts.

A moment is a shot, or a part of a long one. Shots are found by comparing small key frames: encoders
begin a new one where the picture changes, and they cost a twentieth of all frames. A file of
gigabytes is never in memory: frames come one at a time.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from math import ceil
from typing import TYPE_CHECKING

from PIL import Image

from seesay.data.files import open_file
from seesay.data.squares import square
from seesay.data.subtitles import ENDINGS as SUBTITLE_ENDINGS
from seesay.data.subtitles import Subtitle, read_subtitles
from seesay.data.video import ENDINGS, Video, VideoLimits, duration
from seesay.errors import DataError, MissingExtraError
from seesay.search.catalog.drafts import Place
from seesay.search.catalog.metadata import Metadata
from seesay.search.reading.blocks import Block, passages_of
from seesay.search.reading.dates import read_date
from seesay.search.reading.files import FileData, RefusedError
from seesay.search.reading.messages import FileContent, FileReader, Passage, ReadSettings
from seesay.search.reading.pictures import fingerprint
from seesay.text import Text

if TYPE_CHECKING:  # numpy takes longer to import than a picture to read
    import numpy as np

MEDIA_TYPE = "video"
LONGEST_S = 12.0
"""Longest moment, in seconds, of a video with room for all of its moments."""
MOST_MOMENTS = 400
"""Most moments of a video."""
LIMITS = VideoLimits(max_duration_s=24 * 3600.0, max_file_bytes=2**40)
_MOST_BYTES = 64 * 2**20  # of the pixels of all moments: they travel together
_SHORTEST_S = 1.0
_LEVELS = 32  # of a colour channel, for histograms
# A cut changes the picture by more than twice what its neighbourhood changes. Below _LITTLE lies
# the noise of a camera that stands still; above _MUCH, different scenes.
_NEARBY, _RATIO = 12, 2.0
_LITTLE, _MUCH = 0.06, 0.25
_LOOK_S = 0.5  # between two looks
_MOST_LOOKS = 8_000
_SHORT_S = 60.0  # a video for which every frame is decoded
_MOST_BETWEEN_S = 900.0  # of a longer one
_SIDE = 32  # pixels of the pictures that are compared
_SECONDS_PER_MIB = 1.0  # more than twice what decoding every frame takes
_MOST_SUBTITLE_BYTES = 8 * 2**20
_MOST_SUBTITLE_FILES = 8
_RECORDED = ("com.apple.quicktime.creationdate", "creation_time", "date")
_FIRST_RECORDING = 1971  # a clock that was never set says 1904 or 1970


def read_video(file: FileData, settings: ReadSettings, payloads: bool) -> FileContent:
    """Returns the moments of a video, then the passages of its subtitles. Raises RefusedError."""
    most = min(MOST_MOMENTS, max(_MOST_BYTES // len(_pixels_of(_BLANK, settings)), 1))
    try:
        with Video(file.path, LIMITS, whole=False, threads=1) as video:
            edges, shots = _moments(video, most)
            frames = list(_frames(video, edges, settings, payloads))
            metadata = _metadata(video)
            is_whole, subtitles = video.is_whole, [video.subtitles, *_beside(file.path)]
    except MissingExtraError as error:
        raise RefusedError("codec", error.text) from None
    except DataError as error:
        raise RefusedError("decode", error.text) from None
    if not frames:
        raise RefusedError("decode", _UNDECODABLE)
    texts = (one for some in subtitles for one in _texts(some))
    passages = [replace(one, metadata={**metadata, **one.metadata}) for one in (*frames, *texts)]
    complaint = _PART if not is_whole else _TOO_MANY.format(most=most) if shots > most else None
    return FileContent(passages=tuple(passages), complaint=complaint)


def show_moment(file: FileData, place: Place, side: int) -> Image.Image:
    """Returns the frame of a moment or subtitle as an RGB picture whose longest side is at most
    `side` pixels. Raises RefusedError."""
    start = place.start_s or 0.0
    try:
        with Video(file.path, LIMITS, scan=False, whole=False, threads=1) as video:
            image = video.moment(start, start if place.end_s is None else place.end_s)
    except MissingExtraError as error:
        raise RefusedError("codec", error.text) from None
    except DataError as error:
        raise RefusedError("decode", error.text) from None
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return image


def cuts(times: Sequence[float], pictures: "np.ndarray") -> list[tuple[float, float]]:
    """Returns the times at which shots begin, apart from the first, each with how much the picture
    changes there (0 to 1). Pictures are small frames in
    RGB [looks, side, side, 3]."""
    import numpy as np

    if len(times) < 2:
        return []
    changes = _changes(pictures)
    found: list[tuple[float, float]] = []
    for at, change in enumerate(changes):
        around = np.delete(changes[max(at - _NEARBY, 0) : at + _NEARBY + 1], min(at, _NEARBY))
        usual = float(np.median(around)) if len(around) else 0.0
        if change < min(max(_RATIO * usual, _LITTLE), _MUCH):
            continue
        before = found[-1][0] if found else times[0]
        if times[at + 1] - before >= _SHORTEST_S:
            found.append((times[at + 1], float(change)))
    return found


def _changes(pictures: "np.ndarray") -> "np.ndarray":
    """Returns how much each picture differs from the one before it: the mean of the differences of
    their pixels, and of the shift of their histograms, which motion hardly changes."""
    import numpy as np

    small = pictures.astype(np.int16)
    pixels = np.array([np.abs(one - other).mean() for one, other in pairwise(small)]) / 255
    coloured = (pictures >> 3) + np.array([0, _LEVELS, 2 * _LEVELS], np.uint8)
    counts = np.stack([np.bincount(one.ravel(), minlength=3 * _LEVELS) for one in coloured])
    shares = counts.reshape(len(pictures), 3, _LEVELS) / pictures[0, ..., 0].size
    shift = np.abs(np.diff(shares.cumsum(-1), axis=0)).mean((1, 2))
    return (pixels + shift) / 2


def _moments(video: Video, most: int) -> tuple[list[float], int]:
    """Returns where each moment starts, and the end of the last; and how many moments there would
    be without a limit."""
    end = max(duration(video.times), video.times[-1], 0.001)
    step = max(_LOOK_S, end / _MOST_LOOKS)
    found = _cuts_of(video, LONGEST_S if end > _SHORT_S else _LOOK_S, step)
    wanted = len(_divided([0.0, *(time for time, _ in found), end], LONGEST_S)) - 1
    if wanted <= most:
        return _divided([0.0, *(time for time, _ in found), end], LONGEST_S), wanted
    # The strongest cuts take half of the room, even parts of long shots the rest.
    strongest = sorted(found, key=lambda cut: -cut[1])[: most // 2]
    starts = [0.0, *sorted(time for time, _ in strongest), end]
    return _divided(starts, max(LONGEST_S, end / max(most - len(starts) + 1, 1))), wanted


def _cuts_of(video: Video, gap: float, step: float) -> list[tuple[float, float]]:
    """Returns the cuts, to `step` seconds. Not every encoder begins a key frame at a cut: where two
    of them differ, the frames between them are compared too."""
    import numpy as np

    looks = dict(video.looks(gap, step, _SIDE))
    if not looks:
        raise DataError(_UNDECODABLE)
    times = sorted(looks)
    found = cuts(times, np.stack([looks[time] for time in times]))
    left = _MOST_BETWEEN_S
    for end, _ in found:
        start = times[times.index(end) - 1]
        if 2 * step < end - start <= left:
            left -= end - start
            looks |= dict(video.looks_between(start, end, step, _SIDE))
    times = sorted(looks)
    return cuts(times, np.stack([looks[time] for time in times]))


def _divided(edges: Sequence[float], longest: float) -> list[float]:
    parts = list[float]()
    for start, end in pairwise(edges):
        count = max(ceil((end - start) / longest - 1e-6), 1)
        parts += [start + (end - start) * part / count for part in range(count)]
    return [*parts, edges[-1]]


def _frames(
    video: Video, edges: Sequence[float], settings: ReadSettings, payloads: bool
) -> Iterator[Passage]:
    """Yields a passage for each moment of which a frame can be decoded."""
    waiting: dict[int, list[tuple[float, float]]] = {}
    for start, end in pairwise(edges):
        waiting.setdefault(video.moment_number(start, end), []).append((start, end))
    while waiting:
        try:
            for frame in video.frames(list(waiting)):
                for start, end in waiting.pop(frame.number):
                    yield _moment(frame.image, (start, end), settings, payloads)
        except DataError:  # leave out the first that is left: it cannot be decoded
            video.is_whole = False
            del waiting[min(waiting)]


def _moment(
    image: Image.Image, time: tuple[float, float], settings: ReadSettings, payloads: bool
) -> Passage:
    return Passage(
        media_type="moment",
        modality="image",
        place=Place(start_s=round(time[0], 3), end_s=round(time[1], 3)),
        metadata={"width": image.width, "height": image.height},
        fingerprint=fingerprint(image),
        payload=_pixels_of(image, settings) if payloads else b"",
    )


def _pixels_of(image: Image.Image, settings: ReadSettings) -> bytes:
    return square(image, settings.transform).tobytes()


def _metadata(video: Video) -> Metadata:
    found: Metadata = {"duration": round(max(duration(video.times), video.times[-1]), 3)}
    if (rate := video.frame_rate) is not None:
        found = {**found, "frame_rate": round(rate, 3)}
    tags = {name.lower(): value for name, value in video.tags.items()}
    for name in _RECORDED:
        date = read_date(tags.get(name, ""))
        if date is not None and _FIRST_RECORDING <= date.year < 2200:
            return {**found, "date": date}
    return found


def _beside(path: str) -> Iterator[list[Subtitle]]:
    """Yields the subtitles of the files beside a video, such as film.srt and film.zh.srt."""
    folder, name = os.path.split(path)
    stem = os.path.splitext(name)[0]
    with suppress(OSError):
        names = sorted(
            one
            for one in os.listdir(folder)
            if one.startswith(f"{stem}.") and one.lower().endswith(SUBTITLE_ENDINGS)
        )
        for one in names[:_MOST_SUBTITLE_FILES]:
            with suppress(OSError, DataError), open_file(os.path.join(folder, one)) as stream:
                data = stream.read(_MOST_SUBTITLE_BYTES + 1)
                if len(data) <= _MOST_SUBTITLE_BYTES:
                    yield read_subtitles(data)


def _texts(subtitles: Sequence[Subtitle]) -> Iterator[Passage]:
    yield from passages_of(
        Block(text=one.text, place=Place(start_s=one.start_s, end_s=one.end_s)) for one in subtitles
    )


def _is_video(data: bytes) -> bool:
    """Whether a file starts like a video, whatever its name."""
    starts = (b"\x1aE\xdf\xa3", b"FLV\x01", b"\0\0\1\xba", b"0&\xb2u\x8ef\xcf\x11")
    in_boxes = data[4:8] in (b"ftyp", b"moov", b"wide") and data[8:12] not in _OTHER_BRANDS
    return data.startswith(starts) or in_boxes or (data[:4], data[8:12]) == (b"RIFF", b"AVI ")


_OTHER_BRANDS = (  # sound and pictures in the same boxes
    *(b"M4A ", b"M4B ", b"avif", b"avis", b"crx ", b"heic", b"heix", b"heim", b"heis", b"hevc"),
    *(b"hevx", b"mif1", b"msf1"),
)
_BLANK = Image.new("RGB", (8, 8))
_UNDECODABLE = Text(
    "none of its frames can be decoded. Expected an intact video. Copy or download it again, or "
    "convert it to MP4.",
    "没有一帧能解码；应为完好的视频；请重新复制或下载，或转换成 MP4",
)
_PART = Text(
    "a part of it is missing or damaged, and only the rest can be found. Expected a whole video. "
    "Copy or download it again.",
    "有一部分缺失或损坏，只能搜到其余部分；应为完整的视频；请重新复制或下载",
)
_TOO_MANY = Text(
    "it has more shots than the {most} moments that a video may have, so short ones are not found. "
    "Expected a shorter video. Divide it if every shot counts.",
    "镜头太多，超过每个视频 {most} 个片段的上限，较短的镜头搜不到；应为较短的视频；"
    "如果每个镜头都要能搜到，请把它分成几段",
)

READER = FileReader(
    media_type=MEDIA_TYPE,
    endings=frozenset((*ENDINGS, ".mts", ".m2ts", ".3g2", ".asf")) - {".ts"},  # TypeScript, mostly
    read=read_video,
    recognises=_is_video,
    show=show_moment,
    is_text=False,
    from_disk=True,
    seconds_per_mib=_SECONDS_PER_MIB,
)
