"""Finds the files to index, each once, and checks single files."""

import errno
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from seesay.data.archives import archive_of, is_archive
from seesay.search.catalog.files import File
from seesay.search.catalog.store import FILE
from seesay.search.reading.files import size_and_time
from seesay.search.reading.messages import ListedFile
from seesay.search.reading.registry import media_type_of
from seesay.text import Text

SCHEMES = ("http://", "https://")
_OWN = ("indexes", "thumbnails")  # a collection's own folders, if it is among the files


@dataclass(kw_only=True)
class Walk:
    """One walk through the given files and folders, and what it found."""

    roots: Sequence[str]
    """Absolute paths, and addresses."""
    recursive: bool = True
    reads_archive: Callable[[str], bool] = lambda path: False
    """Whether the files in this archive are read."""
    missing: list[str] = field(default_factory=list)
    """Roots that do not exist."""
    unreadable: list[str] = field(default_factory=list)
    """Folders that could not be listed; files known below them may still exist."""
    counts: dict[str, int] = field(default_factory=dict)
    """Number of files in each root folder."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Number of files of unsupported kinds, by file ending."""
    aliases: dict[str, str] = field(default_factory=dict)
    """Other names of the files found, each mapped to the name found first."""

    def files(self) -> Iterator[ListedFile]:
        """Yield every file once, in the order of the roots and names. Links come last, and only
        those that lead out of all roots, so a loop is walked once."""
        first: dict[int, str] = {}
        links: list[ListedFile] = []
        for file in self._names():
            if os.path.islink(file.path):
                links.append(file)
            elif self._is_new(file, first):
                yield file
        yield from (file for file in links if self._is_new(file, first))

    def passes(self, file: ListedFile) -> bool:
        """Whether a complete walk passes this existing file."""
        if file.problem is not None or media_type_of(file.path) is None:
            return False
        below = [file.path[len(root) :] for root in self.counts if is_below(file.path, root)]
        inner = [path.strip(os.sep).split(os.sep) for path in below]
        return file.path in self.roots or any(
            (self.recursive or len(parts) == 1) and not any(part[0] == "." for part in parts)
            for parts in inner
        )

    def _is_new(self, file: ListedFile, first: dict[int, str]) -> bool:
        if file.identity is None or file.expected == "table":
            return True  # the paths in a table are relative to its folder
        if (name := first.get(file.identity)) is None:
            first[file.identity] = file.path
        elif name != file.path:
            self.aliases[file.path] = name
        return name is None

    def _names(self) -> Iterator[ListedFile]:
        visited: set[tuple[int, int]] = set()
        links: list[tuple[str, str]] = []
        for root in self.roots:
            if root.startswith(SCHEMES):
                yield ListedFile(path=root, expected="address")
            elif os.path.isdir(root):
                self.counts[root] = 0
                yield from self._below(root, root, visited, links)
            elif is_archive(root) and self.reads_archive(root) and os.path.lexists(root):
                yield listed(root, "archive")
            elif os.path.lexists(root):
                yield listed(root, media_type_of(root) or "any")
            elif found := archive_of(root):
                yield listed(found[0], "archive")
            else:
                self.missing.append(root)
        while links and self.recursive:
            root, folder = links.pop(0)
            yield from self._below(root, folder, visited, links)

    def _below(
        self,
        root: str,
        top: str,
        visited: set[tuple[int, int]],
        links: list[tuple[str, str]],
    ) -> Iterator[ListedFile]:
        folders = [top]
        while folders:
            folder = folders.pop()
            try:
                facts = os.stat(folder)
                if (facts.st_dev, facts.st_ino) in visited:
                    continue
                visited.add((facts.st_dev, facts.st_ino))
                with os.scandir(folder) as listing:
                    entries = sorted(listing, key=lambda entry: entry.name)
            except OSError as error:
                self.unreadable.append(folder)
                yield ListedFile(path=folder, expected="any", problem=_unlisted(error))
                continue
            visible = [entry for entry in entries if not entry.name.startswith(".")]
            if any(entry.name == FILE for entry in visible):
                if folder != root:
                    continue  # a collection: its thumbnails are not the user's pictures
                visible = [entry for entry in visible if entry.name not in _OWN]
            inner = [entry.path for entry in visible if _is_folder(entry)]
            links += [(root, e.path) for e in visible if e.is_symlink() and os.path.isdir(e.path)]
            yield from self._files(root, visible, {*inner, *(path for _, path in links)})
            if self.recursive:
                folders.extend(reversed(inner))

    def _files(
        self, root: str, entries: Sequence["os.DirEntry[str]"], folders: set[str]
    ) -> Iterator[ListedFile]:
        for entry in entries:
            if entry.path in folders:
                continue
            expected = media_type_of(entry.name)
            if is_archive(entry.name) and self.reads_archive(entry.path):
                expected = "archive"
            if expected is None:
                self.left_out[os.path.splitext(entry.name)[1].lower()] += 1
            else:
                self.counts[root] += 1
                yield listed(entry.path, expected)


