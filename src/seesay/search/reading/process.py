"""The main function of a reading process.

It reads one file after another and may crash on any of them; its parent then starts another
process.
"""

import logging
import os
import signal
import sys
import warnings
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from seesay.data.archives import archive_of, keep_open
from seesay.search.catalog.database import Database
from seesay.search.catalog.drafts import Place
from seesay.search.reading import pdf
from seesay.search.reading.archives import read_archive
from seesay.search.reading.files import (
    FileData,
    RefusedError,
    changing,
    hash_file,
    read_beginning,
    read_file,
    size_and_time,
)
from seesay.search.reading.messages import (
    FileContent,
    FileReader,
    ListedFile,
    Passage,
    ReadResult,
    ReadSettings,
    listed_file_of,
    receive,
    send,
    send_result,
)
from seesay.search.reading.registry import reader_of, seconds_for
from seesay.text import Text

READY = {"ready": True}
_GRACE_S = 5.0  # beyond the time limit at which the parent ends the process
_PIPE_BYTES = 2**20  # the most that Linux allows; the default is less than a picture

# All passages, in order, of the first file of this content and type that has vectors. CROSS JOIN
# keeps SQLite from starting with all vectors of the space.
_STORED = """
SELECT v.vector FROM units u LEFT JOIN vectors v
    ON v.unit = u.id AND v.space = iif(u.modality = 'text', :texts, :space)
    AND v.modality = u.modality
WHERE u.item = (
    SELECT i.id FROM items i CROSS JOIN units u ON u.item = i.id CROSS JOIN vectors v
        ON v.unit = u.id AND v.space = iif(u.modality = 'text', :texts, :space)
        AND v.modality = u.modality
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
    keep_open()
    database = None
    if settings.collection is not None:
        database = Database(Path(settings.collection), read_only=True)
    send(answers, READY)
    while (message := receive(sys.stdin.buffer)) is not None:
        task = listed_file_of(message[0])
        seconds = seconds_for(task, settings.limits)
        _alarm(seconds + _GRACE_S)
        for result in read(task, settings, database):
            _alarm(0)
            send_result(answers, result)
            _alarm(seconds * result.patience + _GRACE_S)
        _alarm(0)


def read(
    task: ListedFile, settings: ReadSettings, database: Database | None = None
) -> Iterator[ReadResult]:
    """Yields the passages of a file, with their vectors if `database` has them; those of a long
    file in parts, of which the last has `more` unset or tells what went wrong. Never raises."""
    file: FileData | None = None
    try:
        if task.problem is not None:
            raise RefusedError("read", task.problem)
        if task.expected == "archive":
            yield read_archive(task.path)
            return
        file = _file(task, settings)
        yield from _parts(task, file, settings, database)
    except RefusedError as error:
        yield _failed(task, file, error.stage, error.text)
    except MemoryError:
        yield _failed(
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
        yield _failed(
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
    database: Database, spaces: tuple[int, int], content_hash: str, media_type: str
) -> tuple[bytes, ...]:
    """Returns the vectors (float16) of this content, one for each passage; none if the content is
    unknown or a vector is lost. `spaces` are the embedding space of text passages, which may be the
    same, after that of all others.

    No other code checks whether a content is known: from here on the vectors travel with the file,
    so it does not matter whether the collection still has them when the file is stored."""
    names = {"content": content_hash, "media_type": media_type}
    rows = database.rows(_STORED, {**names, "space": spaces[0], "texts": spaces[1]})
    vectors = tuple(vector for (vector,) in rows)
    return () if None in vectors else vectors


def _file(task: ListedFile, settings: ReadSettings) -> FileData:
    limits = settings.limits
    if task.expected == "address":
        from seesay.search.reading.addresses import fetch  # it takes a while to import

        return fetch(task.path, limits)
    first = read_beginning(task.path).data if task.expected == "any" else b""
    reader = reader_of(task.expected, first)
    if task.place is not None:  # a larger file is another
        read_as_indexed = read_beginning if reader.from_disk else read_file
        return read_as_indexed(task.path, task.size)
    if reader.from_disk:
        return hash_file(task.path, max(limits.max_video_bytes, limits.max_file_bytes))
    is_text = task.expected != "any" and reader.is_text
    return read_file(task.path, limits.max_text_bytes if is_text else limits.max_file_bytes)


def _parts(
    task: ListedFile, file: FileData, settings: ReadSettings, database: Database | None
) -> Iterator[ReadResult]:
    reader = _reader_of(task, file.data)
    if task.place is not None:
        yield _shown(task.place, task.side, file, reader)
        return
    facts = ReadResult(
        path=task.path,
        size=file.size,
        mtime_ns=file.mtime_ns,
        content_hash=file.content_hash,
        media_type=reader.media_type,
    )
    vectors: tuple[bytes, ...] = ()
    if database is not None and not task.decode:
        vectors = stored_vectors(database, settings.spaces, file.content_hash, reader.media_type)
    if vectors:
        content = yield from _whole(facts, reader.read(file, settings, False))
        _check_unchanged(file, reader)
        if len(vectors) == len(content.passages):
            yield _result(facts, content, vectors=b"".join(vectors))
            return
    # Nothing is known of it, or its reader split differently.
    parts = reader.read(file, settings, True)
    if isinstance(parts, FileContent) and parts.rows and archive_of(task.path):
        raise RefusedError("archive", _DESCRIBES)
    _check_unchanged(file, reader)
    yield from _each(facts, parts)


_DESCRIBES = Text(
    "it describes pictures, and is in an archive. Expected such a table beside them on the disk. "
    "Unpack the archive and index the folder.",
    "这个表格描述图片，却在压缩包里；应与图片一起放在硬盘上；请解压后收录文件夹",
)


def _check_unchanged(file: FileData, reader: FileReader) -> None:
    """Raises RefusedError if a file was changed after it was hashed and before it was read."""
    if reader.from_disk and size_and_time(os.stat(file.path)) != (file.size, file.mtime_ns):
        raise changing()


def _whole(
    facts: ReadResult, content: FileContent | Iterator[FileContent]
) -> Generator[ReadResult, None, FileContent]:
    """Returns all parts in one; yields empty ones to show progress."""
    if isinstance(content, FileContent):
        return content
    passages: list[Passage] = []
    complaint = None
    for part in content:
        passages += part.passages
        complaint = part.complaint or complaint
        yield replace(facts, patience=part.patience, more=True)
    return FileContent(passages=tuple(passages), complaint=complaint)


def _each(facts: ReadResult, content: FileContent | Iterator[FileContent]) -> Iterator[ReadResult]:
    if isinstance(content, FileContent):
        yield _result(facts, content)
        return
    complaint, count = None, 0
    for count, part in enumerate(content, start=1):
        complaint = part.complaint or complaint
        yield _result(facts, part, part=count - 1, more=True)
    yield replace(facts, complaint=complaint, part=count)


def _result(facts: ReadResult, content: FileContent, **more: Any) -> ReadResult:
    media_type = content.media_type or facts.media_type
    return replace(facts, **{**vars(content), "media_type": media_type}, **more)


def _shown(place: Place, side: int, file: FileData, reader: FileReader) -> ReadResult:
    """Returns a place as one passage, whose payload is its pixels."""
    assert reader.show is not None  # the parent has looked
    image = reader.show(file, place, side)
    _check_unchanged(file, reader)
    size = {"width": float(image.width), "height": float(image.height)}
    picture = Passage(modality="image", place=place, metadata=size, payload=image.tobytes())
    return ReadResult(
        path=file.path,
        size=file.size,
        mtime_ns=file.mtime_ns,
        content_hash=file.content_hash,
        passages=(picture,),
    )


def _reader_of(task: ListedFile, data: bytes) -> FileReader:
    # A fetched address always counts as a picture.
    reader = reader_of("image" if task.expected == "address" else task.expected, data)
    if data.startswith(pdf.HEAD) and not reader.from_disk:
        return pdf.READER  # whatever its name; parts of it look like text
    return reader


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
