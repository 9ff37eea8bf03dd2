"""A video file -> upright frames with their times; limits are checked before the costly work.

    with Video("cat.mp4") as video:
        for frame in video.frames(sample_frames(video.times, QWEN_SAMPLING)):
            frame.image, frame.time_s

Needs PyAV, the extra `video`. Frames come one at a time, so a caller can resize each before the
next is decoded: a minute of 4K is 45 GB of pixels.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from PIL import Image

from seesay.data.subtitles import Subtitle, plain_text
from seesay.errors import ConfigError, DataError, MissingExtraError
from seesay.text import Text

if TYPE_CHECKING:
    import numpy as np

# Containers that hold their own pictures. FFmpeg also reads playlists (HLS, DASH, concat), which
# name other files and addresses: an untrusted video would make this computer open them.
_CONTAINERS = "mov,matroska,webm,avi,mpegts,mpeg,flv,ogg,gif,asf,mpegvideo,h264,hevc,ivf,rm,wtv,nut"
_OPTIONS = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}
_TEXT_CODECS = frozenset(("ass", "mov_text", "srt", "ssa", "subrip", "text", "webvtt"))
# FFmpeg's display matrix turns a frame counterclockwise by these degrees.
_UPRIGHT = {
    90: Image.Transpose.ROTATE_90,
    180: Image.Transpose.ROTATE_180,
    270: Image.Transpose.ROTATE_270,
}
ENDINGS = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg"),
    *(".mpeg", ".ts", ".flv", ".ogv", ".wmv", ".3gp"),
)
_SHORT_BY = 0.1  # fraction of the declared length, or seconds, that may be missing
_MOST_SUBTITLES = 100_000
_TOLERANCE_S = 0.002  # times that containers round to milliseconds


@dataclass(frozen=True, kw_only=True)
class VideoLimits:
    """Limits on the cost of a video."""

    max_file_bytes: int = 8 * 2**30
    """Largest file to open."""
    max_duration_s: float = 6 * 3600.0
    """Longest video to read, in seconds."""
    max_pixels: int = 40 * 2**20
    """Most pixels in a frame; 8K has 33 million."""
    max_frames: int = 2_000_000
    """Most frames in the file."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value <= 0:
                raise ConfigError(
                    Text(
                        f"{name}={value} lets no video through; give a positive number",
                        f"{name}={value} 会拒绝所有视频；应为正数；请改正",
                    )
                )


@dataclass(frozen=True, kw_only=True)
class FrameSampling:
    """Which frames a model sees. The defaults are qwen-vl-utils' (smart_nframes)."""

    fps: float | None = 2.0
    """Frames per second of video."""
    count: int | None = None
    """Or this many frames, whatever the length; a video with fewer gives all of them."""
    least: int = 4
    """Fewest frames when `fps` is given."""
    most: int = 768
    """Most frames when `fps` is given."""
    multiple: int = 2
    """The number of frames is rounded down to a multiple of this."""
    spacing: Literal["ends", "starts", "middles"] = "ends"
    """The first, the last and evenly spaced ones between (Qwen); the same, rounding down (LLaVA);
    or the middle of each of `count` equal parts (InternVL)."""

    def __post_init__(self) -> None:
        if (self.fps is None) == (self.count is None):
            raise ConfigError(
                Text(
                    f"fps={self.fps} and count={self.count} do not say how many frames to take; "
                    "expected one of them; set the other to None.",
                    f"fps={self.fps}、count={self.count} 没有确定取多少帧；应只给出其中之一；请把"
                    "另一个设为 None",
                )
            )
        numbers = self.fps or self.count or 0, self.least, self.multiple
        if min(numbers) <= 0 or self.most < self.least:
            raise ConfigError(
                Text(
                    f"fps={self.fps}, count={self.count}, least={self.least}, most={self.most} and "
                    f"multiple={self.multiple} allow no frame, expected positive numbers and "
                    "least <= most; correct them.",
                    f"fps={self.fps}、count={self.count}、least={self.least}、most={self.most}、"
                    f"multiple={self.multiple} 取不到任何帧；应全为正数，且 least <= most；请改正",
                )
            )


QWEN_SAMPLING = FrameSampling()
LLAVA_SAMPLING = FrameSampling(fps=None, count=32, multiple=1, spacing="starts")
INTERNVL_SAMPLING = FrameSampling(fps=None, count=8, multiple=1, spacing="middles")


