"""Whether the parts of a model that a recipe describes fit each other, before any is made."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from seesay.errors import ConfigError
from seesay.models.dual_encoder import DualEncoder, DualEncoderConfig
from seesay.training.captioning import CaptioningConfig
from seesay.training.optimizers import check_names
from seesay.weights.tensors import blank_model

if TYPE_CHECKING:
    from seesay.training.recipes.recipe import ModelConfig, Recipe


def check_parts(recipe: "Recipe") -> None:
    """Raises ConfigError where a model built from its parts has two that contradict each other, or
    the optimizer names one that it lacks. What goes on from a finished model is not asked: that
    model would have to be loaded."""
    architecture = recipe.model.architecture
    if architecture is None:
        return
    _check_texts(recipe.model, architecture.text)
    _check_images(recipe.model, architecture.image)
    check_captioner(recipe, architecture)
    names: Sequence[str] = [n for n, _ in blank_model(DualEncoder, architecture).named_parameters()]
    check_names(names, recipe.optimizer)


def check_captioner(recipe: "Recipe", architecture: DualEncoderConfig) -> None:
    """Raises ConfigError where a recipe wants captions of a model that writes none."""
    wanting = [n for n, o in recipe.objective.items() if isinstance(o, CaptioningConfig)]
    if wanting and architecture.captioner is None:
        raise ConfigError(
            f"objective.{wanting[0]} learns to write captions, expected a model that has a "
            'captioner: add [model.architecture.captioner], with pool = "queries" in the image '
            "tower, or start from a CoCa"
        )


def _check_texts(model: "ModelConfig", text: Any) -> None:
    assert model.tokenizer  # ModelConfig
    context, pad_id = model.tokenizer.context, model.tokenizer.pad_id
    if context > text.context:
        raise ConfigError(
            f"model.tokenizer.context={context} is more than the "
            f"model.architecture.text.context={text.context} that the text tower can read: make "
            "them equal"
        )
    if pad_id >= text.vocab_size:
        raise ConfigError(
            f"model.tokenizer.pad_id={pad_id} is not one of the "
            f"model.architecture.text.vocab_size={text.vocab_size} tokens, expected 0 to "
            f"{text.vocab_size - 1}: set it to the padding token"
        )
    if getattr(text, "pad_id", None) not in (None, pad_id):
        raise ConfigError(
            f"model.tokenizer.pad_id={pad_id} is not the "
            f"model.architecture.text.pad_id={text.pad_id} that the text tower does not look at: "
            "make them equal"
        )


def _check_images(model: "ModelConfig", image: Any) -> None:
    assert model.transform  # ModelConfig
    size = getattr(image, "image_size", model.transform.size)
    if size != model.transform.size:
        raise ConfigError(
            f"model.transform.size={model.transform.size} is not the "
            f"model.architecture.image.image_size={size}: make them equal"
        )
