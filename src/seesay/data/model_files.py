"""Read the small files of a model folder, which may come from anyone: each must be a plain file of
reasonable size, or a clear error is raised.

Every file is checked before it is opened: a pipe would block, and a device never ends. So
`os.path.lexists` decides whether a file exists: a pipe or a broken link does, and reading it
reports what is wrong.
"""

import json
import math
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


def plain_size(path: Path, most: int | None = None) -> int:
    """Returns the size of a plain file. Raises WeightsError for anything else, and beyond `most`
    bytes."""
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
        raise _unreadable(path, Text.of(getattr(error, "strerror", None) or error)) from None
    if not stat.S_ISREG(facts.st_mode):
        folder = stat.S_ISDIR(facts.st_mode)
        raise _unreadable(
            path,
            Text("it is a folder", "它是文件夹")
            if folder
            else Text("it is a device or pipe", "它是设备或管道"),
        )
    if most is not None and facts.st_size > most:
        raise _unreadable(
            path,
            Text(
                f"{facts.st_size:,} bytes, where {most:,} are enough",
                f"有 {facts.st_size:,} 字节，而 {most:,} 已足够",
            ),
        )
    return facts.st_size


def read_bytes(path: Path, most: int) -> bytes:
    """Returns the content of a plain file of at most `most` bytes. Raises WeightsError."""
    plain_size(path, most)
    try:
        with path.open("rb") as stream:
            content = stream.read(most + 1)  # some files, as in /proc, hide their size
    except OSError as error:
        raise _unreadable(path, Text.of(error.strerror or error)) from None
    if len(content) > most:
        raise _unreadable(
            path, Text(f"over {most:,} bytes, which are enough", f"超过足够用的 {most:,} 字节")
        )
    return content


def read_text(path: Path, most: int) -> str:
    """The same as UTF-8."""
    try:
        return read_bytes(path, most).decode("utf-8")
    except UnicodeDecodeError as error:
        raise _unreadable(
            path,
            Text(
                f"not UTF-8: {error.reason} at byte {error.start}",
                f"不是 UTF-8：第 {error.start} 字节处 {error.reason}",
            ),
        ) from None


def read_json(path: Path, most: int = MOST_CONFIG) -> dict[str, Any]:
    """A JSON object whose keys are unique and whose numbers are finite. Raises WeightsError."""
    return parse_json(read_text(path, most), path)


def parse_json(text: str, path: Path) -> dict[str, Any]:
    """The same from the text that `path` held."""
    if max(text.count(","), text.count("["), text.count("{")) > MOST_VALUES:
        raise _unreadable(
            path,
            Text(
                f"over {MOST_VALUES:,} values, which are enough",
                f"超过足够用的 {MOST_VALUES:,} 个值",
            ),
        )
    try:
        value = json.loads(
            text, object_pairs_hook=_unique, parse_float=_finite, parse_constant=_finite
        )
    except RecursionError:
        raise _unreadable(path, Text("JSON that is nested too deeply", "JSON 嵌套过深")) from None
    except ValueError as error:
        raise _unreadable(path, Text(f"not JSON: {error}", f"不是 JSON：{error}")) from None
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


def _unreadable(path: Path, reason: Text) -> WeightsError:
    return WeightsError(
        Text(
            f"{path} cannot be read ({reason.en}); expected the plain file that the checkpoint was "
            "published with. Download it again, or copy it from the checkpoint's source",
            f"无法读取 {path}（{reason.zh}）；应为检查点发布时的普通文件；"
            "请重新下载，或从检查点的来源复制",
        )
    )
