"""Where collections lie, and which one a person means.

    <home>/collections/<name>/collection.sqlite

A collection may also lie in any other folder, which is then named by its path.
"""

import difflib
import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from seesay.errors import CollectionError, ConfigError
from seesay.search.catalog.store import FILE

DEFAULT = "default"
"""The collection that is used where none is named."""

# Letters of any script, digits, and marks that no file system and no shell takes for anything.
_NAME = re.compile(r"[^\W_][\w.-]{0,63}")
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # of Windows


def home() -> Path:
    """The folder with everything seesay keeps for this user: SEESAY_HOME, else the platform's
    place for data of programs."""
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
    """The folder of a collection, which need not be there yet.

    What holds a separator, or begins with a dot or ~, is a path; anything else is a name. Raises
    ConfigError for a name that cannot be one.
    """
    given = DEFAULT if name_or_path is None else name_or_path
    if isinstance(given, Path) or _is_path(given):
        return Path(given).expanduser().absolute()
    if not _NAME.fullmatch(given) or _DEVICES.fullmatch(given) or given.endswith("."):
        raise ConfigError(
            f"the collection name {given!r} cannot be used; expected letters, digits, - _ and . "
            "(64 at most, a letter or digit first), or a path such as ./name; choose another name"
        )
    return home() / "collections" / given


def is_there(name_or_path: str | Path | None = None) -> bool:
    """Whether there is such a collection."""
    return (resolve_collection(name_or_path) / FILE).is_file()


def check_paths(paths: Sequence[str]) -> None:
    """Raises CollectionError where none of them is there: no collection need be made for them."""
    if not any("://" in path or os.path.lexists(path) for path in paths):
        raise CollectionError(
            f"{', '.join(paths)}: not there, expected files or folders that are; nothing was made; "
            "check the names, or connect the disk"
        )


def find_collection(name_or_path: str | Path | None = None) -> Path:
    """The folder of a collection that is there. Raises CollectionError, with the name that may
    have been meant, where it is not."""
    folder = resolve_collection(name_or_path)
    if (folder / FILE).is_file():
        return folder
    if name_or_path is None:
        raise CollectionError(
            f"there is no collection yet (expected one in {folder}); make it from your pictures "
            f"and texts: seesay index FOLDER{_others()}"
        )
    near = difflib.get_close_matches(str(name_or_path), list_collections(), n=1)
    ask = f"did you mean {near[0]!r}? To" if near else "to"
    raise CollectionError(
        f"there is no collection {str(name_or_path)!r} (expected one in {folder}); {ask} make it: "
        f"seesay index FOLDER --collection {shlex.quote(str(name_or_path))}{_others()}"
    )


def list_collections() -> list[str]:
    """The names of all collections under `home`, sorted."""
    place = home() / "collections"
    try:
        return sorted(entry.name for entry in place.iterdir() if (entry / FILE).is_file())
    except OSError:
        return []


def _is_path(text: str) -> bool:
    separators = {os.sep, os.altsep or os.sep, "/"}
    return text.startswith((".", "~")) or any(mark in text for mark in separators)


def _others() -> str:
    names = list_collections()
    return f". There are: {', '.join(names)}" if names else ""
