"""Open a collection's file, read it from any thread, change it one transaction at a time."""

import os
import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType

from seesay.errors import CollectionDamagedError, CollectionError
from seesay.search.catalog.annotations import Annotations
from seesay.search.catalog.database import Change, Database, connect, explained
from seesay.search.catalog.files import File, Files, Quarantine
from seesay.search.catalog.keywords import KeywordIndex
from seesay.search.catalog.ledger import Ledger, Runs, Settings
from seesay.search.catalog.lock import WriterLock
from seesay.search.catalog.metadata import MetadataTable
from seesay.search.catalog.passages import Fingerprints, Passage, Passages
from seesay.search.catalog.schema import APPLICATION_ID, NEWEST, migrate
from seesay.search.catalog.vectors import EmbeddingSpaces, Vectors
from seesay.text import Text

FILE = "collection.sqlite"
LOCK = "writer.lock"


class Store:
    """What a collection knows. `with Store(folder) as store:` closes it in the end.

    Reading works from any thread and is never blocked. Changes are made so, and are on disk when
    the block has ended, or leave no trace:

        with store.writing("index"):
            stored = store.files.put(drafts)
            store.vectors.put(space.id, passages, vectors)
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
        self._prepare(create)
        self.database = database = Database(self.file, read_only=self.read_only)
        self.settings = Settings(database)
        self.ledger = Ledger(database)
        self.runs = Runs(database)
        self.spaces = EmbeddingSpaces(database)
        self.keywords = KeywordIndex(database)
        self.fingerprints = Fingerprints(database)
        self.metadata = MetadataTable(database)
        self.passages = Passages(database, self.metadata, self.keywords, self.fingerprints)
        self.quarantine = Quarantine(database)
        self.files = Files(database, self.passages, self.quarantine)
        self.vectors = Vectors(database, self.spaces)
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
                Text(
                    f"{self.folder} is open for reading alone, expected the right to write; "
                    "searching needs none; change the rights of the folder, or copy the collection",
                    f"{self.folder} 以只读方式打开；应有写入权限（搜索不需要）；"
                    "请修改文件夹的权限，或复制一份资料库",
                )
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

    def passage_with_file(self, number: int) -> tuple[Passage, File]:
        """A passage and the file that it is of. Raises CollectionError where there is none."""
        found = self.passages.get([number])
        files = self.files.get([passage.file for passage in found])
        if not files:
            raise CollectionError(
                Text(
                    f"there is no unit {number} in {self.folder}, expected the number of one that "
                    "a search has found; search again: it may have been removed since",
                    f"{self.folder} 里没有条目 {number}；应为搜索结果中的编号；"
                    "请重新搜索：它可能已被移除",
                )
            )
        return found[0], files[0]

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

    def _prepare(self, create: bool) -> None:
        """After this the file exists and has the newest tables."""
        version = _version(self.file, self.read_only)
        if version == NEWEST:
            return
        if problem := self._problem_of(version, create):
            raise CollectionError(problem)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CollectionError(_unmade(self.folder, error.strerror or "")) from error
        action = "upgrade" if version else "create"
        with self._lock.held(action, self._wait_s), explained(self.file):
            migrate(self.file)

    def _problem_of(self, version: int, create: bool) -> Text | None:
        """Why a file of this format (0: none is there) cannot be brought to the newest."""
        if version > NEWEST:
            return Text(
                f"{self.file} has format {version}, expected {NEWEST} or older: a newer version of "
                "this package made it; update with: pip install -U seesay",
                f"{self.file} 的格式是 {version}，应为 {NEWEST} 或更早：它由更新的版本建立；"
                "请升级：pip install -U seesay",
            )
        if not version and not create:
            return Text(
                f"there is no collection in {self.folder}, expected a folder that holds "
                f"{self.file.name}; index some files into it first, or name another folder",
                f"{self.folder} 里没有资料库；应为含有 {self.file.name} 的文件夹；"
                "请先收录一些文件，或指定另一个文件夹",
            )
        if self.read_only and not version:
            return _unmade(self.folder, Text("there is no right to write", "没有写入权限"))
        if self.read_only:
            return Text(
                f"{self.file} has format {version}, expected {NEWEST}, and may not be changed; "
                "make it writable once, and open it, or copy it to another folder",
                f"{self.file} 的格式是 {version}，应为 {NEWEST}，但没有修改权限；"
                "请给予写入权限后打开一次，或复制到另一个文件夹",
            )
        return None


def _is_read_only(file: Path) -> bool:
    place = file.parent
    while not place.exists() and place != place.parent:
        place = place.parent
    return not os.access(place, os.W_OK) or (file.exists() and not os.access(file, os.W_OK))


def _version(file: Path, read_only: bool) -> int:
    """The format of the file; 0 where there is none or it was never finished."""
    if not file.exists():
        return 0
    with explained(file), closing(connect(file, read_only)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application != APPLICATION_ID and tables:
        raise CollectionDamagedError(
            Text(
                f"{file} is a database of another program, expected a collection; name another "
                "folder",
                f"{file} 是其他程序的数据库；应为资料库；请指定另一个文件夹",
            )
        )
    return int(version)


def _unmade(folder: Path, reason: object) -> Text:
    why = Text.of(reason)
    return Text(
        f"{folder} cannot be made ({why.en}), expected a place where folders may be made; choose "
        "another one",
        f"无法建立 {folder}（{why.zh}）；应为可以建立文件夹的位置；请换一个",
    )
