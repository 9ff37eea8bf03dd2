"""ModelScope (魔搭), the hub that is fast from mainland China. Needs the extra `modelscope`."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from logging import WARNING, getLogger
from pathlib import Path
from typing import Any

from seesay.errors import DownloadError, MissingExtraError, UnknownModelError
from seesay.weights.hub.files import HubFile, Listing, Unreachable, no_room


class ModelScope:
    """`MODELSCOPE_ENDPOINT` names another site, `MODELSCOPE_CACHE` the cache,
    `MODELSCOPE_API_TOKEN` who asks."""

    def __init__(self) -> None:
        try:
            from modelscope_hub import HubApi, HubConfig
        except ModuleNotFoundError:
            raise MissingExtraError("modelscope-hub", extra="modelscope") from None
        getLogger("modelscope_hub").setLevel(WARNING)  # it tells of every file otherwise
        self._api = HubApi(HubConfig())  # a new one, which reads the environment now
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
                f"{self.endpoint} has no public model {repo!r} with a revision {revision!r}"
            ) from None
        except (library.AuthenticationError, library.PermissionDeniedError) as error:
            raise DownloadError(
                f"{self.endpoint} refuses {repo} to this account ({_reason(error)}); expected the "
                "right to read it. Set MODELSCOPE_API_TOKEN to a valid token, or unset it for "
                "public models"
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
                f"files of {repo} came from {self.endpoint} damaged ({_reason(causes[0])}); "
                "expected what the hub lists. They were not kept: run the same command again"
            )
        if any(isinstance(cause, library.NotExistError) for cause in causes):
            return DownloadError(
                f"{self.endpoint} does not have a file of {repo} that it lists "
                f"({_reason(causes[0])}); expected every listed file. The repository is changing: "
                "try again later"
            )
        return Unreachable(
            f"{self.endpoint} cannot be reached for {repo}, or broke off ({_reason(causes[0])}); "
            "expected an answer from the hub. Check the connection, set SEESAY_HUB=huggingface "
            "(with HF_ENDPOINT for a mirror), or give the folder of a copy instead of the name"
        )


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].strip().rstrip(".")
