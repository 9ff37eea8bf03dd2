"""What an engine must do to serve as the index of a collection."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from seesay.search.vectors.rows import Found, Rows

Notes = Mapping[str, Any]
"""What an engine wants to remember of an index it built: JSON."""


class IndexDamagedError(Exception):
    """An index is missing, damaged or cannot be reached. Searches go on without it, and say so."""


class IndexOutdatedError(IndexDamagedError):
    """Nothing is wrong with an index but that an older version built it."""


@dataclass(frozen=True)
class Allowed:
    """Which rows may be found. The same object comes again with the same filter, so that an engine
    may keep in `kept` what it worked out for it."""

    mask: Bool[np.ndarray, " rows"]
    count: int
    kept: dict[str, Any] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """How large a part of all rows it is."""
        return self.count / max(len(self.mask), 1)

    @cached_property
    def bits(self) -> UInt8[np.ndarray, " bytes"]:
        """The mask, a bit for each row, the lowest bit first."""
        return np.packbits(self.mask, bitorder="little")

    @cached_property
    def numbers(self) -> Int[np.ndarray, " allowed"]:
        """The allowed rows, ascending."""
        return np.flatnonzero(self.mask)


@runtime_checkable
class OpenIndex(Protocol):
    """An index that is ready to be asked."""

    def search(
        self, query: Float[np.ndarray, " embed"], count: int, allowed: Allowed | None
    ) -> Found | None:
        """Allowed rows among which the nearest `count` are, as far as it can tell, the best first,
        with the scores that `Rows` gives them. None says that scanning the allowed rows is better.
        Raises IndexDamagedError when it cannot be asked any more.
        """

    def close(self) -> None:
        """Let go of files and connections."""


@runtime_checkable
class Engine(Protocol):
    """An engine: builds indexes of numbered rows and opens them again."""

    @property
    def name(self) -> str:
        """What the generations it built are marked with, and `engine_of` makes it from again."""

    def reach(self) -> None:
        """See whether it can be used now. Raises IndexDamagedError where its server does not
        answer, MissingExtraError where its package is not installed."""

    def build(self, rows: Rows, folder: Path, name: str) -> Notes:
        """Index all rows. Files go into `folder`; an engine that keeps its data elsewhere keeps it
        under `name`, which nothing else has. The notes tell under "kind" what was built; "scan"
        says that it was nothing. Raises IndexDamagedError where it cannot be built."""

    def open(self, rows: Rows, folder: Path, notes: Notes) -> OpenIndex | None:
        """Open what `build` made; None where it made nothing since scanning is as good.
        Raises IndexDamagedError where it is not what was built."""

    def drop(self, notes: Notes) -> None:
        """Remove what `build` keeps elsewhere; the folder is removed by others. Raises
        IndexDamagedError where it cannot be removed."""
