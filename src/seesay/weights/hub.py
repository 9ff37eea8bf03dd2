"""Resolves the name of a model to a local folder: the catalogue, two hubs, or any folder.

    resolve("siglip2-b16-224")                      # an alias of the catalogue
    resolve("openai/clip-vit-base-patch32")         # any repository of the hub
    resolve("~/models/mine")                        # a folder, as it is
    resolve("chinese-clip-b16", hub="modelscope")   # or SEESAY_HUB=modelscope

Pinned models in the cache are found without network access.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from seesay.errors import ConfigError, DownloadError, UnknownModelError, WeightsError
from seesay.text import Text
from seesay.weights.catalog import CatalogEntry, Layout, find, find_assistant, unknown_model
from seesay.weights.hub_clients import (
    Hub,
    HubFile,
    HuggingFace,
    Listing,
    ModelScope,
    OnProgress,
    Unreachable,
    free_bytes,
    no_room,
    offline,
    watched,
)

HubName = Literal["huggingface", "modelscope"]

_WITH = " + "
IMAGE_HALF = "image_half"
"""Subfolder of a local copy with the other half of a model published in two halves."""


@dataclass(frozen=True)
class Located:
    """The folders of a model on this machine."""

    folder: Path
    image_folder: Path | None
    """The image half, for models published in two halves (Taiyi-CLIP)."""
    revision: str
    """The commit that the folder holds; empty if unknown."""


def adapted_name(name: str, adapter: str | Path | None) -> str:
    """The name of a model with an adapter on it, under which its vectors and answers are kept, as
    in "seesay-base + /home/me/adapter". Every function that loads a model takes it as well."""
    if adapter is None:
        return name
    return f"{name}{_WITH}{Path(adapter).expanduser().absolute()}"


def split_adapter(name: str) -> tuple[str, Path | None]:
    """The model and the folder of the adapter that `adapted_name` has joined."""
    model, found, adapter = name.partition(_WITH)
    return (model, Path(adapter)) if found and not os.path.isdir(name) else (name, None)


def resolve(
    name: str,
    *,
    revision: str | None = None,
    hub: str | None = None,
    on_progress: OnProgress | None = None,
) -> Path:
    """Returns the folder of a model, and downloads it if necessary. See `locate`."""
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
    """Find a model on this machine, or download it first.

    `revision` is a branch, tag or commit and replaces the catalogue's; `hub` is "huggingface" or
    "modelscope" (else SEESAY_HUB, else Hugging Face); `on_progress` is called with the bytes
    downloaded and the bytes to download.

    Raises UnknownModelError for an unknown name, DownloadError if the hub cannot be reached,
    refuses, or sends damaged files, WeightsError if a repository holds no model that seesay reads,
    MissingExtraError for ModelScope without its extra. A later call never takes the remains of a
    failed download for a complete model.
    """
    entry = find(name) or find_assistant(name)
    if entry is not None and (built_in := entry.built_in) is not None:
        if not built_in.is_dir():
            raise _not_installed(entry.alias, built_in)
        return Located(built_in, None, "")
    if (local := _local(name)) is not None:
        image_half = local / IMAGE_HALF
        return Located(local, image_half if image_half.is_dir() else None, "")
    if entry is None and not is_repository(name):
        raise unknown_model(name)
    fetch, image_folder = _Fetch(hub, on_progress), None
    try:
        folder = fetch.model(entry, name, revision)
        if entry is not None and entry.image_half:
            image_folder = fetch.model(find(entry.image_half), entry.image_half, None)
    except UnknownModelError as error:
        raise unknown_model(name, error.text) from None
    except Unreachable as error:
        raise DownloadError(error.text) from error.__cause__
    return Located(folder, image_folder, _commit(folder))


def on_disk(name: str) -> Path | None:
    """Returns the folder of a model that comes with seesay, or the one that a name refers to; None
    for others. Asks no hub, and reads no catalogue, which takes 50 ms, unless the name could be of
    either."""
    built_in = os.path.join(os.path.dirname(__file__), name)
    if re.fullmatch(r"\w[\w.-]*", name) and os.path.isdir(built_in):
        return Path(built_in)
    folder, plain = os.path.expanduser(name), re.search(r"[/\\]", name) is None
    if not os.path.isdir(folder) or (plain and (find(name) or find_assistant(name))):
        return None
    return Path(folder)


def in_cache(entry: CatalogEntry) -> Path | None:
    """Returns the folder of a catalogued model that is complete on this machine. Asks no hub."""
    folder = entry.built_in or HuggingFace().cached(entry.repo, entry.revision) or Path()
    return folder if is_whole(folder, entry.layout) else None


class _Fetch:
    """Downloads from the chosen hub, for one call."""

    def __init__(self, hub: str | None, on_progress: OnProgress | None) -> None:
        self._name = _hub_name(hub)
        self._on_progress = on_progress
        self._hub: Hub = (
            ModelScope()
            if self._name == "modelscope"
            else HuggingFace(quiet=on_progress is not None)
        )

    def model(self, entry: CatalogEntry | None, name: str, revision: str | None) -> Path:
        """Returns the folder of one repository, with everything a checkpoint needs."""
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
        folder = self._download(repo, listing, names)
        if entry is not None and entry.tokenizer and not tokenizer_files(names_in(folder)):
            self._add_tokenizer(folder, entry.tokenizer)
        return folder

    def _add_tokenizer(self, folder: Path, alias: str) -> None:
        """Put the tokenizer of another checkpoint into a folder whose repository has none."""
        entry = find(alias)
        repo = self._repo(entry, alias)
        listing = self._listing(repo, self._revision(entry))
        names = tokenizer_files([file.name for file in listing.files])
        source = self._download(repo, listing, names)
        for name in names:
            unfinished = folder / f".{name}.part"
            shutil.copyfile(source / name, unfinished)
            unfinished.replace(folder / name)

    def _listing(self, repo: str, revision: str) -> Listing:
        if offline():
            cache = self._hub.working_folder(repo)
            raise Unreachable(
                Text(
                    f"{repo} is not whole in the cache ({cache}), and HF_HUB_OFFLINE forbids "
                    "asking for it; expected a cached copy or a connection. Unset HF_HUB_OFFLINE, "
                    "or give the folder of a copy instead of the name",
                    f"缓存（{cache}）里没有完整的 {repo}，而 HF_HUB_OFFLINE 又禁止联网；应有缓存或"
                    "网络连接。请取消 HF_HUB_OFFLINE，或直接给出已有模型文件夹的路径",
                )
            )
        return self._hub.listing(repo, revision)

    def _download(self, repo: str, listing: Listing, names: list[str]) -> Path:
        """Download the files of `names` that the cache lacks, and compare them with the listing."""
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
    """Returns the folder that a name refers to. An alias of the catalogue means a folder only as
    ./alias."""
    if not re.search(r"[/\\]", name) and (find(name) or find_assistant(name)) is not None:
        return None
    if not name.strip():  # Path would take it for the current folder
        raise unknown_model(name)
    path = Path(os.path.expanduser(name))  # Path's own raises for a user that is not there
    if os.path.isdir(path):  # Path.is_dir would raise for a name that is too long
        return path
    if os.path.isfile(path):
        folder = path.absolute().parent
        raise UnknownModelError(
            Text(
                f"{path} is a file; expected a model folder, such as the one with the file in it: "
                f"{folder}. Give the folder",
                f"{path} 是文件；应为模型文件夹，如该文件所在的 {folder}；请给出文件夹",
            )
        )
    if re.match(r"[./~\\]|[A-Za-z]:\\", name) or name.count("/") > 1:
        raise UnknownModelError(
            Text(
                f"there is no folder {name}; expected a model folder. Correct the path, or choose "
                "a model from: seesay models list",
                f"没有文件夹 {name}；应为模型文件夹。请改正路径，或选用 seesay models list "
                "里的模型",
            )
        )
    return None


def _not_installed(alias: str, folder: Path) -> WeightsError:
    return WeightsError(
        Text(
            f"{alias} is not in this installation ({folder} is missing); expected it to come "
            "with seesay. Install seesay again, or choose a model from: seesay models list",
            f"安装的 seesay 里没有 {alias}（缺少 {folder}）；它应随 seesay 一起安装。"
            "请重新安装 seesay，或选用 seesay models list 里的模型",
        )
    )


def _hub_name(hub: str | None) -> HubName:
    given = hub or os.environ.get("SEESAY_HUB") or "huggingface"
    for name in get_args(HubName):
        if given.lower() == name:
            return name
    raise ConfigError(
        Text(
            f"there is no hub {given!r}; expected {' or '.join(get_args(HubName))}. Correct the "
            "argument hub (--hub on the command line) or the variable SEESAY_HUB",
            f"没有模型站点 {given!r}；应为 {' 或 '.join(get_args(HubName))}。请改正参数 hub"
            "（命令行上是 --hub）或变量 SEESAY_HUB",
        )
    )


def _layout(entry: CatalogEntry | None, repo: str) -> Layout | None:
    if entry is not None:
        return entry.layout
    # timm publishes image towers and whole CLIPs in one repository; the whole CLIP is in
    # open_clip's layout.
    return "open_clip" if repo.startswith("timm/") else None


def _is_commit(revision: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{40}", revision) is not None


def _commit(folder: Path) -> str:
    """Hugging Face's cache keeps each commit in a folder of its name."""
    return folder.name if _is_commit(folder.name) else ""


