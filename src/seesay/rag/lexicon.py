"""The words of lexicon.toml."""

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def lexicon() -> dict[str, Any]:
    """Returns the lexicon by its keys."""
    text = files("seesay.rag").joinpath("lexicon.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
