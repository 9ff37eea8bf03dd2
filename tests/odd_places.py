"""What may lie where a file was: one way of replacing it for each."""

import os
import socket
from collections.abc import Callable
from pathlib import Path


def _nothing(path: Path) -> None:
    path.unlink()


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _terminal(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/tty")


def _socket(path: Path) -> None:
    path.unlink()
    before = os.getcwd()
    os.chdir(path.parent)  # the name of a socket may have 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(path.name)
    finally:
        os.chdir(before)


def _loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def _nowhere(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("not there"))


def _link_to_a_folder(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.parent)


def _below_a_file(path: Path) -> None:
    for other in path.parent.iterdir():
        other.unlink()
    path.parent.rmdir()
    path.parent.touch()


def _no_right(path: Path) -> None:
    path.chmod(0)


REPLACED: dict[str, Callable[[Path], None]] = {
    "nothing": _nothing,
    "a folder": _folder,
    "a pipe": _pipe,
    "a device": _device,
    "a terminal": _terminal,
    "a socket": _socket,
    "a link to itself": _loop,
    "a link to nothing": _nowhere,
    "a link to a folder": _link_to_a_folder,
    "a file for its folder": _below_a_file,
}
if os.name != "nt" and os.geteuid():  # root may read everything
    REPLACED["a file without rights"] = _no_right