# The files of a repository

# The layouts in order of preference, safetensors before pickles: the config that must be there, the
# weights as a pattern, and the index if they are in shards.
_LAYOUTS: tuple[tuple[Layout, str, str, str], ...] = (
    ("seesay", "seesay.json", r"model\.safetensors", ""),
    ("open_clip", "open_clip_config.json", r"open_clip(_pytorch)?_model\.safetensors", ""),
    ("hf", "config.json", r"model\.safetensors", ""),
    ("hf", "config.json", r"model-\d+-of-(\d+)\.safetensors", "model.safetensors.index.json"),
    ("open_clip", "open_clip_config.json", r"open_clip_pytorch_model\.bin", ""),
    ("hf", "config.json", r"pytorch_model\.bin", ""),
    ("hf", "config.json", r"pytorch_model-\d+-of-(\d+)\.bin", "pytorch_model.bin.index.json"),
    ("cn_clip", "", r"clip_cn_[\w.-]+\.pt", ""),
    ("open_flamingo", "", r"checkpoint\.pt", ""),
)
_BESIDE = (
    *("preprocessor_config.json", "processor_config.json", "generation_config.json"),
    "qformer_tokenizer/tokenizer.json",  # of InstructBLIP's Q-Former
    # of text embedders
    *("modules.json", "1_Pooling/config.json", "tokenizer_config.json"),
    *("config_sentence_transformers.json", "sentence_bert_config.json"),
)
_ADDED = ("tokenizer_config.json", "added_tokens.json")
ALONE = "checkpoint.pt"
"""OpenFlamingo's weights, whose tokenizer is that of another repository."""
# One set is enough; the simplest one comes first.
_TOKENIZERS = (
    ("tokenizer.json",),
    ("vocab.json", "merges.txt", *_ADDED),
    ("vocab.txt", "tokenizer_config.json"),
    ("bpe_simple_vocab_16e6.txt.gz",),
    ("spiece.model",),
    ("tokenizer.model", *_ADDED),
    ("qwen.tiktoken",),
)


