"""The family of CLIP and its relatives: recognise and read published folders, and check a model
before use."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from seesay.data.model_files import MOST_CONFIG, parse_json, read_json, read_text
from seesay.data.tokenizer import Tokenizer
from seesay.data.transform import ImageTransform
from seesay.errors import WeightsError
from seesay.models.bert import BertConfig
from seesay.models.decoder_text import DecoderTextConfig
from seesay.models.dual_encoder import DualEncoder, DualEncoderConfig
from seesay.models.fastvit import FastVitConfig
from seesay.models.mean_text import MeanTextConfig
from seesay.models.mobilenet import MobileNetConfig
from seesay.models.resnet import ResNetConfig
from seesay.models.text_encoder import TextConfig
from seesay.models.vit import VitConfig
from seesay.objectives.objective import TrainedModel
from seesay.text import Text
from seesay.weights.bundle import Blueprint, Bundle, Family, Published, described
from seesay.weights.tensors import has_weights, read_file, read_tensors

# "model_type" in config.json -> the function of this package that reads it. A module is imported
# when a folder needs it.
READERS = {
    "clip": "clip.read",
    "metaclip_2": "clip.read",
    "siglip": "siglip.read",
    "siglip2": "siglip.read",
    "fgclip2": "siglip.read",
    "chinese_clip": "chinese_clip.read",
    "altclip": "bert_clip.read_altclip",
}
# Models published without the image half
TEXT_HALVES = {
    "bert": ("Taiyi-CLIP", "bert_clip.read_taiyi"),
    "M-CLIP": ("M-CLIP", "bert_clip.read_m_clip"),
}
SENTENCE_TRANSFORMERS = "0_CLIPModel"
"""Where sentence-transformers keeps CLIP in a folder of modules; the rest is its own index."""

MOST_PIXELS = 4096
"""Side of the square given to a tower for images of any size."""
DIFFERENT = ("a cat", "狗")
SAME = 1e-5  # far above rounding, far below what a word makes


def read(folder: Path, image_folder: Path | None) -> Published | None:
    """A folder of Hugging Face, sentence-transformers, open_clip, OpenAI or Chinese-CLIP."""
    if os.path.lexists(folder / SENTENCE_TRANSFORMERS) and not os.path.lexists(
        folder / "config.json"
    ):
        _check_modules(folder)
        folder = folder / SENTENCE_TRANSFORMERS
    if _is_open_clip(folder):
        return _read_open_clip(folder)
    if os.path.lexists(folder / "config.json"):
        return _read_hugging_face(folder, image_folder)
    if files := sorted(folder.glob("clip_cn_*.pt")) or sorted(folder.glob("*.pt")):
        return _read_one_file(files[0], folder)
    return None


def _reader(name: str) -> Callable[..., Blueprint]:
    module, _, function = name.rpartition(".")
    reader: Callable[..., Blueprint] = getattr(import_module(f"seesay.weights.{module}"), function)
    return reader


def _read_open_clip(folder: Path) -> Published:
    from seesay.weights import open_clip

    published = read_json(folder / "open_clip_config.json")
    blueprint = described(lambda: open_clip.read(published), folder, DualEncoderConfig)
    tensors = open_clip.fit_positions(read_tensors(folder, "open_clip"), blueprint.model)
    return Published(blueprint=blueprint, tensors=tensors, folder=folder)


def _read_hugging_face(folder: Path, image_folder: Path | None) -> Published | None:
    from seesay.weights import text_embedders

    config = read_json(folder / "config.json")
    kind = config.get("model_type")
    if image_folder is None and text_embedders.is_text_embedder(folder, config):
        tensors = read_tensors(folder)
        blueprint = described(
            lambda: text_embedders.read(folder, config, tensors), folder, DualEncoderConfig
        )
        tensors = text_embedders.with_scale(tensors)
        return Published(blueprint=blueprint, tensors=tensors, folder=folder)
    if not isinstance(kind, str) or kind not in {**READERS, **TEXT_HALVES}:
        return None
    if kind in TEXT_HALVES:
        return _read_halves(folder, config, image_folder)
    preprocessing = _preprocessing(folder)
    blueprint = described(
        lambda: _reader(READERS[kind])(config, preprocessing), folder, DualEncoderConfig
    )
    return Published(blueprint=blueprint, tensors=read_tensors(folder), folder=folder)


def _read_halves(folder: Path, config: dict[str, Any], image_folder: Path | None) -> Published:
    name, reader = TEXT_HALVES[config["model_type"]]
    if image_folder is None:
        raise WeightsError(
            Text(
                f"{folder} holds only the text half of {name}; expected the image half too: load "
                "it by its catalogue name, or give image_folder= the OpenAI CLIP folder it belongs "
                "to",
                f"{folder} 里只有 {name} 的文本部分；还应有图像部分：请按目录里的名字载入，"
                "或用 image_folder= 给出它所用的 OpenAI CLIP 文件夹",
            )
        )
    image_config = read_json(image_folder / "config.json")
    preprocessing = _preprocessing(image_folder)
    blueprint = described(
        lambda: _reader(reader)(config, image_config, preprocessing), folder, DualEncoderConfig
    )
    tensors = {**read_tensors(image_folder), **read_tensors(folder)}
    return Published(blueprint=blueprint, tensors=tensors, folder=folder)


def _read_one_file(file: Path, folder: Path) -> Published:
    """Reads a single published file: Chinese-CLIP's, identified by its name, or OpenAI's."""
    if file.name.startswith("clip_cn_"):
        blueprint = described(
            lambda: _reader("pt_files.read_chinese_clip")(file), folder, DualEncoderConfig
        )
        return Published(blueprint=blueprint, tensors=read_file(file), folder=folder)
    tensors = read_file(file)
    blueprint = described(
        lambda: _reader("pt_files.read_openai")(tensors, file), folder, DualEncoderConfig
    )
    return Published(blueprint=blueprint, tensors=tensors, folder=folder)


def _check_modules(folder: Path) -> None:
    """Raises WeightsError if sentence-transformers does more with a vector than CLIP does."""
    path = folder / "modules.json"
    listed = f'{{"modules": {read_text(path, MOST_CONFIG)}}}'  # the file is a list
    modules = parse_json(listed, path)["modules"]
    if not isinstance(modules, list) or not all(isinstance(one, dict) for one in modules):
        raise WeightsError(
            Text(
                f"{path} is no list of modules; expected the file as published: download it again",
                f"{path} 不是模块列表；应为原样发布的文件：请重新下载",
            )
        )
    kinds = [str(module.get("type")).rpartition(".")[2] for module in modules]
    if others := [kind for kind in kinds[1:] if kind != "Normalize"]:
        raise WeightsError(
            Text(
                f"{path} lists {others[0]:.60} behind CLIP, which seesay does not have; expected "
                "CLIPModel, and at most Normalize; choose another model: seesay models list",
                f"{path} 在 CLIP 之后还有 {others[0]:.60}，seesay 没有这一步；应为 CLIPModel，"
                "至多再加 Normalize；请换一个模型：seesay models list",
            )
        )


def _is_open_clip(folder: Path) -> bool:
    """Whether to read open_clip's layout. A folder may hold Hugging Face's as well: then the one
    with safetensors is read, and open_clip's if both have them, as the download chooses too."""
    if not os.path.lexists(folder / "open_clip_config.json"):
        return False
    if not os.path.lexists(folder / "config.json") or not has_weights(folder, "hf"):
        return True
    if has_weights(folder, "open_clip", safe=True):
        return True
    return has_weights(folder, "open_clip") and not has_weights(folder, "hf", safe=True)