def sample_frames(times: Sequence[float], sampling: FrameSampling) -> list[int]:
    """Returns the numbers of the frames to take, ascending, from all frame times in seconds."""
    import numpy as np

    total = len(times)
    count = sample_count(total, duration(times), sampling)
    if sampling.spacing == "middles":
        part = (total - 1) / count
        return [int(part / 2 + round(part * number)) for number in range(count)]
    even = np.linspace(0, total - 1, count)
    return [int(n) for n in (even.round() if sampling.spacing == "ends" else even)]


def sample_count(total: int, seconds: float, sampling: FrameSampling) -> int:
    """Returns how many frames to take from a video of `total` frames."""
    if sampling.fps is None:
        count = sampling.count or 1
    else:
        wanted = round(seconds * sampling.fps, 6)  # 300 frames at 10 fps last 29.999999999999996 s
        count = int(min(max(wanted, sampling.least), sampling.most))
    count = min(count, total)
    if total > sampling.multiple:
        count -= count % sampling.multiple
    return max(count, 1)


def duration(times: Sequence[float]) -> float:
    """Returns the seconds from the first frame to the end of the last, assuming it lasts as long as
    the others."""
    if len(times) < 2:
        return 0.0
    return (times[-1] - times[0]) * len(times) / (len(times) - 1)


@dataclass(frozen=True)
class VideoFrame:
    """A frame of a video."""

    image: Image.Image
    """Upright, RGB."""
    time_s: float
    """Seconds since the first frame."""
    number: int
    """Counted from 0 in time order."""


