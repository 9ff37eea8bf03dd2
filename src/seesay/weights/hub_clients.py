"""The hubs that publish models: Hugging Face (and every mirror with the same API) and ModelScope
(魔搭), which is fast from mainland China.

Errors of their libraries become DownloadError or UnknownModelError.
"""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from logging import WARNING, getLogger
from pathlib import Path
from threading import Event, Thread
from typing import Any, Protocol

from seesay.errors import DownloadError, MissingExtraError, UnknownModelError
from seesay.text import Text

_MARKERS = (
    *("config.json", "open_clip_config.json", "seesay.json", "tokenizer.json", "vocab.txt"),
    "checkpoint.pt",
)
_TRUE = {"1", "true", "yes", "on"}
_EVERY_S = 0.2

OnProgress = Callable[[int, int], None]
"""Called with the bytes downloaded so far and the bytes to download, from another thread."""


@dataclass(frozen=True)
class HubFile:
    """A file of a repository, as the hub describes it."""

    name: str
    size: int
    sha256: str = ""
    """Hash of the content; empty if the hub does not list it."""
    git_id: str = ""
    """Git's own hash of the content, which hubs give for small files instead."""


@dataclass(frozen=True)
class Listing:
    """All files of a repository at one commit."""

    asked: str
    """The requested branch, tag or commit."""
    revision: str
    """The commit, if the hub tells; else the same as requested."""
    files: tuple[HubFile, ...]


class Unreachable(DownloadError):
    """The hub did not answer, or may not be asked; cached files can still be used."""


class Hub(Protocol):
    """A site that publishes models. All its methods raise DownloadError or
    UnknownModelError only."""

    def listing(self, repo: str, revision: str) -> Listing:
        """Ask the hub for the files of a repository."""
        ...

    def download(self, repo: str, listing: Listing, names: list[str]) -> Path:
        """Download files to the cache and return their folder."""
        ...

    def cached(self, repo: str, revision: str) -> Path | None:
        """Return the folder in the cache without asking the hub; some files may be missing."""
        ...

    def working_folder(self, repo: str) -> Path:
        """The folder where files grow during a download, to show progress."""
        ...


def no_room(folder: Path, needed: int) -> DownloadError:
    """Returns the error for a disk too full for `needed` more bytes (0: unknown)."""
    free = free_bytes(folder)
    expected = f"{needed / 1e6:,.0f} MB for the download" if needed else "more"
    room = f"下载需要 {needed / 1e6:,.0f} MB" if needed else "还需要更多空间"
    return DownloadError(
        Text(
            f"the disk of {folder} is full: {free / 1e6:,.0f} MB are free; expected {expected}. "
            "Make room, or set HF_HOME (MODELSCOPE_CACHE for ModelScope) to a folder on a larger "
            "disk",
            f"{folder} 所在的磁盘已满：只剩 {free / 1e6:,.0f} MB，{room}。请腾出空间，或把 HF_HOME"
            "（ModelScope 用 MODELSCOPE_CACHE）设为更大磁盘上的文件夹",
        )
    )


def free_bytes(folder: Path) -> int:
    """Free space on the disk of a folder that may not exist yet."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


@contextmanager
def watched(folder: Path, total: int, on_progress: OnProgress | None) -> Iterator[None]:
    """Report how much `folder` has grown while the block runs, and the total when it succeeds. The
    hubs' libraries each report in their own way, but all of them write into a folder."""
    if on_progress is None or total == 0:
        yield
        return
    before, ended = _folder_size(folder), Event()

    def watch() -> None:
        while not ended.wait(_EVERY_S):
            on_progress(max(0, min(_folder_size(folder) - before, total)), total)

    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
    on_progress(total, total)


