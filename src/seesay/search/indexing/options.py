"""What a user can ask of indexing, and what indexing reports."""

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from seesay.errors import ConfigError
from seesay.search.reading.files import ReadLimits
from seesay.text import Text


@dataclass(frozen=True, kw_only=True)
class IndexOptions:
    """How to index."""

    recursive: bool = True
    """Look into folders below, too."""
    workers: int | None = None
    """Processes that read files; None for one per processor."""
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
    detect: str | Path | None = None
    """A YOLOX file (ONNX) to look for objects with, in every picture of the collection where it has
    not looked yet; None to leave pictures with what is known of them."""

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ConfigError(
                Text(
                    f"workers={self.workers} reads nothing; expected at least 1, or None; leave it "
                    "out for one per processor",
                    f"workers={self.workers} 无法读取任何文件；至少应为 1，或为 None；"
                    "不写则每个处理器一个",
                )
            )


@dataclass(frozen=True, kw_only=True)
class IndexProgress:
    """How far indexing has come. Every count is of files."""

    done: int
    total: int | None
    """None while they are still being counted."""
    failed: int
    unchanged: int
    seconds: float
    path: str
    """The last one."""


@dataclass(frozen=True, kw_only=True)
class IndexReport:
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
    detected: int = 0
    """Pictures in which objects were looked for."""
    refilled: int = 0
    """Pictures and pieces of text that were known and had lost their vector, and have one again."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Files of kinds that nothing reads yet, such as PDF and video: how many, by their ending."""
    index_problem: Text | None = None
    """Why no index could be built: searching is slower without."""

    def __repr__(self) -> str:
        names = ("added", "updated", "moved", "unchanged", "removed", "failed")
        counts = ", ".join(f"{getattr(self, name)} {name}" for name in names)
        return f"IndexReport({counts}{', interrupted' if self.interrupted else ''})"

    @property
    def has_no_file(self) -> bool:
        """Whether there was no file that seesay reads, now or before."""
        files = (self.added, self.updated, self.moved, self.unchanged, self.removed, self.failed)
        absent = self.interrupted or self.missing_roots or self.empty_roots
        return not (any(files) or self.links or self.skipped or absent)


@dataclass(kw_only=True)
class RunState:
    """What has become of the files of one run so far."""

    number: int
    """Of the run, in the catalogue."""
    counts: Counter[str] = field(default_factory=Counter)
    """By the names of IndexReport."""
    path: str = ""
    """The last file that was stored."""
    aliases: dict[str, str] = field(default_factory=dict)
    """Other names that were met of files of the collection, each with the name it has there."""

    @property
    def done(self) -> int:
        """Files."""
        names = ("added", "updated", "moved", "unchanged", "failed", "skipped", "links")
        return sum(self.counts[name] for name in names)


def default_workers() -> int:
    """One process for each processor that this program may use."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(usable or 1, 16))