class Video:
    """An open video file. Raises DataError, naming the file, if it cannot be read.

    Opening it reads the file once without decoding, to get the time of each frame; `scan=False`
    leaves that out, and then only `moment` works. A file that is damaged or truncated is refused,
    or, with `whole=False`, read as far as it goes, and `is_whole` is False.
    """

    def __init__(
        self,
        file: str | Path,
        limits: VideoLimits | None = None,
        *,
        scan: bool = True,
        whole: bool = True,
        threads: int = 0,
    ) -> None:
        self.label = Path(file).name
        self.limits = limits or VideoLimits()
        self.is_whole = True
        self.subtitles: list[Subtitle] = []
        """Those in the file, as text."""
        self._must_be_whole = whole
        _check_file(Path(file), self.limits)
        self._av = _pyav()
        with self._damage():
            self._container = self._av.open(str(file), options=_OPTIONS)
        try:
            self._prepare(scan, threads)
        except BaseException:
            self._container.close()
            raise

    def _prepare(self, scan: bool, threads: int) -> None:
        self._stream = self._picture_stream()
        with self._damage():
            if threads:
                self._stream.codec_context.thread_count = threads
            width, height = self._stream.codec_context.width, self._stream.codec_context.height
            self._check(width, height)
            self._base = self._stream.time_base
            self._first = self._stream.start_time or 0
            if not scan:
                return
            self._stamps, self._starts = self._read_stamps()
        self._first = self._stamps[0]
        self.times = [self._time(stamp) for stamp in self._stamps]
        """Seconds since the first frame, for every frame."""
        self.key_times = [self.times[number] for number in self._starts]
        """Times of the frames where decoding can start."""
        self._check_whole()

    def _time(self, stamp: int) -> float:
        return float((stamp - self._first) * self._base)

    @property
    def frame_rate(self) -> float | None:
        """Frames per second, on average."""
        rate = self._stream.average_rate
        return float(rate) if rate else None

    @property
    def tags(self) -> dict[str, str]:
        """What the container says of itself, such as "creation_time"."""
        return {**self._stream.metadata, **self._container.metadata}

    def __enter__(self) -> "Video":
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._container.close()

    def frames(self, numbers: Sequence[int]) -> Iterator[VideoFrame]:
        """Yields the frames with these ascending numbers. Seeks when a key frame lies between
        two."""
        wanted = sorted(set(numbers))
        if wanted and not 0 <= wanted[0] <= wanted[-1] < len(self._stamps):
            raise ConfigError(
                Text(
                    f"frame {wanted[-1] if wanted[0] >= 0 else wanted[0]} of {self.label} does not "
                    f"exist, expected numbers from 0 to {len(self._stamps) - 1}; sample from its "
                    "times.",
                    f"{self.label} 没有第 {wanted[-1] if wanted[0] >= 0 else wanted[0]} 帧；帧号应"
                    f"为 0 到 {len(self._stamps) - 1}；请按视频的时间取帧",
                )
            )
        with self._damage():
            yield from self._decoded(wanted)

    def _decoded(self, wanted: list[int]) -> Iterator[VideoFrame]:
        numbers = {stamp: number for number, stamp in enumerate(self._stamps)}
        left = iter(wanted)
        number = next(left, None)
        while number is not None:
            at = bisect_right(self._starts, number)
            start = self._starts[at - 1] if at else 0
            later = self._starts[at] if at < len(self._starts) else len(self._stamps)
            self._container.seek(self._stamps[start], stream=self._stream)
            for frame in self._container.decode(self._stream):
                seen = numbers.get(frame.pts, -1)
                if seen < number:
                    continue
                if seen > number:
                    raise self._broken(number)
                yield VideoFrame(self._upright(frame), self.times[number], number)
                number = next(left, None)
                if number is None or number > later:
                    break
            else:
                if number is not None:
                    raise self._broken(number)

    def looks(self, gap_s: float, step_s: float, side: int) -> Iterator[tuple[float, "np.ndarray"]]:
        """Yields times and small square pictures [side, side, 3] of the key frames, at least
        `step_s` apart; and of frames between them where these are more than `gap_s` apart, and
        after the last.

        Key frames cost a twentieth of all frames. What cannot be decoded is left out. The times are
        not in order."""
        last = -step_s
        with self._damage():
            self._container.seek(self._stamps[0], stream=self._stream)
            self._stream.codec_context.skip_frame = "NONINTRA"
            for frame in self._soundly(self._container.demux(self._stream)):
                time = self._time(frame.pts)
                if time - last >= step_s - _TOLERANCE_S:
                    last = time
                    yield time, self._small(frame, side)
            self._stream.codec_context.skip_frame = "DEFAULT"
        edges = [*self.key_times, self.times[-1] + 2 * _TOLERANCE_S]
        for start, end in pairwise(edges):
            if end - start > gap_s or end == edges[-1]:
                yield from self.looks_between(start, end, step_s, side)

    def looks_between(
        self, start_s: float, end_s: float, step_s: float, side: int
    ) -> Iterator[tuple[float, "np.ndarray"]]:
        """Like `looks`, for all frames between two times, exclusive."""
        with self._damage():
            self._container.seek(self._stamp(start_s), stream=self._stream)
            last = start_s
            for frame in self._soundly(self._container.demux(self._stream)):
                time = self._time(frame.pts)
                if time >= end_s - _TOLERANCE_S:
                    break
                if time - last >= step_s - _TOLERANCE_S:
                    last = time
                    yield time, self._small(frame, side)

    def _soundly(self, packets: Iterator[Any]) -> Iterator[Any]:
        """Yields the frames that can be decoded."""
        for packet in packets:
            try:
                frames = packet.decode()
            except self._av.FFmpegError:
                self.is_whole = False
                continue
            yield from (frame for frame in frames if frame.pts is not None)

    def _small(self, frame: Any, side: int) -> "np.ndarray":
        self._check(frame.width, frame.height)
        small = frame.reformat(width=side, height=side, format="rgb24", interpolation="AREA")
        return small.to_ndarray()

    def moment_number(self, start_s: float, end_s: float) -> int:
        """Returns the number of the frame that stands for a moment: the last key frame before its
        middle, or, if that lies before the moment, the frame in the middle."""
        middle = (start_s + end_s) / 2
        at = bisect_right(self.key_times, middle + _TOLERANCE_S)
        if at and self.key_times[at - 1] >= start_s - _TOLERANCE_S:
            return self._starts[at - 1]
        return min(bisect_left(self.times, middle - _TOLERANCE_S), len(self.times) - 1)

    def moment(self, start_s: float, end_s: float) -> Image.Image:
        """Returns the same frame as `moment_number`, from a file that was not scanned. Raises
        DataError if it cannot be decoded."""
        middle, last = (start_s + end_s) / 2, None
        with self._damage():
            self._container.seek(self._stamp(middle + _TOLERANCE_S), stream=self._stream)
            for frame in self._soundly(self._container.demux(self._stream)):
                time = self._time(frame.pts)
                key_frame_inside = last is None and time >= start_s - _TOLERANCE_S
                last = frame
                if key_frame_inside or time >= middle - _TOLERANCE_S:
                    break
            if last is None:
                raise self._av.FFmpegError(0, "no frame can be decoded")
            return self._upright(last)

    def _stamp(self, time_s: float) -> int:
        return self._first + round(time_s / self._base)

    def _upright(self, frame: Any) -> Image.Image:
        self._check(frame.width, frame.height)
        image: Image.Image = frame.to_image()
        turn = _UPRIGHT.get(round(frame.rotation / 90) * 90 % 360)
        return image if turn is None else image.transpose(turn)

    def _picture_stream(self) -> Any:
        for stream in self._container.streams.video:
            if not stream.disposition & self._av.stream.Disposition.attached_pic:
                stream.thread_type = "AUTO"
                return stream
        raise DataError(
            Text(
                f"{self.label} has no pictures, only sound or data; expected a video. Choose "
                "another file.",
                f"{self.label} 没有画面，只有声音或数据；应为视频；请换一个文件",
            )
        )

    def _read_stamps(self) -> tuple[list[int], list[int]]:
        """Returns the timestamp of each frame in order, and the numbers of the frames where
        decoding can start."""
        stamps: dict[int, bool] = {}
        self._end = 0.0
        for packet in self._packets():
            stamp = packet.pts if packet.pts is not None else packet.dts
            if packet.size == 0 or stamp is None:
                continue
            self._end = max(self._end, float((stamp + (packet.duration or 0)) * packet.time_base))
            if packet.stream.type == "subtitle":
                self._add_subtitle(packet)
            if packet.stream.index != self._stream.index or packet.is_discard:
                continue
            if packet.is_corrupt:
                self._refuse_part()
                continue
            stamps[stamp] = packet.is_keyframe
            if len(stamps) > self.limits.max_frames:
                raise self._too_large(f"more than {len(stamps) - 1:,}", "frames", "max_frames")
        if not stamps:
            raise DataError(
                Text(
                    f"{self.label} has no frames; expected a video with at least one. Choose "
                    "another file.",
                    f"{self.label} 里没有任何帧；应为至少有一帧的视频；请换一个文件",
                )
            )
        ordered = sorted(stamps)
        return ordered, [number for number, stamp in enumerate(ordered) if stamps[stamp]]

    def _packets(self) -> Iterator[Any]:
        try:
            yield from self._container.demux()
        except self._av.FFmpegError:  # in the middle of the file
            if self._must_be_whole:
                raise
            self.is_whole = False

    def _add_subtitle(self, packet: Any) -> None:
        codec = packet.stream.codec_context
        if codec is None or codec.name not in _TEXT_CODECS or not packet.duration:
            return
        if len(self.subtitles) >= _MOST_SUBTITLES:
            return
        start, length = float(packet.pts * packet.time_base), packet.duration * packet.time_base
        begin = (self._container.start_time or 0) / self._av.time_base
        try:
            parts = [one.dialogue or one.text for one in packet.decode()]
        except (self._av.FFmpegError, AttributeError):  # AttributeError: a picture
            return
        text = plain_text("\n".join(part.decode("utf-8", "replace") for part in parts))
        if text:
            start -= begin
            self.subtitles.append(
                Subtitle(text=text, start_s=max(start, 0.0), end_s=start + float(length))
            )

    def _refuse_part(self) -> None:
        """Raises DataError for a file that is not whole, unless a part will do."""
        self.is_whole = False
        if self._must_be_whole:
            raise self._cut_off()

    def _check_whole(self) -> None:
        """Raises DataError for a truncated file, which still declares its full length."""
        stream, length = self._stream, duration(self.times)
        if length > self.limits.max_duration_s:
            raise self._too_large(f"{length:,.0f}", "seconds", "max_duration_s")
        begin, declared = (
            (time or 0) / self._av.time_base
            for time in (self._container.start_time, self._container.duration)
        )
        missing = declared - (self._end - begin)  # the end of any stream: sound often ends later
        few = len(self.times) < (1 - _SHORT_BY) * stream.frames
        if few or missing > max(_SHORT_BY * declared, _SHORT_BY):
            self._refuse_part()

    def _check(self, width: int, height: int) -> None:
        if width * height > self.limits.max_pixels:
            raise self._too_large(f"{width} x {height}", "pixels", "max_pixels")

    def _too_large(self, value: str, what: str, limit: str) -> DataError:
        most = getattr(self.limits, limit)
        return too_large(self.label, f"{value} {what}", limit, most)

    def _cut_off(self) -> DataError:
        return DataError(
            Text(
                f"{self.label} ends before its declared length; expected a complete video. Copy or "
                "download it again.",
                f"{self.label} 比它声明的长度短，文件不完整；应为完整的视频；请重新复制或下载",
            )
        )

    def _broken(self, number: int) -> DataError:
        return DataError(
            Text(
                f"frame {number} of {self.label} cannot be decoded; expected a complete video. "
                "Copy or download it again.",
                f"{self.label} 的第 {number} 帧无法解码；应为完整的视频；请重新复制或下载",
            )
        )

    @contextmanager
    def _damage(self) -> Iterator[None]:
        try:
            yield
        except (self._av.FFmpegError, OSError, ValueError, RuntimeError, IndexError) as error:
            reason = getattr(error, "strerror", None) or error  # without the path
            raise DataError(
                Text(
                    f"{self.label} cannot be read as a video ({reason}); expected a complete file "
                    "such as MP4, MOV, MKV, WebM or AVI. Copy it again, or convert it.",
                    f"{self.label} 无法作为视频读取（{reason}）；应为完整的 MP4、MOV、MKV、WebM 或 "
                    "AVI 等文件；请重新复制，或先转换格式",
                )
            ) from error


