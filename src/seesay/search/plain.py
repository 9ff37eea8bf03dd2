"""Results as values that JSON can hold: what `--json` prints and the server sends.

`--json` keeps a byte of a name that is not UTF-8 as \\udcXX, from which Python recovers the name
(`os.fsencode`); the server, whose clients open no file by its name, sends valid Unicode only.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from seesay.data.images import describe_source
from seesay.text import to_unicode


def to_plain(value: Any) -> Any:
    """Convert dataclasses to objects, tuples to lists, dates to ISO 8601, and pictures to the name
    that messages use for them. NaN and infinity become null."""
    kind: Any = type(value)
    if kind in _PLAIN:
        return value  # checked first: most values are plain, and a server does this per answer
    if names := _names(kind):
        return {name: to_plain(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(key): to_plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_plain(one) for one in value]
    return _one(value)


def _one(value: Any) -> Any:
    if isinstance(value, date | Path):
        return value.isoformat() if isinstance(value, date) else str(value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, str | int) else describe_source(value)


_PLAIN = frozenset((str, int, bool, type(None)))


@cache
def _names(kind: Any) -> tuple[str, ...]:
    """Returns the field names of a dataclass; none for anything else."""
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else ()


def sendable(value: Any) -> Any:
    """Convert with every text in valid Unicode, for other programs: strict JSON parsers reject a
    whole answer because of one file name that is not UTF-8."""
    return _sendable(to_plain(value))


def to_json(value: Any) -> bytes:
    """Write a value as JSON in valid Unicode; see `sendable`."""
    plain = to_plain(value)
    try:
        return _dumped(plain)
    except UnicodeEncodeError:  # rare: checking first would slow every answer
        return _dumped(_sendable(plain))


def _dumped(plain: Any) -> bytes:
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode()


def _sendable(plain: Any) -> Any:
    if isinstance(plain, str):
        return to_unicode(plain)
    if isinstance(plain, dict):
        return {to_unicode(key): _sendable(one) for key, one in plain.items()}
    return [_sendable(one) for one in plain] if isinstance(plain, list) else plain
