"""Results as values that JSON can hold: what `--json` prints and the server sends."""

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from seesay.data.images import describe_source


def to_plain(value: Any) -> Any:
    """The same with dataclasses as objects, tuples as lists, dates in ISO 8601, and pictures by
    what a message calls them. Numbers without a value become null."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_plain(one) for one in value]
    if isinstance(value, date | Path):
        return value.isoformat() if isinstance(value, date) else str(value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    return describe_source(value)


def to_json(value: Any) -> bytes:
    """The same as JSON. A name of a file that is not UTF-8 keeps its odd bytes as \\udcXX."""
    text = json.dumps(to_plain(value), ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")
