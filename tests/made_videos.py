"""Small videos that tests make: plain colours with known cuts, subtitles, and sound alone."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

Colour = tuple[int, int, int]
RED, GREEN, BLUE, WHITE = (200, 30, 30), (30, 160, 60), (40, 50, 200), (240, 240, 240)
SUBTITLES = """1
00:00:00,500 --> 00:00:01,500
A red kite flies over the harbour.

2
00:00:04,250 --> 00:00:05,500
<i>船在海上航行。</i>
"""


def write_scenes(
    file: Path,
    scenes: Sequence[Colour | Image.Image],
    *,
    seconds: float = 2.0,
    fps: int = 10,
    size: tuple[int, int] = (64, 48),
    **options: object,
) -> Path:
    """Scenes of `seconds` each, in H.264 or VP8 by the ending, with subtitles, tags or a time base
    if given."""
    import av

    codec = options.get("codec", "libvpx" if file.suffix == ".webm" else "libx264")
    with av.open(str(file), "w", options=options.get("container", {})) as container:
        container.metadata.update(options.get("tags", {}))
        stream = container.add_stream(codec, rate=fps, options=options.get("encoder", {}))
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.gop_size = options.get("key_every", 250)
        subtitles = options.get("subtitles")
        source = text = None
        if subtitles is not None:
            source = av.open(str(subtitles))
            text = container.add_stream_from_template(source.streams.subtitles[0])
        container.start_encoding()  # writes the head of the file even without a frame
        number, pictures = 0, [_pixels(scene, size) for scene in scenes]
        times = options.get("times")
        for picture in pictures:
            for _ in range(round(seconds * fps)):
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts = number if times is None else times[number]
                frame.time_base = Fraction(1, fps)
                container.mux(stream.encode(frame))
                number += 1
        container.mux(stream.encode())
        if source is not None:
            for packet in source.demux():
                if packet.size:
                    packet.stream = text
                    container.mux(packet)
            source.close()
    return file


def _pixels(scene: Colour | Image.Image, size: tuple[int, int]) -> np.ndarray:
    if isinstance(scene, Image.Image):
        return np.asarray(scene.convert("RGB").resize(size))
    return np.full((size[1], size[0], 3), scene, np.uint8)


def write_sound(file: Path) -> Path:
    """A second of silence, without a picture."""
    import av

    with av.open(str(file), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts = 44100, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file


def write_film(file: Path, seconds: float = 3.0) -> Path:
    """A cat, a rocket and a cup of coffee, `seconds` each."""
    from photographs import folder

    names = ("chelsea.png", "rocket.jpg", "coffee.png")
    scenes = []
    for name in names:
        with Image.open(folder() / name) as picture:
            scenes.append(picture.convert("RGB"))
    return write_scenes(file, scenes, seconds=seconds, size=(320, 240))
