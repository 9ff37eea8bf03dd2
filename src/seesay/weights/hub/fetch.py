"""From the name of a model to a local folder: the catalogue, two hubs, or any folder.

    resolve("siglip2-b16-224")                      # an alias of the catalogue
    resolve("openai/clip-vit-base-patch32")         # any repository of the hub
    resolve("~/models/mine")                        # a folder, as it is
    resolve("chinese-clip-b16", hub="modelscope")   # or SEESAY_HUB=modelscope

Pinned models that are in the cache are found without asking anybody.
"""

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from seesay.errors import ConfigError, DownloadError, UnknownModelError, WeightsError
from seesay.weights.catalog import BUILT_IN, CatalogEntry, Layout, find, unknown_model
from seesay.weights.hub.files import (
    Hub,
    Listing,
    Unreachable,
    check,
    choose,
    free_bytes,
    is_whole,
    names_in,
    no_room,
    tokenizer_files,
)
from seesay.weights.hub.huggingface import HuggingFace, offline
from seesay.weights.hub.modelscope import ModelScope
from seesay.weights.hub.progress import OnProgress, watched

HubName = Literal["huggingface", "modelscope"]

IMAGE_HALF = "image_half"
"""Subfolder of a local copy with the other half of a model that is published in two."""


@dataclass(frozen=True)
class Located:
    """Where a model lies on this machine."""

    folder: Path
    image_folder: Path | None
    """The image half, for models that are published in two (Taiyi-CLIP)."""
    revision: str
    """The commit that the folder holds, as far as it is known; else empty."""


def resolve(
    name: str,
    *,
    revision: str | None = None,
    hub: str | None = None,
    on_progress: OnProgress | None = None,
) -> Path:
    """The folder of a model, downloaded first if it has to be. See `locate`."""
    return locate(name, revision=revision, hub=hub, on_progress=on_progress).folder


def is_repository(name: str) -> bool:
    """Whether the name has the form of a hub's repositories: owner/name."""
    return re.fullmatch(r"[\w.-]+/[\w.-]+", name) is not None


def locate(
    name: str,
    *,
    revision: str | None = None,
    hub: str | None = None,
    on_progress: OnProgress | None = None,
) -> Located:
    """Where the parts of a model are, downloaded first if they have to be.

    `revision` is a branch, tag or commit and replaces the catalogue's; `hub` is "huggingface" or
    "modelscope" (else SEESAY_HUB, else Hugging Face); `on_progress` is called with the bytes
    brought and the bytes to bring.

    Raises UnknownModelError for a name that means nothing, DownloadError if the hub cannot be
    reached, refuses, or sends damaged files, WeightsError if a repository holds no checkpoint that
    seesay reads, MissingExtraError for ModelScope without its extra. A download that fails leaves
    nothing that a later call takes for whole.
    """
    if (local := _local(name)) is not None:
        image_half = local / IMAGE_HALF
        return Located(local, image_half if image_half.is_dir() else None, "")
    entry = find(name)
    if entry is not None and entry.alias == BUILT_IN:
        return Located(_built_in(), None, "")
    if entry is None and not is_repository(name):
        raise unknown_model(name)
    fetch, image_folder = _Fetch(hub, on_progress), None
    try:
        folder = fetch.model(entry, name, revision)
        if entry is not None and entry.image_half:
            image_folder = fetch.model(find(entry.image_half), entry.image_half, None)
    except UnknownModelError as error:
        raise unknown_model(name, str(error)) from None
    except Unreachable as error:
        raise DownloadError(str(error)) from error.__cause__
    return Located(folder, image_folder, _commit(folder))


def in_cache(entry: CatalogEntry) -> Path | None:
    """The folder of a catalogued model that is whole on this machine. Asks no hub."""
    if entry.alias == BUILT_IN:
        folder = Path(__file__).parent.with_name(BUILT_IN)
    else:
        folder = HuggingFace().cached(entry.repo, entry.revision) or Path()
    return folder if is_whole(folder, entry.layout) else None


