"""Videos become moments: where shots begin, what stands for each, and what breaks readers."""

import os
import socket
import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from made_videos import BLUE, GREEN, RED, SUBTITLES, WHITE, write_scenes, write_sound
from seesay.data.squares import ImageTransformConfig
from seesay.search.catalog.drafts import Place
from seesay.search.reading import videos
from seesay.search.reading.files import ReadLimits
from seesay.search.reading.messages import ListedFile, ReadSettings
from seesay.search.reading.process import read
from seesay.search.reading.registry import media_type_of, seconds_for
from seesay.search.reading.videos import cuts

SETTINGS = ReadSettings(
    transform=ImageTransformConfig(size=32), reduce_large=False, limits=ReadLimits()
)


def result_of(file, expected="video", settings=SETTINGS):
    (result,) = read(
        ListedFile(path=str(file), expected=expected, size=file.stat().st_size), settings
    )
    return result


def moments_of(result):
    return [
        (one.place.start_s, one.place.end_s) for one in result.passages if one.media_type != "text"
    ]


def colour_of(passage):
    pixels = np.frombuffer(passage.payload, np.uint8).reshape(32, 32, 3)
    return tuple(int(level) for level in np.median(pixels, axis=(0, 1)))


@pytest.mark.parametrize(
    "name, options",
    [
        ("scene.mp4", {}),
        ("no key frame at a cut.mp4", {"encoder": {"sc_threshold": "0"}}),
        ("key frames all over.mp4", {"key_every": 1}),
        ("scene.webm", {}),
        ("scene.avi", {"codec": "mpeg4", "key_every": 12}),
        ("scene.mkv", {}),
    ],
)
def test_each_shot_is_a_moment_with_its_picture_and_time(tmp_path, name, options):
    file = write_scenes(tmp_path / name, [RED, GREEN, BLUE], **options)
    result = result_of(file)
    assert (result.stage, result.media_type, result.complaint) == (None, "video", None)
    assert moments_of(result) == [(0, 2), (2, 4), (4, 6)]
    for passage, colour in zip(result.passages, (RED, GREEN, BLUE), strict=True):
        assert np.abs(np.subtract(colour_of(passage), colour)).max() < 12
        assert (passage.media_type, passage.modality) == ("moment", "image")
        assert len(passage.fingerprint) == 256
        known = passage.metadata
        assert (known["width"], known["height"]) == (64, 48)
        assert (known["duration"], known["frame_rate"]) == (6.0, 10.0)


def test_a_long_shot_has_a_moment_every_twelve_seconds(tmp_path):
    file = write_scenes(tmp_path / "long.mp4", [RED, BLUE], seconds=40, fps=2)
    assert moments_of(result_of(file)) == [(10.0 * n, 10.0 * n + 10) for n in range(8)]


def test_a_cut_of_a_long_video_is_found_without_a_key_frame_there(tmp_path):
    scenes = [RED, GREEN, BLUE, WHITE] * 4
    options = {"encoder": {"sc_threshold": "0"}, "key_every": 10}
    file = write_scenes(tmp_path / "a.mp4", scenes, seconds=6.5, fps=2, **options)
    assert moments_of(result_of(file)) == [(6.5 * n, 6.5 * n + 6.5) for n in range(16)]


def test_too_many_shots_keep_the_strongest_cuts_and_say_so(tmp_path, monkeypatch):
    monkeypatch.setattr(videos, "MOST_MOMENTS", 6)
    scenes = [RED, BLUE, WHITE, BLUE, RED, GREEN, RED, GREEN, RED]
    result = result_of(write_scenes(tmp_path / "a.mp4", scenes, seconds=1.5))
    moments = moments_of(result)
    assert len(moments) <= 6 and (1.5 * 2, 1.5 * 3) in moments
    assert (moments[0][0], moments[-1][1]) == (0.0, 13.5)
    assert "6 moments" in result.complaint.en and "6 个片段" in result.complaint.zh


@given(
    some.lists(some.integers(0, 255), min_size=2, max_size=40),
    some.integers(0, 2),
)
def test_cuts_lie_in_order_at_looks_and_noise_is_none(levels, noise):
    times = [float(number) for number in range(len(levels))]
    random = np.random.default_rng(0)
    shape = (len(levels), 8, 8, 3)
    still = (100 + random.integers(-noise, noise + 1, shape)).astype(np.uint8)
    assert cuts(times, still) == []
    pictures = np.broadcast_to(np.array(levels, np.uint8)[:, None, None, None], shape)
    found = [time for time, _ in cuts(times, pictures)]
    assert found == sorted(set(found)) and set(found) <= set(times[1:])
    for at in range(1, len(levels)):
        if abs(levels[at] - levels[at - 1]) >= 130:
            assert times[at] in found


