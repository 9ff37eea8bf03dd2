"""What a training recipe may set: sections of a TOML file, as frozen dataclasses."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from seesay.data.batches import LoadingConfig
from seesay.data.batches_config import RecordsConfig, SourceConfig
from seesay.data.squares import ImageTransformConfig
from seesay.data.tokenizers import TokenizerConfig
from seesay.errors import ConfigError
from seesay.models.dual_encoder import DualEncoderConfig
from seesay.training.captioning import CaptioningConfig
from seesay.training.checkpoints.store import CheckpointConfig
from seesay.training.logs.run_log import LogConfig
from seesay.training.objectives import ContrastiveConfig
from seesay.training.optimizers import OptimizerConfig
from seesay.training.recipes.files import read_toml, refuse_other_kind
from seesay.training.recipes.parts import check_parts
from seesay.training.recipes.settings import build, override
from seesay.training.teachers.distillation import DistillationConfig
from seesay.training.teachers.predictions import PredictionsConfig
from seesay.training.tokenizer import VocabularyConfig

ObjectiveConfig = ContrastiveConfig | CaptioningConfig | PredictionsConfig | DistillationConfig


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """How long to train, and where everything is written."""

    folder: str
    """Where checkpoints, logs and the finished model go."""
    epochs: float = 1.0
    """Passes through the first source in [data]; decides the number of steps."""
    steps: int | None = None
    """Number of optimizer steps, in place of epochs."""
    accumulate: int = 1
    """Batches per optimizer step, each with a loss of its own; see also hardware.micro_batch."""
    clip_norm: float = 1.0
    """Largest gradient norm let through."""
    seed: int = 0
    """All randomness follows from it: first weights, order of data, crops, choice of captions."""
    export: Literal["float32", "float16", "bfloat16"] = "float32"
    """Number format of the finished model's file."""

    def __post_init__(self) -> None:
        if self.epochs <= 0 or (self.steps is not None and self.steps < 1):
            raise ConfigError(
                f"epochs={self.epochs} and steps={self.steps} train nothing, expected epochs above "
                "0, and steps from 1 or left out: raise them"
            )
        if self.accumulate < 1 or self.clip_norm <= 0 or self.seed < 0:
            raise ConfigError(
                f"accumulate={self.accumulate}, clip_norm={self.clip_norm} and seed={self.seed} "
                "cannot be used, expected at least 1, above 0 and at least 0: raise them"
            )


