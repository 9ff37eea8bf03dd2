"""The options of indexing, and its reports."""

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
    """Options of indexing."""

    recursive: bool = True
    """Also index subfolders."""
    workers: int | None = None
    """Processes that read files; None: one per processor."""
    limits: ReadLimits = field(default_factory=ReadLimits)
    """What one file may cost."""
    urls: bool = False
    """Fetch http and https addresses, given directly or named by tables."""
    delete_missing: bool = True
    """Drop files from the collection that are gone from the given folders."""
    prune: bool = False
    """Remove missing files even if a whole given folder is gone or empty, as with an unmounted
    disk."""
    archives: bool = False
    """Also read the pictures and documents in ZIP and TAR archives; those read before are kept up
    to date in any case."""
    inside: tuple[str, ...] | None = None
    """Read nothing outside these folders, wherever links and tables point; None: no limit."""
    retry_failed: bool = False
    """Retry files that could not be read, even if they have not changed since."""
    detect: str | Path | None = None
    """A YOLOX file (ONNX) that detects objects in every picture it has not processed yet; None: no
    detection."""
    ocr: bool = False
    """Read the text in every picture that has not been looked at for text yet. The text of scanned
    pages is read in any case."""
    words_first: bool = False
    """Leave the vectors of documents and texts to the next run without this option; until then
    documents and texts are found by their words alone."""
    late: str | None = None
    """A model of late interaction, such as colqwen2, that gives every page without them the vectors
    that a search with `rerank` compares; "none" removes those of all pages; None: no change."""

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
    """The progress of indexing. All counts are files."""

    done: int
    total: int | None
    """None while they are still being counted."""
    failed: int
    unchanged: int
    seconds: float
    path: str
    """The last file."""


@dataclass(frozen=True, kw_only=True)
class IndexReport:
    """The outcome of indexing."""

    added: int
    updated: int
    moved: int
    """Files that were renamed and kept all their data."""
    unchanged: int
    removed: int
    failed: int
    """Files that could not be read in this run: see the quarantine."""
    skipped: int
    """Files that could not be read in an earlier run and have not changed since."""
    links: int
    """Other names of indexed files: links, and disks that are mounted twice."""
    images: int
    """Pictures embedded; pages, with `words_first`, only stored."""
    texts: int
    """Text passages embedded; with `words_first` only stored."""
    reused: int
    """Pictures and text passages whose vectors came from a file with the same content."""
    seconds: float
    interrupted: bool
    missing_roots: tuple[str, ...] = ()
    """Given folders that do not exist; files known below them were kept."""
    empty_roots: tuple[str, ...] = ()
    """Given folders that are empty now but had files: these are kept, unless `prune`."""
    partial: int = 0
    """Files indexed in this run of which a part could not be used: see the quarantine."""
    detected: int = 0
    """Pictures searched for objects."""
    ocr: int = 0
    """Pictures read by OCR."""
    pages: int = 0
    """Pages that got vectors for late interaction."""
    page_bytes: int = 0
    """Bytes of these vectors."""
    postponed: int = 0
    """Vectors left to the next run without `words_first`."""
    refilled: int = 0
    """Known pictures and text passages that had lost their vector and got it back."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Number of files of unsupported kinds, such as audio, by file ending."""
    index_problem: Text | None = None
    """Why no index could be built; without one, searches are slower."""

    def __repr__(self) -> str:
        names = ("added", "updated", "moved", "unchanged", "removed", "failed")
        counts = ", ".join(f"{getattr(self, name)} {name}" for name in names)
        return f"IndexReport({counts}{', interrupted' if self.interrupted else ''})"

    @property
    def has_no_file(self) -> bool:
        """Whether there was no file that seesay can read, in this run or before."""
        files = (self.added, self.updated, self.moved, self.unchanged, self.removed, self.failed)
        absent = self.interrupted or self.missing_roots or self.empty_roots
        return not (any(files) or self.links or self.skipped or absent)


@dataclass(kw_only=True)
class RunState:
    """The state of one run so far."""

    number: int
    """The number of the run in the catalogue."""
    counts: Counter[str] = field(default_factory=Counter)
    """Counts by field name of IndexReport."""
    path: str = ""
    """The last file stored."""
    aliases: dict[str, str] = field(default_factory=dict)
    """Other names found for files of the collection, each mapped to its name there."""

    @property
    def done(self) -> int:
        """Number of files done."""
        names = ("added", "updated", "moved", "unchanged", "failed", "skipped", "links")
        return sum(self.counts[name] for name in names)


def default_workers() -> int:
    """Returns the number of processors that this program may use."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(usable or 1, 16))
