"""Training recipes: the sections of a TOML file as frozen dataclasses.

A recipe is checked when it is read, before any data or weights are loaded. When a run is resumed,
its recipe is compared with the one in its last checkpoint.
"""

import difflib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from seesay.data.batches import LoadingConfig
from seesay.data.settings import (
    ChosenByType,
    SectionsByName,
    build,
    check_file_type,
    override,
    read_toml,
)
from seesay.data.sources import SourceConfig, read_classes
from seesay.data.squares import ImageTransformConfig
from seesay.data.tokenizer import TokenizerConfig
from seesay.errors import ConfigError
from seesay.evaluation.measure import MEASURES, Measure, measure_names
from seesay.models.dual_encoder import DualEncoderConfig
from seesay.models.layers import require_finite, require_range
from seesay.models.lora import LoraConfig
from seesay.objectives.answer_classification import AnswerClassificationConfig
from seesay.objectives.captioning import CaptioningConfig
from seesay.objectives.contrastive import ContrastiveConfig, TranslationConfig
from seesay.objectives.matching import MatchingConfig, QueryContrastiveConfig
from seesay.objectives.objective import ObjectiveConfig
from seesay.text import Text
from seesay.training.answering import AnsweringConfig
from seesay.training.assistant import AssistantConfig
from seesay.training.caption_words import WordsConfig
from seesay.training.checkpoints import CheckpointConfig
from seesay.training.class_names import ClassificationConfig
from seesay.training.distillation import DistillationConfig, PredictionsConfig
from seesay.training.foils import FoilsConfig
from seesay.training.fusion import NewFusionConfig
from seesay.training.optimizers import OptimizerConfig, belongs, check_names
from seesay.training.preference import PreferenceConfig
from seesay.training.qformer import NewQFormerConfig
from seesay.training.run_log import LogConfig
from seesay.training.tokenizer import VocabularyConfig
from seesay.weights.bundle import family_of
from seesay.weights.tensors import blank_model

OBJECTIVES: dict[str, type[ObjectiveConfig]] = {
    "contrastive": ContrastiveConfig,
    "translation": TranslationConfig,
    "words": WordsConfig,
    "foils": FoilsConfig,
    "captioning": CaptioningConfig,
    "query-contrastive": QueryContrastiveConfig,
    "matching": MatchingConfig,
    "classification": ClassificationConfig,
    "predictions": PredictionsConfig,
    "distillation": DistillationConfig,
    "answering": AnsweringConfig,
    "preference": PreferenceConfig,
    "answer-classification": AnswerClassificationConfig,
}
"""The values of `kind` in a section [objective.NAME]."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """How long to train, and where the results go."""

    folder: str
    """Where checkpoints, logs and the finished model go."""
    epochs: float = 1.0
    """Passes over the first source in [data], which sets the number of steps."""
    steps: int | None = None
    """Number of optimizer steps, instead of epochs."""
    accumulate: int = 1
    """Batches per optimizer step, each with its own loss; see also hardware.micro_batch."""
    clip_norm: float = 1.0
    """Largest gradient norm; larger gradients are scaled down."""
    seed: int = 0
    """Seed of all randomness: initial weights, order of data, crops, choice of captions."""
    export: Literal["float32", "float16", "bfloat16", "int8", "adapter"] = "float32"
    """Number format of the finished model's file; or "adapter": only the connector and the low-rank
    adapters, in float32. Tower and decoder then come from where the recipe has them, whenever the
    model is loaded."""

    def __post_init__(self) -> None:
        if self.epochs <= 0 or (self.steps is not None and self.steps < 1):
            raise ConfigError(
                Text(
                    f"epochs={self.epochs} and steps={self.steps} train nothing, expected epochs "
                    "above 0, and steps from 1 or left out: raise them",
                    f"epochs={self.epochs}、steps={self.steps} 不会训练任何东西；epochs 应大于 0，"
                    "steps 至少为 1 或不写；请调大",
                )
            )
        require_range(1, accumulate=self.accumulate)
        require_range(0, seed=self.seed)
        require_finite(above=0.0, clip_norm=self.clip_norm)


@dataclass(frozen=True, kw_only=True)
class HardwareConfig:
    """Where and how the training runs. The result is the same up to rounding."""

    device: str = "auto"
    """"cpu", "cuda", "mps"; "auto" takes an accelerator if there is one."""
    precision: Literal["auto", "float32", "bfloat16", "float64"] = "auto"
    """Number format in the towers; "auto" takes bfloat16 where the hardware computes in it."""
    sharing: Literal["copies", "shards"] = "copies"
    """Under torchrun: the whole model in each process (DDP), or a part in each (FSDP2)."""
    micro_batch: int | None = None
    """Most rows in a tower at once. Larger batches are split but keep the exact gradient (gradient
    caching), at the cost of a second forward pass."""
    recompute: bool = False
    """Keep only the input of each layer and recompute the rest for the gradient: less memory."""
    reuse: bool = False
    """Keep in memory what a teacher, a frozen image tower and the frozen lower layers of a tower
    return: some 10 KB for each image, or 50 KB where its upper layers are trained, and 1 KB for
    each token. Saves much time where images come again unchanged; see augmentation.variants."""
    features: str | None = None
    """Folder for what `reuse` keeps of a frozen image tower, in files instead of in memory: more
    images than memory holds, and at hand for the next run with the same tower. Whoever no longer
    needs them may delete them."""
    compile: bool = False
    """Compile the towers with torch.compile: takes minutes at the start, then steps are faster."""
    threads: int | None = None
    """CPU threads; none: torch's default."""

    def __post_init__(self) -> None:
        given = {"micro_batch": self.micro_batch, "threads": self.threads}
        require_range(1, **{name: value for name, value in given.items() if value is not None})


