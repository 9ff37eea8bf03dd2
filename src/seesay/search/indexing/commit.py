"""Stores files that were read and embedded, in batches of one transaction each."""

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from seesay.search.catalog.files import File, FileDraft, Quarantined
from seesay.search.catalog.store import Store
from seesay.search.indexing.embed import EmbeddedFile, IndexingModels
from seesay.search.indexing.options import RunState
from seesay.search.indexing.remove import ROOTS, known_paths
from seesay.search.indexing.walk import holds_something, is_absent, is_as_stored, is_below
from seesay.search.reading.messages import ReadResult

PASSAGES = 384  # in a batch: enough to make the cost of syncing the disk small
SECONDS = 3.0  # after which a smaller batch is stored too, to be searchable
_COPIES = 16  # files of the same content to check for a renamed one


@dataclass(eq=False)
class Writer:
    """Collects embedded files and stores them in batches."""

    _store: Store
    _models: IndexingModels
    _run: RunState
    _batch: dict[str, EmbeddedFile] = field(default_factory=dict)
    _passages: int = 0
    _since: float = field(default_factory=time.monotonic)

    def add(self, embedded: EmbeddedFile) -> bool:
        """Add a file; returns whether a batch was just stored."""
        self._batch[embedded.file.path] = embedded  # the last one per path counts
        self._passages += len(embedded.file.passages) or 1
        due = self._passages >= PASSAGES or time.monotonic() - self._since >= SECONDS
        if due:
            self.flush()
        return due

    def flush(self) -> None:
        """Store the current batch."""
        batch, self._batch, self._passages = self._batch, {}, 0
        if batch:
            with self._store.writing("index", run=self._run.number):
                self._commit(list(batch.values()))
                self._store.runs.note(self._run.number, self._run.counts)
            self._run.path = next(reversed(batch))
        self._since = time.monotonic()

    def _commit(self, batch: Sequence[EmbeddedFile]) -> None:
        items = self._store.files.by_path(embedded.file.path for embedded in batch)
        told = self._store.quarantine.by_path(items)
        failed, same, changed = [], [], []
        for embedded in batch:
            file, item = embedded.file, items.get(embedded.file.path)
            if item is not None and is_outdated(file, item):
                self._run.counts["unchanged"] += 1
            elif file.stage is not None:
                failed.append(file)
            elif item is not None and _is_as_stored(file, item, told.get(file.path)):
                same.append(file)
            else:
                changed.append(embedded)
        if failed:
            self._record_failures(failed, items)
        if same:
            self._note_same(same, items)
        if changed:
            self._commit_changed(changed, items)
        self._record_complaints([one.file for one in changed if one.file.complaint])

    def _commit_changed(self, changed: Sequence[EmbeddedFile], items: Mapping[str, File]) -> None:
        """Store files that are new or whose content changed."""
        copies: dict[str, list[File]] = {}
        for item in self._store.files.by_hash({embedded.file.content_hash for embedded in changed}):
            copies.setdefault(item.content_hash, []).append(item)
        known = self._move(changed, items, copies) if copies else set()
        rest = [embedded for embedded in changed if embedded.file.path not in known]
        if copies or len({embedded.file.content_hash for embedded in rest}) < len(rest):
            known |= self._link(rest, items, copies)
        self._put([embedded for embedded in rest if embedded.file.path not in known], items)

    def _record_failures(self, failed: Sequence[ReadResult], items: Mapping[str, File]) -> None:
        known = self._store.quarantine.by_path(file.path for file in failed)
        names = ("size", "mtime_ns", "stage", "error", "content_hash")
        for file in failed:
            now = {name: getattr(file, name) or None for name in names}
            before = known.get(file.path)
            if before is not None and now == {n: getattr(before, n) or None for n in names}:
                self._run.counts["skipped"] += 1
                continue
            self._store.quarantine.add(
                file.path,
                size=file.size,
                mtime_ns=file.mtime_ns,
                stage=file.stage or "",
                error=file.error,
                content_hash=file.content_hash or None,
            )
            self._run.counts["failed"] += 1
        # A file that cannot even be opened may be unchanged; any other differs from what is stored.
        self._store.files.remove(
            items[file.path].id for file in failed if file.stage != "read" and file.path in items
        )

    def _record_complaints(self, files: Sequence[ReadResult]) -> None:
        """Record what could not be used of files that were stored."""
        stored = self._store.files.by_path(file.path for file in files)
        for file in files:
            item = stored.get(file.path)
            if item is None or file.complaint is None or item.content_hash != file.content_hash:
                continue  # a link to another file, or another writer stored a newer content
            self._store.quarantine.add(
                file.path,
                size=file.size,
                mtime_ns=file.mtime_ns,
                stage="part",
                error=file.complaint,
                content_hash=file.content_hash,
            )
            self._run.counts["partial"] += 1

    def _note_same(self, same: Sequence[ReadResult], items: Mapping[str, File]) -> None:
        for file in same:
            item = items[file.path]
            if (item.size, item.mtime_ns) != (file.size, file.mtime_ns):
                self._store.files.set_file(item.id, size=file.size, mtime_ns=file.mtime_ns)
            if item.status != "ready":
                self._store.files.set_status([item.id], "ready")
            self._run.counts["unchanged"] += 1
        self._store.quarantine.release(file.path for file in same if file.complaint is None)

    def _move(
        self,
        changed: Sequence[EmbeddedFile],
        items: Mapping[str, File],
        copies: Mapping[str, Sequence[File]],
    ) -> set[str]:
        """Give files that were renamed, or known by a link, their new path; returns the paths."""
        moves: dict[int, ReadResult] = {}
        roots = known_paths(self._store, ROOTS)
        for file in (embedded.file for embedded in changed):
            name = PurePath(file.path).name
            some = [c for c in copies.get(file.content_hash, ()) if _content(c) == _content(file)]
            some.sort(key=lambda copy: PurePath(copy.path).name != name)
            for copy in some[:_COPIES]:
                gone = _is_gone(copy.path, roots) or _is_link_to(copy.path, file.path)
                if copy.id not in moves and gone:
                    moves[copy.id] = file
                    break
        if moves:
            self._store.files.remove(items[f.path].id for f in moves.values() if f.path in items)
            self._store.files.move({number: file.path for number, file in moves.items()})
            for number, file in moves.items():
                self._store.files.set_file(number, size=file.size, mtime_ns=file.mtime_ns)
            self._store.quarantine.release(file.path for file in moves.values())
            self._run.counts["moved"] += len(moves)
        return {file.path for file in moves.values()}

    def _link(
        self,
        changed: Sequence[EmbeddedFile],
        items: Mapping[str, File],
        copies: Mapping[str, Sequence[File]],
    ) -> set[str]:
        """Note the paths that are another name of a file that the collection has, or is about to
        have; returns them."""
        fresh: dict[str, list[ReadResult]] = {}
        aliases = {}
        for file in (embedded.file for embedded in changed):
            own = fresh.setdefault(file.content_hash, [])
            others: Sequence[File | ReadResult] = (*copies.get(file.content_hash, ()), *own)
            name = next((other.path for other in others if _is_one_file(other, file)), None)
            if name is None:
                own.append(file)
            else:
                aliases[file.path] = name
        if aliases:
            self._store.files.remove(items[path].id for path in aliases if path in items)
            self._store.quarantine.release(aliases)
            self._run.aliases |= aliases
            self._run.counts["links"] += len(aliases)
        return set(aliases)

    def _put(self, changed: Sequence[EmbeddedFile], items: Mapping[str, File]) -> None:
        if not changed:
            return
        stored = self._store.files.put(
            [
                FileDraft(
                    path=file.path,
                    media_type=file.media_type,
                    content_hash=file.content_hash,
                    size=file.size,
                    mtime_ns=file.mtime_ns,
                    passages=file.passages,
                )
                for file in (embedded.file for embedded in changed)
            ]
        )
        vectors = [row for one in changed for row in one.vectors or ()]
        passages = [number for one in stored for number in one.passages]
        modalities = [passage.modality for one in changed for passage in one.file.passages]
        self._models.put(passages, modalities, vectors)
        for embedded in changed:
            file = embedded.file
            self._run.counts["updated" if file.path in items else "added"] += 1
            for passage in file.passages:
                self._run.counts[f"{passage.modality}s" if embedded.is_new else "reused"] += 1


