"""What tables say of pictures is put together with what was known of them, and can be taken back.

Each table's word is kept for itself, and so is what was known before any table spoke. What a
picture has is made of these anew whenever one of them changes: captions of several tables stand
below each other; of columns of the same name that of the last table, by its path, counts.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np

from seesay.inference.embedder import Embedder
from seesay.search.ingest.storing.captions import LANE, caption_vectors
from seesay.search.store.records import Metadata, Space, Unit
from seesay.search.store.said import OWN, Statement
from seesay.search.store.store import Store

AT_ONCE = 500  # pictures, and so in a transaction


@dataclass(frozen=True, kw_only=True)
class _Change:
    """What becomes of a picture."""

    unit: Unit
    own: Statement
    text: str | None
    metadata: Metadata | None
    """None where it stays."""
    last: bool
    """Whether no table says anything of it any more."""

    @property
    def is_said_anew(self) -> bool:
        return self.text != self.unit.text


class Describing:
    """Describes pictures for one run."""

    def __init__(
        self, store: Store, embedder: Embedder, space: Space, run: int, *, adopt: bool
    ) -> None:
        """`adopt` says that pictures may hold what tables said before that was kept apart: what a
        table says in the same words is then its own."""
        self._store = store
        self._embedder = embedder
        self._space = space
        self.run = run
        self._adopt = adopt

    def describe(self, source: str, statements: Mapping[int, Statement]) -> None:
        """From now on this table says this of these units, and nothing of any other."""
        gone = set(self._store.said.units_of(source)) - statements.keys()
        self._in_parts(source, {**statements, **dict.fromkeys(sorted(gone))})

    def withdraw(self, source: str) -> None:
        """Take back all that a table said."""
        self._in_parts(source, dict.fromkeys(self._store.said.units_of(source)))

    def _in_parts(self, source: str, statements: Mapping[int, Statement | None]) -> None:
        rest = iter(statements.items())
        while some := dict(islice(rest, AT_ONCE)):
            changes = self._changes(source, some)
            if not changes:
                continue
            vectors = self._embedded(changes, {})  # before others have to wait
            with self._store.writing("describe", run=self.run):
                changes = self._changes(source, some)
                self._write(source, some, changes, self._embedded(changes, vectors))

    def _changes(self, source: str, statements: Mapping[int, Statement | None]) -> list[_Change]:
        units = self._store.units.get(statements)
        known = self._store.units.metadata(unit.id for unit in units)
        said = self._store.said.of_units(unit.id for unit in units)
        found = (
            self._change(unit, known[unit.id], said[unit.id], source, statements[unit.id])
            for unit in units
        )
        return [change for change in found if change is not None]

    def _change(
        self,
        unit: Unit,
        known: Metadata,
        said: Mapping[str, Statement],
        source: str,
        now: Statement | None,
    ) -> _Change | None:
        own = said.get(OWN) or self._own(unit, known, now)
        before = {name: one for name, one in said.items() if name != OWN}
        after = {name: one for name, one in before.items() if name != source}
        if now is not None:
            after = dict(sorted({**after, source: now}.items()))
        text = _joined([own.text, *(one.text for one in after.values())])
        former = {key for one in before.values() for key in one.metadata}
        metadata = {key: value for key, value in known.items() if key not in former}
        metadata |= {key: own.metadata[key] for key in former if key in own.metadata}
        for one in after.values():
            metadata |= one.metadata
        if before == after and text == unit.text and metadata == known:
            return None
        return _Change(
            unit=unit,
            own=own,
            text=text,
            metadata=None if metadata == known else metadata,
            last=not after,
        )

    def _own(self, unit: Unit, known: Metadata, now: Statement | None) -> Statement:
        if not self._adopt or now is None:
            return Statement(text=unit.text, metadata=known)
        theirs = now.metadata
        return Statement(
            text=None if unit.text == now.text else unit.text,
            metadata={k: v for k, v in known.items() if k not in theirs or theirs[k] != v},
        )

    def _embedded(
        self, changes: Iterable[_Change], known: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """The vectors of the captions that change, by text."""
        wanted = {change.text: None for change in changes if change.text and change.is_said_anew}
        fresh = [text for text in wanted if text is not None and text not in known]
        return {**known, **dict(zip(fresh, caption_vectors(self._embedder, fresh), strict=True))}

    def _write(
        self,
        source: str,
        statements: Mapping[int, Statement | None],
        changes: list[_Change],
        vectors: Mapping[str, np.ndarray],
    ) -> None:
        """The words, what is found by them, and their vectors, all in one transaction."""
        store = self._store
        numbers = [change.unit.id for change in changes]
        now = {number: statements[number] for number in numbers}
        store.said.put(OWN, {c.unit.id: c.own for c in changes if not c.last})
        store.said.put(source, {n: one for n, one in now.items() if one is not None})
        store.said.remove(source, [number for number, one in now.items() if one is None])
        store.said.remove(OWN, [change.unit.id for change in changes if change.last])
        for change in changes:
            text = (change.text or "") if change.is_said_anew else None
            store.units.describe(change.unit.id, text=text, metadata=change.metadata)
        anew = [change for change in changes if change.is_said_anew]
        store.vectors.remove_captions(change.unit.id for change in anew)
        captioned = {change.unit.id: vectors[change.text] for change in anew if change.text}
        if captioned:
            rows = np.stack(list(captioned.values()))
            store.vectors.put(self._space.id, list(captioned), rows, lane=LANE)


def _joined(texts: Iterable[str | None]) -> str | None:
    """All lines, each once."""
    lines = (line for text in texts if text for line in text.splitlines() if line.strip())
    return "\n".join(dict.fromkeys(lines)) or None