def test_subtitles_inside_and_beside_a_video_are_texts_with_their_times(tmp_path):
    (tmp_path / "source.srt").write_text(SUBTITLES, encoding="utf-8")
    file = write_scenes(tmp_path / "film.mkv", [RED] * 3, subtitles=tmp_path / "source.srt")
    web = "WEBVTT\n\n1\n00:01.000 --> 00:02.000 align:start\n<v Ann>A lighthouse &amp; a storm.\n"
    (tmp_path / "film.en.vtt").write_text(web, encoding="utf-8")
    style = "[Events]\nFormat: Layer, Start, End, Style, Text\n"
    style += "Dialogue: 0,0:00:03.50,0:00:04.00,Default,{\\i1}灯塔{\\i0}, 和\\N暴风雨。\n"
    (tmp_path / "film.zh.ass").write_text(style, encoding="gb18030")
    (tmp_path / "film two.srt").write_text(SUBTITLES, encoding="utf-8")  # of another video
    texts = [one for one in result_of(file).passages if one.media_type == "text"]
    assert [(one.text, one.place.start_s, one.place.end_s) for one in texts] == [
        ("A red kite flies over the harbour.\n船在海上航行。", 0.5, 5.5),
        ("A lighthouse & a storm.", 1.0, 2.0),
        ("灯塔, 和 暴风雨。", 3.5, 4.0),
    ]
    assert all(one.metadata["duration"] == 6.0 for one in texts)


def test_subtitles_with_a_long_pause_between_them_stand_apart(tmp_path):
    lines = ((1, "Set sail."), (3, "Hoist the flag."), (40, "Land."))
    text = "".join(f"0:00:{at:02d}.0 --> 0:00:{at + 1:02d}.0\n{line}\n\n" for at, line in lines)
    file = write_scenes(tmp_path / "a.mp4", [RED], seconds=50, fps=1)
    (tmp_path / "a.vtt").write_text(f"WEBVTT\n\n{text}", encoding="utf-8")
    texts = [one for one in result_of(file).passages if one.media_type == "text"]
    assert [one.place.start_s for one in texts] == [1.0, 40.0]
    first, last = texts
    assert first.text == "Set sail.\nHoist the flag." and first.place.cues == ((0, 1.0), (10, 3.0))
    assert [first.place.start_at(at) for at in (0, 9, 10, 30)] == [1.0, 1.0, 3.0, 3.0]
    assert Place.from_json(first.place.to_json()) == first.place
    assert last.place.cues is None and last.place.start_at(3) == 40.0


@pytest.mark.parametrize(
    "tags, date",
    [
        ({"creation_time": "2021-05-04T10:11:12.000000Z"}, "2021-05-04T10:11:12"),
        ({"creation_time": "1904-01-01T00:00:00.000000Z"}, None),
        ({}, None),
    ],
)
def test_the_day_of_recording_is_kept_if_it_is_plausible(tmp_path, tags, date):
    file = write_scenes(tmp_path / "a.mov", [RED], tags=tags)
    found = result_of(file).passages[0].metadata.get("date")
    assert (found and found.isoformat()) == date


# The zoo


