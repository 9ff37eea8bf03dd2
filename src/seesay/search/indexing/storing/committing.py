"""Batches of what was read and embedded -> the store, each in one transaction."""

import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from seesay.search.catalog.files import Item, ItemDraft
from seesay.search.catalog.store import Store
from seesay.search.catalog.vectors import Space
from seesay.search.indexing.storing.embedding import Embedded
from seesay.search.indexing.storing.known import (
    Vectors,
    is_gone,
    is_outdated,
    known_roots,
    vectors_of_contents,
)
from seesay.search.reading.messages import Outcome

UNITS = 384  # in a batch: large enough that its sync to the disk costs little of the time
SECONDS = 3.0  # after which a smaller batch goes in, so that it can be searched
_TWINS = 16  # files of the same content that are looked at to find one that was renamed


@dataclass(kw_only=True)
class Tally:
    """What has become of the files so far."""

    counts: Counter[str] = field(default_factory=Counter)
    """By the names that IngestReport has."""
    path: str = ""
    aliases: dict[str, str] = field(default_factory=dict)
    """Names that were met of files that the collection has under another, with that."""

    @property
    def done(self) -> int:
        """Files."""
        names = ("added", "updated", "moved", "unchanged", "failed", "skipped", "links")
        return sum(self.counts[name] for name in names)


class Committing:
    """Collects what is to be stored, and stores it when it is time."""

    def __init__(self, store: Store, space: Space, *, run: int, tally: Tally) -> None:
        self.orphans: list[Outcome] = []
        """Files whose content was known, but no longer is: they must be read again."""
        self._store = store
        self._space = space
        self._run = run
        self._tally = tally
        self._batch: list[Embedded] = []
        self._units = 0
        self._since = time.monotonic()

    def add(self, embedded: Embedded) -> list[str]:
        """Returns the contents that were stored just now, if it was time."""
        self._batch.append(embedded)
        self._units += 1 if embedded.vectors is None else len(embedded.vectors)
        if self._units >= UNITS or time.monotonic() - self._since >= SECONDS:
            return self.flush()
        return []

    def flush(self) -> list[str]:
        """Store what there is; returns its contents."""
        batch = {embedded.outcome.path: embedded for embedded in self._batch}  # the last one counts
        self._batch, self._units = [], 0
        if batch:
            with self._store.writing("index", run=self._run):
                self._commit(list(batch.values()))
                self._store.runs.note(self._run, dict(self._tally.counts))
            self._tally.path = next(reversed(batch))
        self._since = time.monotonic()
        return [e.outcome.content_hash for e in batch.values() if e.outcome.content_hash]

    def _commit(self, batch: list[Embedded]) -> None:
        store = self._store
        items = store.items.by_path(embedded.outcome.path for embedded in batch)
        batch = [e for e in batch if not self._is_overtaken(e.outcome, items)]
        outcomes = [embedded.outcome for embedded in batch]
        self._record_failures([o for o in outcomes if o.stage is not None], items)
        sound = [embedded for embedded in batch if embedded.outcome.stage is None]
        same = [e.outcome for e in sound if _is_same(e.outcome, items.get(e.outcome.path))]
        self._note_same(same, items)
        known_paths = {outcome.path for outcome in same}
        changed = [embedded for embedded in sound if embedded.outcome.path not in known_paths]
        vectors = self._vectors(changed)  # before anything is replaced: files may exchange names
        outcomes = [embedded.outcome for embedded in changed]
        twins = self._twins(outcomes)
        moved = self._move(outcomes, items, twins)
        rest = [e for e in changed if e.outcome.path not in moved]
        aliases = self._aliases([embedded.outcome for embedded in rest], items, twins)
        self._put([e for e in rest if e.outcome.path not in aliases], items, vectors)

    def _is_overtaken(self, outcome: Outcome, items: Mapping[str, Item]) -> bool:
        item = items.get(outcome.path)
        if item is None or not is_outdated(outcome, item):
            return False
        self._tally.counts["unchanged"] += 1
        return True

    def _record_failures(self, failed: Sequence[Outcome], items: Mapping[str, Item]) -> None:
        known = self._store.quarantine.by_path(outcome.path for outcome in failed)
        for outcome in failed:
            before, now = known.get(outcome.path), _facts(outcome)
            if before is not None and now == {name: getattr(before, name) for name in now}:
                self._tally.counts["skipped"] += 1
                continue
            self._store.quarantine.add(outcome.path, **now)  # type: ignore[arg-type]
            self._tally.counts["failed"] += 1
        # What cannot even be opened may be as it was; anything else is no longer what is stored.
        stale = [items[o.path].id for o in failed if o.stage != "read" and o.path in items]
        self._store.items.remove(stale)

    def _note_same(self, same: Sequence[Outcome], items: Mapping[str, Item]) -> None:
        for outcome in same:
            item = items[outcome.path]
            if (item.size, item.mtime_ns) != (outcome.size, outcome.mtime_ns):
                self._store.items.set_file(item.id, size=outcome.size, mtime_ns=outcome.mtime_ns)
            if item.status != "ready":
                self._store.items.set_status([item.id], "ready")
            self._tally.counts["unchanged"] += 1
        self._store.quarantine.release(outcome.path for outcome in same)

    def _vectors(self, changed: Sequence[Embedded]) -> dict[str, Vectors]:
        own = {_content(e.outcome): e.vectors for e in changed if e.vectors is not None}
        others = {_content(e.outcome) for e in changed} - own.keys()
        return {**own, **vectors_of_contents(self._store, self._space.id, others)}

    def _twins(self, outcomes: Sequence[Outcome]) -> dict[str, list[Item]]:
        """What the collection has of these contents."""
        twins: dict[str, list[Item]] = {}
        for item in self._store.items.by_hash({_content(outcome) for outcome in outcomes}):
            twins.setdefault(item.content_hash, []).append(item)
        return twins

    def _move(
        self,
        outcomes: Sequence[Outcome],
        items: Mapping[str, Item],
        twins: Mapping[str, Sequence[Item]],
    ) -> set[str]:
        """Give files that were renamed, or were known by a link, their new path; returns the
        paths."""
        moves: dict[int, Outcome] = {}
        roots = known_roots(self._store) if twins else []
        for outcome in outcomes:
            some = [t for t in twins.get(_content(outcome), []) if t.kind == outcome.kind]
            some.sort(key=lambda twin: _name(twin.path) != _name(outcome.path))
            for twin in some[:_TWINS]:
                gone = is_gone(twin.path, roots) or _is_link_to(twin.path, outcome.path)
                if twin.id not in moves and gone:
                    moves[twin.id] = outcome
                    break
        if moves:
            self._store.items.remove(items[o.path].id for o in moves.values() if o.path in items)
            self._store.items.move({number: o.path for number, o in moves.items()})
            for number, o in moves.items():
                self._store.items.set_file(number, size=o.size, mtime_ns=o.mtime_ns)
            self._store.quarantine.release(o.path for o in moves.values())
            self._tally.counts["moved"] += len(moves)
        return {outcome.path for outcome in moves.values()}

    def _aliases(
        self,
        outcomes: Sequence[Outcome],
        items: Mapping[str, Item],
        twins: Mapping[str, Sequence[Item]],
    ) -> set[str]:
        """The paths that are another name of a file that the collection has, or has in a moment."""
        fresh: dict[str, list[Outcome]] = {}
        found = set()
        for outcome in outcomes:
            own = fresh.setdefault(_content(outcome), [])
            others: Sequence[Item | Outcome] = (*twins.get(_content(outcome), ()), *own)
            name = next((o.path for o in others if _is_one_file(o, outcome)), None)
            if name is None:
                own.append(outcome)
            else:
                self._tally.aliases[outcome.path] = name
                found.add(outcome.path)
        self._store.items.remove(items[path].id for path in found if path in items)
        self._store.quarantine.release(found)
        self._tally.counts["links"] += len(found)
        return found

    def _put(
        self,
        changed: Sequence[Embedded],
        items: Mapping[str, Item],
        vectors: Mapping[str, Vectors],
    ) -> None:
        puts = []
        for embedded in changed:
            outcome = embedded.outcome
            if len(vectors.get(_content(outcome), ())) == len(outcome.units):
                puts.append(embedded)
            else:
                self.orphans.append(outcome)
        stored = self._store.items.put([_draft(embedded.outcome) for embedded in puts])
        if not stored:
            return
        units = [unit for one in stored for unit in one.units]
        rows = np.concatenate([vectors[_content(embedded.outcome)] for embedded in puts])
        self._store.vectors.put(self._space.id, units, rows)
        self._count(puts, items)

    def _count(self, puts: Iterable[Embedded], items: Mapping[str, Item]) -> None:
        for embedded in puts:
            outcome = embedded.outcome
            self._tally.counts["updated" if outcome.path in items else "added"] += 1
            new = embedded.vectors is not None
            name = f"{outcome.kind}s" if new else "reused"
            self._tally.counts[name] += len(outcome.units)