ON_TOWERS = ("assistant", "qformer", "fusion")
"""The sections of [model] that build upon the towers of a finished model."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The model to train: a finished one, or one built from its parts."""

    start: str | None = None
    """Catalogue name or folder of the model to start from, with its tokenizer and image
    transform."""
    image_weights: str | None = None
    """A safetensors file of MobileNetV2 to initialise the image tower with."""
    tokenizer_folder: str | None = None
    """Folder of tokenizer.json, for a model built from its parts."""
    vocabulary: VocabularyConfig | None = None
    """A vocabulary built from the training texts, instead of tokenizer_folder."""
    architecture: DualEncoderConfig | None = None
    """The architecture of both towers."""
    assistant: AssistantConfig | None = None
    """The parts of a vision-language model, in place of an architecture and a transform."""
    qformer: NewQFormerConfig | None = None
    """The parts of a Q-Former for BLIP-2's first stage, in place of the same."""
    fusion: NewFusionConfig | None = None
    """The parts of a classifier that answers questions about images; it needs nothing else."""
    lora: LoraConfig | None = None
    """Low-rank adapters; none: the model itself is trained."""
    tokenizer: TokenizerConfig | None = None
    """How texts become ids."""
    transform: ImageTransformConfig | None = None
    """How images become tensors."""

    def __post_init__(self) -> None:
        if self.tokenizer_folder is not None and self.vocabulary is not None:
            folder = f"tokenizer_folder={self.tokenizer_folder!r}"
            raise ConfigError(
                Text(
                    f"{folder} brings the words that [vocabulary] would make anew: remove one or "
                    "the other",
                    f"{folder} 已有词表，[vocabulary] 又要新建一个；只能有其一；请去掉一个",
                )
            )
        parts = self._parts()
        given = [name for name in parts if getattr(self, name) is not None]
        if self.start is not None and given:
            raise ConfigError(
                Text(
                    f"start={self.start!r} brings its own {', '.join(given)}: remove one or the "
                    "other",
                    f"start={self.start!r} 自带 {'、'.join(given)}；两者不能都写；请去掉其一",
                )
            )
        if self.start is None and len(given) < len(parts):
            missing = ", ".join(name for name in parts if name not in given)
            missing = missing.replace("tokenizer_folder", "tokenizer_folder (or vocabulary)")
            raise ConfigError(
                Text(
                    f"a model needs `start`, or all of {', '.join(parts)}: {missing} is missing",
                    f"模型需要 `start`，或 {'、'.join(parts)} 全部写上；缺少：{missing}",
                )
            )

    def _parts(self) -> tuple[str, ...]:
        """The names of the settings that make a new model. Raises ConfigError if one brings along
        what another sets."""
        words = "tokenizer_folder" if self.vocabulary is None else "vocabulary"
        given = [one for one in ON_TOWERS if getattr(self, one) is not None]
        if not given:
            return ("architecture", "tokenizer", words, "transform")
        whole = given[0]
        brought = ["architecture", "transform", *given[1:]]
        parts: tuple[str, ...] = (whole, "tokenizer", words)
        if self._brings_words():
            brought += ["tokenizer", words]
            parts = (whole,)
        if others := [name for name in brought if getattr(self, name) is not None]:
            raise ConfigError(
                Text(
                    f"{whole} brings its own {others[0]}: remove one or the other",
                    f"{whole} 自带 {others[0]}；两者不能都写；请去掉其一",
                )
            )
        return parts

    def _brings_words(self) -> bool:
        """Whether a trained part of the new model comes with its vocabulary."""
        if self.fusion is not None:
            return True
        if self.assistant is not None:
            return isinstance(self.assistant.decoder, str)
        return self.qformer is not None and self.qformer.text is not None


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """When to measure on held-out data, and how to pick the best checkpoint."""

    every: int | None = None
    """Steps between two evaluations; none: once an epoch."""
    before: bool = True
    """Whether to measure before the first step too."""
    best: tuple[str, ...] = ()
    """Names of measured values, as in log.jsonl; the checkpoint with the best mean of them is
    exported. None: the last one is."""
    measures: Annotated[Mapping[str, Measure], SectionsByName(MEASURES)] = field(
        default_factory=dict
    )
    """Measures by name. In Python, any Measure works."""

    def __post_init__(self) -> None:
        if self.every is not None:
            require_range(1, every=self.every)
        measured = self.names
        if self.best and not measured:
            sections = [f"[evaluation.{name}]" for name in MEASURES]
            raise ConfigError(
                Text(
                    f"best={self.best} cannot be known without a measure: add "
                    f"{' or '.join(sections)}",
                    f"best={self.best} 需要有评测才能得知；请加上 {' 或 '.join(sections)}",
                )
            )
        if missing := [name for name in self.best if name not in measured]:
            near = difflib.get_close_matches(missing[0], measured, n=1)
            remedy = Text("name one", "请改为其中之一")
            if near:
                remedy = Text(f"did you mean {near[0]}?", f"是不是想用 {near[0]}？")
            raise ConfigError(
                Text(
                    f"best names {', '.join(missing)}, which is not measured; expected some of "
                    f"{', '.join(measured)}: {remedy.en}",
                    f"best 里的 {'、'.join(missing)} 没有评测；应为以下之一："
                    f"{'、'.join(measured)}；{remedy.zh}",
                )
            )

    @property
    def names(self) -> list[str]:
        """Returns the names of all measured values, in order."""
        return measure_names(self.measures.values())


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A whole training run."""

    run: RunConfig
    """Length, place and seed."""
    model: ModelConfig
    """What is trained."""
    data: Mapping[str, SourceConfig]
    """Sources of samples, by a name of your choice; every step draws a batch from each."""
    objective: Mapping[str, Annotated[ObjectiveConfig, ChosenByType(OBJECTIVES)]]
    """Losses, by a name of your choice; their weighted sum is minimised."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """How the weights are updated."""
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    """Device, precision and memory."""
    loading: LoadingConfig = field(default_factory=LoadingConfig)
    """How samples are read."""
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    """When checkpoints are written, and how many are kept."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """What is measured during training."""
    log: LogConfig = field(default_factory=LogConfig)
    """What is logged."""

    def __post_init__(self) -> None:
        if not self.data or not self.objective:
            counts = len(self.data), len(self.objective)
            raise ConfigError(
                Text(
                    f"there are {counts[0]} sections [data.NAME] and {counts[1]} "
                    "[objective.NAME]: at least one of each is needed",
                    f"有 {counts[0]} 节 [data.NAME] 和 {counts[1]} 节 [objective.NAME]；"
                    "各至少要有一节；请补上",
                )
            )
        self._check_adapters()
        for name, objective in self.objective.items():
            if objective.source not in self.data:
                raise ConfigError(
                    Text(
                        f"objective.{name}.source = {objective.source!r} is no source, expected "
                        f"one of {', '.join(self.data)}",
                        f"objective.{name}.source = {objective.source!r} 不是数据来源；"
                        f"应为以下之一：{'、'.join(self.data)}",
                    )
                )

    def _check_adapters(self) -> None:
        """Adapters are trained, and exported without the parts that can be named and that stay as
        they are."""
        lora = self.model.lora
        adapted = () if lora is None else tuple(lora.ranks) or ("decoder",)
        frozen = [part for part in self.optimizer.freeze if any(belongs(a, part) for a in adapted)]
        if frozen:
            raise ConfigError(
                Text(
                    f"optimizer.freeze={frozen} also freezes the adapters of [model.lora], "
                    "expected other parts alone, since the own weights of a part with adapters "
                    f"stay as they are anyway: remove {frozen[0]!r}",
                    f"optimizer.freeze={frozen} 把 [model.lora] 的适配器也冻结了；有适配器的部分"
                    f"自身的权重本来就不变，应只冻结其他部分；请去掉 {frozen[0]!r}",
                )
            )
        if self.run.export != "adapter":
            return
        if lora is not None and lora.base is not None:
            raise ConfigError(
                Text(
                    f"run.export='adapter' loads the decoder as it was published, but with "
                    f"model.lora.base={lora.base!r} the adapters are learned for its weights in 4 "
                    "bits; expected one of the two: choose a number format, which exports the "
                    "weights that were trained with",
                    f"run.export='adapter' 会载入原样的解码器，而 model.lora.base={lora.base!r} 时"
                    "适配器是配合它的 4 位权重学到的；两者只能取其一；请改选一种数值格式，"
                    "导出的就是训练时所用的权重",
                )
            )
        assistant, locked = self.model.assistant, "tower" in self.optimizer.freeze
        named = assistant is not None and isinstance(assistant.decoder, str)
        if not named or not locked or adapted != ("decoder",):
            raise ConfigError(
                Text(
                    "run.export='adapter' leaves out tower and decoder, expected [model.assistant] "
                    "with a trained decoder, [model.lora] and optimizer.freeze=['tower']: add what "
                    "is missing, or choose a number format",
                    "run.export='adapter' 不含图像塔和解码器；应有带现成解码器的 "
                    "[model.assistant]、[model.lora] 和 optimizer.freeze=['tower']；请补上，"
                    "或改选一种数值格式",
                )
            )


def read_recipe(file: Path, assignments: tuple[str, ...] = ()) -> Recipe:
    """The recipe in a TOML file, changed by `section.key=value` assignments. Raises ConfigError
    with all problems, before any data or weights are touched."""
    table = read_toml(file)
    check_file_type(file, table, sweep=False)
    try:
        recipe = build(Recipe, override(table, assignments))
        check_parts(recipe)
        return recipe
    except ConfigError as error:
        reason = sentence(error)
        raise ConfigError(
            Text(
                f"{file} cannot be used: {reason.en} Correct this there, or by --set "
                "SECTION.KEY=VALUE; `seesay train --reference` lists all settings",
                f"{file} 不能用：{reason.zh}请在文件里改正，或用 --set SECTION.KEY=VALUE 修改；"
                "全部可设的项见 `seesay train --reference`",
            )
        ) from None


def sentence(error: ConfigError) -> Text:
    """The message as a sentence, with its full stop."""
    en, zh = error.text.en, error.text.zh
    return Text(en if en.endswith("?") else f"{en}.", zh if zh.endswith("？") else f"{zh}。")


def model_folder(recipe: Recipe) -> Path:
    """Where the finished model is written at the end of the run."""
    return Path(recipe.run.folder) / "model"


# Whether its parts fit each other


def check_parts(recipe: Recipe) -> None:
    """Raises ConfigError if parts of a model built from its parts contradict each other, or if a
    part that the optimizer or an objective names is missing. A finished model that is trained
    further is checked when it is loaded."""
    architecture = recipe.model.architecture
    if architecture is None:
        return
    _check_texts(recipe.model, architecture.text)
    _check_images(recipe.model, architecture.image)
    model = blank_model(family_of(architecture).model, architecture)
    check_model(recipe, architecture, [name for name, _ in model.named_parameters()])


def check_model(recipe: Recipe, architecture: Any, parameters: Collection[str]) -> None:
    """Raises ConfigError if a model lacks a part that an objective or the optimizer names."""
    for name, objective in recipe.objective.items():
        objective.check(name, architecture)
        trained = objective.parts(architecture)
        has = sorted({name.split(".")[0] for name in parameters})
        some = any(belongs(one, part) for one in parameters for part in trained)
        # A Q-Former has an image tower, too, but no text tower beside it.
        if not some or ("text" in trained and "text" not in has):
            parts = ", ".join(trained)
            raise ConfigError(
                Text(
                    f"objective.{name} trains {parts}, and this model has {', '.join(has)}; "
                    "expected an objective for its kind of model: choose another kind",
                    f"objective.{name} 训练 {parts}，而这个模型只有 {'、'.join(has)}；"
                    "应为适合这类模型的目标；请换一种 kind",
                )
            )
    check_names(list(parameters), recipe.optimizer)


def check_class_lists(recipe: Recipe) -> None:
    """Raises DataError, naming the file, if a list of class names cannot be read."""
    for records in (*recipe.data.values(), *recipe.evaluation.measures.values()):
        if (classes := getattr(records, "classes", None)) is not None:
            read_classes(classes)
    for objective in recipe.objective.values():
        next(iter(objective.texts()), None)


def _check_texts(model: ModelConfig, text: Any) -> None:
    assert model.tokenizer  # ModelConfig
    context, pad_id = model.tokenizer.context, model.tokenizer.pad_id
    if context > text.context:
        raise ConfigError(
            Text(
                f"model.tokenizer.context={context} is more than the "
                f"model.architecture.text.context={text.context} that the text tower can read: "
                "make them equal",
                f"model.tokenizer.context={context} 超过了文字编码器能读的 "
                f"model.architecture.text.context={text.context}；请改成相同",
            )
        )
    if pad_id >= text.vocab_size:
        size, last = f"model.architecture.text.vocab_size={text.vocab_size}", text.vocab_size - 1
        raise ConfigError(
            Text(
                f"model.tokenizer.pad_id={pad_id} is not one of the {size} tokens, expected 0 to "
                f"{last}: set it to the padding token",
                f"model.tokenizer.pad_id={pad_id} 超出了 {size} 的范围；应在 0 到 {last} 之间；"
                "请设为填充词元",
            )
        )
    if getattr(text, "pad_id", None) not in (None, pad_id):
        raise ConfigError(
            Text(
                f"model.tokenizer.pad_id={pad_id} is not the model.architecture.text.pad_id="
                f"{text.pad_id} that the text tower does not look at: make them equal",
                f"model.tokenizer.pad_id={pad_id} 不是文字编码器略过的 "
                f"model.architecture.text.pad_id={text.pad_id}；请改成相同",
            )
        )


def _check_images(model: ModelConfig, image: Any) -> None:
    assert model.transform  # ModelConfig
    size = getattr(image, "image_size", model.transform.size)
    if size != model.transform.size:
        given = f"model.transform.size={model.transform.size}"
        raise ConfigError(
            Text(
                f"{given} is not the model.architecture.image.image_size={size}: make them equal",
                f"{given} 与 model.architecture.image.image_size={size} 不同；请改成相同",
            )
        )


# The part that a checkpoint keeps


def describe(recipe: Recipe) -> dict[str, Any]:
    """The recipe as JSON values, as stored in a checkpoint."""
    description: dict[str, Any] = _plain(recipe)
    return description


def differences(now: Any, then: Any, name: str, *, only: Collection[str] = ()) -> Iterator[Text]:
    """Yields the differences between a config and an earlier description of it. A setting missing
    from the description must have its default. `only` limits the comparison to some settings."""
    if is_dataclass(now) and isinstance(then, dict):
        settings = [field for field in fields(now) if field.name in only or not only]
        missing = {f.name: _plain(_default(f)) for f in settings if f.name not in then}
        pairs = {field.name: getattr(now, field.name) for field in settings}
    elif isinstance(now, Mapping) and isinstance(then, dict) and now.keys() == then.keys():
        missing, pairs = {}, dict(now)
    else:
        present = _plain(now)
        if present != then:
            yield Text(
                f"{name} was {then!r}, now {present!r}", f"{name} 原为 {then!r}，现为 {present!r}"
            )
        return
    for key, value in pairs.items():
        yield from differences(value, (missing | then)[key], f"{name}.{key}")


def _default(field: "Field[Any]") -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return None if field.default is MISSING else field.default


def _plain(value: Any) -> Any:
    """The value as it comes back from JSON."""

    def described(inner: Any) -> Any:  # a custom measure may be anything
        known = is_dataclass(inner) and not isinstance(inner, type)
        return asdict(inner) if known else repr(inner)

    return json.loads(json.dumps(value, ensure_ascii=False, default=described))
