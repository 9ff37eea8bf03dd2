"""A recipe's parts, made: the model, its objectives, and the towers as they are trained."""

from dataclasses import replace
from functools import partial
from itertools import chain
from math import exp
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint as compute_twice

from seesay.data.tokenizers import Tokenizer, load_tokenizer
from seesay.data.transform import ImageTransform
from seesay.errors import ConfigError
from seesay.inference.devices import has_bfloat16
from seesay.models.dual_encoder import DualEncoder, DualEncoderConfig
from seesay.models.mobilenet import MobileNet
from seesay.objectives.contrastive import SIGMOID_LOG_SCALE, sigmoid_bias
from seesay.training.captioning import Captioning, CaptioningConfig
from seesay.training.distributed import Processes, share_model, transformer_blocks
from seesay.training.dual_encoder import Towers
from seesay.training.objectives import Contrastive, ContrastiveConfig, Objective
from seesay.training.optimizers import check_names
from seesay.training.recipes.parts import check_captioner
from seesay.training.recipes.recipe import HardwareConfig, ModelConfig, Recipe
from seesay.training.teachers.distillation import Distillation, DistillationConfig
from seesay.training.teachers.predictions import Predictions, PredictionsConfig
from seesay.training.texts import texts_of_classes, texts_of_records
from seesay.training.tokenizer import train_tokenizer
from seesay.weights.bundle import Bundle, load_bundle
from seesay.weights.mobilenet import load_mobilenet


def make_model(recipe: Recipe, name: str) -> Bundle[Any]:
    """The untrained model of a recipe, with its tokenizer and image preparation."""
    if recipe.model.start is not None:
        from seesay.weights.hub import locate

        found = locate(recipe.model.start)
        made = load_bundle(found.folder, image_folder=found.image_folder, name=name)
        check_names([n for n, _ in made.model.named_parameters()], recipe.optimizer)
        check_captioner(recipe, made.model.config)
        _add_bias(made.model, recipe)
    else:
        made = _from_parts(recipe, name)
    if recipe.model.image_weights is not None:
        _begin_image_tower(made.model, Path(recipe.model.image_weights).expanduser())
    _check_sizes(made.model, recipe)
    _hold_what_no_loss_reaches(made.model, recipe)
    return made


def _hold_what_no_loss_reaches(model: DualEncoder, recipe: Recipe) -> None:
    """DDP waits for a gradient of all that learns."""
    kinds = {type(objective) for objective in recipe.objective.values()}
    held: list[nn.Module | nn.Parameter | None] = []
    if _sigmoid_batch(recipe) is None:
        held.append(model.bias)
    if CaptioningConfig not in kinds:
        held.append(model.captioner)
    elif kinds == {CaptioningConfig}:  # what only embeddings need
        text: Any = model.text
        held += [model.image_proj, model.text_proj, model.log_scale, text.norm_out, text.cls_token]
    for part in held:
        if part is not None:
            part.requires_grad_(False)


def _from_parts(recipe: Recipe, name: str) -> Bundle[Any]:
    c = recipe.model
    assert c.architecture and c.transform  # ModelConfig
    tokenizer = _tokenizer(recipe)
    _check_vocabulary(c.architecture, c, tokenizer.vocab_size)
    torch.manual_seed(recipe.run.seed)
    model = DualEncoder(_with_bias(c.architecture, recipe))
    return Bundle(model=model, transform=c.transform, tokenizer=tokenizer, name=name)


def _tokenizer(recipe: Recipe) -> Tokenizer:
    """The vocabulary of a folder, or a new one: the same in every process and after a restart."""
    c = recipe.model
    assert c.tokenizer  # ModelConfig
    if c.vocabulary is None:
        return load_tokenizer(Path(str(c.tokenizer_folder)).expanduser(), c.tokenizer)
    texts = [texts_of_records(source) for source in recipe.data.values()]
    for objective in recipe.objective.values():
        if (
            isinstance(objective, DistillationConfig | PredictionsConfig)
            and objective.classes is not None
        ):
            texts.append(texts_of_classes(objective.classes, objective.templates))
    return Tokenizer(train_tokenizer(chain.from_iterable(texts), c.vocabulary), c.tokenizer)


