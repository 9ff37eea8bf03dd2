"""Where collections are stored, and which one a name or path means.

    <home>/collections/<name>/collection.sqlite

A collection may also be in any other folder; you then name it by its path.
"""

import difflib
import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from seesay.data.archives import archive_of
from seesay.errors import CollectionError, ConfigError
from seesay.search.catalog.store import FILE
from seesay.text import Text

DEFAULT = "default"
"""The collection used when none is named."""

# Letters of any script, digits, and marks that have no meaning in file systems and shells.
_NAME = re.compile(r"[^\W_][\w.-]{0,63}")
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # of Windows


def home() -> Path:
    """Returns the folder of everything seesay stores for this user: SEESAY_HOME, else the
    platform's folder for application data."""
    if given := os.environ.get("SEESAY_HOME"):
        return Path(given).expanduser().absolute()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "seesay"


def resolve_collection(name_or_path: str | Path | None = None) -> Path:
    """Returns the folder of a collection, which need not exist yet.

    Anything with a separator, or a leading dot or ~, is a path; anything else is a name. Raises
    ConfigError for an invalid name.
    """
    given = DEFAULT if name_or_path is None else name_or_path
    if isinstance(given, Path) or _is_path(given):
        return Path(given).expanduser().absolute()
    if not _NAME.fullmatch(given) or _DEVICES.fullmatch(given) or given.endswith("."):
        raise ConfigError(
            Text(
                f"the collection name {given!r} cannot be used; expected letters, digits, - _ and "
                ". (64 at most, a letter or digit first), or a path such as ./name; choose another "
                "name",
                f"资料库名称 {given!r} 不能用；应由文字、数字、-、_ 和 . 组成（最多 64 个，"
                "以文字或数字开头），或者是 ./name 这样的路径；请换一个名称",
            )
        )
    return home() / "collections" / given


def is_there(name_or_path: str | Path | None = None) -> bool:
    """Whether this collection exists."""
    return (resolve_collection(name_or_path) / FILE).is_file()


def check_paths(paths: Sequence[str]) -> None:
    """Raises CollectionError if none of the paths exists, before a collection is created for
    nothing."""
    if not any("://" in path or os.path.lexists(path) or archive_of(path) for path in paths):
        names = ", ".join(paths)
        raise CollectionError(
            Text(
                f"{names}: not there, expected files or folders that are; nothing was made; check "
                "the names, or connect the disk",
                f"{names} 不存在；应为已有的文件或文件夹；没有建立资料库；请检查名称，或接上硬盘",
            )
        )


def find_collection(name_or_path: str | Path | None = None) -> Path:
    """Returns the folder of an existing collection. Raises CollectionError, suggesting a similar
    name, if it does not exist."""
    folder = resolve_collection(name_or_path)
    if (folder / FILE).is_file():
        return folder
    others = ", ".join(list_collections())
    if name_or_path is None:
        raise CollectionError(
            Text(
                f"there is no collection yet (expected one in {folder}); make it from your "
                "pictures and texts: seesay index FOLDER"
                + (f". There are: {others}" if others else ""),
                f"还没有{'默认的' if others else ''}资料库（应在 {folder}）；请用图片和文字建立："
                "seesay index 文件夹"
                + (f"，或用 --collection 指定已有的：{others}" if others else ""),
            )
        )
    name = str(name_or_path)
    near = difflib.get_close_matches(name, list_collections(), n=1)
    raise CollectionError(
        Text(
            f"there is no collection {name!r} (expected one in {folder}); "
            + (f"did you mean {near[0]!r}? To" if near else "to")
            + f" make it: seesay index FOLDER --collection {shlex.quote(name)}"
            + (f". There are: {others}" if others else ""),
            f"没有资料库 {name!r}（应在 {folder}）；"
            + (f"是不是想用 {near[0]!r}？" if near else "")
            + f"要新建请运行：seesay index 文件夹 --collection {shlex.quote(name)}"
            + (f"。已有的资料库：{others}" if others else ""),
        )
    )


def list_collections() -> list[str]:
    """Returns the names of all collections under `home`, sorted."""
    place = home() / "collections"
    try:
        return sorted(entry.name for entry in place.iterdir() if (entry / FILE).is_file())
    except OSError:
        return []


def _is_path(text: str) -> bool:
    separators = {os.sep, os.altsep or os.sep, "/"}
    return text.startswith((".", "~")) or any(mark in text for mark in separators)
