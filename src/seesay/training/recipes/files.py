"""Read a recipe's or a sweep's file, and say which file was meant where there is none."""

import difflib
import tomllib
from pathlib import Path
from typing import Any

from seesay.errors import ConfigError

RECIPES = "recipes"  # the folder that recipes lie in, beside whoever asks


def read_toml(file: Path) -> dict[str, Any]:
    """The table in a file. Raises ConfigError where there is none."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"{file} is not there, expected a recipe or a sweep in TOML{_other_files(file)}"
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{file} is no TOML file ({error}), expected a recipe as in {RECIPES}/: correct that "
            "place, or name another file"
        ) from None


def _other_files(file: Path) -> str:
    folders = (file.parent, file.parent / RECIPES, Path(RECIPES))
    found = [path for folder in folders for path in sorted(folder.glob("*.toml"))]
    there = {path.name: path for path in reversed(found) if path.name != "pyproject.toml"}
    if near := difflib.get_close_matches(file.name, there, n=1):
        return f"; did you mean {there[near[0]]}?"
    if there:
        return f": name another file, such as {', '.join(str(there[n]) for n in sorted(there)[:3])}"
    return ": correct the path, or write one; `seesay train --reference` lists its settings"


def refuse_other_kind(file: Path, table: dict[str, Any], *, sweep: bool) -> None:
    """Raises ConfigError for a recipe in the place of a sweep, and the other way round."""
    if sweep and "axes" not in table and "run" in table:
        raise ConfigError(
            f"{file} is a recipe: it has [run] and no [axes], expected a sweep. "
            f"Train it with: seesay train {file}"
        )
    if not sweep and "axes" in table and "run" not in table:
        raise ConfigError(
            f"{file} is a sweep: it has [axes] and no [run], expected a recipe. "
            f"Run it with: seesay sweep {file}"
        )
