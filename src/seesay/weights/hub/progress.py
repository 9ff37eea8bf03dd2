"""How far a download is, seen from outside: the hubs' libraries each report in their own way, but
all of them write into a folder."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

EVERY_S = 0.2

OnProgress = Callable[[int, int], None]
"""Called with the bytes brought so far and the bytes to bring, from another thread."""


@contextmanager
def watched(folder: Path, total: int, on_progress: OnProgress | None) -> Iterator[None]:
    """Report while the block runs how much `folder` has grown, and the whole at its good end."""
    if on_progress is None or total == 0:
        yield
        return
    before, ended = _size(folder), Event()

    def watch() -> None:
        while not ended.wait(EVERY_S):
            on_progress(max(0, min(_size(folder) - before, total)), total)

    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
    on_progress(total, total)


def _size(folder: Path) -> int:
    """Bytes in the files below a folder. Links do not count: they point at files beside them."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += 0 if path.is_symlink() else path.stat().st_size * path.is_file()
        except OSError:
            continue  # it was moved into its place meanwhile
    return total
