"""The interface of an objective: a config that creates it, the rows it needs from a model, and a
loss.

One file holds all three: here if an objective needs only tensors, in `seesay.training` if it needs
a finished model as its teacher. A line of the table in `seesay/training/recipe.py` gives it its
name in recipes.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from seesay.errors import ConfigError
from seesay.text import Text

TOWERS = ("image", "image_proj", "text", "text_proj")
"""The parts of a dual encoder that make embeddings."""
QFORMER = ("queries", "token_embed", "positions", "norm_in")
"""The parts of a Q-Former before its layers."""
Role = Literal[
    "images",
    "classes",
    "texts",
    "captions",
    "answers",
    "references",
    "questions",
    "pooled",
    "pairs",
    "pictures",
    "given",
]


class View(NamedTuple):
    """A name for rows of a batch. Equal views are equal tensors, so that rows wanted by two
    objectives are computed once."""

    role: Role
    """How the rows are processed. "images": bytes (images height width 3) -> embeddings. "classes":
    the same rows -> the probabilities of the image tower's own classes. "texts": ids (texts tokens)
    -> embeddings. "captions": ids (images most tokens) about the images of the same source -> the
    sum of losses of each image. "answers": conversations about them (images most 2 tokens), their
    ids and which are learned -> the sum of losses of each (images most). "references": the same by
    the model without its adapters, as are all other rows of that call. "questions": ids (images
    most tokens) about them -> the logits of each question's answers (images most classes).
    "pooled": an image tower's channels before its classes (images dim) -> embeddings. "pairs": ids
    (texts 2 tokens) of each text and another, with the "pictures" (texts 2 height width 3) of the
    same source, the text's and another -> the logits of "does not match" and "matches" (texts 3 2)
    of its own text and picture, its text and the other picture, and its picture and the other text.
    "given": no model sees them, the loss gets them."""
    source: str
    """A section of [data], or a name that the objective chooses."""


class TrainedModel(nn.Module):
    """A model as training calls it. Each family has its own; its `forward` takes rows by view and
    returns the result of each, in float32 or wider."""

    def scalars(self) -> Mapping[str, nn.Parameter | None]:
        """Further arguments of a loss besides the rows, by name."""
        return {}

    def keep_in_range(self) -> None:
        """Called after each optimizer step."""

    def figures(self) -> Mapping[str, float]:
        """Values of the model for the log."""
        return {}


@runtime_checkable
class SourceBatch(Protocol):
    """This process's samples of one source in one step (`seesay.data.batches.SourceBatch`)."""

    @property
    def images(self) -> Tensor: ...
    @property
    def ids(self) -> Tensor: ...
    @property
    def owners(self) -> Tensor: ...
    @property
    def groups(self) -> Tensor: ...
    @property
    def labels(self) -> Tensor: ...
    @property
    def text_numbers(self) -> Tensor: ...
    @property
    def texts(self) -> Sequence[str]: ...
    @property
    def requests(self) -> Sequence[str]: ...
    @property
    def rejected(self) -> Sequence[str]: ...
    @property
    def languages(self) -> Sequence[str]: ...


@runtime_checkable
class Batch(Protocol):
    """The samples that this process learns from in one step (`seesay.data.batches.Batch`)."""

    @property
    def step(self) -> int: ...
    @property
    def sources(self) -> Mapping[str, SourceBatch]: ...


@runtime_checkable
class Objective(Protocol):
    def inputs(self, batch: Batch) -> Mapping[View, Tensor]:
        """The rows that the loss needs."""

    def loss(
        self,
        outputs: Mapping[View, Tensor],
        batch: Batch,
        log_scale: Tensor,
        bias: Tensor | None,
    ) -> Tensor:
        """Returns the loss of this process's share from the processed rows; its gradient, averaged
        over the processes, is that of the whole batch."""


@runtime_checkable
class DrawingObjective(Protocol):
    """An objective that draws some of its rows by what the model makes of others, such as hard
    negatives."""

    def compared(self, batch: Batch) -> Mapping[View, Tensor]:
        """The rows to draw by."""

    def draw(
        self,
        outputs: Mapping[View, Tensor],
        batch: Batch,
        log_scale: Tensor,
        bias: Tensor | None,
    ) -> Mapping[View, Tensor]:
        """Returns further rows that the loss needs, drawn by the processed rows of `compared`.
        Called before `loss` in each step; no gradient flows back."""


@runtime_checkable
class ReportingObjective(Protocol):
    """An objective with figures of its own for the log."""

    def figures(self) -> Mapping[str, float]:
        """Means over the last batch of all processes, by name."""


@dataclass(frozen=True)
class ObjectiveContext:
    """The inputs for creating an objective."""

    name: str
    """The objective's name in the recipe."""
    bundle: Any
    """The model with its tokenizer and transforms, which a higher floor defines."""
    seed: int
    device: torch.device
    reuse: bool = False
    """Whether a teacher's results for an image are kept in memory."""


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig(ABC):
    """The settings of all objectives. The docstring of a subclass is its help."""

    source: str
    """The section of [data] to learn from."""
    weight: float = 1.0
    """Factor in the sum of all objectives."""

    def __post_init__(self) -> None:
        if not self.weight > 0:
            raise ConfigError(
                Text(
                    f"weight={self.weight} lets nothing be learned, expected a number above 0: "
                    "raise it, or remove the objective",
                    f"weight={self.weight} 学不到任何东西；应大于 0；请调大，或去掉这个目标",
                )
            )

    @property
    @abstractmethod
    def trains(self) -> tuple[str, ...]:
        """Returns the modules and parameters of the model that the loss depends on. Parts that no
        objective trains are frozen, since DDP waits for gradients of all others."""

    def parts(self, architecture: Any) -> tuple[str, ...]:
        """Returns the same for a model of this architecture, if they depend on it."""
        return self.trains

    @abstractmethod
    def make(self, context: ObjectiveContext) -> Objective: ...

    def check(self, name: str, architecture: Any) -> None:  # noqa: B027  most need nothing
        """Raises ConfigError, naming the objective, if a model lacks what it needs."""

    def initial(self, batch: int) -> Mapping[str, float]:
        """Returns initial values of architecture settings that the recipe leaves open, for a batch
        size."""
        return {}

    def texts(self) -> Iterable[str]:
        """Returns texts that it shows the text tower besides the data's, to build a vocabulary."""
        return ()


def qformer_parts(depth: int, *last: str) -> tuple[str, ...]:
    """Returns the parts of a Q-Former with `depth` layers that a loss depends on if it depends on
    these modules of its last layer only."""
    below = (f"blocks.{layer}" for layer in range(depth - 1))
    inside = (f"blocks.{depth - 1}.{module}" for module in last)
    return tuple(f"qformer.{part}" for part in (*QFORMER, *below, *inside))