def test_four_hours_at_a_varying_frame_rate_are_read_in_little_memory(tmp_path):
    hours = 4 * 3600
    times = [step * 20 + (step % 3) * 5 for step in range(hours // 20)]  # 15 to 25 s apart
    scenes = [RED, GREEN, BLUE, WHITE]
    file = write_scenes(tmp_path / "a.mkv", scenes, seconds=hours / 80, fps=1, times=times)
    result = result_of(file)
    moments = moments_of(result)
    assert result.stage is None and 0.9 * videos.MOST_MOMENTS < len(moments) <= videos.MOST_MOMENTS
    assert moments[-1][1] > hours - 100
    starts = {start for start, _ in moments}
    assert {3600 * n for n in (1, 2, 3)} <= {round(start, -2) for start in starts}


def test_a_truncated_video_is_read_as_far_as_it_goes(tmp_path):
    file = write_scenes(tmp_path / "a.mkv", [RED, GREEN, BLUE] * 3)
    data = file.read_bytes()
    file.write_bytes(data[: 2 * len(data) // 3])
    result = result_of(file)
    assert result.stage is None and moments_of(result)[:2] == [(0, 2), (2, 4)]
    assert "missing or damaged" in result.complaint.en and "缺失或损坏" in result.complaint.zh


def test_a_video_damaged_in_the_middle_shows_the_rest(tmp_path):
    file = write_scenes(tmp_path / "a.avi", [RED, GREEN, BLUE], codec="mpeg4", key_every=5)
    data = bytearray(file.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 300] = os.urandom(300)
    file.write_bytes(data)
    result = result_of(file)
    assert result.stage in (None, "decode")
    assert result.stage or moments_of(result)


def truncated_mp4(folder):
    file = write_scenes(folder / "a.mp4", [RED, GREEN])
    file.write_bytes(file.read_bytes()[:-700])
    return file


def no_frames(folder):
    return write_scenes(folder / "a.avi", [], codec="mpeg4")


def playlist(folder):
    file = folder / "a.mp4"
    file.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nreal.ts\n#EXT-X-ENDLIST\n")
    return file


def picture(folder):
    from PIL import Image

    Image.new("RGB", (40, 30), RED).save(folder / "a.png")
    return (folder / "a.png").rename(folder / "a.mp4")


def noise(folder):
    (folder / "a.mp4").write_bytes(os.urandom(4000))
    return folder / "a.mp4"


def empty(folder):
    (folder / "a.mp4").touch()
    return folder / "a.mp4"


@pytest.mark.parametrize(
    "made", [truncated_mp4, no_frames, playlist, picture, noise, empty, write_sound]
)
def test_what_is_no_readable_video_is_named_in_both_languages(tmp_path, made):
    file = made(tmp_path / "a.mp4") if made is write_sound else made(tmp_path)
    result = result_of(file)
    assert result.stage == "decode" and file.name in result.error.en
    assert result.error.zh and result.error.zh != result.error.en


@pytest.mark.parametrize("ending", ["mkv", "jpg.webm"])
def test_a_wrong_ending_of_another_video_does_not_matter(tmp_path, ending):
    file = write_scenes(tmp_path / "a.mp4", [RED, BLUE]).rename(tmp_path / f"a.{ending}")
    assert moments_of(result_of(file)) == [(0, 2), (2, 4)]


def test_a_file_without_an_ending_is_known_by_its_bytes(tmp_path):
    for name in ("a.mp4", "b.webm", "c.avi", "d.mkv"):
        codec = "libvpx" if name == "b.webm" else "mpeg4"
        file = write_scenes(tmp_path / name, [RED], codec=codec)
        plain = file.rename(tmp_path / name[0])
        assert result_of(plain, "any").media_type == "video", name
    assert media_type_of("film.MP4") == "video" and media_type_of("app.ts") is None


def test_playlists_open_no_other_file_and_no_address(tmp_path):
    """Under the names of videos, and in the formats that FFmpeg follows."""
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]

        def listen():
            while not asked:
                try:
                    server.accept()[0].close()
                except TimeoutError:
                    if stop.is_set():
                        return
                    continue
                asked.append(port)

        stop = threading.Event()
        thread = threading.Thread(target=listen)
        thread.start()
        secret = write_scenes(tmp_path / "secret.mp4", [RED])
        address = f"http://127.0.0.1:{port}/a.ts"
        contents = {
            "m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{address}\n#EXT-X-ENDLIST\n",
            "concat": f"ffconcat version 1.0\nfile '{secret}'\n",
            "sdp": f"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video {port} RTP/AVP 96\n",
            "mpd": f"<?xml version='1.0'?><MPD><BaseURL>{address}</BaseURL></MPD>",
            "asx": f"<asx version='3.0'><entry><ref href='{address}'/></entry></asx>",
            "ram": f"{address}\n",
        }
        for name, content in contents.items():
            for ending in (".mp4", ".mkv"):
                file = tmp_path / f"{name}{ending}"
                file.write_text(content)
                assert result_of(file).stage == "decode", name
        stop.set()
        thread.join()
    assert not asked


def test_a_frame_beyond_the_limit_is_refused_by_its_header(tmp_path, monkeypatch):
    file = write_scenes(tmp_path / "a.mp4", [RED])
    monkeypatch.setattr(videos, "LIMITS", replace(videos.LIMITS, max_pixels=1000))
    result = result_of(file)
    assert result.stage == "decode" and "64 x 48" in result.error.en


def test_a_video_that_was_held_sideways_stands_upright(tmp_path):
    import struct

    left = np.zeros((48, 64, 3), np.uint8)
    left[:, :32] = WHITE
    from PIL import Image

    file = write_scenes(tmp_path / "a.mp4", [Image.fromarray(left)])
    data = bytearray(file.read_bytes())
    at, one = data.index(b"tkhd") + 44, 1 << 16
    data[at : at + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
    file.write_bytes(data)
    (moment,) = result_of(file).passages
    assert (moment.metadata["width"], moment.metadata["height"]) == (48, 64)
    pixels = np.frombuffer(moment.payload, np.uint8).reshape(32, 32, 3)
    assert pixels[:8].mean() > 200 > 60 > pixels[-8:].mean()


def test_the_time_limit_grows_with_the_file():
    limits = ReadLimits(seconds=10.0)
    film = ListedFile(path="a", expected="video", size=2**30)
    assert seconds_for(film, limits) == 10 + 1024
    assert seconds_for(replace(film, expected="any"), limits) == 10 + 1024
    assert seconds_for(replace(film, expected="image"), limits) == 10
    assert seconds_for(replace(film, place=Place(start_s=1.0)), limits) == 10


def test_a_video_is_hashed_like_any_file_and_not_kept_in_memory(tmp_path, monkeypatch):
    from seesay.search.reading import files

    monkeypatch.setattr(files, "_BEGINNING", 1000)
    file = write_scenes(tmp_path / "a.mp4", [RED, GREEN])
    known = files.hash_file(str(file), 10**9)
    whole = files.read_file(str(file), 10**9)
    assert known.content_hash == whole.content_hash and len(known.data) == 1000 < len(whole.data)
    assert (known.size, known.mtime_ns) == (whole.size, whole.mtime_ns)
