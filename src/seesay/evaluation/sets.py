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
    """Format of the data. vlmevalkit: VLMEvalKit's TSV; parquet: a Hugging Face dataset, as
    lmms-eval reads it; pope, vqav2, textvqa, docvqa, chartqa, gqa or coco (captions): the authors'
    JSON; questions, captions or objects: a training format, of which the questions, the captions or
    POPE questions about the labelled objects are used."""
    images: str | None = None
    """Folder of the pictures that files name; none: the folder of the file."""
    annotations: str | None = None
    """Second file: the answers of vqav2, the valid and plausible answers of gqa, or the objects of
    coco."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Maps column names: question = "prompt". There are key, question, answer, hint, options and
    image."""
    numbered: bool = False
    """Whether the answer is the number of an option, from 0, as in lmms-eval's AI2D."""
    language: Literal["en", "zh"] = "en"
    """Language of the questions or captions to use, for training formats."""
    strategy: Strategy = "random"
    """How absent objects are chosen: random, popular or adversarial."""
    start: int = 0
    """Rows to skip, or records in a training format; those after them may be what a model was not
    trained on."""
    limit: int | None = None
    """Number of questions to use, from there on; none: all."""

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
