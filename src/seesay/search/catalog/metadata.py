"""The metadata of passages: values by key, each key of one type.

Anybody writes tables, EXIF and tags, and a stored byte may flip. So values that a collection cannot
store, compare and show are dropped on the way in (`sound`); bad values that are stored anyway are
shown as text (`read`), never as an error, and `seesay verify` reports them.
"""

import math
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

from seesay.data.encodings import clean_text
from seesay.errors import CollectionError
from seesay.search.catalog.database import (
    ANY_OF,
    Database,
    as_list,
    decoded,
    path_to_text,
    text_to_path,
)
from seesay.text import Text

Value = str | int | float | datetime | date
"""One metadata value. Dates without a zone stay as they are, as cameras write them."""
Metadata = Mapping[str, Value | Sequence[Value]]
"""Values by key; a key may have several, such as tags."""
ValueType = Literal["text", "number", "date"]
RESERVED = ("file.", "unit.")  # prefixes of facts that every file and passage has
DATE_KEY = "date"  # when a picture was taken: the only key that holds only dates
OBJECT_KEY = "object"  # objects in a picture: word searches find these values
MOST_KEYS = 10_000  # in a collection
MOST_KEY, MOST_TEXT, MOST_VALUES = 256, 32_768, 1000  # characters; values of one key of a passage

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST = (datetime(1, 1, 1, tzinfo=UTC) - EPOCH).total_seconds()
LATEST = (datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC) - EPOCH).total_seconds()

# Text as bytes: a damaged one is not UTF-8, and SQLite's module would raise.
READABLE = "CASE typeof({0}) WHEN 'text' THEN CAST({0} AS BLOB) ELSE {0} END"

Sound = dict[str, Value | tuple[Value, ...]]


def type_of(value: Value) -> ValueType:
    """Returns the type as which a value is stored and compared."""
    if isinstance(value, str):
        return "text"
    return "date" if isinstance(value, date) else "number"


def stored(value: Value) -> str | float:
    """Returns a value in stored form: dates are seconds since 1970, those without a zone taken as
    UTC. Raises CollectionError for a number that is NaN or too large."""
    if isinstance(value, str):
        return path_to_text(value)
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp()
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if math.isnan(number) or (math.isinf(number) and isinstance(value, int)):
        raise CollectionError(
            Text(
                f"a value of metadata is {str(value)[:40]}, expected a number that can be "
                "compared: leave the key out",
                f"元数据里有值 {str(value)[:40]}；应为可以比较的数字；请去掉这一项",
            )
        )
    return number


def stored_here(value: Value) -> str | float:
    """Like `stored`, but a date without a zone is local to this machine, to compare it with file
    times."""
    if isinstance(value, date) and getattr(value, "tzinfo", None) is None:
        known = value if isinstance(value, datetime) else datetime(*value.timetuple()[:3])
        try:
            return known.timestamp()
        except (OSError, OverflowError, ValueError):  # the first and last day of the calendar
            return stored(value)
    return stored(value)


def moment(seconds: float) -> datetime | None:
    """Returns the date this many seconds after 1970; None if out of range."""
    if not EARLIEST <= seconds <= LATEST:
        return None
    return EPOCH + timedelta(seconds=seconds)


def read(kind: ValueType, value: object) -> Value:
    """Convert a stored value to the type of its key; returns text if it is not of that type."""
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, str):
        return text_to_path(value)
    if not isinstance(value, int | float):
        return str(value)
    if kind == "number" and math.isfinite(value):
        return float(value)
    date = moment(value) if kind == "date" else None
    return str(value) if date is None else date


def is_sound(key: str, kind: ValueType, value: object) -> bool:
    """Whether a stored value has its type and is allowed for the key."""
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            return False
    found = read(kind, value)
    return (
        isinstance(value, str) == (kind == "text")
        and type_of(found) == kind
        and problem_of(key, found) is None
    )