def _check_vocabulary(architecture: DualEncoderConfig, config: ModelConfig, tokens: int) -> None:
    text = architecture.text
    if text.vocab_size < tokens:
        raise ConfigError(
            f"model.architecture.text.vocab_size={text.vocab_size} is less than the {tokens} "
            f"tokens of {config.tokenizer_folder or 'model.vocabulary'}: set it to {tokens} or more"
        )


def _check_sizes(model: DualEncoder, recipe: Recipe) -> None:
    for name, source in recipe.data.items():
        if source.size is not None and not isinstance(model.image, MobileNet):
            raise ConfigError(
                f"data.{name}.size={source.size} is for towers that take images of any size, and "
                f"this model's {type(model.image).__name__} takes one: remove it"
            )


def _with_bias(architecture: DualEncoderConfig, recipe: Recipe) -> DualEncoderConfig:
    """For the sigmoid loss, a scale and a bias to begin with, where the recipe names no bias."""
    batch = _sigmoid_batch(recipe)
    if architecture.bias_init is not None or batch is None:
        return architecture
    return replace(architecture, bias_init=sigmoid_bias(batch), scale_init=exp(SIGMOID_LOG_SCALE))


def _add_bias(model: DualEncoder, recipe: Recipe) -> None:
    """For the sigmoid loss, a bias for a model that was trained without one; its scale stays."""
    batch = _sigmoid_batch(recipe)
    if model.bias is None and batch is not None:
        model.config = replace(model.config, bias_init=sigmoid_bias(batch))
        model.bias = nn.Parameter(torch.full_like(model.log_scale.detach(), sigmoid_bias(batch)))


def _sigmoid_batch(recipe: Recipe) -> int | None:
    """The largest batch that a sigmoid loss sees; None where there is no such loss."""
    batches = [
        recipe.data[o.source].batch
        for o in recipe.objective.values()
        if isinstance(o, ContrastiveConfig) and o.loss == "sigmoid"
    ]
    return max(batches, default=None)


def _begin_image_tower(model: DualEncoder, file: Path) -> None:
    if not isinstance(model.image, MobileNet):
        raise ConfigError(
            f"model.image_weights={str(file)!r} is for a MobileNetV2 tower, and this model has a "
            f"{type(model.image).__name__}: set model.architecture.image.kind = 'mobilenet'"
        )
    model.image.load_state_dict(load_mobilenet(file).state_dict())


def make_objectives(
    recipe: Recipe, made: Bundle[Any], device: torch.device
) -> dict[str, tuple[float, Objective]]:
    """The objectives of a recipe with their weights, by name."""
    objectives: dict[str, tuple[float, Objective]] = {}
    for name, config in recipe.objective.items():
        if isinstance(config, ContrastiveConfig):
            objective: Objective = Contrastive(config)
        elif isinstance(config, CaptioningConfig):
            objective = Captioning(config, made.tokenizer)
        elif isinstance(config, DistillationConfig):
            source, seed = recipe.data[config.source], recipe.run.seed
            objective = Distillation(name, config, made, source, seed, device)
        else:
            objective = Predictions(name, config, made, recipe.run.seed, device)
        objectives[name] = (config.weight, objective)
    return objectives


def make_towers(made: Bundle[Any], config: HardwareConfig, processes: Processes) -> nn.Module:
    """The model as it is trained: in its precision, compiled, shared between processes."""
    model = made.model
    autocast = choose_autocast(config.precision, processes.device)
    dtype = torch.float64 if config.precision == "float64" else torch.float32
    model.to(processes.device, dtype).train()
    _hold_frozen_still(model)
    if config.recompute:
        for block in transformer_blocks(model):
            block.forward = partial(compute_twice, block.forward, use_reentrant=False)
    if config.compile:
        model.image.compile()
        model.text.compile()
    pad_id = made.tokenizer.config.pad_id
    towers = Towers(model, ImageTransform(made.transform), autocast, pad_id)
    scalars = [p for p in (model.log_scale, model.bias) if p is not None]
    return share_model(towers, config.sharing, scalars)


def _hold_frozen_still(model: DualEncoder) -> None:
    """A locked tower is used as it will be: without dropout."""
    for tower in (model.image, model.text):
        if not any(p.requires_grad for p in tower.parameters()):
            tower.eval()


def choose_autocast(precision: str, device: torch.device) -> torch.dtype | None:
    """The number format for the towers' arithmetic, None for that of the weights."""
    if precision == "bfloat16" or (precision == "auto" and has_bfloat16(device)):
        return torch.bfloat16
    return None
