"""Every error this package raises on purpose.

SeesayError
├── ConfigError         a setting is impossible or contradicts another
├── ImageError          a picture cannot be read, or is too large to be read safely
├── DataError           a data set, shard or recipe input does not hold what it should
├── TrainingError       training cannot go on, or cannot be resumed
├── WeightsError        a checkpoint does not fit the model, or is damaged
│   └── UnknownModelError   no catalogued model or folder has this name
├── DownloadError       a hub could not be reached, or refused
├── EndpointError       a remote model gave no valid answer
├── MissingExtraError   an optional part of the package is not installed
└── CollectionError     a collection is missing, or was built by another model
    ├── CollectionBusyError     another process is writing it
    └── CollectionDamagedError  its file is damaged

A message has three parts: what is wrong with the values, what was expected, what to do next. It is
a Text in both languages; `str(error)` is the English one, so that it can be searched for.
"""

from seesay.text import Text


class SeesayError(Exception):
    """Base class: catch this one to catch everything below."""

    def __init__(self, message: Text | str) -> None:
        super().__init__(message)
        self.text = Text.of(message)
        """The message in both languages."""

    def __str__(self) -> str:
        return self.text.en


class ConfigError(SeesayError):
    """A setting is impossible or contradicts another."""


class ImageError(SeesayError):
    """A picture cannot be read, or is too large to be read safely."""


class DataError(SeesayError):
    """A data set, shard or recipe input does not hold what it should."""


class TrainingError(SeesayError):
    """Training cannot go on, or cannot be resumed."""


class WeightsError(SeesayError):
    """A checkpoint does not fit the model, or is damaged."""


class UnknownModelError(WeightsError):
    """No catalogued model or folder has this name."""


class DownloadError(SeesayError):
    """A hub could not be reached, or refused."""


class EndpointError(SeesayError):
    """A remote model could not be reached, refused, or gave no valid answer."""


class MissingExtraError(SeesayError):
    """An optional part of the package is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        self._given = package, extra
        super().__init__(
            Text(
                f"{package} is not installed, expected seesay with its extra {extra!r}. "
                f"Install it with: pip install 'seesay[{extra}]'",
                f"没有安装 {package}；应装好 seesay 的附加包 {extra}。"
                f"安装命令：pip install 'seesay[{extra}]'",
            )
        )

    def __reduce__(self) -> tuple[type["MissingExtraError"], tuple[str, str]]:
        return type(self), self._given  # errors travel between the processes of a training


class CollectionError(SeesayError):
    """A collection is missing, or was built by another model."""


class CollectionBusyError(CollectionError):
    """Another process is writing this collection: trying again later helps."""


class CollectionDamagedError(CollectionError):
    """The file of a collection is damaged: trying again does not help."""
