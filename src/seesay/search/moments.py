"""Frames of moments of videos, decoded by another process, since no video is trusted; and the video
that a moment belongs to."""

import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG

from seesay.errors import CollectionError
from seesay.search.catalog.drafts import Place
from seesay.search.catalog.files import File
from seesay.search.catalog.store import Store
from seesay.search.reading.files import size_and_time
from seesay.search.reading.messages import receive, send
from seesay.text import Text

LONGEST_S = 60.0
"""Longest time to find a frame."""
_PROGRAM = (
    "import sys; sys.path.append({root!r});"
    " from seesay.search.reading.process import show_moments; show_moments()"
)


class Moments:
    """A process that decodes frames, started for the first and ended with `close`. Any number of
    threads may ask; it answers one after another."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None

    def get(self, file: File, place: Place, side: int) -> bytes:
        """Returns the frame of a moment as WebP, its longest side `side` pixels. Raises
        CollectionError if the file is gone, has changed since it was indexed, or cannot be
        decoded."""
        check_unchanged(file)
        times = {"start_s": place.start_s, "end_s": place.end_s}
        task: dict[str, object] = {"path": file.path, **times, "side": side}
        with self._mutex:
            answer = self._answer(task)
            if answer is None:
                self._end()  # it has crashed, or was ended for being late
        if not answer:
            raise _undecodable(file)
        return answer

    def close(self) -> None:
        """End the process."""
        with self._mutex:
            self._end()

    def _answer(self, task: dict[str, object]) -> bytes | None:
        """Returns the picture; nothing if the frame cannot be decoded, None if the process died."""
        if self._child is None:
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-c", _PROGRAM.format(root=str(Path(__file__).parents[2]))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        child = self._child
        assert child.stdin is not None and child.stdout is not None
        late = threading.Timer(LONGEST_S, child.kill)
        late.start()
        try:
            send(child.stdin, task)
            message = receive(child.stdout)
        except OSError:  # it has died
            return None
        finally:
            late.cancel()
        return None if message is None else message[1]

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        child.wait()
        for pipe in filter(None, (child.stdin, child.stdout)):
            with suppress(OSError):  # unsent data
                pipe.close()


def video_of(store: Store, passage: int) -> Path:
    """Returns the path of the video that a moment or subtitle belongs to. Raises CollectionError if
    there is none, or if it is gone or has changed since it was indexed."""
    _, file = store.passage_with_file(passage)
    if file.media_type != "video":
        raise CollectionError(
            Text(
                f"unit {passage} of {file.path} belongs to no video, expected a moment or a "
                "subtitle; ask for its picture or text instead",
                f"{file.path} 的条目 {passage} 不属于任何视频；应为视频片段或字幕；"
                "请改为读取它的图片或文字",
            )
        )
    check_unchanged(file)
    return Path(file.path)


def check_unchanged(file: File) -> None:
    """Raises CollectionError unless a file has the size and time that it was indexed with: a video
    is too large to be hashed whenever it is shown."""
    try:
        facts = os.stat(file.path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CollectionError(
            Text(
                f"{file.path} cannot be opened ({reason}), expected the video that was indexed; "
                "bring it back, or index its folder again",
                f"无法打开 {file.path}（{reason}）；应为收录过的视频；"
                "请放回原处，或重新收录它所在的文件夹",
            )
        ) from error
    if not S_ISREG(facts.st_mode) or size_and_time(facts) != (file.size, file.mtime_ns):
        raise CollectionError(
            Text(
                f"{file.path} was changed since it was indexed, expected the same; index it again",
                f"{file.path} 收录后有改动；应与收录时相同；请重新收录",
            )
        )


def _undecodable(file: File) -> CollectionError:
    return CollectionError(
        Text(
            f"{file.path}: its frame cannot be decoded; expected a sound video, and PyAV to read "
            "it; play the video to check it, or install PyAV: pip install 'seesay[video]'",
            f"{file.path}：无法解码这一帧；应为完好的视频，并装有 PyAV；请播放检查，或安装："
            "pip install 'seesay[video]'",
        )
    )