def choose(names: Collection[str], layout: Layout | None, repo: str) -> list[str]:
    """Chooses the files to download from a repository: one layout, one set of weights.

    Two layouts side by side, as LAION publishes them, would be read as a mixture, so only the files
    of one are taken. Raises WeightsError if `repo` has no checkpoint that seesay reads.
    """
    for kind, config, pattern, index in _LAYOUTS:
        if layout not in (None, kind) or (config and config not in names):
            continue
        if weights := _weights(names, pattern, index):
            beside = [config] if config else []
            if kind == "hf":
                beside += [name for name in _BESIDE if name in names]
            return list(dict.fromkeys([*beside, *weights, *tokenizer_files(names)]))
    if "0_CLIPModel/config.json" in names:
        raise WeightsError(
            Text(
                f"{repo} holds its model in a folder of sentence-transformers; expected it in the "
                "repository itself. Choose the one that it was made from "
                "(openai/clip-vit-base-patch32 for clip-ViT-B-32), or run: hf download "
                f"{repo} --local-dir FOLDER, and name FOLDER",
                f"{repo} 的模型在 sentence-transformers 的子文件夹里；应直接在仓库里。请用它的来源"
                "（clip-ViT-B-32 的来源是 openai/clip-vit-base-patch32），或运行 hf download "
                f"{repo} --local-dir 文件夹，再给出该文件夹",
            )
        )
    configs = ", ".join(dict.fromkeys(config for _, config, *_ in _LAYOUTS if config))
    raise WeightsError(
        Text(
            f"{repo} has no weights that seesay reads (it has {_some(names)}); expected {configs} "
            "with safetensors, or PyTorch files, beside it. Choose a model from: seesay models "
            "list",
            f"{repo} 没有 seesay 能读的权重（有 {_some(names)}）；应有 {configs} 之一，旁边是 "
            "safetensors 或 PyTorch 文件。请选用 seesay models list 里的模型",
        )
    )