def listed(path: str, expected: str) -> ListedFile:
    """Returns a file with its status from the file system."""
    try:
        facts = os.stat(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return ListedFile(
            path=path,
            expected=expected,
            problem=Text(
                f"it cannot be found ({reason}). Expected a file. Check the path or the link.",
                f"找不到（{reason}）；应为文件；请检查路径或链接",
            ),
        )
    problem = None
    if not stat.S_ISREG(facts.st_mode):
        problem = Text(
            "it is a folder, device or pipe. Expected a file. Save the picture to one.",
            "它是文件夹、设备或管道；应为文件；请把图片另存为文件",
        )
    size, mtime_ns = size_and_time(facts)
    numbered = facts.st_ino and problem is None
    return ListedFile(
        path=path,
        expected=expected,
        size=size,
        mtime_ns=mtime_ns,
        problem=problem,
        identity=hash((facts.st_dev, facts.st_ino, size, facts.st_mtime_ns)) if numbered else None,
    )


def absolute(root: str | Path) -> str:
    """Returns a root as the collection spells it: links in it stay as the user wrote them."""
    text = os.fspath(root)
    return text if text.lower().startswith(SCHEMES) else os.path.abspath(text)


def count_files(roots: Sequence[str], recursive: bool, stopped: Callable[[], bool]) -> int | None:
    """Estimates how many files a walk will list, without opening any; None if stopped."""
    count = 0
    for root in roots:
        if not os.path.isdir(root):
            count += 1
            continue
        for folder, folders, names in os.walk(root):
            own = _OWN if FILE in names else ()
            folders[:] = [
                n for n in folders if recursive and not n.startswith(".") and n not in own
            ]
            if own and folder != root:
                folders.clear()
                continue
            count += sum(not n.startswith(".") and media_type_of(n) is not None for n in names)
            if stopped():
                return None
    return count


# Questions about single files and folders


def is_below(path: str, folder: str) -> bool:
    """Whether a path is this folder or is below it."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def is_absent(path: str) -> bool:
    """Whether the file system says that the file does not exist. A file without access permission
    is not absent, nor is one in an archive that exists: what an archive lost is removed when it is
    read again."""
    if archive_of(path):
        return False
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError) as error:
        return _is_denial(error)


def is_nothing(path: str) -> bool:
    """Whether nothing exists at this path, not even a folder, a pipe or a broken link; see
    `is_absent` for files in archives."""
    if archive_of(path):
        return False
    try:
        os.lstat(path)
    except (OSError, ValueError) as error:
        return _is_denial(error)
    return False


def is_as_stored(item: File) -> bool:
    """Whether a file exists with the stored size and time, or the archive that it is in has this
    time."""
    found = archive_of(item.path)
    try:
        facts = os.stat(found[0] if found else item.path)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False  # ValueError: an address
    size, mtime_ns = size_and_time(facts)
    return (item.size if found else size, mtime_ns) == (item.size, item.mtime_ns)


def holds_something(folder: str) -> bool:
    """Whether a folder can be listed and is not empty, unlike the mount point of an absent disk."""
    try:
        with os.scandir(folder) as listing:
            return next(listing, None) is not None
    except OSError:
        return False


def _is_denial(error: Exception) -> bool:
    absent = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
    return not isinstance(error, OSError) or error.errno in absent


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _unlisted(error: OSError) -> Text:
    return Text(
        f"the folder cannot be listed ({error.strerror}). Expected a readable one. "
        "Check its rights and the length of its path.",
        f"无法列出文件夹的内容（{error.strerror}）；应可读取；请检查权限和路径长度",
    )
