"""Indexes the files in archives: an archive is a file of the collection without passages, and each
file that it holds is one with a path below it."""

from collections.abc import Callable, Iterator, Sequence

from seesay.data.archives import is_archive, member_path
from seesay.search.catalog.files import FileDraft, Quarantined
from seesay.search.catalog.store import Store
from seesay.search.indexing.options import RunState
from seesay.search.indexing.read import ReadingProcesses
from seesay.search.indexing.remove import remove_files
from seesay.search.indexing.walk import is_absent
from seesay.search.reading.archives import MEDIA_TYPE
from seesay.search.reading.messages import ListedFile, ReadResult
from seesay.search.reading.registry import media_type_of


class Archives:
    """The archives of one run."""

    def __init__(self, store: Store, processes: ReadingProcesses, run: RunState) -> None:
        self._store, self._processes, self._run = store, processes, run

    def read(self, changed: Sequence[ListedFile]) -> Iterator[ReadResult]:
        """Yields what is in each of these archives."""
        yield from self._processes.read(changed)

    def commit(self, archive: ReadResult) -> None:
        """Stores an archive whose files are stored, and removes those that it lost. The files of
        an archive that cannot be read any more go, as do the passages of any such file."""
        paths = {member_path(archive.path, name) for name, _ in archive.members}
        before = self._store.quarantine.by_path([archive.path]).get(archive.path)
        with self._store.writing("archive", run=self._run.number):
            if archive.stage != "read" and not is_absent(archive.path):
                self._remove_others(archive.path, paths)
            if archive.stage is None:
                draft = FileDraft(
                    path=archive.path,
                    media_type=MEDIA_TYPE,
                    content_hash=archive.content_hash,
                    size=archive.size,
                    mtime_ns=archive.mtime_ns,
                )
                self._store.files.put([draft])
            elif archive.stage != "read":
                self._store.files.remove(
                    one.id for one in self._store.files.by_path([archive.path]).values()
                )
            self._tell(archive, before)

    def _remove_others(self, archive: str, paths: set[str]) -> None:
        """Removes the files of an archive that it does not hold, and forgets their failures."""
        gone = [one for one in self._store.files.under(archive) if one.path not in paths]
        self._run.counts["removed"] += remove_files(self._store, gone)
        bad = (one.path for one in self._store.quarantine.all())
        below = member_path(archive, "")
        lost = [path for path in bad if path.startswith(below) and path not in paths]
        self._store.quarantine.release(lost)

    def _tell(self, archive: ReadResult, before: Quarantined | None) -> None:
        """Records why an archive, or a part of it, was not read; a failure counts once."""
        error = archive.complaint if archive.stage is None else archive.error
        if error is None:
            return
        self._store.quarantine.add(
            archive.path,
            size=archive.size,
            mtime_ns=archive.mtime_ns,
            stage=archive.stage or "part",
            error=error,
            content_hash=archive.content_hash or None,
        )
        told = (archive.size, archive.mtime_ns, error)
        known = before is not None and (before.size, before.mtime_ns, before.error) == told
        if archive.stage is None:
            self._run.counts["partial"] += not known
        else:
            self._run.counts["skipped" if known else "failed"] += 1


def members_of(archive: ReadResult) -> Iterator[ListedFile]:
    """Yields the files in an archive, in its order."""
    for name, size in archive.members:
        yield ListedFile(
            path=member_path(archive.path, name),
            expected=media_type_of(name) or "any",
            size=size,
            mtime_ns=archive.mtime_ns,
        )


def reads_archive(store: Store, asked: bool) -> Callable[[str], bool]:
    """Returns a function that tells whether the files in an archive are read: where that was
    `asked` for, or for an archive that was read before."""
    known = frozenset(store.files.paths_of(MEDIA_TYPE))
    return lambda path: is_archive(path) and (asked or path in known)
