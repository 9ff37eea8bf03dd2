"""Building a classifier that answers questions about images, over the frozen towers of a dual
encoder."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch

from seesay.data.sources import SourceConfig, open_records, used_records
from seesay.errors import ConfigError, DataError
from seesay.models.fusion import FusionClassifier, FusionClassifierConfig, FusionConfig
from seesay.models.layers import require_range
from seesay.text import Text
from seesay.training.towers import open_tower, short_tokenizer
from seesay.weights.bundle import Bundle, family_of


@dataclass(frozen=True, kw_only=True)
class NewFusionConfig:
    """A classifier over the image and the text tower of a trained dual encoder, which stay frozen.
    It chooses among the answers of the training data."""

    tower: str = "seesay-base"
    """Catalogue name or folder of the dual encoder; its tokenizer reads the questions."""
    size: int | None = None
    """Side in pixels of its images, for towers that take any size; none: the tower's own."""
    strategy: Literal["early", "late", "cross-attention"] = "cross-attention"
    """How image and question are combined: in one sequence from the first layer on (VisualBERT,
    ViLT), by the product of a vector of each (CLIP), or by question tokens that attend to the image
    (ViLBERT, Flamingo)."""
    answers: int = 500
    """How many answers it can give: the most frequent ones in the data. Questions with any other
    answer are skipped."""
    context: int = 32
    """Longest question in tokens; what is beyond is cut off."""
    dim: int = 128
    """Width of the token vectors, and of late fusion's image and text vectors."""
    depth: int = 2
    """Number of layers; late fusion has this many for each tower."""
    heads: int = 4
    """Attention heads; they share `dim` equally."""
    hidden: int = 256
    """Width inside the MLPs."""

    def __post_init__(self) -> None:
        require_range(1, context=self.context, **({} if self.size is None else {"size": self.size}))
        require_range(2, MOST_ANSWERS, answers=self.answers)
        _ = self.fusion(1, 1, 1)  # checks the rest

    def fusion(self, image_dim: int, text_dim: int, classes: int) -> FusionConfig:
        """The fusion for towers of these widths."""
        return FusionConfig(
            image_dim=image_dim,
            text_dim=text_dim,
            classes=classes,
            dim=self.dim,
            depth=self.depth,
            heads=self.heads,
            hidden=self.hidden,
        )


MOST_ANSWERS = 999
"""More are not read from a model's file."""


def frequent_answers(sources: Iterable[SourceConfig], config: NewFusionConfig) -> tuple[str, ...]:
    """Returns the most frequent answers of the data, the first ones first. Raises DataError if they
    leave nothing to choose."""
    counts: Counter[str] = Counter()
    for source in sources:
        records = open_records(source)
        for number in used_records(source, records) if source.questions else ():
            try:
                record = records[number]
            except DataError:  # training will report it and continue, too
                continue
            for language in source.languages:
                counts.update(one.answer for one in record.questions.get(language, ()))
    answers = sorted(counts, key=lambda answer: (-counts[answer], answer))[: config.answers]
    if len(answers) < 2:
        raise DataError(
            Text(
                f"the questions in [data] have {len(answers)} different answers; expected at least "
                "2 to choose from: set data.NAME.questions, and give data with `question` and "
                "`answer`",
                f"[data] 里的问题有 {len(answers)} 种答案；至少应有 2 种可选；请设 "
                "data.NAME.questions，并使用带 question 和 answer 的数据",
            )
        )
    return tuple(answers)


def build_fusion(
    config: NewFusionConfig, answers: tuple[str, ...], seed: int, name: str
) -> Bundle[FusionClassifier]:
    """Builds a model with trained towers and a new fusion. Raises ConfigError if the dual encoder
    has no towers that fit."""
    seen = open_tower(config.tower, config.size, "model.fusion").normed()
    text = seen.bundle.config.text
    try:
        built = FusionClassifierConfig(
            image=seen.config,
            text=text,
            strategy=config.strategy,
            fusion=config.fusion(seen.config.dim, text.dim, len(answers)),
            answers=answers,
        )
    except ConfigError as error:
        where = f"model.fusion.tower={config.tower!r}: "
        raise ConfigError(Text(where + error.text.en, where + error.text.zh)) from None
    torch.manual_seed(seed)
    model: FusionClassifier = family_of(built).build(built, {})
    seen.initialise(model.image)
    model.text.load_state_dict(seen.bundle.model.text.state_dict())
    tokenizer = short_tokenizer(config.tower, seen.bundle, config.context)
    return Bundle(model=model, transform=seen.transform, tokenizer=tokenizer, name=name)
