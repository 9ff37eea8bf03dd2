"""Frames of videos, which the tests write themselves."""

import struct
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seesay.data import video
from seesay.data.video import FrameSampling, Video, VideoLimits, read_frames, sample_frames
from seesay.errors import ConfigError, DataError, MissingExtraError

av = pytest.importorskip("av")

WIDTH, HEIGHT, FPS = 64, 48, 10


def grey(number: int) -> int:
    """The brightness of a frame says which one it is, and survives compression."""
    return 20 + 6 * number


def write_video(file: Path, frames: int = 30, *, key_every: int = 8, **options) -> Path:
    """Grey frames at 10 a second; the left quarter is white, so that a turn is seen."""
    with av.open(str(file), "w", options=options.get("container", {})) as container:
        stream = container.add_stream(options.get("codec", "mpeg4"), rate=FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.gop_size = key_every
        times = options.get("times", range(frames))
        container.start_encoding()  # writes the head of the file even without a frame
        stream.codec_context.time_base = Fraction(1, FPS)
        for number, time in zip(range(frames), times, strict=True):
            pixels = np.full((HEIGHT, WIDTH, 3), grey(number), np.uint8)
            pixels[:, : WIDTH // 4] = 255
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file


def write_sound(file: Path) -> Path:
    with av.open(str(file), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts = 44100, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file


def turn(file: Path, degrees: int) -> Path:
    """Writes the matrix of a camera that was held `degrees` clockwise into an MP4's track."""
    data = bytearray(file.read_bytes())
    at = data.index(b"tkhd") + 44
    one = 1 << 16
    matrix = {90: (0, one, -one, 0), 180: (-one, 0, 0, -one), 270: (0, -one, one, 0)}[degrees]
    a, b, c, d = matrix
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    file.write_bytes(data)
    return file


def seen(image: Image.Image) -> int:
    """The number of the frame, from its grey half."""
    pixels = np.asarray(image.convert("L"), np.float32)
    return round((float(np.median(pixels[:, WIDTH // 2 :])) - 20) / 6)


@pytest.mark.parametrize("ending", ["mp4", "mkv", "avi", "mov"])
def test_sampled_frames_are_the_right_ones_and_know_their_times(tmp_path, ending):
    file = write_video(tmp_path / f"a.{ending}")
    frames = read_frames(file, FrameSampling(fps=2.0))
    numbers = sample_frames([n / FPS for n in range(30)], FrameSampling(fps=2.0))
    assert numbers == [0, 6, 12, 17, 23, 29]
    assert [frame.number for frame in frames] == numbers
    assert [seen(frame.image) for frame in frames] == numbers
    assert [frame.time_s for frame in frames] == pytest.approx([n / FPS for n in numbers])
    assert {frame.image.size for frame in frames} == {(WIDTH, HEIGHT)}


def test_any_frame_can_be_read_whatever_lies_between(tmp_path):
    file = write_video(tmp_path / "a.mp4", key_every=7)
    for numbers in ([0], [29], [6, 7, 8], [3, 27], [13, 14, 28], list(range(30))):
        with Video(file) as opened:
            assert [seen(frame.image) for frame in opened.frames(numbers)] == numbers


def test_frames_that_are_stored_out_of_order_come_in_order_of_time(tmp_path):
    # H.264 with B-frames; libx264 is in PyAV's wheels.
    if "libx264" not in av.codecs_available:
        pytest.skip("this build of FFmpeg cannot write H.264")
    file = write_video(tmp_path / "a.mp4", codec="libx264")
    with Video(file) as opened:
        assert [seen(frame.image) for frame in opened.frames(range(30))] == list(range(30))


def test_times_are_those_of_the_file_when_frames_are_not_evenly_spaced(tmp_path):
    times = [0, 1, 2, 3, 13, 23, 33, 43]
    file = write_video(tmp_path / "a.mkv", 8, times=times)
    with Video(file) as opened:
        assert opened.times == pytest.approx([time / FPS for time in times])


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_video_of_a_turned_camera_is_upright(tmp_path, degrees):
    file = turn(write_video(tmp_path / "a.mp4", 4), degrees)
    image = read_frames(file, FrameSampling(fps=None, count=1))[0].image
    upright = Image.new("L", (WIDTH, HEIGHT), 0)
    upright.paste(255, (0, 0, WIDTH // 4, HEIGHT))
    expected = np.asarray(upright.rotate(-degrees, expand=True)) > 128
    found = np.asarray(image.convert("L")) > 200
    assert found.shape == expected.shape
    assert (found == expected).mean() > 0.95


def test_frames_are_resized_as_they_come(tmp_path):
    file = write_video(tmp_path / "a.mp4", 6)
    frames = read_frames(file, resize=lambda image: image.resize((8, 6)))
    assert {frame.image.size for frame in frames} == {(8, 6)}


def damaged_files(folder: Path) -> dict[str, Path]:
    whole = write_video(folder / "whole.mp4").read_bytes()
    front = {"movflags": "faststart"}
    started = write_video(folder / "front.mp4", container=front).read_bytes()
    mkv = write_video(folder / "whole.mkv").read_bytes()
    contents = {
        "nothing.mp4": b"",
        "noise.mp4": bytes(range(256)) * 40,
        "text.mp4": "这不是视频\n".encode() * 50,
        "cut.mp4": whole[: len(whole) // 2],
        "cut_front.mp4": started[: len(started) * 2 // 3],
        "cut.mkv": mkv[: len(mkv) // 2],
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return {name: folder / name for name in contents}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothing.mp4", "is empty"),
        ("noise.mp4", "cannot be read as a video"),
        ("text.mp4", "cannot be read as a video"),
        ("cut.mp4", "cannot be read as a video"),
        ("cut_front.mp4", "ends before its declared length"),
        ("cut.mkv", "ends before its declared length"),
    ],
)
def test_a_broken_file_is_named_in_one_line(tmp_path, name, words):
    file = damaged_files(tmp_path)[name]
    with pytest.raises(DataError, match=words) as refused:
        read_frames(file)
    for text in (refused.value.text.en, refused.value.text.zh):
        assert name in text and "\n" not in text


def test_a_file_whose_middle_is_damaged_gives_no_wrong_frame(tmp_path):
    file = write_video(tmp_path / "a.mp4", key_every=30)
    data = bytearray(file.read_bytes())
    start = data.index(b"mdat") + 4
    for at in range(start + 300, start + 1200):
        data[at] ^= 0xA5
    file.write_bytes(data)
    try:
        frames = read_frames(file)
    except DataError as error:
        assert "a.mp4" in str(error)
    else:
        assert [frame.number for frame in frames] == sorted({f.number for f in frames})


def test_a_file_without_pictures_says_so(tmp_path):
    with pytest.raises(DataError, match=r"a\.m4a has no pictures"):
        read_frames(write_sound(tmp_path / "a.m4a"))


def test_a_video_without_frames_says_so(tmp_path):
    # Only an MP4 in fragments lists a stream that has no frame.
    fragments = {"movflags": "empty_moov+frag_keyframe"}
    for name, words, options in (
        ("a.mkv", "cannot be read as a video", {}),
        ("a.mp4", "has no pictures", {}),
        ("b.mp4", "has no frames", fragments),
    ):
        file = write_video(tmp_path / name, 0, container=options)
        with pytest.raises(DataError, match=f"{name} {words}"):
            read_frames(file)


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(DataError, match=r"a\.mp4 cannot be opened"):
        read_frames(tmp_path / "a.mp4")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.ts\n#EXT-X-ENDLIST\n"),
        ("a.mp4", "ffconcat version 1.0\nfile secret.ts\n"),
    ],
)
def test_a_playlist_opens_no_other_file(tmp_path, name, content):
    write_video(tmp_path / "secret.ts", 4)
    (tmp_path / name).write_text(content)
    with av.open(str(tmp_path / name)) as container:  # FFmpeg alone follows it
        assert len(list(container.decode(video=0))) == 4
    with pytest.raises(DataError, match="Invalid argument"):  # its answer for a refused container
        read_frames(tmp_path / name)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"max_file_bytes": 100}, "bytes, expected at most 100; .* max_file_bytes"),
        ({"max_duration_s": 2.5}, "3 seconds, expected at most 2.5; .* max_duration_s"),
        ({"max_pixels": 3000}, "64 x 48 pixels, expected at most 3,000; .* max_pixels"),
        ({"max_frames": 20}, "more than 20 frames, expected at most 20; .* max_frames"),
    ],
)
def test_a_video_beyond_a_limit_is_refused(tmp_path, limits, words):
    file = write_video(tmp_path / "a.mp4")
    with pytest.raises(DataError, match=words):
        read_frames(file, limits=VideoLimits(**limits))


def reference_frames(total: int, fps: float) -> list[int]:
    """qwen-vl-utils: smart_nframes, then evenly from the first to the last frame."""
    count = total / fps * 2.0
    count = min(min(max(count, 4), min(768, total) // 2 * 2), total)
    return np.linspace(0, total - 1, int(count // 2 * 2)).round().astype(int).tolist()


@pytest.mark.parametrize("fps", [10, 24, 25, 29.97, 60])
@pytest.mark.parametrize("total", [2, 3, 5, 30, 299, 3000, 30_001])
def test_frames_are_sampled_as_by_qwen(total, fps):
    times = [number / fps for number in range(total)]
    assert sample_frames(times, video.QWEN_SAMPLING) == reference_frames(total, fps)


@pytest.mark.parametrize("total", [8, 9, 50, 1000])
def test_frames_are_sampled_as_by_internvl_and_llava(total):
    times = [float(number) for number in range(total)]
    part = (total - 1) / 8
    middles = [int(part / 2 + np.round(part * number)) for number in range(8)]
    assert sample_frames(times, video.INTERNVL_SAMPLING) == middles
    few = replace(video.LLAVA_SAMPLING, count=8)
    assert sample_frames(times, few) == np.linspace(0, total - 1, 8, dtype=int).tolist()


def test_a_video_of_one_frame_gives_that_frame(tmp_path):
    file = write_video(tmp_path / "a.mp4", 1)
    assert [frame.number for frame in read_frames(file)] == [0]
    assert sample_frames([0.0], FrameSampling(fps=None, count=32)) == [0]


def test_qwen3_writes_the_middle_of_two_times():
    frames = [video.VideoFrame(Image.new("RGB", (1, 1)), time, 0) for time in (0.0, 0.5, 1.0)]
    assert video.patch_times(frames, 2) == [0.25, 1.0]


def test_frames_that_do_not_exist_are_refused(tmp_path):
    with Video(write_video(tmp_path / "a.mp4", 4)) as opened:
        for number in (4, -1):
            with pytest.raises(ConfigError, match=f"frame {number} of a.mp4"):
                next(opened.frames([number]))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: FrameSampling(fps=2.0, count=8), r"fps=2\.0 and count=8"),
        (lambda: FrameSampling(fps=None), "fps=None and count=None"),
        (lambda: FrameSampling(fps=-1.0), r"fps=-1\.0"),
        (lambda: FrameSampling(least=9, most=8), "least=9"),
        (lambda: VideoLimits(max_pixels=0), "max_pixels=0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(build, words):
    with pytest.raises(ConfigError, match=words) as refused:
        build()
    assert refused.value.text.zh != refused.value.text.en


def test_without_pyav_the_command_to_install_it_is_named(tmp_path, monkeypatch):
    file = write_video(tmp_path / "a.mp4", 1)

    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(video, "import_module", missing)
    with pytest.raises(MissingExtraError, match=r"seesay\[video\]"):
        read_frames(file)
