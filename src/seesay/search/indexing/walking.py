"""Find the files to index, each once, and what keeps some of them from being found."""

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from seesay.data.folders import SUFFIXES
from seesay.data.tables import DELIMITED, JSON_LINES
from seesay.search.catalog.store import FILE
from seesay.search.indexing.storing.known import is_below
from seesay.search.reading.files import size_and_time
from seesay.search.reading.messages import Expected, Task

TEXTS = frozenset((".txt", ".text", ".md", ".markdown", ".mdown", ".rst"))
TABLES = frozenset((*DELIMITED, JSON_LINES))
_SCHEMES = ("http://", "https://")
_OWN = ("indexes", "thumbnails")  # folders of a collection, where it lies among the files


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A file that is there, or should be."""

    path: str
    expected: Expected
    size: int = 0
    mtime_ns: int = 0
    problem: str | None = None
    """Why it need not even be opened."""
    identity: int | None = None
    """What all names of it have in common: see `identity`."""

    def task(self) -> Task:
        """What a reading process needs to read it."""
        facts = {name: value for name, value in vars(self).items() if name != "identity"}
        return Task(**facts)


@dataclass(kw_only=True)
class Walk:
    """One way through the folders given, and what was met on it."""

    roots: Sequence[str]
    """Absolute paths, and addresses."""
    recursive: bool = True
    missing: list[str] = field(default_factory=list)
    """Roots that are not there."""
    unreadable: list[str] = field(default_factory=list)
    """Folders that could not be listed: what is known below them may still be there."""
    found: dict[str, int] = field(default_factory=dict)
    """How many files each root that is a folder holds."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Files of kinds that nothing reads, by their ending."""
    aliases: dict[str, str] = field(default_factory=dict)
    """Other names of files that were met: links, and what a disk that is mounted twice shows again.
    Each with the name that the file was met under first."""

    def files(self) -> Iterator[Seen]:
        """Every file once, in the order of the roots and the names. Links are followed in the end,
        where they lead to what no root holds; a loop is therefore walked once."""
        first: dict[int, str] = {}
        linked: list[Seen] = []
        for file in self._names():
            if os.path.islink(file.path):
                linked.append(file)
            elif self._is_new(file, first):
                yield file
        yield from (file for file in linked if self._is_new(file, first))

    def _is_new(self, file: Seen, first: dict[int, str]) -> bool:
        if file.identity is None or file.expected == "table":
            return True  # the paths in a table are meant from the folder that it lies in
        if (name := first.get(file.identity)) is None:
            first[file.identity] = file.path
        elif name != file.path:
            self.aliases[file.path] = name
        return name is None

    def _names(self) -> Iterator[Seen]:
        visited: set[tuple[int, int]] = set()
        links: list[tuple[str, str]] = []
        for root in self.roots:
            if root.startswith(_SCHEMES):
                yield Seen(path=root, expected="address")
            elif os.path.isdir(root):
                self.found[root] = 0
                yield from self._below(root, root, visited, links)
            elif os.path.lexists(root):
                yield seen(root, expected_of(root) or "any")
            else:
                self.missing.append(root)
        while links and self.recursive:
            root, folder = links.pop(0)
            yield from self._below(root, folder, visited, links)

    def met(self, file: Seen) -> bool:
        """Whether the whole walk has come by a file that is there."""
        if file.problem is not None or expected_of(file.path) is None:
            return False
        below = [file.path[len(r) :] for r in self.found if is_below(file.path, r)]
        inner = [path.strip(os.sep).split(os.sep) for path in below]
        return file.path in self.roots or any(
            (self.recursive or len(parts) == 1) and not any(part[0] == "." for part in parts)
            for parts in inner
        )

    def _below(
        self,
        root: str,
        top: str,
        visited: set[tuple[int, int]],
        links: list[tuple[str, str]],
    ) -> Iterator[Seen]:
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
                yield Seen(path=folder, expected="any", problem=_unlisted(error))
                continue
            shown = [entry for entry in entries if not entry.name.startswith(".")]
            if any(entry.name == FILE for entry in shown):
                if folder != root:
                    continue  # a collection: its thumbnails are no pictures of the user's
                shown = [entry for entry in shown if entry.name not in _OWN]
            inner = [entry.path for entry in shown if _is_folder(entry)]
            links += [(root, e.path) for e in shown if e.is_symlink() and os.path.isdir(e.path)]
            yield from self._files(root, shown, {*inner, *(path for _, path in links)})
            if self.recursive:
                folders.extend(reversed(inner))

    def _files(
        self, root: str, entries: Sequence["os.DirEntry[str]"], folders: set[str]
    ) -> Iterator[Seen]:
        for entry in entries:
            expected = expected_of(entry.name)
            if entry.path in folders:
                continue
            if expected is None:
                self.left_out[os.path.splitext(entry.name)[1].lower()] += 1
            else:
                self.found[root] += 1
                yield seen(entry.path, expected)


def identity(facts: os.stat_result) -> int | None:
    """The same for all names of a file: links, and what a disk that is mounted twice shows again;
    None where the file system does not number its files. Size and time go in as well, since some
    network disks number carelessly: there, two files would otherwise be taken for one."""
    if not facts.st_ino or not stat.S_ISREG(facts.st_mode):
        return None
    return hash((facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns))


def absolute(root: str | Path) -> str:
    """How a root is spelled in the collection: links in it stay as the user wrote them."""
    text = os.fspath(root)
    return text if text.lower().startswith(_SCHEMES) else os.path.abspath(text)


def seen(path: str, expected: Expected) -> Seen:
    """What the file system says of a file."""
    try:
        facts = os.stat(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return Seen(
            path=path,
            expected=expected,
            problem=f"it cannot be found ({reason}). Expected a file. Check the path or the link.",
        )
    problem = None
    if not stat.S_ISREG(facts.st_mode):
        problem = "it is a folder, device or pipe. Expected a file. Save the picture to one."
    size, mtime_ns = size_and_time(facts)
    return Seen(
        path=path,
        expected=expected,
        size=size,
        mtime_ns=mtime_ns,
        problem=problem,
        identity=identity(facts),
    )


def expected_of(name: str) -> Expected | None:
    """What a file of this name should hold; None where it is of no interest."""
    ending = os.path.splitext(name)[1].lower()
    kinds: tuple[tuple[frozenset[str], Expected], ...] = (
        (SUFFIXES, "image"),
        (TEXTS, "text"),
        (TABLES, "table"),
    )
    return next((kind for endings, kind in kinds if ending in endings), None)


def count_files(roots: Sequence[str], recursive: bool, stopped: Callable[[], bool]) -> int | None:
    """About how many files a walk will find, without looking at any; None where it was stopped."""
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
            count += sum(not n.startswith(".") and expected_of(n) is not None for n in names)
            if stopped():
                return None
    return count


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _unlisted(error: OSError) -> str:
    return (
        f"the folder cannot be listed ({error.strerror}). Expected a readable one. "
        "Check its rights and the length of its path."
    )
