"""Image towers of finished dual encoders, for models that are built on top of one."""

from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from seesay.data.squares import ImageTransformConfig
from seesay.data.tokenizer import Tokenizer, load_tokenizer
from seesay.errors import ConfigError
from seesay.models.mobilenet import MobileNetConfig
from seesay.models.vit import VitConfig
from seesay.text import Text
from seesay.weights.bundle import Bundle, load_bundle
from seesay.weights.hub import locate


@dataclass(frozen=True)
class OpenedTower:
    """The image tower of a dual encoder."""

    config: VitConfig | MobileNetConfig
    transform: ImageTransformConfig
    bundle: Bundle[Any]
    """The dual encoder."""

    def initialise(self, tower: nn.Module) -> None:
        """Gives a tower of this config its weights."""
        weights = self.bundle.model.image.state_dict()
        tower.load_state_dict({name: weights[name] for name in tower.state_dict()})

    def normed(self) -> "OpenedTower":
        """Returns the tower without its pooling, whose features pass through its last norm and
        include the class token, as BLIP-2 takes them."""
        if isinstance(self.config, MobileNetConfig):
            return self
        c = self.config
        norm = c.final_norm and c.pool != "queries"  # a CoCa's is of its queries
        config = replace(
            c, pool="none", class_token=c.has_class_token, feature_norm=norm, final_norm=norm
        )
        return replace(self, config=config)


def open_tower(name: str, size: int | None, section: str) -> OpenedTower:
    """Opens the image tower of a catalogued model or a folder, for images of `size` pixels a side
    or its own. Raises ConfigError, naming the section of the recipe, if it has none that fits."""
    place = locate(name)
    seeing = load_bundle(place.folder, image_folder=place.image_folder)
    tower: Any = getattr(seeing.config, "image", None)
    if isinstance(tower, MobileNetConfig):
        transform = seeing.transform if size is None else replace(seeing.transform, size=size)
        return OpenedTower(replace(tower, classes=0), transform, seeing)
    fits = isinstance(tower, VitConfig) and not tower.flexible
    if fits and size in (None, tower.image_size):
        return OpenedTower(tower, seeing.transform, seeing)
    given = Text.of(f"{section}.tower={name!r}, size={size}")
    raise ConfigError(
        Text(
            f"{given.en} cannot be used: its tower is a {type(tower).__name__}; expected a ViT of "
            "its own size, or a MobileNet or EfficientNet of any: choose another, or leave size "
            "out",
            f"{given.zh} 不能用：它的图像编码器是 {type(tower).__name__}；应为原尺寸的 ViT，或任意"
            "尺寸的 MobileNet、EfficientNet；请换一个，或去掉 size",
        )
    )


def short_tokenizer(name: str, bundle: Bundle[Any], context: int | None) -> Tokenizer:
    """Returns the tokenizer of this dual encoder for short texts without prefixes: of `context`
    tokens, or 32, or as many as its text tower reads."""
    context = min(context or CONTEXT, bundle.config.text.context)
    settings = replace(bundle.tokenizer.config, context=context, query_prefix="", passage_prefix="")
    return load_tokenizer(locate(name).folder, settings)


CONTEXT = 32
"""Tokens of a text in BLIP-2's first stage (LAVIS, max_txt_len)."""