def _preprocessing(folder: Path) -> dict[str, Any]:
    """preprocessor_config.json, or the same inside the newer processor_config.json, or nothing."""
    if os.path.lexists(folder / "preprocessor_config.json"):
        return read_json(folder / "preprocessor_config.json")
    if os.path.lexists(folder / "processor_config.json"):
        inside = read_json(folder / "processor_config.json").get("image_processor")
        return inside if isinstance(inside, dict) else {}
    return {}


def misfits(blueprint: Blueprint, tokenizer: Tokenizer) -> list[Text]:
    """Returns contradictions between the towers, the image preparation and the tokenizer."""
    model: DualEncoderConfig = blueprint.model
    size, tokens = blueprint.transform.size, blueprint.tokenizer
    image, text = model.image, model.text
    wrong = []
    if isinstance(image, MobileNetConfig):
        if size > MOST_PIXELS:
            wrong.append(
                Text(
                    f"pictures of {size} pixels a side, expected at most {MOST_PIXELS}",
                    f"图片边长 {size} 像素，最多应为 {MOST_PIXELS}",
                )
            )
    elif image is not None and size != image.image_size:
        wrong.append(
            Text(
                f"pictures of {size} pixels a side for a tower that sees {image.image_size}",
                f"图片边长 {size} 像素，图像塔看的却是 {image.image_size}",
            )
        )
    if tokens.context > text.context:
        wrong.append(
            Text(
                f"rows of {tokens.context} tokens for a tower that reads {text.context}",
                f"每行 {tokens.context} 个词元，文本塔却只读 {text.context} 个",
            )
        )
    if tokenizer.largest_id >= text.vocab_size:
        wrong.append(
            Text(
                f"the tokenizer gives ids up to {tokenizer.largest_id} to a tower that knows "
                f"{text.vocab_size} tokens",
                f"分词器的编号到 {tokenizer.largest_id}，文本塔却只有 {text.vocab_size} 个词元",
            )
        )
    return wrong


