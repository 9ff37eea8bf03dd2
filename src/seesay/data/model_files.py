"""Read the small files of a model folder, which may come from anyone: each is a plain file, no
larger than such a file can be, or one clear error.

Every file is looked at before it is opened: a pipe would be waited for, and a device never ends.
"""

import json
import math
import os
import stat
from pathlib import Path
from typing import Any

from seesay.errors import WeightsError
from seesay.text import Text

MIB = 1 << 20
MOST_CONFIG = 16 * MIB
"""Bytes of a config file. The largest published ones list thousands of tokens or labels."""
MOST_VALUES = 4_000_000
"""Values in a JSON file; Gemma's vocabulary with its merges has two million."""


def is_there(path: Path) -> bool:
    """Whether the name is taken, be it by a pipe or a broken link: reading it then says so."""
    return os.path.lexists(path)


def plain_size(path: Path, most: int | None = None) -> int:
    """The size of a plain file. Raises WeightsError for anything else, and beyond `most` bytes."""
    try:
        facts = path.stat()
    except FileNotFoundError:
        raise WeightsError(
            Text(
                f"{path.parent} has no {path.name}; expected a checkpoint folder as a hub "
                "publishes it; name the folder that holds it, or download it again: seesay "
                "models download NAME",
                f"{path.parent} 里没有 {path.name}；应为模型站点发布的检查点文件夹；请指定含有它的"
                "文件夹，或重新下载：seesay models download NAME",
            )
        ) from None
    except (OSError, ValueError) as error:
        raise _unreadable(path, f"({getattr(error, 'strerror', None) or error})") from None
    if not stat.S_ISREG(facts.st_mode):
        folder = stat.S_ISDIR(facts.st_mode)
        raise _unreadable(path, f"(it is a {'folder' if folder else 'device or pipe'})")
    if most is not None and facts.st_size > most:
        raise _unreadable(path, f"({facts.st_size:,} bytes, where {most:,} are enough)")
    return facts.st_size


def read_bytes(path: Path, most: int) -> bytes:
    """The content of a plain file of at most `most` bytes. Raises WeightsError."""
    plain_size(path, most)
    try:
        with path.open("rb") as stream:
            content = stream.read(most + 1)  # some files, as in /proc, hide their size
    except OSError as error:
        raise _unreadable(path, f"({error.strerror or error})") from None
    if len(content) > most:
        raise _unreadable(path, f"(over {most:,} bytes, which are enough)")
    return content


def read_text(path: Path, most: int) -> str:
    """The same as UTF-8."""
    try:
        return read_bytes(path, most).decode("utf-8")
    except UnicodeDecodeError as error:
        raise _unreadable(path, f"as UTF-8 ({error.reason} at byte {error.start})") from None


def read_json(path: Path, most: int = MOST_CONFIG) -> dict[str, Any]:
    """A JSON object whose keys are unique and whose numbers are finite. Raises WeightsError."""
    return parse_json(read_text(path, most), path)


def parse_json(text: str, path: Path) -> dict[str, Any]:
    """The same from the text that `path` held."""
    if max(text.count(","), text.count("["), text.count("{")) > MOST_VALUES:
        raise _unreadable(path, f"(over {MOST_VALUES:,} values, which are enough)")
    try:
        value = json.loads(
            text, object_pairs_hook=_unique, parse_float=_finite, parse_constant=_finite
        )
    except RecursionError:
        raise _unreadable(path, "as JSON (it is nested too deeply)") from None
    except ValueError as error:
        raise _unreadable(path, f"as JSON ({error})") from None
    if not isinstance(value, dict):
        raise WeightsError(
            Text(
                f"{path} holds a {type(value).__name__}; expected a JSON object. Download it again",
                f"{path} 的内容是 {type(value).__name__}；应为 JSON 对象；请重新下载",
            )
        )
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r:.60} stands there twice")
    return values


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text:.20} is no number to compute with")
    return number


def _unreadable(path: Path, reason: str) -> WeightsError:
    return WeightsError(
        f"{path} cannot be read {reason}; expected the plain file that the checkpoint was "
        "published with. Download it again, or copy it from the checkpoint's source"
    )
