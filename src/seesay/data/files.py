"""Open files safely whatever they have become, and write files completely or not at all.

A path seen earlier may by now be a folder, a pipe that nobody writes to, an endless device, or an
unreadable file. Each must raise an OSError at once and never block.
"""

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any, TypeVar

from seesay.errors import ConfigError, DataError, MissingExtraError
from seesay.text import Text, to_unicode

# Do not wait for the writer of a pipe, and do not take over a terminal. Neither flag affects a
# file.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
_FLAGS |= getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)

Writer = TypeVar("Writer")


class NoFileError(OSError):
    """The path exists but is not a regular file: `strerror` says what it is."""

    def __init__(self, number: int, text: Text) -> None:
        super().__init__(number, text.en)
        self.text = text


def open_file(path: str | Path) -> BufferedReader:
    """Opens a regular file, or a link to one, for reading bytes.

    Raises NoFileError for a folder, pipe, socket or device, and OSError if nothing is there or it
    may not be read; each has a `strerror` to show."""
    try:
        _check(os.stat(path))  # before opening, which alone may start a device or a writer
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
        raise NoFileError(errno.EISDIR, Text("it is a folder", "它是文件夹"))
    if not stat.S_ISREG(facts.st_mode):
        text = Text("it is a device, pipe or socket", "它是设备、管道或套接字")
        raise NoFileError(errno.EINVAL, text)


@contextmanager
def write_whole(file: Path) -> Iterator[Path]:
    """Yields the path to write to; `file` appears, or is replaced, when the block ends without an
    error.

    After an error or a kill the old `file` is untouched. Raises DataError if the folder is missing
    or not writable, the disk is full, or the path is not a plain file.
    """
    file = Path(os.path.realpath(file))  # replace what a link points to, not the link
    if file.exists() and not file.is_file():
        raise _refusal(file, Text("a folder or a device has this name", "已有同名的文件夹或设备"))
    unfinished = file.with_name(f".{file.name[:40]}-{secrets.token_hex(4)}")
    try:
        os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        yield unfinished
        sync(unfinished)
        unfinished.replace(file)
        sync(file.parent)  # the new name too survives a power cut
    except OSError as error:
        raise _refusal(file, Text.of(error.strerror or error)) from error
    finally:
        unfinished.unlink(missing_ok=True)


def write_text(file: Path, text: str) -> None:
    """Writes a UTF-8 file as `write_whole` does; a CSV begins with the mark by which spreadsheets
    know UTF-8."""
    encoding = "utf-8-sig" if file.suffix.lower() == ".csv" else "utf-8"
    with write_whole(file) as unfinished:
        unfinished.write_text(to_unicode(text), encoding=encoding)


@contextmanager
def write_whole_folder(folder: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yields a new folder to fill; it gets the name `folder` when the block ends without an error.

    An existing folder is replaced only with `replace`, whatever it contains: check first that it
    may be. After an error or a kill it still exists, under its own name or as `.NAME-...-former`
    beside it. Raises DataError if the folder cannot be written.
    """
    folder = Path(os.path.realpath(folder))
    unfinished = folder.with_name(f".{folder.name[:40]}-{secrets.token_hex(4)}")
    try:
        unfinished.mkdir(parents=True)
        yield unfinished
        for path in (*unfinished.rglob("*"), unfinished):
            sync(path)
        if replace and folder.exists():
            _swap(unfinished, folder)
        else:
            unfinished.rename(folder)  # fails if a non-empty folder has this name
        sync(folder.parent)
    except OSError as error:
        raise DataError(
            Text(
                f"the folder {folder} cannot be written: {error.strerror or error}; expected a "
                "place with room and the right to write, and nothing of this name there; choose "
                "another path, or make room",
                f"无法写入文件夹 {folder}：{error.strerror or error}；应为有空间、有写权限且没有同"
                "名文件的位置；请换一个路径，或腾出空间",
            )
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _swap(new: Path, folder: Path) -> None:
    """Give `new` the name of `folder`, and remove the previous folder."""
    former = new.with_name(f"{new.name}-former")
    folder.rename(former)
    try:
        new.rename(folder)
    except OSError:
        former.rename(folder)
        raise
    shutil.rmtree(former, ignore_errors=True)


def by_ending(file: Path, writers: Mapping[str, Writer]) -> Writer:
    """Returns the writer for a file's extension. Raises ConfigError for an unknown extension, and
    MissingExtraError if its package is missing: before hours of work, not after them."""
    if (ending := file.suffix.lower()) not in writers:
        raise ConfigError(
            Text(
                f"{file} ends in {ending or 'nothing'!r}; expected one of {', '.join(writers)}; "
                "choose a name with one of these endings",
                f"{file} 的扩展名是 {ending or '空'!r}；应为以下之一：{'、'.join(writers)}；"
                "请换成这样的文件名",
            )
        )
    if ending == ".parquet":
        import_pyarrow()
    return writers[ending]


def import_pyarrow() -> tuple[Any, Any]:
    """pyarrow and its Parquet half. Raises MissingExtraError if they are not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise MissingExtraError("pyarrow", "train") from None
    return pyarrow, pyarrow.parquet


def read_lines(file: Path) -> list[str]:
    """The lines of a UTF-8 file without the empty ones and those that start with #."""
    try:
        text = file.read_text(encoding="utf-8-sig")  # with or without a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        reason = Text("it is not UTF-8 text", "它不是 UTF-8 文本")
        if isinstance(error, OSError):
            reason = Text.of(error.strerror)
        raise ConfigError(
            Text(
                f"{file} cannot be read: {reason.en}; expected a UTF-8 text file with one entry "
                "per line; check the path, or save the file as UTF-8",
                f"无法读取 {file}：{reason.zh}；应为每行一项的 UTF-8 文本文件；请检查路径，"
                "或另存为 UTF-8",
            )
        ) from error
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def check_folder(file: Path) -> None:
    """Raises DataError if the parent folder of `file` does not exist, or `file` is a folder."""
    if file.is_dir():
        raise _refusal(file, Text("it is a folder", "它是文件夹"))
    if not (folder := file.absolute().parent).is_dir():
        raise _refusal(file, Text(f"there is no folder {folder}", f"没有文件夹 {folder}"))


def _refusal(file: Path, reason: Text) -> DataError:
    return DataError(
        Text(
            f"{file} cannot be written: {reason.en}; expected the path of a file in a folder that "
            "exists, with room and the right to write; choose another path, or create the folder",
            f"无法写入 {file}：{reason.zh}；应为已有文件夹中的文件路径，有空间和写权限；"
            "请换一个路径，或先建好文件夹",
        )
    )


def sync(path: Path) -> None:
    """Force a file, or the names in a folder, to the disk."""
    if os.name == "nt" and path.is_dir():
        return  # not possible on Windows
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
