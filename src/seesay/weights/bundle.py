"""A model with everything that belongs to it, read from a folder.

    bundle = load_bundle(Path("openai/clip-vit-base-patch32"))
    bundle.model, bundle.tokenizer, bundle.transform

A folder is in seesay's own layout (seesay.json, model.safetensors and tokenizer.json; training
writes it, and the built-in model comes in it) or as its authors published it. Code specific to a
family of models is in its `Family`, whose module is imported when a folder needs it.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from importlib import import_module
from itertools import chain
from math import isfinite
from pathlib import Path
from types import UnionType
from typing import Any, Generic, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import torch
from torch import Tensor, nn

from seesay.data.model_files import read_json
from seesay.data.squares import ImageTransformConfig
from seesay.data.tokenizer import Tokenizer, TokenizerConfig, load_tokenizer
from seesay.errors import ConfigError, WeightsError
from seesay.models.layers import require_range
from seesay.models.lora import LoraConfig, add_lora
from seesay.objectives.objective import TrainedModel
from seesay.text import Text
from seesay.weights.tensors import (
    MOST_PARTS,
    Rules,
    Tensors,
    blank_model,
    dequantized,
    load_weights,
    read_safetensors,
)

# Name of a family in seesay.json -> the module that defines its FAMILY. Families try to read a
# published folder in this order.
FAMILIES = {
    "dual_encoder": "seesay.weights.dual_encoder",
    "vlm": "seesay.weights.vlm_step",
    "qformer": "seesay.weights.qformer",
    "fusion": "seesay.weights.fusion",
}
FIRST = "dual_encoder"
"""The family of folders from version 0.1.0, which name none."""

FILE = "seesay.json"
WEIGHTS = "model.safetensors"
PARTS = "parts"
"""The entry of seesay.json that names the models of parts that are not in the folder."""
FORMAT = 1
MOST = 1 << 24
"""No size, number of layers or id of a published model comes near; a larger one is a mistake or a
trap, which costs time before any tensor can be compared."""

NUMBERS: dict[Any, Callable[[Any], bool]] = {
    int: lambda value: type(value) is int and abs(value) <= MOST,
    float: lambda value: type(value) in (int, float) and abs(value) < 1e38 and isfinite(value),
}

Model = TypeVar("Model", bound=nn.Module)
Described = TypeVar("Described")


@dataclass(frozen=True, kw_only=True)
class GenerationConfig:
    """Default settings of a model that generates text."""

    beams: int = 1
    """Continuations followed at once; 1 takes the likeliest token each time."""

    def __post_init__(self) -> None:
        require_range(1, beams=self.beams)


@dataclass(frozen=True, kw_only=True)
class Bundle(Generic[Model]):
    """A model with its tokenizer, its image preparation and its settings for generating text."""

    model: Model
    tokenizer: Tokenizer
    transform: ImageTransformConfig
    generation: GenerationConfig | None = None
    template: str = ""
    """Name of the chat template of a model that answers (seesay.data.chat_templates)."""
    lora: LoraConfig | None = None
    """The low-rank adapters in a model that is trained; a saved one has them merged."""
    name: str
    """The name that the user gave."""
    revision: str = ""
    """The published commit; "" if unknown."""

    @property
    def config(self) -> Any:
        """The model's config."""
        return self.model.config

    def with_weights(self, weights: Mapping[str, Tensor]) -> "Bundle[Model]":
        """Returns the same bundle with a new model that has these weights and shares nothing
        else."""

        def build(config: Any) -> Any:
            model = type(self.model)(config)
            if self.lora is not None:
                add_lora(model, self.lora)
            return model

        model = blank_model(build, self.config)
        model.load_state_dict(dict(weights), assign=True)
        return replace(self, model=model.eval())


@dataclass(frozen=True, kw_only=True)
class Blueprint:
    """The model that a folder's config files describe, before any tensor is read."""

    model: Any
    """The config of the model."""
    rules: Rules | None
    """Names of its tensors; none: the same as ours."""
    transform: ImageTransformConfig
    tokenizer: TokenizerConfig
    generation: GenerationConfig | None = None
    template: str = ""


@dataclass(frozen=True, kw_only=True)
class Published:
    """A folder in its published layout."""

    blueprint: Blueprint
    tensors: Tensors
    folder: Path
    """Folder of its tokenizer."""


