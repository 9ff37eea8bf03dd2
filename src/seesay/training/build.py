"""Builds the model and the objectives of a recipe, and prepares them for training."""

from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint as compute_twice

from seesay.data.tokenizer import Tokenizer, load_tokenizer
from seesay.errors import ConfigError
from seesay.inference.devices import has_bfloat16
from seesay.models.lora import LoraConfig, add_lora, is_adapter
from seesay.models.mobilenet import MobileNet
from seesay.models.vlm import Vlm
from seesay.objectives.objective import Objective, ObjectiveContext, TrainedModel
from seesay.text import Text
from seesay.training.assistant import build_assistant
from seesay.training.distributed import Processes, share_model, transformer_blocks
from seesay.training.fusion import build_fusion, frequent_answers
from seesay.training.optimizers import belongs
from seesay.training.qformer import build_qformer
from seesay.training.recipe import ON_TOWERS, HardwareConfig, ModelConfig, Recipe, check_model
from seesay.training.tokenizer import texts_of_records, train_tokenizer
from seesay.weights.bundle import Bundle, family_of, load_bundle
from seesay.weights.mobilenet import load_mobilenet
from seesay.weights.step import is_frozen


def make_model(recipe: Recipe, name: str) -> Bundle[Any]:
    """The untrained model of a recipe, with its tokenizer and image preparation. Parts that no
    objective trains are frozen."""
    if recipe.model.start is not None:
        from seesay.weights.hub import locate

        place = locate(recipe.model.start)
        bundle = load_bundle(place.folder, image_folder=place.image_folder, name=name)
        names = [n for n, _ in bundle.model.named_parameters()]
        check_model(recipe, bundle.model.config, names)
        family_of(bundle.model).extend(bundle.model, _initial(recipe))
    else:
        bundle = _from_parts(recipe, name)
    if recipe.model.image_weights is not None:
        _load_image_tower(bundle.model, Path(recipe.model.image_weights).expanduser())
    _check_sizes(bundle.model, recipe)
    objectives, architecture = recipe.objective.values(), bundle.config
    trained = {part for objective in objectives for part in objective.parts(architecture)}
    for parameter_name, parameter in bundle.model.named_parameters():
        if not any(belongs(parameter_name, part) for part in trained):
            parameter.requires_grad_(False)
    return bundle if recipe.model.lora is None else _with_adapters(bundle, recipe.model.lora)


def _with_adapters(bundle: Bundle[Any], config: LoraConfig) -> Bundle[Any]:
    """Adds adapters and freezes the other weights of the parts that have them, except gated
    cross-attention: of a tower, its projection too, so that the adapter is all that it learns."""
    add_lora(bundle.model, config)
    parameters = list(bundle.model.named_parameters())
    parts = {name.split(".")[0] for name, _ in parameters if is_adapter(name)}
    for name, parameter in parameters:
        of_part = name.split(".")[0].removesuffix("_proj") in parts
        if of_part and not is_adapter(name) and ".cross." not in name:
            parameter.requires_grad_(False)
    return replace(bundle, lora=config)


def _from_parts(recipe: Recipe, name: str) -> Bundle[Any]:
    c = recipe.model
    if any(getattr(c, section) is not None for section in ON_TOWERS):
        bundle = _on_top_of_a_tower(recipe, name)
        check_model(recipe, bundle.config, [n for n, _ in bundle.model.named_parameters()])
        return bundle
    tokenizer = _tokenizer(recipe)
    assert c.architecture and c.transform  # ModelConfig
    _check_vocabulary(c.architecture, c, tokenizer.vocab_size)
    torch.manual_seed(recipe.run.seed)
    model = family_of(c.architecture).build(c.architecture, _initial(recipe))
    return Bundle(model=model, transform=c.transform, tokenizer=tokenizer, name=name)


def _on_top_of_a_tower(recipe: Recipe, name: str) -> Bundle[Any]:
    c, seed = recipe.model, recipe.run.seed
    tokenizer = None if c.tokenizer is None else _tokenizer(recipe)
    if c.qformer is not None:
        return replace(build_qformer(c.qformer, tokenizer, seed, _initial(recipe)), name=name)
    if c.fusion is not None:
        return build_fusion(c.fusion, frequent_answers(recipe.data.values(), c.fusion), seed, name)
    assert c.assistant
    return build_assistant(c.assistant, tokenizer, seed, name)