def local_time(mtime_ns: int) -> datetime:
    """Returns when a file was changed, in local time, like the dates that cameras write."""
    changed = EPOCH + timedelta(microseconds=mtime_ns // 1000)
    try:
        return changed.astimezone().replace(tzinfo=UTC)
    except (OSError, OverflowError):  # Windows has no time zones before 1970
        return changed


def problem_of(key: str, value: Value) -> Text | None:
    """Returns why a value cannot be stored, as words that follow "it"; None if it can."""
    if key == DATE_KEY and type_of(value) != "date":
        return Text("is no date", "不是日期")
    if isinstance(value, str):
        if len(value) <= MOST_TEXT:
            return None
        return Text(f"has {len(value):,} characters", f"有 {len(value):,} 个字符")
    try:
        number = float(stored(value))
    except CollectionError:
        return Text("is no number", "不是数字")
    if isinstance(value, date) and moment(number) is None:
        return Text("is beyond the year 9999, or before the year 1", "不在公元 1 年到 9999 年之间")
    return None if math.isfinite(number) else Text("is no number", "不是数字")


def sound(metadata: Mapping[str, Any]) -> Sound:
    """Returns the metadata that a collection can store, in the form in which it is read back: clean
    keys and texts, dates in UTC, several values of a key in order. Drops the rest."""
    found: Sound = {}
    for name, given in metadata.items():
        key = unicodedata.normalize("NFC", clean_text(name)).strip()
        if not 0 < len(key) <= MOST_KEY:
            continue
        # SQLite's order: numbers before texts.
        values = sorted(
            {*_values(key, given)}, key=lambda value: (isinstance(value, str), stored(value))
        )
        if values:
            found[key] = values[0] if len(values) == 1 else tuple(values[:MOST_VALUES])
    return found


def _values(key: str, given: Any) -> Iterator[Value]:
    for value in given if isinstance(given, list | tuple | set | frozenset) else (given,):
        if isinstance(value, str):
            value = clean_text(value).strip()
        if not isinstance(value, str | int | float | date) or value == "":
            continue
        if problem_of(key, value) is None:
            yield read(type_of(value), stored(value))


class MetadataTable:
    """Values by passage and key."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, passages: Iterable[int], metadata: Sequence[Metadata]) -> None:
        """Add values to passages. Raises CollectionError for values that cannot be stored."""
        pairs = [
            (name, value, passage)
            for passage, values in zip(passages, metadata, strict=True)
            for name, given in values.items()
            for value in (given if isinstance(given, list | tuple | set) else (given,))
        ]
        for name, value, _ in pairs:
            if problem := problem_of(name, value):
                raise CollectionError(
                    Text(
                        f"the metadata {name!r} is {str(value)[:40]!r}, which {problem}, expected "
                        "a value that can be stored and compared: correct it, or leave it out",
                        f"元数据 {name!r} 的值 {str(value)[:40]!r} {problem.zh}；"
                        "应为可以保存和比较的值；请改正或去掉它",
                    )
                )
        known = self.keys() if pairs else {}
        new = {(name, type_of(value)) for name, value, _ in pairs} - known.keys()
        for name, kind in sorted(new):
            if name.startswith(RESERVED) or not name:
                raise _reserved(name)
            self._database.run(
                "INSERT INTO metadata_keys (name, type) VALUES (?, ?)", (path_to_text(name), kind)
            )
        keys = self.keys() if new else known
        self._database.run_many(
            "INSERT OR IGNORE INTO metadata (key, value, unit) VALUES (?, ?, ?)",
            (
                (keys[name, type_of(value)], stored(value), passage)
                for name, value, passage in pairs
            ),
        )

    def get(self, passages: Iterable[int]) -> dict[int, dict[str, Value | tuple[Value, ...]]]:
        """Returns the values of each passage by key; several values of a key as a tuple."""
        passages = [int(passage) for passage in passages]
        found: dict[int, dict[str, list[Value]]] = {passage: {} for passage in passages}
        rows = self._database.rows(
            f"SELECT m.unit, k.name, k.type, {READABLE.format('m.value')}"
            " FROM metadata m JOIN metadata_keys k ON k.id = m.key"
            f" WHERE m.unit IN {ANY_OF} ORDER BY k.name, m.value",
            (as_list(passages),),
        )
        for passage, name, kind, value in rows:
            values = decoded(found.__getitem__, passage)  # an index may name the wrong row
            values.setdefault(text_to_path(name), []).append(read(kind, value))
        return {
            passage: {name: v[0] if len(v) == 1 else tuple(v) for name, v in values.items()}
            for passage, values in found.items()
        }

    def remove(self, passages: Iterable[int]) -> None:
        """Remove all values of these passages."""
        self._database.run(f"DELETE FROM metadata WHERE unit IN {ANY_OF}", (as_list(passages),))

    def keys(self) -> Mapping[tuple[str, ValueType], int]:
        """Returns the number of every key and type ever used."""
        rows = self._database.rows("SELECT name, type, id FROM metadata_keys ORDER BY name, type")
        return {(text_to_path(name), kind): number for name, kind, number in rows}

    def types(self) -> dict[str, set[ValueType]]:
        """Returns every key that a passage has or had, with the types of its values."""
        types: dict[str, set[ValueType]] = {}
        for name, kind in self.keys():
            types.setdefault(name, set()).add(kind)
        return types

    def forget_unused(self) -> None:
        """Forget keys that no passage has any more."""
        self._database.run(
            "DELETE FROM metadata_keys"
            " WHERE NOT EXISTS (SELECT 1 FROM metadata WHERE key = metadata_keys.id)"
        )

    def room(self, names: Iterable[str]) -> set[str]:
        """Returns the names that are keys already or can still become keys. Unused keys are dropped
        to make room; only inside `writing`."""
        wanted = list(dict.fromkeys(names))
        known = {name for name, _ in self.keys()}
        if len(known.union(wanted)) > MOST_KEYS:
            self.forget_unused()
            known = {name for name, _ in self.keys()}
        new = [name for name in wanted if name not in known][: max(MOST_KEYS - len(known), 0)]
        return known.intersection(wanted).union(new)


def _reserved(name: str) -> CollectionError:
    return CollectionError(
        Text(
            f"metadata has the key {name!r}, expected one that is not empty and does not begin "
            f"with {' or '.join(RESERVED)}, which name facts about the file: rename the key",
            f"元数据里有键名 {name!r}；键名不应为空，也不应以 "
            f"{' 或 '.join(RESERVED)} 开头（它们表示文件自身的信息）；请给键改名",
        )
    )
