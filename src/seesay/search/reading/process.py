"""The main function of a reading process.

It reads one file after another and may crash on any of them; its parent then starts another
process.
"""

import logging
import os
import signal
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import IO

from seesay.search.catalog.database import Database
from seesay.search.reading.files import FileData, RefusedError, read_file
from seesay.search.reading.messages import (
    ListedFile,
    ReadResult,
    ReadSettings,
    listed_file_of,
    receive,
    send,
    send_result,
)
from seesay.search.reading.registry import reader_of
from seesay.text import Text

READY = {"ready": True}
_PDF = b"%PDF-"  # parts of it look like text
_GRACE_S = 5.0  # beyond the time limit at which the parent ends the process
_PIPE_BYTES = 2**20  # the most that Linux allows; the default is less than a picture

# All passages, in order, of the first file of this content and type that has vectors. CROSS JOIN
# keeps SQLite from starting with all vectors of the space.
_STORED = """
SELECT v.vector FROM units u LEFT JOIN vectors v
    ON v.unit = u.id AND v.space = :space AND v.modality = u.modality
WHERE u.item = (
    SELECT i.id FROM items i CROSS JOIN units u ON u.item = i.id CROSS JOIN vectors v
        ON v.unit = u.id AND v.space = :space AND v.modality = u.modality
    WHERE i.content_hash = :content AND i.kind = :media_type ORDER BY i.id LIMIT 1
)
ORDER BY u.position
"""


def main() -> None:
    """Answer tasks on standard input until it ends. The settings are the first argument."""
    settings = ReadSettings.from_json(sys.argv[1])
    answers = _silence()
    _widen(answers)
    _limit_memory(settings.limits.memory_bytes)
    database = None
    if settings.collection is not None:
        database = Database(Path(settings.collection), read_only=True)
    send(answers, READY)
    while (message := receive(sys.stdin.buffer)) is not None:
        task = listed_file_of(message[0])
        _alarm(settings.limits.seconds + _GRACE_S)
        result = read(task, settings, database)
        _alarm(0)
        send_result(answers, result)


def read(task: ListedFile, settings: ReadSettings, database: Database | None = None) -> ReadResult:
    """Read the passages of a file, with their vectors if `database` has them. Never raises."""
    file: FileData | None = None
    try:
        if task.problem is not None:
            raise RefusedError("read", task.problem)
        file = _file(task, settings)
        return _understood(task, file, settings, database)
    except RefusedError as error:
        return _failed(task, file, error.stage, error.text)
    except MemoryError:
        return _failed(
            task,
            file,
            "memory",
            Text(
                "it needs more memory than a file may take. Expected a smaller one. Make it "
                "smaller, or allow more with --max-pixels or --max-file-size if you trust it.",
                "需要的内存超过单个文件的上限；应为更小的文件；请缩小，信得过的文件可用 "
                "--max-pixels 或 --max-file-size 放宽",
            ),
        )
    except Exception as error:  # libraries may raise anything on a damaged file
        return _failed(
            task,
            file,
            "read",
            Text(
                f"reading it failed ({type(error).__name__}: {error}). Expected a sound file. "
                "Copy, download or export it again.",
                f"读取失败（{type(error).__name__}: {error}）；应为完好的文件；"
                "请重新复制、下载或导出",
            ),
        )


def stored_vectors(
    database: Database, space: int, content_hash: str, media_type: str
) -> tuple[bytes, ...]:
    """Returns the vectors (float16) of this content in this embedding space, one for each passage;
    none if the content is unknown or a vector is lost.

    No other code checks whether a content is known: from here on the vectors travel with the file,
    so it does not matter whether the collection still has them when the file is stored."""
    names = {"space": space, "content": content_hash, "media_type": media_type}
    rows = database.rows(_STORED, names)
    vectors = tuple(vector for (vector,) in rows)
    return () if None in vectors else vectors


def _file(task: ListedFile, settings: ReadSettings) -> FileData:
    limits = settings.limits
    if task.expected == "address":
        from seesay.search.reading.addresses import fetch  # it takes a while to import

        return fetch(task.path, limits)
    is_text = task.expected != "any" and reader_of(task.expected, b"").is_text
    return read_file(task.path, limits.max_text_bytes if is_text else limits.max_file_bytes)


def _understood(
    task: ListedFile, file: FileData, settings: ReadSettings, database: Database | None
) -> ReadResult:
    # A fetched address always counts as a picture.
    reader = reader_of("image" if task.expected == "address" else task.expected, file.data)
    if file.data.startswith(_PDF) and ".pdf" not in reader.endings:
        raise RefusedError(
            "kind",
            Text(
                "it is a PDF, which is not read yet. Expected a picture, text or table. Save its "
                "pages as pictures, or its text as a text file.",
                "它是 PDF，目前还不能读取；应为图片、文本或表格；请把各页另存为图片，"
                "或把文字另存为文本文件",
            ),
        )
    vectors: tuple[bytes, ...] = ()
    if database is not None and not task.decode:
        vectors = stored_vectors(database, settings.space, file.content_hash, reader.media_type)
    content = reader.read(file, settings, not vectors)
    if vectors and len(vectors) != len(content.passages):  # its reader split differently
        vectors, content = (), reader.read(file, settings, True)
    return ReadResult(
        **{**vars(content), "media_type": content.media_type or reader.media_type},
        path=task.path,
        size=file.size,
        mtime_ns=file.mtime_ns,
        content_hash=file.content_hash,
        vectors=b"".join(vectors),
    )


def _failed(task: ListedFile, file: FileData | None, stage: str, error: Text) -> ReadResult:
    return ReadResult(
        path=task.path,
        size=file.size if file else task.size,
        mtime_ns=file.mtime_ns if file else task.mtime_ns,
        content_hash=file.content_hash if file else "",
        stage=stage,
        error=error,
    )


def _silence() -> IO[bytes]:
    """Keep standard output for answers only: C libraries print messages about files."""
    warnings.simplefilter("ignore")
    logging.disable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent shuts down cleanly
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    return answers


def _widen(pipe: IO[bytes]) -> None:
    """Enlarge the pipe to hold the pixels of a whole picture, so that writing does not wait for the
    reader. Only works on Linux."""
    if not sys.platform.startswith("linux"):
        return
    import fcntl

    with suppress(OSError):  # this user's pipe limit is reached, or it is not a pipe
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def _limit_memory(allowance: int) -> None:
    """Limit the memory the process may take beyond its present use. macOS and Windows have no such
    limit."""
    if not sys.platform.startswith("linux"):
        return
    import resource

    with open("/proc/self/statm") as stream:
        taken = int(stream.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + allowance, taken + allowance))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _alarm(seconds: float) -> None:
    """End this process after some time even if its parent was killed."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)