@dataclass(frozen=True, kw_only=True)
class Family(Generic[Model]):
    """The interface of a family of models."""

    name: str
    """As in seesay.json."""
    model: type[Model]
    """Built from a config: `model(config)`."""
    config: type[Any]
    parts: Mapping[str, type[Any]]
    """The alternative configs for a field of `config`, by their names in seesay.json."""
    model_types: tuple[str, ...] = ()
    """The values of "model_type" in a config.json that it reads."""
    read: Callable[[Path, Path | None], Published | None] = lambda folder, image_folder: None
    """Read a published folder, and the folder of its image half if that is separate; None if the
    folder belongs to another family."""
    misfits: Callable[[Blueprint, Tokenizer], list[Text]]
    """Contradictions between model, image preparation and tokenizer."""
    check: Callable[[Bundle[Model], Path], None] = lambda bundle, folder: None
    """Raises WeightsError if a loaded model does not behave like one of its family."""
    build: Callable[[Any, Mapping[str, float]], Model]
    """Create a model from a config; objectives set initial values that the config leaves open."""
    extend: Callable[[Model, Mapping[str, float]], None] = lambda model, initial: None
    """Add to a finished model what an objective needs."""
    step: Callable[[Bundle[Model], torch.dtype | None], TrainedModel]
    """The model wrapped for training, with arithmetic in a given dtype or in that of the
    weights."""
    reuse: Callable[[Model, Path | None], None]
    """Make a model keep what its frozen parts return: what fits there in the files of a folder, the
    rest in memory."""
    borrow: Callable[[Any, Mapping[str, Any], Path], Tensors] | None = None
    """The tensors of a config's parts that come from other models, as a folder in our own layout
    names them; none: every model brings all of its parts."""


def load_bundle(
    folder: Path,
    *,
    image_folder: Path | None = None,
    name: str | None = None,
    revision: str = "",
) -> Bundle[Any]:
    """Load a model folder in seesay's own layout or in one that its family reads.

    `image_folder` is for models whose image half is published separately (Taiyi-CLIP, M-CLIP). The
    model is in float32 and in evaluation mode. Raises WeightsError, with the reason, unless
    everything fits to the last tensor. A folder may come from anyone: its sizes are compared with
    its weights before memory is allocated, and nothing in it is executed.
    """
    if not folder.is_dir():
        raise WeightsError(
            Text(
                f"{folder} is not a folder; expected a model folder. Check how it is spelt",
                f"{folder} 不是文件夹；应为模型文件夹。请检查拼写",
            )
        )
    own = os.path.lexists(folder / FILE)
    family, found = _read_own(folder) if own else _read_published(folder, image_folder)
    blueprint, tensors = found.blueprint, found.tensors
    tokenizer = load_tokenizer(found.folder, blueprint.tokenizer)
    if misfits := family.misfits(blueprint, tokenizer):
        raise undescribed(folder, misfits)
    model = blank_model(family.model, blueprint.model, MOST_PARTS * len(tensors))
    load_weights(model, tensors, blueprint.rules)
    bundle = Bundle(
        model=model.eval(),
        tokenizer=tokenizer,
        transform=blueprint.transform,
        generation=blueprint.generation,
        template=blueprint.template,
        name=name or str(folder),
        revision=revision,
    )
    if not own:  # our own layout leaves nothing to misread
        family.check(bundle, folder)
    return bundle


# Published folders


def _read_published(folder: Path, image_folder: Path | None) -> tuple[Family[Any], Published]:
    for family in map(_family, FAMILIES):
        if (found := family.read(folder, image_folder)) is not None:
            return family, found
    unknown = read_json(folder / "config.json").get("model_type")  # raises if it is missing
    known = ", ".join(name for one in map(_family, FAMILIES) for name in one.model_types)
    raise WeightsError(
        Text(
            f"{folder} holds a model of type {unknown!r:.60}; expected one of {known}, or "
            "open_clip's or seesay's own layout; choose another model: seesay models list",
            f"{folder} 里的模型类型是 {unknown!r:.60}；应为 {known} 之一，或者是 open_clip 或 "
            "seesay 自己的布局；请换一个模型：seesay models list",
        )
    )


def family_of(one: Any) -> Family[Any]:
    """Returns the family of a model or of its config."""
    families = map(_family, FAMILIES)
    return next(family for family in families if isinstance(one, family.model | family.config))


def _family(name: str) -> Family[Any]:
    family: Family[Any] = import_module(FAMILIES[name]).FAMILY
    return family


def described(read: Callable[[], Blueprint], folder: Path, config: type[Any]) -> Blueprint:
    """Calls `read()` and checks its result; `config` is the class of the model's config. Raises
    WeightsError for files with missing or wrong values."""
    hints = {
        "model": config,
        "transform": ImageTransformConfig,
        "tokenizer": TokenizerConfig,
        "generation": GenerationConfig | None,
        "template": str,
    }
    return checked(read, folder, hints)


def checked(read: Callable[[], Described], folder: Path, hints: Mapping[str, Any]) -> Described:
    """Calls `read()` and checks that these fields of its result have these types and sizes that a
    model can have. Raises WeightsError for files with missing or wrong values."""
    try:
        described = read()
        wrong = [
            Text.of(one)
            for name, hint in hints.items()
            for one in _wrong(getattr(described, name), hint, name)
        ]
    except ConfigError as error:
        wrong = [error.text]
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        wrong = [Text.of(repr(error)[:200])]
    if wrong:
        raise undescribed(folder, wrong)
    return described