def _initial(recipe: Recipe) -> dict[str, float]:
    """Returns the initial values that the objectives ask for; the one with the largest batch takes
    precedence."""
    initial: dict[str, float] = {}
    for objective in sorted(recipe.objective.values(), key=lambda o: recipe.data[o.source].batch):
        initial |= objective.initial(recipe.data[objective.source].batch)
    return initial


def _tokenizer(recipe: Recipe) -> Tokenizer:
    """The tokenizer from a folder, or one trained on the recipe's texts. Training it is
    deterministic, so all processes and restarts get the same one."""
    c = recipe.model
    assert c.tokenizer  # ModelConfig
    if c.vocabulary is None:
        return load_tokenizer(Path(str(c.tokenizer_folder)).expanduser(), c.tokenizer)
    texts = [texts_of_records(source) for source in recipe.data.values()]
    texts += [iter(objective.texts()) for objective in recipe.objective.values()]
    return Tokenizer(train_tokenizer(chain.from_iterable(texts), c.vocabulary), c.tokenizer)


def _check_vocabulary(architecture: Any, config: ModelConfig, tokens: int) -> None:
    text = architecture.text
    if text.vocab_size < tokens:
        size = f"model.architecture.text.vocab_size={text.vocab_size}"
        source = config.tokenizer_folder or "model.vocabulary"
        raise ConfigError(
            Text(
                f"{size} is less than the {tokens} tokens of {source}: set it to {tokens} or more",
                f"{size} 少于 {source} 的 {tokens} 个词元；请至少设为 {tokens}",
            )
        )


def _check_sizes(model: Any, recipe: Recipe) -> None:
    for name, source in recipe.data.items():
        image = model.tower if isinstance(model, Vlm) else model.image
        if source.size is not None and not isinstance(image, MobileNet):
            given, tower = f"data.{name}.size={source.size}", type(image).__name__
            raise ConfigError(
                Text(
                    f"{given} is for towers that take images of any size, and this model's {tower} "
                    "takes one: remove it",
                    f"{given} 只用于接受任意大小图片的编码器，而这个模型的 {tower} "
                    "只接受一种大小；请去掉",
                )
            )


def _load_image_tower(model: Any, file: Path) -> None:
    if not isinstance(model.image, MobileNet):
        given, tower = f"model.image_weights={str(file)!r}", type(model.image).__name__
        raise ConfigError(
            Text(
                f"{given} is for a MobileNetV2 tower, and this model has a {tower}: set "
                "model.architecture.image.kind = 'mobilenet'",
                f"{given} 只用于 MobileNetV2 编码器，而这个模型用的是 {tower}；"
                "请设 model.architecture.image.kind = 'mobilenet'",
            )
        )
    model.image.load_state_dict(load_mobilenet(file).state_dict())


def make_objectives(
    recipe: Recipe, bundle: Bundle[Any], device: torch.device
) -> dict[str, tuple[float, Objective]]:
    """The objectives of a recipe with their weights, by name."""
    return {
        name: (
            config.weight,
            config.make(
                ObjectiveContext(name, bundle, recipe.run.seed, device, recipe.hardware.reuse)
            ),
        )
        for name, config in recipe.objective.items()
    }


def make_trained(
    bundle: Bundle[Any], config: HardwareConfig, processes: Processes
) -> tuple[TrainedModel, nn.Module]:
    """Returns the model prepared for training (precision, compilation), and the same wrapped for
    several processes. Fully frozen parts have no dropout."""
    model = bundle.model
    autocast = choose_autocast(config.precision, processes.device)
    dtype = torch.float64 if config.precision == "float64" else torch.float32
    model.to(processes.device, dtype).train()
    for part in model.children():
        if is_frozen(part):
            part.eval()
    if config.recompute:
        for block in transformer_blocks(model):
            block.forward = partial(compute_twice, block.forward, use_reentrant=False)
    if config.reuse:
        folder = None if config.features is None else Path(config.features).expanduser()
        family_of(model).reuse(model, folder)
    trained = family_of(model).step(bundle, autocast)
    if config.compile:
        trained.compile()
    scalars = [p for p in trained.scalars().values() if p is not None]
    return trained, share_model(trained, config.sharing, scalars)


def choose_autocast(precision: str, device: torch.device) -> torch.dtype | None:
    """Returns the dtype of the towers' arithmetic; None means that of the weights."""
    if precision == "bfloat16" or (precision == "auto" and has_bfloat16(device)):
        return torch.bfloat16
    return None
