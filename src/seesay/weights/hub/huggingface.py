"""Hugging Face, and every mirror that speaks its API."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from seesay.errors import DownloadError, UnknownModelError
from seesay.weights.hub.files import HubFile, Listing, Unreachable, no_room

_MARKERS = ("config.json", "open_clip_config.json", "seesay.json", "tokenizer.json", "vocab.txt")
_TRUE = {"1", "true", "yes", "on"}


def offline() -> bool:
    """Whether the user forbade asking any hub. Read when it is asked, not when it is imported."""
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in _TRUE


class HuggingFace:
    """`HF_ENDPOINT` names a mirror, `HF_HOME` or `HF_HUB_CACHE` the cache, `HF_TOKEN` who asks."""

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
                f"{repo} is not open to everyone ({_first_line(error)}); expected an account that "
                f"accepted its terms at {self.endpoint}/{repo}. Do that, then set HF_TOKEN to a "
                "token of that account"
            ) from None
        except errors.RevisionNotFoundError:
            raise DownloadError(
                f"{repo} has no revision {revision!r}; expected a branch, a tag or a whole commit "
                f"hash. Leave the revision out, or look it up at {self.endpoint}/{repo}/commits"
            ) from None
        except (errors.RepositoryNotFoundError, errors.HFValidationError):
            raise UnknownModelError(f"{self.endpoint} has no public model {repo!r}") from None
        except Exception as error:
            raise self._failure(repo, error) from error

    def _failure(self, repo: str, error: Exception) -> Exception:
        """What became of a download; the error itself if it is none of these."""
        if getattr(error, "errno", None) == errno.ENOSPC:
            return no_room(_cache(), 0)
        if "onsistency check" in str(error):  # the library's word for a wrong size
            return DownloadError(
                f"a file of {repo} came from {self.endpoint} cut short ({_first_line(error)}); "
                "expected all of it. What came was not kept as the file: run the same command again"
            )
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (401, 403):
            return DownloadError(
                f"{self.endpoint} refuses {repo} to this account ({_first_line(error)}); expected "
                "the right to read it. Set HF_TOKEN to a valid token, or unset it for public models"
            )
        if status == 404:
            return DownloadError(
                f"{self.endpoint} does not have a file of {repo} that it lists "
                f"({_first_line(error)}); expected every listed file. The repository is changing, "
                "or the mirror is behind: try again later, or another HF_ENDPOINT"
            )
        # The library's connection errors are of whichever HTTP client it was built with.
        if isinstance(error, OSError) or type(error).__module__.startswith(("httpx", "httpcore")):
            return Unreachable(
                f"{self.endpoint} cannot be reached for {repo}, or broke off "
                f"({_first_line(error)}); expected an answer from the hub. Check the connection, "
                "set HF_ENDPOINT to a mirror (such as https://hf-mirror.com), set "
                "SEESAY_HUB=modelscope, or give the folder of a copy instead of the name"
            )
        return error


def _file(sibling: Any) -> HubFile:
    sha256 = sibling.lfs.sha256 if sibling.lfs else ""
    return HubFile(sibling.rfilename, sibling.size or 0, sha256, sibling.blob_id or "")


def _remember(repo: str, listing: Listing) -> None:
    """Note in the cache which commit a branch was, as the library does: for use without the hub."""
    if listing.asked != listing.revision:
        note = _cache() / f"models--{repo.replace('/', '--')}" / "refs" / listing.asked
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(listing.revision, encoding="utf-8")


def _cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _first_line(error: Exception) -> str:
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