def undescribed(folder: Path, wrong: Iterable[Text]) -> WeightsError:
    some = list(wrong)[:3]
    return WeightsError(
        Text(
            f"the config files in {folder} do not describe a model that seesay can build "
            f"({'; '.join(one.en for one in some)}); they were changed or cut short: download the "
            "folder again",
            f"{folder} 里的配置文件描述的不是 seesay 能建立的模型"
            f"（{'；'.join(one.zh for one in some)}）；文件被改动过或不完整：请重新下载整个文件夹",
        )
    )


def _wrong(value: Any, hint: Any, place: str) -> list[str]:
    """Settings with another type than their dataclass declares, or absurdly large ones."""
    origin, inner = get_origin(hint), get_args(hint)
    if is_dataclass(value):
        hints = get_type_hints(type(value))
        names = [field.name for field in fields(value)]
        parts = [_wrong(getattr(value, name), hints[name], f"{place}.{name}") for name in names]
        return list(chain.from_iterable(parts))
    if origin in (Union, UnionType):
        fits = [] in [_wrong(value, one, place) for one in inner]
    elif origin is Literal:
        fits = isinstance(value, str) and value in inner
    elif origin is tuple:
        several = isinstance(value, tuple) and len(value) < 1000
        kinds = inner[:1] * len(value) if several and inner[-1] is Ellipsis else inner
        fits = several and len(value) == len(kinds)
        fits = fits and not any(map(_wrong, value, kinds, [place] * len(kinds)))
    else:
        fits = NUMBERS.get(hint, lambda value: isinstance(value, hint))(value)
    return [] if fits else [f"{place}={value!r:.60}"]


# Our own layout; saving.py writes it


def _read_own(folder: Path) -> tuple[Family[Any], Published]:
    path = folder / FILE
    published = read_json(path)
    if published.get("format") != FORMAT:
        raise WeightsError(
            Text(
                f"{path} is of format {published.get('format')!r}; this version of seesay reads "
                f"format {FORMAT}. Install the version that wrote it, or train the model again",
                f"{path} 的格式是 {published.get('format')!r}；这个版本的 seesay 只读格式 "
                f"{FORMAT}。请安装写出它的版本，或重新训练模型",
            )
        )
    name = published.get("family", FIRST)
    if not isinstance(name, str) or name not in FAMILIES:
        raise WeightsError(
            Text(
                f"{path} is of the family {name!r:.60}; this version of seesay has "
                f"{', '.join(FAMILIES)}. It was written by a newer seesay: update",
                f"{path} 的家族是 {name!r:.60}；这个版本的 seesay 有 {'、'.join(FAMILIES)}。"
                "文件由更新的 seesay 写出：请升级",
            )
        )
    family: Family[Any] = import_module(FAMILIES[name]).FAMILY
    blueprint = described(
        lambda: Blueprint(
            model=_config(family.config, published["model"], family.parts, path),
            rules=None,
            transform=_config(ImageTransformConfig, published["transform"], {}, path),
            tokenizer=_config(TokenizerConfig, published["tokenizer"], {}, path),
            generation=_config(GenerationConfig, published.get("generation"), {}, path),
            template=published.get("template", ""),
        ),
        folder,
        family.config,
    )
    tensors = dequantized(read_safetensors(folder / WEIGHTS), folder / WEIGHTS)
    if (parts := published.get(PARTS)) is not None and family.borrow is not None:
        tensors = family.borrow(blueprint.model, parts, folder) | tensors
    return family, Published(blueprint=blueprint, tensors=tensors, folder=folder)


def _config(kind: Any, value: Any, parts: Mapping[str, type[Any]], path: Path) -> Any:
    """Reads a config that `saving.describe` wrote. JSON has only lists; frozen configs hold
    tuples."""
    if isinstance(value, list):
        return tuple(_config(None, one, parts, path) for one in value)
    if not isinstance(value, dict):
        return value
    hints, built = get_type_hints(kind), {}
    for name, inner in value.items():
        if name not in hints:
            raise WeightsError(
                Text(
                    f"{path} has a setting {name!r} that {kind.__name__} does not know; expected "
                    f"{', '.join(hints)}. It was written by a newer seesay: update",
                    f"{path} 里的设置 {name!r} 是 {kind.__name__} 没有的；应为 {'、'.join(hints)}。"
                    "文件由更新的 seesay 写出：请升级",
                )
            )
        inside = [one for one in (hints[name], *get_args(hints[name])) if is_dataclass(one)]
        if isinstance(inner, dict) and "tower" in inner:
            inner = dict(inner)
            inside = [one for n, one in parts.items() if n == inner["tower"] and one in inside]
            del inner["tower"]
        built[name] = _config(inside[0] if inside else None, inner, parts, path)
    return kind(**built)
