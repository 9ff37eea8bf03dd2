"""Where the samples of a task are, and how a row of a published file becomes one."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias, get_args

from seesay.data.questions.pope import Strategy
from seesay.data.sources import require_known
from seesay.data.spelling import as_on_disk
from seesay.errors import ConfigError, DataError
from seesay.evaluation.samples import FIELDS, LeftOut, Picture, Row, Sample, sample_from
from seesay.models.layers import require_range
from seesay.text import Text

Loader = Literal[
    "vlmevalkit",
    "parquet",
    "pope",
    "vqav2",
    "textvqa",
    "docvqa",
    "chartqa",
    "gqa",
    "coco",
    "questions",
    "captions",
    "objects",
]


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where the samples of a task are."""

    data: str
    """The file, or a glob pattern of several, as it was published."""
    loader: Loader = "vlmevalkit"
    """What it is: vlmevalkit, a TSV of VLMEvalKit; parquet, a set of Hugging Face as lmms-eval
    reads it; pope, vqav2, textvqa, docvqa, chartqa, gqa or coco (captions), the JSON of the
    authors; questions, captions or objects, files as for training, whose questions, captions or
    labelled objects (in the way of POPE) are asked for."""
    images: str | None = None
    """Folder of the pictures, where files name them; none: that of the file."""
    annotations: str | None = None
    """Of vqav2, the file with the answers; of gqa, that with the valid and plausible answers; of
    coco, that with the objects."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Columns with other names: question = "prompt". There are key, question, answer, hint,
    options and image."""
    numbered: bool = False
    """Whether the answer is the number of an option, from 0, as in lmms-eval's AI2D."""
    language: Literal["en", "zh"] = "en"
    """Of questions and captions in files as for training."""
    strategy: Strategy = "random"
    """How absent objects are chosen: random, popular or adversarial."""
    start: int = 0
    """Rows to pass over, of files as for training records; what comes behind them may be what a
    model was not trained on."""
    limit: int | None = None
    """Questions to use, the first ones from there; none: all."""

    def __post_init__(self) -> None:
        require_known("loader", [self.loader], list(get_args(Loader)))
        require_known("columns", self.columns, [*FIELDS, "image"])
        require_range(0, start=self.start)
        if self.limit is not None and self.limit < 1:
            raise ConfigError(
                Text(
                    f"limit={self.limit} leaves no sample, expected at least 1: raise it, or leave "
                    "it out",
                    f"limit={self.limit} 时没有样本；至少为 1；请调大，或去掉",
                )
            )

    @property
    def folder(self) -> Path:
        """Where the names of pictures start from."""
        return Path(self.images or Path(self.data).parent).expanduser()

    def picture(self, name: str) -> Path:
        """The file of a picture."""
        return Path(as_on_disk(str(self.folder / name)))


class Loaded(NamedTuple):
    """The samples of a set."""

    total: int
    """Rows, with those that are left out; of files as for training, records, which may have several
    questions."""
    samples: Iterator[Sample | LeftOut]


Pictures: TypeAlias = Callable[[Row], tuple[Picture, ...]]


def read_row(row: Row, config: DataConfig, key: str, pictures: Pictures) -> Sample | LeftOut:
    """The sample of a row, or why it is left out; `key` is for rows without one of their own."""
    try:
        images = pictures(row)
        if not images:
            raise DataError(
                Text(
                    "it has no picture, expected one in the row: add it, or remove the row",
                    "没有图片；这一行应有图片；请补上，或删除这一行",
                )
            )
        sample = sample_from(row, images, columns=config.columns, numbered=config.numbered)
    except (DataError, ValueError) as error:
        return LeftOut(key, Text.of(error))
    return sample if sample.key else Sample(**vars(sample) | {"key": key})