def too_large(label: str, value: str, limit: str, most: int | float) -> DataError:
    """Returns the error for a video that exceeds one of `VideoLimits`."""
    return DataError(
        Text(
            f"{label} has {value}, expected at most {most:,g}; cut or convert it, or raise "
            f"{limit}.",
            f"{label} 有 {value}，超出上限 {most:,g}；请剪短或转换，或调高 {limit}",
        )
    )


def _check_file(file: Path, limits: VideoLimits) -> None:
    try:
        size = file.stat().st_size
    except OSError as error:
        raise DataError(
            Text(
                f"{file.name} cannot be opened ({error.strerror}); expected a video file. Check "
                "the path.",
                f"{file.name} 无法打开（{error.strerror}）；应为视频文件；请检查路径",
            )
        ) from error
    if size == 0 or not file.is_file():
        raise DataError(
            Text(
                f"{file.name} is empty or not a file; expected a video. Copy or download it again.",
                f"{file.name} 是空的，或者不是文件；应为视频；请重新复制或下载",
            )
        )
    if size > limits.max_file_bytes:
        raise too_large(file.name, f"{size:,} bytes", "max_file_bytes", limits.max_file_bytes)


def _pyav() -> Any:
    try:
        return import_module("av")
    except ImportError as error:
        raise MissingExtraError("av", "video") from error


