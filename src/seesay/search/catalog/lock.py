"""One writer at a time: a lock that the operating system releases when its holder dies."""

import contextlib
import json
import os
import socket
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from seesay.errors import CollectionBusyError, CollectionError
from seesay.text import Text

_POLL_S = 0.005
_POLL_MOST_S = 0.1
_NOTE = b'{"pid": '  # how a holder's note starts


class WriterLock:
    """A lock on a file, between processes and threads. A thread that holds it may take it again.

    The file names the holder. It stays after the release, empty: deleting it would let two
    processes lock two files with the same name.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._thread = threading.RLock()
        self._depth = 0
        self._handle: int | None = None
        _LOCKS.add(self)

    @contextmanager
    def held(self, action: str, wait_s: float) -> Iterator[None]:
        """Hold the lock in the block. Raises CollectionBusyError, naming the holder, if it is not
        free within `wait_s` seconds."""
        deadline = time.monotonic() + wait_s
        if not self._thread.acquire(timeout=max(wait_s, 0)):
            raise self._busy(wait_s)
        try:
            if not self._depth:
                self._handle = self._acquire(action, deadline, wait_s)
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if not self._depth and self._handle is not None:
                    with contextlib.suppress(OSError):
                        os.truncate(self._handle, 0)
                    _unlock(self._handle)
                    os.close(self._handle)
                    self._handle = None
        finally:
            self._thread.release()

    def forget(self) -> None:
        """In a forked child: close the copy of the handle, or a child that outlives its parent
        would keep the lock."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle, self._depth = None, 0
        self._thread = threading.RLock()

    def _acquire(self, action: str, deadline: float, wait_s: float) -> int:
        handle = self._open()
        pause = _POLL_S
        try:
            while not _try_lock(handle, self.file):
                if time.monotonic() >= deadline:
                    raise self._busy(wait_s)
                time.sleep(pause)
                pause = min(2 * pause, _POLL_MOST_S)
            since = datetime.now().astimezone().isoformat(timespec="seconds")
            holder = {"pid": os.getpid(), "host": socket.gethostname(), "action": action}
            with contextlib.suppress(OSError):  # a full disk: the lock itself needs no room
                os.truncate(handle, 0)
                os.lseek(handle, 0, os.SEEK_SET)
                os.write(handle, json.dumps({**holder, "since": since}).encode())
        except BaseException:
            os.close(handle)
            raise
        return handle

    def _open(self) -> int:
        """Raises CollectionError if the file contains anything but a holder's note, since taking
        the lock would overwrite it."""
        try:
            handle = os.open(self.file, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise CollectionError(
                Text(
                    f"{self.file} cannot be written ({error.strerror}), expected the right to "
                    "write in the folder of the collection; searching needs none; change its "
                    "rights, or copy it",
                    f"无法写入 {self.file}（{error.strerror}）；应有资料库文件夹的写入权限"
                    "（搜索不需要）；请修改权限，或复制一份",
                )
            ) from error
        if os.read(handle, len(_NOTE)) in (b"", _NOTE):
            return handle
        os.close(handle)
        raise CollectionError(
            Text(
                f"{self.file} belongs to another program, expected no file of this name, or the "
                "lock of a collection; move it away, or keep the collection in another folder",
                f"{self.file} 属于其他程序；应没有这个文件，或是资料库的锁；"
                "请将其移走，或把资料库放到另一个文件夹",
            )
        )

    def _busy(self, wait_s: float) -> CollectionBusyError:
        try:
            holder = json.loads(self.file.read_text())
            who = Text(
                "process {pid} on {host} ({action}, since {since})".format(**holder),
                "{host} 上的进程 {pid}（{action}，始于 {since}）".format(**holder),
            )
        except (OSError, ValueError, KeyError):
            who = Text("another process or thread", "另一个进程或线程")
        return CollectionBusyError(
            Text(
                f"{self.file.parent} is being written by {who.en}; waited {wait_s:g} s for it to "
                "finish; let it finish, stop it, or wait longer",
                f"{who.zh}正在写入 {self.file.parent}；已等待 {wait_s:g} 秒；"
                "请等它结束或将其停止，或延长等待时间",
            )
        )


_LOCKS: "weakref.WeakSet[WriterLock]" = weakref.WeakSet()


def _forget_all() -> None:
    for lock in list(_LOCKS):
        lock.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)

if os.name == "nt":
    import msvcrt

    _FAR = 1 << 30  # a locked byte cannot be read by others: lock one after the text

    def _try_lock(handle: int, file: Path) -> bool:
        os.lseek(handle, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError:
            return False
        return True

    def _unlock(handle: int) -> None:
        os.lseek(handle, _FAR, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined]

else:
    import fcntl

    def _try_lock(handle: int, file: Path) -> bool:
        try:
            # Not lockf: that lock is lost when any other handle of the process is closed.
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise CollectionError(
                Text(
                    f"{file} cannot be locked ({error.strerror}), expected a file system with "
                    "locks; keep the collection on a local disk",
                    f"{file} 无法加锁（{error.strerror}）；应为支持文件锁的文件系统；"
                    "请把资料库放到本地磁盘",
                )
            ) from error
        return True

    def _unlock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_UN)
