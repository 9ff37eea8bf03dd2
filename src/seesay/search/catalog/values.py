"""Which keys and values metadata may have: checked where they come in, and where they are read.

Tables, EXIF and tags are written by anybody, and a stored byte may be flipped. So what a collection
cannot hold, compare and show is left out on the way in (`sound`); what is stored all the same is
shown as text (`read`), never an error, and `seesay verify` names it.
"""

import math
import unicodedata
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

from seesay.data.encodings import clean_text
from seesay.errors import CollectionError
from seesay.search.catalog.records import Value
from seesay.search.catalog.sqlite.paths import path_to_text, text_to_path

ValueType = Literal["text", "number", "date"]
RESERVED = ("file.", "unit.")  # what filters call the facts that every item and unit has
DATE_KEY = "date"  # of the day a picture was taken: the one key that holds dates alone
MOST_KEYS = 10_000  # in a collection
MOST_KEY, MOST_TEXT, MOST_VALUES = 256, 32_768, 1000  # characters; values of one key of a unit

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST = (datetime(1, 1, 1, tzinfo=UTC) - EPOCH).total_seconds()
LATEST = (datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC) - EPOCH).total_seconds()

# Of text the bytes: those of a damaged one are no UTF-8, and SQLite's module would raise.
READABLE = "CASE typeof({0}) WHEN 'text' THEN CAST({0} AS BLOB) ELSE {0} END"

Sound = dict[str, Value | tuple[Value, ...]]


def type_of(value: Value) -> ValueType:
    """As what a value is stored and compared."""
    if isinstance(value, str):
        return "text"
    return "date" if isinstance(value, date) else "number"


def stored(value: Value) -> str | float:
    """A value as it lies in the table: dates are seconds since 1970, those without a zone as they
    stand. Raises CollectionError for a number that has no order or is too large."""
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
            f"a value of metadata is {str(value)[:40]}, expected a number that can be compared: "
            "leave the key out"
        )
    return number


def stored_here(value: Value) -> str | float:
    """As `stored`, but a date without a zone is one of this machine: file times are compared so."""
    if isinstance(value, date) and getattr(value, "tzinfo", None) is None:
        known = value if isinstance(value, datetime) else datetime(*value.timetuple()[:3])
        try:
            return known.timestamp()
        except (OSError, OverflowError, ValueError):  # the first and last day that there is
            return stored(value)
    return stored(value)


def moment(seconds: float) -> datetime | None:
    """The date so many seconds after 1970; None where no calendar has one."""
    if not EARLIEST <= seconds <= LATEST:
        return None
    return EPOCH + timedelta(seconds=seconds)


def read(kind: ValueType, value: object) -> Value:
    """A stored value of a key of this type; as text where it is none of the type."""
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
    """Whether a stored value is one of its type that the key may have."""
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
    """When a file was changed, as the clock on the wall said, like the dates that cameras write."""
    changed = EPOCH + timedelta(microseconds=mtime_ns // 1000)
    try:
        return changed.astimezone().replace(tzinfo=UTC)
    except (OSError, OverflowError):  # Windows knows no zone before 1970
        return changed


def problem_of(key: str, value: Value) -> str | None:
    """What keeps a value from being stored, as words that follow "it"; None where nothing does."""
    if key == DATE_KEY and type_of(value) != "date":
        return "is no date"
    if isinstance(value, str):
        return f"has {len(value):,} characters" if len(value) > MOST_TEXT else None
    try:
        seconds = stored(value)
    except CollectionError:
        return "is no number"
    if isinstance(value, date):
        return None if moment(float(seconds)) else "is beyond the year 9999, or before the year 1"
    return None if math.isfinite(float(seconds)) else "is no number"


def sound(metadata: Mapping[str, Any]) -> Sound:
    """What of metadata a collection can hold, as it comes back from the store: clean keys and
    texts, dates in UTC, several values of a key in order. Anything else is left out."""
    found: Sound = {}
    for name, given in metadata.items():
        key = sound_key(name)
        values = [] if key is None else sorted({*_values(key, given)}, key=_order)[:MOST_VALUES]
        if key is not None and values:
            found[key] = values[0] if len(values) == 1 else tuple(values)
    return found


def sound_key(name: str) -> str | None:
    """A name as a key of metadata; None for one that is empty or absurdly long."""
    key = unicodedata.normalize("NFC", clean_text(name)).strip()
    return key if 0 < len(key) <= MOST_KEY else None


def _values(key: str, given: Any) -> Iterator[Value]:
    for value in given if isinstance(given, list | tuple | set | frozenset) else (given,):
        if isinstance(value, str):
            value = clean_text(value).strip()
        if not isinstance(value, str | int | float | date) or value == "":
            continue
        if problem_of(key, value) is None:
            yield read(type_of(value), stored(value))


def _order(value: Value) -> tuple[bool, str | float]:
    """As SQLite orders values: numbers before texts."""
    return isinstance(value, str), stored(value)