@torch.inference_mode()
def check(bundle: Bundle[DualEncoder], folder: Path) -> None:
    """Raises WeightsError if different texts, or different pictures, get the same vector: a setting
    or a weight is then wrong although every tensor has its place."""
    model = bundle.model
    if model.image is None:  # only our own layout describes such a model
        return
    # A small vocabulary may have none of these words.
    ids = torch.from_numpy(bundle.tokenizer.encode(DIFFERENT).ids).unique(dim=0)
    size, prepare = bundle.transform.size, ImageTransform(bundle.transform)
    colours = np.linspace(0, 255, 3 * size * size).astype(np.uint8)
    picture = Image.fromarray(np.ascontiguousarray(colours.reshape(3, size, size).T))
    pictures = torch.stack([prepare(picture), prepare(picture.rotate(180))])
    texts = model.embed_texts(model.text.trim(ids))  # type: ignore[operator]
    for what, zh, found in (
        ("texts", "文字", texts),
        ("pictures", "图片", model.embed_images(pictures)),
    ):
        if len(found) > 1 and not (found - found[:1]).abs().max() > SAME:
            raise WeightsError(
                Text(
                    f"the model in {folder} gives different {what} the same vector; expected one "
                    "of its own for each. Its weights or settings are damaged, or of a kind that "
                    "seesay does not have: choose another model: seesay models list",
                    f"{folder} 里的模型给不同的{zh}相同的向量；应各不相同。权重或设置已损坏，"
                    "或属于 seesay 没有的类型：请换一个模型：seesay models list",
                )
            )


def build(config: DualEncoderConfig, initial: Mapping[str, float]) -> DualEncoder:
    """Creates a model with the initial scale and bias that a loss asks for, unless its config has a
    bias."""
    given: Any = initial if config.bias_init is None else {}
    return DualEncoder(replace(config, **given))


def extend(model: DualEncoder, initial: Mapping[str, float]) -> None:
    """Adds the bias that the sigmoid loss needs to a model trained without one; its scale stays."""
    bias = initial.get("bias_init")
    if model.bias is None and bias is not None:
        model.config = replace(model.config, bias_init=bias)
        model.bias = nn.Parameter(torch.full_like(model.log_scale.detach(), bias))


def step(bundle: Bundle[DualEncoder], autocast: torch.dtype | None) -> TrainedModel:
    """Returns both towers behind one call; modules needed only for training are imported here."""
    from seesay.weights.dual_encoder_step import Towers

    return Towers(bundle, autocast)


def reuse(model: DualEncoder, folder: Path | None) -> None:
    """Makes a model keep what its frozen towers and lower layers return."""
    from seesay.weights.dual_encoder_step import reuse_frozen

    reuse_frozen(model, folder)


FAMILY = Family(
    name="dual_encoder",
    model=DualEncoder,
    config=DualEncoderConfig,
    parts={
        "vit": VitConfig,
        "resnet": ResNetConfig,
        "mobilenet": MobileNetConfig,
        "fastvit": FastVitConfig,
        "text": TextConfig,
        "bert": BertConfig,
        "mean_text": MeanTextConfig,
        "decoder_text": DecoderTextConfig,
    },
    model_types=(*READERS, "bert", "xlm-roberta", "qwen3 (embedding)", "M-CLIP"),
    read=read,
    misfits=misfits,
    check=check,
    build=build,
    extend=extend,
    step=step,
    reuse=reuse,
)
