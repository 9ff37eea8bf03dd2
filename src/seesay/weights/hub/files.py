"""What the hubs have in common: the files of a repository, which of them make a checkpoint that
seesay reads, and whether they arrived whole."""

import hashlib
import re
import shutil
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from seesay.errors import DownloadError, WeightsError
from seesay.weights.catalog import Layout


@dataclass(frozen=True)
class HubFile:
    """A file of a repository, as the hub describes it."""

    name: str
    size: int
    sha256: str = ""
    """Of the content; empty where the hub does not say."""
    git_id: str = ""
    """Git's own hash of the content, which hubs give for small files instead."""


@dataclass(frozen=True)
class Listing:
    """All files of a repository in one state."""

    asked: str
    """The branch, tag or commit that was asked for."""
    revision: str
    """The commit that it is, as far as the hub tells; else the same."""
    files: tuple[HubFile, ...]


class Unreachable(DownloadError):
    """The hub did not answer, or may not be asked; what is in the cache can still do."""


class Hub(Protocol):
    """A place that publishes checkpoints. All its methods raise DownloadError or
    UnknownModelError only."""

    def listing(self, repo: str, revision: str) -> Listing:
        """Ask the hub for the files of a repository."""
        ...

    def download(self, repo: str, listing: Listing, names: list[str]) -> Path:
        """Bring files into the cache and return their folder."""
        ...

    def cached(self, repo: str, revision: str) -> Path | None:
        """The folder in the cache, without asking the hub; some files may be missing there."""
        ...

    def working_folder(self, repo: str) -> Path:
        """Where files grow while they come, to show progress."""
        ...


# The layouts in the order in which they are taken, safetensors before pickles: the file that must
# be there beside the weights, the weights as a pattern, and the index if they are in shards.
_LAYOUTS: tuple[tuple[Layout, str, str, str], ...] = (
    ("seesay", "seesay.json", r"model\.safetensors", ""),
    ("open_clip", "open_clip_config.json", r"open_clip(_pytorch)?_model\.safetensors", ""),
    ("hf", "config.json", r"model\.safetensors", ""),
    ("hf", "config.json", r"model-\d+-of-(\d+)\.safetensors", "model.safetensors.index.json"),
    ("open_clip", "open_clip_config.json", r"open_clip_pytorch_model\.bin", ""),
    ("hf", "config.json", r"pytorch_model\.bin", ""),
    ("hf", "config.json", r"pytorch_model-\d+-of-(\d+)\.bin", "pytorch_model.bin.index.json"),
    ("cn_clip", "", r"clip_cn_[\w.-]+\.pt", ""),
)
_PREPROCESSING = ("preprocessor_config.json", "processor_config.json")
# One set is enough, and the first is the smallest trouble.
_TOKENIZERS = (
    ("tokenizer.json",),
    ("vocab.json", "merges.txt"),
    ("vocab.txt", "tokenizer_config.json"),
    ("bpe_simple_vocab_16e6.txt.gz",),
    ("spiece.model",),
)


def choose(names: Collection[str], layout: Layout | None, where: str) -> list[str]:
    """The files to bring from a repository with these names: one layout, one set of weights.

    Two layouts side by side, as LAION publishes them, would be read as a mixture, so only the files
    of one are taken. Raises WeightsError if `where` has no checkpoint that seesay reads.
    """
    for kind, config, pattern, index in _LAYOUTS:
        if layout not in (None, kind) or (config and config not in names):
            continue
        if weights := _weights(names, pattern, index):
            beside = [config] if config else []
            if kind == "hf":
                beside += [name for name in _PREPROCESSING if name in names]
            return [*beside, *weights, *tokenizer_files(names)]
    if "0_CLIPModel/config.json" in names:
        raise WeightsError(
            f"{where} holds its model in a folder of sentence-transformers; expected it in the "
            "repository itself. Choose the one that it was made from (openai/clip-vit-base-patch32 "
            f"for clip-ViT-B-32), or run: hf download {where} --local-dir FOLDER, and name FOLDER"
        )
    kinds = ", ".join(dict.fromkeys(config for _, config, *_ in _LAYOUTS if config))
    raise WeightsError(
        f"{where} has no weights that seesay reads (it has {_some(names)}); expected {kinds} with "
        "safetensors, or PyTorch files, beside it. Choose a model from: seesay models list"
    )


def tokenizer_files(names: Collection[str]) -> list[str]:
    """The first set of tokenizer files that is there; empty if none is."""
    for needed, *optional in _TOKENIZERS:
        if needed in names:
            return [needed, *(name for name in optional if name in names)]
    return []


def names_in(folder: Path) -> set[str]:
    """The files of a folder, without those of its subfolders."""
    return {path.name for path in folder.iterdir() if path.is_file()} if folder.is_dir() else set()


def is_whole(folder: Path, layout: Layout | None) -> bool:
    """Whether a folder of the cache has all that a checkpoint needs."""
    names = names_in(folder)
    try:
        choose(names, layout, str(folder))
    except WeightsError:
        return False
    return bool(tokenizer_files(names))


def check(folder: Path, listing: Listing, names: Iterable[str]) -> None:
    """Compare files that were just brought with what the hub says of them.

    A file of another size or content is deleted, from the cache's store too, so that nothing reads
    it and the next download brings it again. Raises DownloadError.
    """
    described = {file.name: file for file in listing.files}
    wrong = {name: p for name in names if (p := _problem(folder / name, described[name]))}
    for name in wrong:
        path = folder / name
        path.resolve().unlink(missing_ok=True)  # hubs keep the content apart and link to it
        path.unlink(missing_ok=True)
    if wrong:
        told = "; ".join(f"{name} {problem}" for name, problem in wrong.items())
        raise DownloadError(
            f"{len(wrong)} of the downloaded files are damaged ({told}); expected what the hub "
            "lists. They were deleted: run the same command again, and if that does not help, "
            "choose another hub or mirror"
        )


def no_room(folder: Path, needed: int) -> DownloadError:
    """The error for a disk too full for `needed` more bytes (0: it is not known how many)."""
    free = free_bytes(folder)
    expected = f"{needed / 1e6:,.0f} MB for the download" if needed else "more"
    return DownloadError(
        f"the disk of {folder} is full: {free / 1e6:,.0f} MB are free; expected {expected}. "
        "Make room, or set HF_HOME (MODELSCOPE_CACHE for ModelScope) to a folder on a larger disk"
    )


def free_bytes(folder: Path) -> int:
    """Room on the disk of a folder that may have to be made yet."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _problem(path: Path, file: HubFile) -> str:
    if not path.is_file():
        return "is missing"
    if (size := path.stat().st_size) != file.size:
        return f"has {size} bytes of {file.size}"
    if file.sha256:
        with path.open("rb") as stream:
            right = hashlib.file_digest(stream, "sha256").hexdigest() == file.sha256
    elif file.git_id:
        content = path.read_bytes()
        head = b"blob %d\0" % len(content)
        right = hashlib.sha1(head + content, usedforsecurity=False).hexdigest() == file.git_id
    else:
        right = True
    return "" if right else "has other content"


def _weights(names: Collection[str], pattern: str, index: str) -> list[str]:
    """One weights file, or an index and all its shards; none of them if a part is missing."""
    matches = [match for name in sorted(names) if (match := re.fullmatch(pattern, name))]
    if not index:
        return [match.string for match in matches[:1]]
    whole = matches and index in names and len(matches) == int(matches[0].group(1))
    return [index, *(match.string for match in matches)] if whole else []


def _some(names: Collection[str], most: int = 6) -> str:
    shown = ", ".join(sorted(names)[:most]) or "no files"
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
