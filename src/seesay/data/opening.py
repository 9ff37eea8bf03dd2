"""Open a file by a path that was seen before: by now anything may lie there, or nothing.

A folder, a pipe that nobody writes to, a device that never ends, a file without the right to read
it: each has to end in an OSError at once, never in a wait.
"""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

# Neither waits for the writer of a pipe nor takes a terminal over. Both mean nothing to a file.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
_FLAGS |= getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


class NoFileError(OSError):
    """Something is there, and it is no regular file: `strerror` says what."""


def open_file(path: str | Path) -> BufferedReader:
    """A regular file, or what a link to one leads to, for reading its bytes.

    Raises NoFileError for a folder, pipe, socket or device, and OSError where nothing is there or
    it may not be read; each with a `strerror` to be shown."""
    try:
        _check(os.stat(path))  # before it is opened: that alone may start a device or a writer
        handle = os.open(path, _FLAGS)
    except ValueError:  # a zero byte
        raise FileNotFoundError(
            errno.ENOENT, "a name cannot hold a null character", str(path)
        ) from None
    try:
        _check(os.fstat(handle))  # it may have been replaced between the two
        return open(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def _check(facts: os.stat_result) -> None:
    if stat.S_ISDIR(facts.st_mode):
        raise NoFileError(errno.EISDIR, "it is a folder")
    if not stat.S_ISREG(facts.st_mode):
        raise NoFileError(errno.EINVAL, "it is a device, pipe or socket")
