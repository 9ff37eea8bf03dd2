"""The main function of a reading process.

It reads one file after the other and may die of any of them: its parent starts another one.
"""

import logging
import os
import signal
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from seesay.search.catalog.database import Database
from seesay.search.reading.files import Content, RefusedError, read_file
from seesay.search.reading.messages import (
    Outcome,
    Setup,
    Task,
    receive,
    send,
    send_outcome,
)
from seesay.search.reading.pictures import is_picture, read_picture
from seesay.search.reading.tables import read_table
from seesay.search.reading.texts import read_text

READY = {"ready": True}
_PDF = b"%PDF-"  # parts of it look like text
_GRACE_S = 5.0  # after the parent should have ended it
_PIPE_BYTES = 2**20  # the most that Linux lets anybody ask for; usual is less than half a square


def main() -> None:
    """Answer tasks on standard input until it ends. The setup is the first argument."""
    setup = Setup.from_json(sys.argv[1])
    answers = _silence()
    _widen(answers)
    _limit_memory(setup.limits.memory_bytes)
    known = _Known(setup)
    send(answers, READY)
    while (message := receive(sys.stdin.buffer)) is not None:
        task = Task(**message[0])
        _alarm(setup.limits.seconds + _GRACE_S)
        outcome = read(task, setup, known)
        _alarm(0)
        send_outcome(answers, outcome)


class _Known:
    """Which contents have vectors already."""

    def __init__(self, setup: Setup) -> None:
        self._space = setup.space
        self._database = None
        if setup.collection is not None:
            self._database = Database(Path(setup.collection), read_only=True)

    def __contains__(self, content_hash: str) -> bool:
        if self._database is None:
            return False
        sql = (
            "SELECT 1 FROM items i JOIN units u ON u.item = i.id JOIN vectors v ON v.unit = u.id"
            " WHERE i.content_hash = ? AND v.space = ? LIMIT 1"
        )
        return bool(self._database.rows(sql, (content_hash, self._space)))


def read(task: Task, setup: Setup, known: "_Known | frozenset[str]" = frozenset()) -> Outcome:
    """What a file holds. Never raises."""
    content: Content | None = None
    try:
        if task.problem is not None:
            raise RefusedError("read", task.problem)
        content = _content(task, setup)
        return _understood(task, content, setup, known)
    except RefusedError as error:
        return _failed(task, content, error.stage, str(error))
    except MemoryError:
        return _failed(
            task,
            content,
            "memory",
            "it needs more memory than a file may take. Expected a smaller one. "
            "Make it smaller, or allow more with --max-pixels or --max-file-size if you trust it.",
        )
    except Exception as error:  # whatever a damaged file makes a library do
        return _failed(
            task,
            content,
            "read",
            f"reading it failed ({type(error).__name__}: {error}). Expected a sound file. "
            "Copy, download or export it again.",
        )


def _content(task: Task, setup: Setup) -> Content:
    if task.expected == "address":
        from seesay.search.reading.addresses import fetch  # it takes a while to import

        return fetch(task.path, setup.limits)
    limits = setup.limits
    as_picture = task.expected in ("image", "any")
    return read_file(task.path, limits.max_file_bytes if as_picture else limits.max_text_bytes)


def _understood(
    task: Task, content: Content, setup: Setup, known: "_Known | frozenset[str]"
) -> Outcome:
    facts: dict[str, Any] = {
        "path": task.path,
        "size": content.size,
        "mtime_ns": content.mtime_ns,
        "content_hash": content.content_hash,
    }
    if content.data.startswith(_PDF):
        raise RefusedError(
            "kind",
            "it is a PDF, which is not read yet. Expected a picture, text or table. Save its pages "
            "as pictures, or its text as a text file.",
        )
    if task.expected == "text" or (task.expected == "any" and not is_picture(content.data)):
        return Outcome(kind="text", units=read_text(content.data), **facts)
    if task.expected == "table":
        rows, complaint = read_table(content.data, task.path)
        return Outcome(kind="table", rows=rows, complaint=complaint, **facts)
    decoded = task.again or content.content_hash not in known
    unit, pixels = read_picture(content, setup, decoded=decoded)
    return Outcome(kind="image", units=(unit,), square=pixels, **facts)


def _failed(task: Task, content: Content | None, stage: str, error: str) -> Outcome:
    return Outcome(
        path=task.path,
        size=content.size if content else task.size,
        mtime_ns=content.mtime_ns if content else task.mtime_ns,
        content_hash=content.content_hash if content else None,
        stage=stage,
        error=error,
    )


def _silence() -> IO[bytes]:
    """Libraries of C print what they think of a file; only answers go to standard output."""
    warnings.simplefilter("ignore")
    logging.disable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends in good order
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    return answers


def _widen(pipe: IO[bytes]) -> None:
    """Let whole squares lie in the pipe, so that writing one waits for nobody. Linux alone can."""
    if not sys.platform.startswith("linux"):
        return
    import fcntl

    with suppress(OSError):  # the pipes of this user hold too much already, or it is none
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def _limit_memory(allowance: int) -> None:
    """What the process takes beyond what it has now. macOS and Windows know no such limit."""
    if not sys.platform.startswith("linux"):
        return
    import resource

    with open("/proc/self/statm") as stream:
        taken = int(stream.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + allowance, taken + allowance))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _alarm(seconds: float) -> None:
    """End this process where nobody else does: its parent may have been killed."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)