def _folder_size(folder: Path) -> int:
    """Bytes in the files below a folder. Links do not count: they point to files that do."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += 0 if path.is_symlink() else path.stat().st_size * path.is_file()
        except OSError:
            continue  # it was moved to its final place meanwhile
    return total


# Hugging Face


def offline() -> bool:
    """Whether the user forbids using any hub. Reads the environment at each call."""
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in _TRUE


class HuggingFace:
    """`HF_ENDPOINT` names a mirror, `HF_HOME` or `HF_HUB_CACHE` the cache, `HF_TOKEN` the
    account."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"
        self._quiet = quiet

    def listing(self, repo: str, revision: str) -> Listing:
        from huggingface_hub import HfApi

        with self._explained(repo, revision):
            info = HfApi(endpoint=self.endpoint).model_info(
                repo, revision=revision, files_metadata=True, timeout=20
            )
        files = tuple(_file(sibling) for sibling in info.siblings or ())
        return Listing(asked=revision, revision=info.sha or revision, files=files)

    def download(self, repo: str, listing: Listing, names: list[str]) -> Path:
        from huggingface_hub import snapshot_download

        with self._explained(repo, listing.revision):
            folder = snapshot_download(
                repo,
                revision=listing.revision,
                endpoint=self.endpoint,
                allow_patterns=names,
                tqdm_class=_silent_bar() if self._quiet else None,
            )
        _remember(repo, listing)
        return Path(folder)

    def cached(self, repo: str, revision: str) -> Path | None:
        from huggingface_hub import try_to_load_from_cache

        found = (try_to_load_from_cache(repo, name, revision=revision) for name in _MARKERS)
        return next((Path(path).parent for path in found if isinstance(path, str)), None)

    def working_folder(self, repo: str) -> Path:
        return _cache() / f"models--{repo.replace('/', '--')}" / "blobs"

    @contextmanager
    def _explained(self, repo: str, revision: str) -> Iterator[None]:
        """The library's errors in our words."""
        from huggingface_hub import errors

        try:
            yield
        except (errors.GatedRepoError, errors.DisabledRepoError) as error:
            raise DownloadError(
                Text(
                    f"{repo} is not open to everyone ({_reason(error)}); expected an account that "
                    f"accepted its terms at {self.endpoint}/{repo}. Do that, then set HF_TOKEN to "
                    "a token of that account",
                    f"{repo} 并非人人可用（{_reason(error)}）；应为已接受其条款的账号，"
                    f"接受条款请到 {self.endpoint}/{repo}；然后把 HF_TOKEN 设为该账号的令牌",
                )
            ) from None
        except errors.RevisionNotFoundError:
            raise DownloadError(
                Text(
                    f"{repo} has no revision {revision!r}; expected a branch, a tag or a whole "
                    "commit hash. Leave the revision out, or look it up at "
                    f"{self.endpoint}/{repo}/commits",
                    f"{repo} 没有版本 {revision!r}；应为分支、标签或完整的提交编号。请不写版本，"
                    f"或在 {self.endpoint}/{repo}/commits 查找",
                )
            ) from None
        except (errors.RepositoryNotFoundError, errors.HFValidationError):
            raise UnknownModelError(
                Text(
                    f"{self.endpoint} has no public model {repo!r}",
                    f"{self.endpoint} 上没有公开的模型 {repo!r}",
                )
            ) from None
        except Exception as error:
            raise self._failure(repo, error) from error

    def _failure(self, repo: str, error: Exception) -> Exception:
        """Returns why a download failed, in our words; any other error unchanged."""
        if getattr(error, "errno", None) == errno.ENOSPC:
            return no_room(_cache(), 0)
        if "onsistency check" in str(error):  # the library's message for a wrong size
            return DownloadError(
                Text(
                    f"a file of {repo} came from {self.endpoint} cut short ({_reason(error)}); "
                    "expected all of it. It was not kept: run the same command again",
                    f"从 {self.endpoint} 下载的 {repo} 有一个文件不完整（{_reason(error)}）；"
                    "应为完整的文件。没有保留它：请重新运行同一条命令",
                )
            )
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (401, 403):
            return DownloadError(
                Text(
                    f"{self.endpoint} refuses {repo} to this account ({_reason(error)}); expected "
                    "the right to read it. Set HF_TOKEN to a valid token, or unset it for public "
                    "models",
                    f"{self.endpoint} 拒绝让这个账号读取 {repo}（{_reason(error)}）；应有读取权限。"
                    "请把 HF_TOKEN 设为有效的令牌；公开的模型可以不设",
                )
            )
        if status == 404:
            return DownloadError(
                Text(
                    f"{self.endpoint} does not have a file of {repo} that it lists "
                    f"({_reason(error)}); expected every listed file. The repository is changing, "
                    "or the mirror is behind: try again later, or another HF_ENDPOINT",
                    f"{self.endpoint} 没有 {repo} 清单里的一个文件（{_reason(error)}）；"
                    "清单里的文件都应存在。仓库正在变动，或镜像没有同步：请稍后再试，"
                    "或换一个 HF_ENDPOINT",
                )
            )
        # The library's connection errors come from whichever HTTP client it uses.
        if isinstance(error, OSError) or type(error).__module__.startswith(("httpx", "httpcore")):
            return Unreachable(
                Text(
                    f"{self.endpoint} cannot be reached for {repo}, or broke off "
                    f"({_reason(error)}); expected an answer from the hub. Check the connection, "
                    "set HF_ENDPOINT to a mirror (such as https://hf-mirror.com), set "
                    "SEESAY_HUB=modelscope, or give the folder of a copy instead of the name",
                    f"连不上 {self.endpoint}，或下载 {repo} 时中断（{_reason(error)}）；"
                    "应有模型站点的应答。请检查网络，或用 HF_ENDPOINT 指定镜像（如 "
                    "https://hf-mirror.com），或设 SEESAY_HUB=modelscope，"
                    "或直接给出已有模型文件夹的路径",
                )
            )
        return error