@dataclass(frozen=True, kw_only=True)
class HardwareConfig:
    """What the computation runs on. The result is the same up to rounding."""

    device: str = "auto"
    """"cpu", "cuda", "mps"; "auto" takes an accelerator where there is one."""
    precision: Literal["auto", "float32", "bfloat16", "float64"] = "auto"
    """Numbers in the towers; "auto" takes bfloat16 where the hardware computes in it."""
    sharing: Literal["copies", "shards"] = "copies"
    """Under torchrun: a whole model in each process (DDP), or a part of it in each (FSDP2)."""
    micro_batch: int | None = None
    """Most rows that pass a tower at once. Larger batches go in parts, with the exact gradient of
    the whole (gradient caching), for a second forward pass."""
    recompute: bool = False
    """Keep only the input of each layer and compute it again for the gradient: less memory."""
    compile: bool = False
    """Compile the towers with torch.compile: minutes at the start, faster steps."""
    threads: int | None = None
    """Threads of the computation on a CPU; none: torch's own choice."""

    def __post_init__(self) -> None:
        for name in ("micro_batch", "threads"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ConfigError(
                    f"{name}={value} computes nothing, expected at least 1: raise it, or leave it "
                    "out"
                )


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The model that is trained: continued from a finished one, or built from its parts."""

    start: str | None = None
    """A catalogue name or folder to go on from, with its tokenizer and image preparation."""
    image_weights: str | None = None
    """A safetensors file of MobileNetV2 to begin the image tower with."""
    tokenizer_folder: str | None = None
    """Where tokenizer.json lies, for a model built from its parts."""
    vocabulary: VocabularyConfig | None = None
    """In place of a tokenizer_folder, a vocabulary made from the texts that are trained on."""
    architecture: DualEncoderConfig | None = None
    """Both towers."""
    tokenizer: TokenizerConfig | None = None
    """How texts become ids."""
    transform: ImageTransformConfig | None = None
    """How images become tensors."""

    def __post_init__(self) -> None:
        if self.tokenizer_folder is not None and self.vocabulary is not None:
            raise ConfigError(
                f"tokenizer_folder={self.tokenizer_folder!r} brings the words that [vocabulary] "
                "would make anew: remove one or the other"
            )
        words = "tokenizer_folder" if self.vocabulary is None else "vocabulary"
        parts = ("architecture", "tokenizer", words, "transform")
        given = [name for name in parts if getattr(self, name) is not None]
        if self.start is not None and given:
            raise ConfigError(
                f"start={self.start!r} brings its own {', '.join(given)}: remove one or the other"
            )
        if self.start is None and len(given) < len(parts):
            missing = ", ".join(name for name in parts if name not in given)
            missing = missing.replace("tokenizer_folder", "tokenizer_folder (or vocabulary)")
            raise ConfigError(
                f"a model needs `start`, or all of {', '.join(parts)}: {missing} is missing"
            )


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """What is measured during training, on data that is not trained on."""

    every: int | None = None
    """Steps between two evaluations; none: once per epoch."""
    best: tuple[str, ...] = ()
    """Measures whose mean decides which checkpoint is the best, and so is exported; none: the last
    one is. Their names are those in log.jsonl."""
    retrieval: RecordsConfig | None = None
    """Images with captions, to find one by the other."""
    zero_shot: RecordsConfig | None = None
    """Images of classes, to be told by the names of the classes."""

    def __post_init__(self) -> None:
        if self.every is not None and self.every < 1:
            raise ConfigError(
                f"every={self.every} is no number of steps, expected at least 1: raise it, or "
                "leave it out"
            )
        if self.best and self.retrieval is None and self.zero_shot is None:
            raise ConfigError(
                f"best={self.best} cannot be known without a measure: add [evaluation.retrieval] "
                "or [evaluation.zero_shot]"
            )


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A whole training run."""

    run: RunConfig
    """Length, place and seed."""
    model: ModelConfig
    """What is trained."""
    data: Mapping[str, SourceConfig]
    """Sources of samples by a name of your choice; every step draws a batch of each."""
    objective: Mapping[str, ObjectiveConfig]
    """Losses by a name of your choice; their weighted sum is minimised."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """How the weights move."""
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    """What it runs on."""
    loading: LoadingConfig = field(default_factory=LoadingConfig)
    """How samples are read."""
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    """What is kept to go on from."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """What is measured on the way."""
    log: LogConfig = field(default_factory=LogConfig)
    """What is written down."""

    def __post_init__(self) -> None:
        if not self.data or not self.objective:
            raise ConfigError(
                f"there are {len(self.data)} sections [data.NAME] and {len(self.objective)} "
                "[objective.NAME]: at least one of each is needed"
            )
        for name, objective in self.objective.items():
            if objective.source not in self.data:
                raise ConfigError(
                    f"objective.{name}.source = {objective.source!r} is no source, expected one of "
                    f"{', '.join(self.data)}"
                )


def read_recipe(file: Path, assignments: tuple[str, ...] = ()) -> Recipe:
    """The recipe in a TOML file, changed by `section.key=value` assignments.
    Raises ConfigError, listing all that is wrong, before any data or weights are touched."""
    table = read_toml(file)
    refuse_other_kind(file, table, sweep=False)
    try:
        recipe = build(Recipe, override(table, assignments))
        check_parts(recipe)
        return recipe
    except ConfigError as error:
        raise ConfigError(
            f"{file} cannot be used: {sentence(error)} Correct this there, or by "
            "--set SECTION.KEY=VALUE; `seesay train --reference` lists all settings"
        ) from None


def sentence(error: ConfigError) -> str:
    """Its words up to an end."""
    return str(error) if str(error).endswith("?") else f"{error}."