def is_video(source: object) -> bool:
    """Whether a source is the path of a video, by its extension."""
    return isinstance(source, str | Path) and Path(source).suffix.lower() in ENDINGS


def read_frames(
    file: str | Path,
    sampling: FrameSampling = QWEN_SAMPLING,
    limits: VideoLimits | None = None,
    *,
    resize: Callable[[Image.Image], Image.Image] | None = None,
) -> list[VideoFrame]:
    """Returns the sampled frames of a file, each resized as soon as it is decoded.

    Raises DataError for a file that is broken, truncated, without pictures or beyond the limits,
    and MissingExtraError without PyAV.
    """
    with Video(file, limits) as video:
        result = []
        for frame in video.frames(sample_frames(video.times, sampling)):
            image = frame.image if resize is None else resize(frame.image)
            result.append(VideoFrame(image, frame.time_s, frame.number))
        return result


def patch_times(frames: Sequence[VideoFrame], together: int) -> list[float]:
    """Returns the middle time of every `together` frames, which Qwen3-VL writes into the prompt;
    the last frame is repeated to fill the last group."""
    times = [frame.time_s for frame in frames]
    times += times[-1:] * (-len(times) % together)
    return [(times[n] + times[n + together - 1]) / 2 for n in range(0, len(times), together)]
