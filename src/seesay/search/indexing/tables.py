"""Tables that describe pictures: stores their rows and indexes the pictures they name."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace

from seesay.data.archives import archive_of
from seesay.data.spelling import as_on_disk
from seesay.search.catalog.annotations import Annotation
from seesay.search.catalog.files import FileDraft, Quarantined
from seesay.search.catalog.metadata import MOST_KEYS
from seesay.search.catalog.store import Store
from seesay.search.indexing.commit import is_outdated
from seesay.search.indexing.options import RunState
from seesay.search.indexing.read import ReadingProcesses
from seesay.search.indexing.remove import forget_unnamed
from seesay.search.indexing.walk import SCHEMES, is_below, is_nothing, listed
from seesay.search.reading.messages import ListedFile, ReadResult, Row
from seesay.text import Text

_COMPLAINTS = Text(" ", "")  # between them


class Tables:
    """The tables of one run."""

    def __init__(
        self,
        store: Store,
        processes: ReadingProcesses,
        run: RunState,
        changed: Sequence[ListedFile],
        fetching: Sequence[str],
    ) -> None:
        """`changed` lists the tables to read. Addresses are fetched only for tables below the
        places in `fetching`."""
        self._store = store
        self._processes = processes
        self._run = run
        self._changed = {table.path: table for table in changed}
        self._fetching = fetching

    def awaited(self, places: Sequence[str]) -> Iterator[ListedFile]:
        """Yield the pictures that tables below these places name but the collection lacks;
        `pictures` handles those of changed tables."""
        for table in self._store.annotations.tables():
            if table.path not in self._changed and any(is_below(table.path, p) for p in places):
                for path in self._store.annotations.absent(table.file):
                    if not path.startswith(SCHEMES) and not archive_of(path):
                        yield _named(path, table.path)

    def read(self) -> Iterator[ReadResult]:
        """Yield the tables that changed or lost rows and, where addresses may be fetched, those
        that name addresses not fetched yet."""
        due = dict(self._changed)
        for table in self._store.annotations.tables():
            is_there = not is_nothing(table.path)
            unfetched = self._fetches(table.path) and any(self._addresses(table.file))
            if is_there and (unfetched or not table.is_whole):
                due.setdefault(table.path, listed(table.path, "table"))
        yield from self._processes.read(due.values())

    def pictures(self, table: ReadResult) -> Iterator[ListedFile]:
        """Yield the pictures that a table names, without those in archives, which are read with
        their archive."""
        for path in rows_by_path(table):
            if archive_of(path):
                continue
            if not path.startswith(SCHEMES):
                yield _named(path, table.path)
            elif self._fetches(table.path):
                yield ListedFile(path=path, expected="address")

    def forget(self, sheets: Sequence[ReadResult]) -> None:
        """Remove what these files said of pictures before they became tables of another kind."""
        known = self._store.files.by_path(sheet.path for sheet in sheets)
        if former := [file.id for file in known.values() if file.media_type == "table"]:
            with self._store.writing("table", run=self._run.number):
                for number in former:
                    forget_unnamed(self._store, self._store.annotations.replace(number, {}))
                self._store.files.remove(former)

    def commit(self, table: ReadResult) -> None:
        """Store a table with all its rows in one transaction."""
        table = self._within_limit(table)
        rows = {
            path: Annotation(text=row.caption or None, metadata=row.metadata)
            for path, row in rows_by_path(table).items()
        }
        with self._store.writing("table", run=self._run.number):
            item = self._store.files.by_path([table.path]).get(table.path)
            if item is not None and is_outdated(table, item):
                return  # another writer has read a newer one
            before = self._store.quarantine.by_path([table.path]).get(table.path)
            if table.stage is not None:
                self._fail(table, table.stage, table.error, before)
                return
            draft = FileDraft(
                path=table.path,
                media_type="table",
                content_hash=table.content_hash,
                size=table.size,
                mtime_ns=table.mtime_ns,
            )
            (stored,) = self._store.files.put([draft])
            forget_unnamed(self._store, self._store.annotations.replace(stored.file, rows))
            complaints = [table.complaint] if table.complaint else []
            addresses = self._addresses(stored.file)
            if addresses and not self._fetches(table.path):
                complaints.append(_unfetched(len(addresses)))
            if complaints:
                self._fail(table, "table", _COMPLAINTS.join(complaints), before)

    def _fail(self, table: ReadResult, stage: str, error: Text, before: Quarantined | None) -> None:
        """Record a failure once: an unchanged table that was refused before counts as skipped."""
        same = before is not None and (before.error, before.size, before.mtime_ns) == (
            *(error, table.size, table.mtime_ns),
        )
        if not same or not self._store.quarantine.by_path([table.path]):  # `put` released it
            self._store.quarantine.add(
                table.path,
                size=table.size,
                mtime_ns=table.mtime_ns,
                stage=stage,
                error=error,
                content_hash=table.content_hash or None,
            )
        if not same:
            self._run.counts["failed"] += 1
        elif table.path in self._changed:
            self._run.counts["skipped"] += 1

    def _within_limit(self, table: ReadResult) -> ReadResult:
        """Return the table without the columns for which the collection has no room."""
        names = list(dict.fromkeys(name for row in table.rows for name in row.metadata))
        if len(set(self._store.metadata.types()).union(names)) <= MOST_KEYS:
            return table
        with self._store.writing("make room"):
            known = self._store.metadata.room(names)
        left_out = len(set(names) - known)
        if not left_out:
            return table
        rows = (
            replace(row, metadata={key: row.metadata[key] for key in row.metadata if key in known})
            for row in table.rows
        )
        complaint = Text(
            f"{left_out:,} of its columns were left out: a collection can have {MOST_KEYS:,} "
            "different columns, and has no room for more. Delete columns that you do not need from "
            "this table or others.",
            f"有 {left_out:,} 列没有采用：资料库最多容纳 {MOST_KEYS:,} 个不同的列，已经满了；"
            "请从这个表格或其他表格里删去不需要的列。",
        )
        if table.complaint:
            complaint = _COMPLAINTS.join([table.complaint, complaint])
        return replace(table, rows=tuple(rows), complaint=complaint)

    def _fetches(self, table: str) -> bool:
        return any(is_below(table, place) for place in self._fetching)

    def _addresses(self, table: int) -> list[str]:
        """Return the addresses that a table names and that were not fetched."""
        return [path for path in self._store.annotations.absent(table) if path.startswith(SCHEMES)]


def rows_by_path(table: ReadResult) -> dict[str, Row]:
    """Returns the rows of a table by picture path, resolved against the table's folder and spelled
    as on the disk. Rows with the same path are merged; the first wins.
    """
    folder = os.path.dirname(table.path)
    rows: dict[str, Row] = {}
    for row in table.rows:
        path = row.path
        if not path.startswith(SCHEMES):
            path = as_on_disk(os.path.normpath(os.path.join(folder, path)))
        first = rows.get(path)
        if first is None:
            rows[path] = row
            continue
        lines = dict.fromkeys([*first.caption.splitlines(), *row.caption.splitlines()])
        metadata = {**row.metadata, **first.metadata}
        rows[path] = replace(first, caption="\n".join(lines), metadata=metadata)
    return rows


def _unfetched(count: int) -> Text:
    return Text(
        f"it names {count} addresses that were not fetched. Expected paths of files, or leave to "
        "fetch. Allow it with --urls, or download them.",
        f"其中有 {count} 个网址没有下载；应为文件路径，或允许下载；请加 --urls，或自行下载。",
    )


def _named(path: str, table: str) -> ListedFile:
    """Returns the file entry of a picture that a table names."""
    if not is_nothing(path):
        return listed(path, "image")
    name = os.path.basename(table)
    problem = Text(
        f"it is not there, though {name} names it. Expected a picture. "
        "Put it there, or correct its path in the table.",
        f"{name} 提到了它，但它不存在；应为图片；请放到这个位置，或改正表格里的路径",
    )
    return ListedFile(path=path, expected="image", problem=problem)