class _Fetch:
    """One call's way to the chosen hub."""

    def __init__(self, hub: str | None, on_progress: OnProgress | None) -> None:
        self._name = _hub_name(hub)
        self._on_progress = on_progress
        self._hub: Hub = (
            ModelScope()
            if self._name == "modelscope"
            else HuggingFace(quiet=on_progress is not None)
        )

    def model(self, entry: CatalogEntry | None, name: str, revision: str | None) -> Path:
        """The folder of one repository, with all that a checkpoint needs."""
        repo = self._repo(entry, name)
        wanted = revision or self._revision(entry)
        layout = _layout(entry, repo)
        cached = self._hub.cached(repo, wanted)
        whole = cached if cached is not None and is_whole(cached, layout) else None
        if whole is not None and (_is_commit(wanted) or offline()):
            return whole
        try:
            listing = self._listing(repo, wanted)
        except Unreachable:
            if whole is not None:
                return whole
            raise
        names = choose([file.name for file in listing.files], layout, repo)
        folder = self._bring(repo, listing, names)
        if entry is not None and entry.tokenizer and not tokenizer_files(names_in(folder)):
            self._add_tokenizer(folder, entry.tokenizer)
        return folder

    def _add_tokenizer(self, folder: Path, alias: str) -> None:
        """Put the tokenizer of another checkpoint into a folder whose repository has none."""
        entry = find(alias)
        repo = self._repo(entry, alias)
        listing = self._listing(repo, self._revision(entry))
        names = tokenizer_files([file.name for file in listing.files])
        source = self._bring(repo, listing, names)
        for name in names:
            unfinished = folder / f".{name}.part"
            shutil.copyfile(source / name, unfinished)
            unfinished.replace(folder / name)

    def _listing(self, repo: str, revision: str) -> Listing:
        if offline():
            raise Unreachable(
                f"{repo} is not whole in the cache ({self._hub.working_folder(repo)}), and "
                "HF_HUB_OFFLINE forbids asking for it; expected a cached copy or a connection. "
                "Unset HF_HUB_OFFLINE, or give the folder of a copy instead of the name"
            )
        return self._hub.listing(repo, revision)

    def _bring(self, repo: str, listing: Listing, names: list[str]) -> Path:
        """Download what the cache lacks of `names`, and compare it with the listing."""
        cached = self._hub.cached(repo, listing.revision)
        there = names_in(cached) if cached is not None else set()
        missing = [f for f in listing.files if f.name in names and f.name not in there]
        needed = sum(file.size for file in missing)
        working = self._hub.working_folder(repo)
        if needed > free_bytes(working):
            raise no_room(working, needed)
        with watched(working, needed, self._on_progress):
            folder = self._hub.download(repo, listing, names)
        check(folder, listing, [file.name for file in missing])
        return folder

    def _repo(self, entry: CatalogEntry | None, name: str) -> str:
        if entry is None:
            return name
        return (entry.modelscope if self._name == "modelscope" else "") or entry.repo

    def _revision(self, entry: CatalogEntry | None) -> str:
        if self._name == "modelscope":
            return "master"  # the catalogue's commits are Hugging Face's
        return entry.revision if entry is not None else "main"


def _local(name: str) -> Path | None:
    """A folder that the name is meant to be. An alias of the catalogue is one only as ./alias."""
    if not re.search(r"[/\\]", name) and find(name) is not None:
        return None
    if not name.strip():  # which Path would take for the current folder
        raise unknown_model(name)
    path = Path(os.path.expanduser(name))  # Path's own raises for a user that is not there
    if os.path.isdir(path):  # Path.is_dir would raise for a name that is too long
        return path
    if os.path.isfile(path):
        raise UnknownModelError(
            f"{path} is a file; expected the folder of a checkpoint. Give {path.parent}"
        )
    if re.match(r"[./~\\]|[A-Za-z]:\\", name) or name.count("/") > 1:
        raise UnknownModelError(
            f"there is no folder {name}; expected the folder of a checkpoint. Correct the path, or "
            "choose a model from: seesay models list"
        )
    return None


def _built_in() -> Path:
    folder = Path(__file__).parent.with_name(BUILT_IN)
    if not folder.is_dir():
        raise WeightsError(
            f"{BUILT_IN} is not in this installation ({folder} is missing); expected it to come "
            "with seesay. Install seesay again, or choose a model from: seesay models list"
        )
    return folder


def _hub_name(hub: str | None) -> HubName:
    given = hub or os.environ.get("SEESAY_HUB") or "huggingface"
    for name in get_args(HubName):
        if given.lower() == name:
            return name
    raise ConfigError(
        f"there is no hub {given!r}; expected {' or '.join(get_args(HubName))}. Correct the "
        "argument hub (--hub on the command line) or the variable SEESAY_HUB"
    )


def _layout(entry: CatalogEntry | None, repo: str) -> Layout | None:
    if entry is not None:
        return entry.layout
    # timm publishes image towers and whole CLIPs in one repository; the whole is open_clip's.
    return "open_clip" if repo.startswith("timm/") else None


def _is_commit(revision: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{40}", revision) is not None


def _commit(folder: Path) -> str:
    """Hugging Face's cache keeps each commit in a folder of its name."""
    return folder.name if _is_commit(folder.name) else ""
