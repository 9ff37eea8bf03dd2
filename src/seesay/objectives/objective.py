"""What an objective is: a config that makes it, the rows it wants a model to see, and a loss.

One file holds all three: here where an objective needs tensors alone, in `seesay.training` where it
keeps a finished model as its teacher. A line of the table in `seesay/training/recipe.py` gives it
its name in recipes.
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
Role = Literal["images", "texts", "captions", "pooled", "given"]


class View(NamedTuple):
    """A name for rows of a batch. Equal views are equal tensors, so that what two objectives want
    is computed once."""

    role: Role
    """What becomes of the rows. "images": bytes (images height width 3) -> embeddings. "texts": ids
    (texts tokens) -> embeddings. "captions": ids (images most tokens) about the images of the same
    source -> the sum of losses of each image. "pooled": what an image tower has before its classes
    (images dim) -> embeddings. "given": no model sees them, the loss gets them."""
    source: str
    """A section of [data], or a name of the objective's own."""


class TrainedModel(nn.Module):
    """A model as training calls it. Each family brings its own, whose `forward` takes rows by view
    and gives what becomes of each, in float32 or wider."""

    def scalars(self) -> Mapping[str, nn.Parameter | None]:
        """What a loss takes beside the rows, by the names of its arguments."""
        return {}

    def keep_in_range(self) -> None:
        """Called after each optimizer step."""

    def figures(self) -> Mapping[str, float]:
        """What the log shows of it."""
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
    def text_numbers(self) -> Tensor: ...
    @property
    def texts(self) -> Sequence[str]: ...
    @property
    def languages(self) -> Sequence[str]: ...


@runtime_checkable
class Batch(Protocol):
    """What this process learns from in one step (`seesay.data.batches.Batch`)."""

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
        """The loss of this process's share, from what became of the rows; its gradient, averaged
        over the processes, is that of the whole batch."""


@dataclass(frozen=True)
class ObjectiveContext:
    """What an objective can be made of."""

    name: str
    """In the recipe."""
    bundle: Any
    """The model with its tokenizer and transforms, which a higher floor defines."""
    seed: int
    device: torch.device


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig(ABC):
    """The settings that all objectives have. The docstring of a subclass is its help."""

    source: str
    """Which section of [data] it learns from."""
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
        """The modules and parameters of the model that the loss depends on. What no objective
        trains is frozen, since DDP waits for a gradient of all the rest."""

    @abstractmethod
    def make(self, context: ObjectiveContext) -> Objective: ...

    def check(self, name: str, architecture: Any) -> None:  # noqa: B027  most need nothing
        """Raises ConfigError, naming the objective, where a model lacks what it needs."""

    def initial(self, batch: int) -> Mapping[str, float]:
        """Settings of the architecture to begin with where the recipe has none, for a batch."""
        return {}

    def texts(self) -> Iterable[str]:
        """What it shows the text tower beside the texts in the data, for a vocabulary."""
        return ()
