"""What a person may ask of indexing, and what indexing says it did."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from seesay.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ReadLimits:
    """What one file may cost. The defaults let every camera's files through."""

    max_file_bytes: int = 256 * 2**20
    """Largest picture that is opened."""
    max_text_bytes: int = 8 * 2**20
    """Largest text or table that is opened."""
    max_pixels: int = 128 * 2**20
    """Most pixels that are decoded into memory."""
    memory_bytes: int = 2 * 2**30
    """Most memory that a reading process may take, where the system can hold it to that."""
    seconds: float = 30.0
    """Longest that one file may take, or one address to answer."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value <= 0:
                raise ConfigError(f"{name}={value} lets no file through; give a positive number")


@dataclass(frozen=True, kw_only=True)
class IngestOptions:
    """How to index."""

    recursive: bool = True
    """Look into folders below, too."""
    workers: int | None = None
    """Processes that read files; None for one a processor."""
    limits: ReadLimits = field(default_factory=ReadLimits)
    """What one file may cost."""
    urls: bool = False
    """Fetch http and https addresses that are given or that tables name."""
    delete_missing: bool = True
    """Remove what is no longer there, below the folders given."""
    prune: bool = False
    """Remove it even where a whole folder given is gone or empty, as an unmounted disk is."""
    inside: tuple[str, ...] | None = None
    """Read nothing outside of these folders, wherever links and tables point; None to read all."""
    retry_failed: bool = False
    """Try files again that could not be read and have not changed since."""

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"workers={self.workers} reads nothing; give at least 1, or None")


@dataclass(frozen=True, kw_only=True)
class IngestProgress:
    """How far it has come. Every count is of files."""

    done: int
    total: int | None
    """None while they are still being counted."""
    failed: int
    unchanged: int
    seconds: float
    path: str
    """The last one."""


@dataclass(frozen=True, kw_only=True)
class IngestReport:
    """What became of the files."""

    added: int
    updated: int
    moved: int
    """Files that have another name, and kept all that is known of them."""
    unchanged: int
    removed: int
    failed: int
    """Files that could not be read now: see the quarantine."""
    skipped: int
    """Files that could not be read before, and have not changed since."""
    links: int
    """Other names of files that are indexed under one: links, and disks that are mounted twice."""
    images: int
    """Pictures embedded."""
    texts: int
    """Pieces of text embedded."""
    reused: int
    """Pictures and pieces of text whose vector was there already, from a file of the same content.
    """
    seconds: float
    interrupted: bool
    missing_roots: tuple[str, ...] = ()
    """Folders given that are not there; what is known below them was kept."""
    empty_roots: tuple[str, ...] = ()
    """Folders given without a single file, though files were known there: kept, unless `prune`."""
    refilled: int = 0
    """Pictures and pieces of text that were known and had lost their vector, and have one again."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Files of kinds that nothing reads yet, such as PDF and video: how many, by their ending."""
    index_problem: str | None = None
    """Why no index could be built: searching is slower without."""

    def __repr__(self) -> str:
        names = ("added", "updated", "moved", "unchanged", "removed", "failed")
        counts = ", ".join(f"{getattr(self, name)} {name}" for name in names)
        return f"IngestReport({counts}{', interrupted' if self.interrupted else ''})"

    @property
    def found_nothing(self) -> bool:
        """Whether there was no file that seesay reads, now or before."""
        known = (
            self.added,
            self.updated,
            self.moved,
            self.unchanged,
            self.removed,
            self.failed,
            self.links,
        )
        absent = self.interrupted or self.missing_roots or self.empty_roots
        return not (any(known) or self.skipped or absent)


def default_workers() -> int:
    """One process a processor this program may use."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(usable or 1, 16))