def _is_same(outcome: Outcome, item: Item | None) -> bool:
    return item is not None and (item.content_hash, item.kind) == (
        outcome.content_hash,
        outcome.kind,
    )


def _facts(outcome: Outcome) -> dict[str, object]:
    """What the quarantine records of a failure."""
    names = ("size", "mtime_ns", "stage", "error", "content_hash")
    return {name: getattr(outcome, name) for name in names}


def _draft(outcome: Outcome) -> ItemDraft:
    return ItemDraft(
        path=outcome.path,
        kind=outcome.kind or "image",
        content_hash=_content(outcome),
        size=outcome.size,
        mtime_ns=outcome.mtime_ns,
        units=outcome.units,
    )


def _content(outcome: Outcome) -> str:
    assert outcome.content_hash is not None  # only what could not be read has none
    return outcome.content_hash


def _is_one_file(known: Item | Outcome, outcome: Outcome) -> bool:
    """Whether two paths are names of one file."""
    same = (known.size, known.mtime_ns) == (outcome.size, outcome.mtime_ns)
    return same and known.path != outcome.path and _is_same_file(known.path, outcome.path)


def _is_link_to(known: str, path: str) -> bool:
    """Whether what was known is a link to a file that has come in by its own name."""
    return os.path.islink(known) and not os.path.islink(path) and _is_same_file(known, path)


def _is_same_file(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):  # one is gone, or an address
        return False


def _name(path: str) -> str:
    return path.rpartition("/")[2]