def is_outdated(file: ReadResult, item: File) -> bool:
    """Whether a file changed after it was read and another writer has stored its new content."""
    same = (file.size, file.mtime_ns) == (item.size, item.mtime_ns)
    try:
        return not same and item.status == "ready" and is_as_stored(item)
    except OSError:
        return False


def _is_as_stored(file: ReadResult, item: File, told: Quarantined | None) -> bool:
    """Whether the collection has this content, and of it the same part could not be used."""
    if told is None or told.stage != "part":
        is_told = file.complaint is None
    else:
        is_told = told.error == file.complaint and told.mtime_ns == file.mtime_ns
    return is_told and _content(item) == _content(file)


def _content(known: File | ReadResult) -> tuple[str, str]:
    return known.content_hash, known.media_type


def _is_gone(path: str, roots: Iterable[str]) -> bool:
    """Whether a file was really removed, rather than its disk unmounted: the indexed folder must
    exist and not be empty."""
    if not is_absent(path):
        return False
    above = [root for root in roots if is_below(path, root)]
    return bool(above) and all(holds_something(root) for root in above)


def _is_one_file(known: File | ReadResult, file: ReadResult) -> bool:
    """Whether two paths name the same file."""
    same = (known.size, known.mtime_ns) == (file.size, file.mtime_ns)
    return same and known.path != file.path and _is_same_file(known.path, file.path)


def _is_link_to(known: str, path: str) -> bool:
    """Whether the known path is a link to a file now found under its own name."""
    return os.path.islink(known) and not os.path.islink(path) and _is_same_file(known, path)


def _is_same_file(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):  # one is gone or is an address
        return False
