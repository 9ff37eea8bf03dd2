"""Open a collection's file, read it from any thread, change it one transaction at a time."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from seesay.errors import CollectionError
from seesay.search.catalog.annotations import Annotations
from seesay.search.catalog.fingerprints import Fingerprints
from seesay.search.catalog.items import Items
from seesay.search.catalog.keyword_table import KeywordTable
from seesay.search.catalog.ledger import Ledger, Runs
from seesay.search.catalog.metadata import MetadataTable
from seesay.search.catalog.quarantine import Quarantine
from seesay.search.catalog.settings import Settings
from seesay.search.catalog.spaces import Spaces
from seesay.search.catalog.sqlite.database import Change, Database
from seesay.search.catalog.sqlite.lock import WriterLock
from seesay.search.catalog.sqlite.opening import prepare
from seesay.search.catalog.units import Units
from seesay.search.catalog.vectors import Vectors

FILE = "collection.sqlite"
LOCK = "writer.lock"


class Store:
    """What a collection knows. `with Store(folder) as store:` closes it in the end.

    Reading works from any thread and is never blocked. Changes are made so, and are on disk when
    the block has ended, or leave no trace:

        with store.writing("index"):
            stored = store.items.put(drafts)
            store.vectors.put(space.id, units, vectors)
    """

    def __init__(
        self,
        folder: Path,
        *,
        create: bool = False,
        read_only: bool | None = None,
        wait_s: float = 30.0,
    ) -> None:
        """Opens the collection in `folder`, which `create` lets be made. `read_only` of None means:
        where the folder may not be written. `wait_s` is how long another writer is waited for.

        Raises CollectionError where there is no collection, or not one of this program."""
        self.folder = folder
        self.file = folder / FILE
        self.read_only = _is_read_only(self.file) if read_only is None else read_only
        self._lock = WriterLock(folder / LOCK)
        self._wait_s = wait_s
        prepare(self.file, self._lock, create=create, read_only=self.read_only, wait_s=wait_s)
        self.database = database = Database(self.file, read_only=self.read_only)
        self.settings = Settings(database)
        self.ledger = Ledger(database)
        self.runs = Runs(database)
        self.spaces = Spaces(database)
        self.keywords = KeywordTable(database)
        self.fingerprints = Fingerprints(database)
        self.units = Units(database, MetadataTable(database), self.keywords, self.fingerprints)
        self.items = Items(database, self.units)
        self.vectors = Vectors(database, self.spaces)
        self.quarantine = Quarantine(database)
        self.annotations = Annotations(database)

    @contextmanager
    def writing(
        self, action: str, *, run: int | None = None, wait_s: float | None = None
    ) -> Iterator[Change]:
        """One change, numbered in the ledger under the name `action`. Raises CollectionBusyError
        where another writer does not finish within `wait_s`, and CollectionError where the folder
        may only be read, or the disk is full: then nothing of the block is kept."""
        with self.held(action, wait_s=wait_s), self.database.writing(action, run) as change:
            yield change

    @contextmanager
    def held(self, action: str, *, wait_s: float | None = None) -> Iterator[None]:
        """Keeps other writers away over several changes."""
        self.require_writable()
        with self._lock.held(action, self._wait_s if wait_s is None else wait_s):
            yield

    def require_writable(self) -> None:
        """Raises CollectionError where the collection is open for reading alone."""
        if self.read_only:
            raise CollectionError(
                f"{self.folder} is open for reading alone, expected the right to write; searching "
                "needs none; change the rights of the folder, or copy the collection"
            )

    @property
    def key(self) -> str:
        """A random name that no other collection has, given when it is first asked for."""
        known = self.settings.get("key")
        if known is None:
            with self.writing("name"):
                known = self.settings.get("key") or secrets.token_hex(8)
                self.settings.set("key", known)
        return str(known)

    def close(self) -> None:
        """Close the file. The store cannot be used after."""
        self.database.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _is_read_only(file: Path) -> bool:
    place = file.parent
    while not place.exists() and place != place.parent:
        place = place.parent
    return not os.access(place, os.W_OK) or (file.exists() and not os.access(file, os.W_OK))
