"""JSON Lines that say something about pictures: on each line an object with a path, a caption or
several, and more, also in an object of its own called "metadata"."""

import json
from collections.abc import Mapping

from seesay.search.ingest.reading.files import RefusedError
from seesay.search.ingest.reading.messages import Row
from seesay.search.ingest.reading.tables import (
    CAPTIONS,
    PATHS,
    Line,
    complaint,
    find_name,
    joined,
    without_paths,
)

JSON_LINES = ".jsonl"
_METADATA = "metadata"


def read_json_lines(text: str) -> tuple[tuple[Row, ...], str | None]:
    """As `read_table`: names count in the same way, and what is no text and no number is left
    out. Raises RefusedError where no name stands for pictures."""
    found, broken = _objects(text)
    head = list(dict.fromkeys(name for _, cells in found for name in cells))
    if not head:
        raise RefusedError(
            "table",
            "it holds no JSON object. Expected one on each line, with a path in it. Correct it, or "
            "leave the file out.",
        )
    path, caption = find_name(head, PATHS), find_name(head, CAPTIONS)
    if path is None:
        raise without_paths("names are", head)
    lines = []
    for number, cells in found:
        if name := cells.pop(path, ""):
            said = "" if caption is None else cells.pop(caption, "")
            lines.append(Line(name, said, cells))
        else:
            broken.append(number)
    return joined(lines), complaint(broken, "a JSON object with a path on each line")


def _objects(text: str) -> tuple[list[tuple[int, dict[str, str]]], list[int]]:
    found, broken = [], []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            found.append((number, _cells(value)))
        else:
            broken.append(number)
    return found, broken


def _cells(value: Mapping[str, object]) -> dict[str, str]:
    """Those of the object itself count before those of its metadata."""
    inner = value.get(_METADATA)
    every = {**inner, **value} if isinstance(inner, dict) else value
    cells = {name.strip(): _cell(one) for name, one in every.items()}
    return {name: cell for name, cell in cells.items() if cell is not None}


def _cell(value: object) -> str | None:
    """As it would stand in a CSV; texts in a list, such as captions, one on each line."""
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return "\n".join(one.strip() for one in value if one.strip())
    if isinstance(value, bool):
        return str(value).lower()
    return str(value).strip() if isinstance(value, str | int | float) else None