def tokenizer_files(names: Collection[str]) -> list[str]:
    """Returns the first set of tokenizer files found; empty if there is none."""
    for needed, *optional in _TOKENIZERS:
        if needed in names:
            return [needed, *(name for name in optional if name in names)]
    return []


def names_in(folder: Path) -> set[str]:
    """The files of a folder, without those of its subfolders."""
    return {path.name for path in folder.iterdir() if path.is_file()} if folder.is_dir() else set()


def is_whole(folder: Path, layout: Layout | None) -> bool:
    """Whether a folder of the cache has everything a checkpoint needs."""
    names = names_in(folder)
    try:
        choose(names, layout, str(folder))
    except WeightsError:
        return False
    return bool(tokenizer_files(names)) or ALONE in names


def check(folder: Path, listing: Listing, names: Iterable[str]) -> None:
    """Compare files that were just downloaded with the hub's listing.

    Deletes a file of another size or content, from the cache's store too, so that nothing reads it
    and the next run downloads it again. Raises DownloadError.
    """
    described = {file.name: file for file in listing.files}
    wrong = {name: p for name in names if (p := _problem(folder / name, described[name]))}
    for name in wrong:
        path = folder / name
        path.resolve().unlink(missing_ok=True)  # hubs store the content elsewhere and link to it
        path.unlink(missing_ok=True)
    if wrong:
        english = "; ".join(f"{name} {problem.en}" for name, problem in wrong.items())
        chinese = "；".join(f"{name} {problem.zh}" for name, problem in wrong.items())
        raise DownloadError(
            Text(
                f"{len(wrong)} of the downloaded files are damaged ({english}); expected what the "
                "hub lists. They were deleted: run the same command again, and if that does not "
                "help, choose another hub or mirror",
                f"下载的文件有 {len(wrong)} 个损坏（{chinese}）；应与站点的清单一致。已删除它们："
                "请重新运行同一条命令；如果仍不行，请换一个站点或镜像",
            )
        )


def _problem(path: Path, file: HubFile) -> Text | None:
    if not path.is_file():
        return Text("is missing", "缺失")
    if (size := path.stat().st_size) != file.size:
        return Text(f"has {size} bytes of {file.size}", f"只有 {size} 字节，应为 {file.size}")
    if file.sha256:
        with path.open("rb") as stream:
            right = hashlib.file_digest(stream, "sha256").hexdigest() == file.sha256
    elif file.git_id:
        content = path.read_bytes()
        head = b"blob %d\0" % len(content)
        right = hashlib.sha1(head + content, usedforsecurity=False).hexdigest() == file.git_id
    else:
        right = True
    return None if right else Text("has other content", "内容不符")


def _weights(names: Collection[str], pattern: str, index: str) -> list[str]:
    """Returns one weights file, or an index and all its shards; empty if a part is missing."""
    matches = [match for name in sorted(names) if (match := re.fullmatch(pattern, name))]
    if not index:
        return [match.string for match in matches[:1]]
    whole = matches and index in names and len(matches) == int(matches[0].group(1))
    return [index, *(match.string for match in matches)] if whole else []


def _some(names: Collection[str], most: int = 6) -> str:
    shown = ", ".join(sorted(names)[:most]) or "no files"
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