def _file(sibling: Any) -> HubFile:
    sha256 = sibling.lfs.sha256 if sibling.lfs else ""
    return HubFile(sibling.rfilename, sibling.size or 0, sha256, sibling.blob_id or "")


def _remember(repo: str, listing: Listing) -> None:
    """Record in the cache which commit a branch points to, as the library does, for use without the
    hub."""
    if listing.asked != listing.revision:
        note = _cache() / f"models--{repo.replace('/', '--')}" / "refs" / listing.asked
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(listing.revision, encoding="utf-8")


def _cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].strip().rstrip(".")


def _silent_bar() -> Any:
    """A progress bar that shows nothing, for callers that show progress themselves."""
    from tqdm.auto import tqdm

    class Silent(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **options: Any) -> None:
            options.pop("name", None)
            super().__init__(*args, **{**options, "disable": True})

    return Silent


# ModelScope


class ModelScope:
    """`MODELSCOPE_ENDPOINT` names another site, `MODELSCOPE_CACHE` the cache,
    `MODELSCOPE_API_TOKEN` the account."""

    def __init__(self) -> None:
        try:
            from modelscope_hub import HubApi, HubConfig
        except ModuleNotFoundError:
            raise MissingExtraError("modelscope-hub", extra="modelscope") from None
        getLogger("modelscope_hub").setLevel(WARNING)  # else it logs every file
        self._api = HubApi(HubConfig())  # a new one reads the environment now
        self.endpoint = str(HubConfig().endpoint)

    def listing(self, repo: str, revision: str) -> Listing:
        with self._explained(repo, revision):
            files = self._api.list_repo_files(repo, "model", revision=revision)
        return Listing(
            asked=revision,
            revision=revision,
            files=tuple(HubFile(f.path, f.size, f.sha256 or "") for f in files if not f.is_dir),
        )

    def download(self, repo: str, listing: Listing, names: list[str]) -> Path:
        wanted = [file for file in listing.files if file.name in names]
        described = [
            {"Path": file.name, "Size": file.size, "Sha256": file.sha256} for file in wanted
        ]
        with self._explained(repo, listing.revision):
            folder = self._api.download_repo(
                repo, "model", revision=listing.revision, file_list=described
            )
        return Path(folder)

    def cached(self, repo: str, revision: str) -> Path | None:
        from modelscope_hub import CacheNotFound

        try:
            return Path(
                self._api.download_repo(repo, "model", revision=revision, local_files_only=True)
            )
        except CacheNotFound:
            return None

    def working_folder(self, repo: str) -> Path:
        from modelscope_hub import HubConfig

        return Path(HubConfig().cache_dir) / "models" / repo.replace("/", "--")

    @contextmanager
    def _explained(self, repo: str, revision: str) -> Iterator[None]:
        """The library's errors in our words."""
        import modelscope_hub as library

        try:
            yield
        except library.NotExistError:
            raise UnknownModelError(
                Text(
                    f"{self.endpoint} has no public model {repo!r} with a revision {revision!r}",
                    f"{self.endpoint} 上没有公开的模型 {repo!r}，或没有版本 {revision!r}",
                )
            ) from None
        except (library.AuthenticationError, library.PermissionDeniedError) as error:
            raise DownloadError(
                Text(
                    f"{self.endpoint} refuses {repo} to this account ({_reason(error)}); expected "
                    "the right to read it. Set MODELSCOPE_API_TOKEN to a valid token, or unset it "
                    "for public models",
                    f"{self.endpoint} 拒绝让这个账号读取 {repo}（{_reason(error)}）；应有读取权限。"
                    "请把 MODELSCOPE_API_TOKEN 设为有效的令牌；公开的模型可以不设",
                )
            ) from None
        except (library.HubError, OSError) as error:
            raise self._failure(repo, error) from error

    def _failure(self, repo: str, error: Exception) -> Exception:
        import modelscope_hub as library

        # A download of several files reports theirs inside.
        causes: list[Any] = [*getattr(error, "failed_files", {}).values(), error]
        if any(getattr(cause, "errno", None) == errno.ENOSPC for cause in causes):
            return no_room(self.working_folder(repo), 0)
        if any(isinstance(cause, library.FileIntegrityError) for cause in causes):
            return DownloadError(
                Text(
                    f"files of {repo} came from {self.endpoint} damaged ({_reason(causes[0])}); "
                    "expected what the hub lists. They were not kept: run the same command again",
                    f"从 {self.endpoint} 下载的 {repo} 有文件损坏（{_reason(causes[0])}）；"
                    "应与站点的清单一致。没有保留它们：请重新运行同一条命令",
                )
            )
        if any(isinstance(cause, library.NotExistError) for cause in causes):
            return DownloadError(
                Text(
                    f"{self.endpoint} does not have a file of {repo} that it lists "
                    f"({_reason(causes[0])}); expected every listed file. The repository is "
                    "changing: try again later",
                    f"{self.endpoint} 没有 {repo} 清单里的一个文件（{_reason(causes[0])}）；"
                    "清单里的文件都应存在。仓库正在变动：请稍后再试",
                )
            )
        return Unreachable(
            Text(
                f"{self.endpoint} cannot be reached for {repo}, or broke off "
                f"({_reason(causes[0])}); expected an answer from the hub. Check the connection, "
                "set SEESAY_HUB=huggingface (with HF_ENDPOINT for a mirror), or give the folder of "
                "a copy instead of the name",
                f"连不上 {self.endpoint}，或下载 {repo} 时中断（{_reason(causes[0])}）；"
                "应有模型站点的应答。请检查网络，或设 SEESAY_HUB=huggingface（可用 HF_ENDPOINT "
                "指定镜像），或直接给出已有模型文件夹的路径",
            )
        )
