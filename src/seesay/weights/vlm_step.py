"""Vision-language models as training calls them, and in seesay's own layout: pictures of one size,
and conversations about them."""

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int
from torch import Tensor, nn

from seesay.data.tokenizer import Tokenizer
from seesay.models.connectors import (
    LinearConnectorConfig,
    MlpConnectorConfig,
    PatchMergerConfig,
    PerceiverConfig,
    PixelShuffleConfig,
    QFormerConnectorConfig,
    QueryResamplerConfig,
)
from seesay.models.cross_attention import GatedCrossBlock
from seesay.models.lora import adapter_off
from seesay.models.mobilenet import MobileNetConfig
from seesay.models.vit import VitConfig
from seesay.models.vlm import Vlm, VlmConfig
from seesay.objectives.objective import TrainedModel, View
from seesay.objectives.tiled import at_least_float32
from seesay.text import Text
from seesay.weights.bundle import Blueprint, Bundle, Family
from seesay.weights.dual_encoder import MOST_PIXELS
from seesay.weights.parts import borrow
from seesay.weights.step import Pixels, computing_in, is_frozen, reuse_features

SPREAD = 0.02  # standard deviation of new weights, as in GPT-2


class TrainedVlm(TrainedModel):
    """Wraps a vision-language model for training, which needs a single forward call."""

    def __init__(self, bundle: Bundle[Vlm], autocast: torch.dtype | None = None) -> None:
        super().__init__()
        self.model = bundle.model
        self._pixels = Pixels(bundle.transform, self.model.tower)
        self._pad_id = bundle.tokenizer.config.pad_id
        self._autocast = autocast

    def forward(self, inputs: Mapping[View, Tensor]) -> tuple[Tensor, ...]:
        """Returns, for each view, the mean of each image's embeddings or the loss of each answer,
        in float32 or wider."""
        dtype = next(self.model.parameters()).dtype
        refers = any(view.role == "references" for view in inputs)
        adapters = adapter_off(self.model) if refers else nullcontext()
        with adapters, computing_in(self._autocast, inputs):
            seen = {
                view.source: self.model.connector(self.model.patches(self._pixels(images, dtype)))
                for view, images in inputs.items()
                if view.role == "images"
            }
            outputs = [
                seen[view.source].mean(1)
                if view.role == "images"
                else self._losses(seen[view.source], rows)
                for view, rows in inputs.items()
            ]
        return tuple(map(at_least_float32, outputs))

    def _losses(self, seen: Tensor, rows: Tensor) -> Tensor:
        """Returns each answer's loss, summed over its tokens (images most)."""
        packed = pack(rows, self.model.config.image_ids, self._pad_id)
        asked = rows[:, 0, 1].any(-1)
        embeds, media = self.model.inputs(packed.ids, seen[asked])
        decoder = self.model.decoder
        hidden = decoder(embeds, packed.positions, media=media, groups=packed.groups)[:, :-1]
        wanted = packed.learned[:, 1:]
        logits = at_least_float32(self.model.logits(hidden[wanted][None])[0])
        losses = F.cross_entropy(logits, packed.ids[:, 1:][wanted], reduction="none")
        count, most = rows.shape[:2]
        answers = wanted.nonzero()[:, 0] * most + packed.groups[:, 1:][wanted] - 1
        return losses.new_zeros(count * most).index_add(0, answers, losses).view(count, most)


class Packed(NamedTuple):
    """All conversations about an image in one row: what they have in common up to the image comes
    once, then the rest of each, one after another."""

    ids: Int[Tensor, "images tokens"]
    learned: Bool[Tensor, "images tokens"]
    positions: Int[Tensor, "images tokens"]
    groups: Int[Tensor, "images tokens"]
    """0 where all begin, then 1 for the first conversation, and so on; what follows the last one
    is padding."""


def pack(
    rows: Int[Tensor, "images most 2 tokens"], image_ids: tuple[int, ...], pad_id: int
) -> Packed:
    """Packs the conversations about each image, their ids and which of them are learned. Nothing
    is lost: a token attends to the same ones as without packing, and keeps its position."""
    ids, learned = rows[:, :, 0], rows[:, :, 1].bool()
    count, most, length = ids.shape
    places = torch.arange(length, device=ids.device)
    is_image = torch.isin(ids[:, 0], ids.new_tensor(image_ids))
    begin = int((is_image * places).amax()) + 1
    last = (learned * places).amax(-1, keepdim=True)
    kept = (places <= last) & (places >= begin)
    kept[:, 0, :begin] |= learned[:, 0].any(-1, keepdim=True)
    groups = torch.arange(1, most + 1, device=ids.device)[:, None] * (places >= begin)
    order = (~kept).flatten(1).int().argsort(dim=1, stable=True)
    order = order[:, : int(kept.flatten(1).sum(1).amax())]

    def packed(values: Tensor) -> Tensor:
        return values.expand(count, most, length).flatten(1).gather(1, order)

    ids = ids.masked_fill(~kept, pad_id)
    return Packed(packed(ids), packed(learned), packed(places), packed(groups))


def rows_per_picture(bundle: Bundle[Vlm]) -> int:
    """Returns how many placeholders a picture takes in the prompt."""
    if not bundle.config.rows_in_prompt:
        return 1
    parameter = next(bundle.model.parameters())
    size = bundle.transform.size
    with torch.no_grad():
        blank = torch.zeros(1, 3, size, size, device=parameter.device, dtype=parameter.dtype)
        return int(bundle.model.see(blank).shape[1])


def misfits(blueprint: Blueprint, tokenizer: Tokenizer) -> list[Text]:
    """Returns contradictions between the model, the image preparation and the tokenizer."""
    model: VlmConfig = blueprint.model
    return [
        *picture_misfits(model.tower, blueprint.transform.size),
        *text_misfits(
            blueprint,
            tokenizer,
            Text("decoder", "解码器"),
            words=model.decoder.vocab_size,
            context=model.decoder.context,
        ),
    ]


def text_misfits(
    blueprint: Blueprint, tokenizer: Tokenizer, reader: Text, *, words: int, context: int
) -> list[Text]:
    """Returns why a part of a model cannot read what the tokenizer gives it."""
    wrong = []
    if tokenizer.largest_id >= words:
        wrong.append(
            Text(
                f"the tokenizer gives ids up to {tokenizer.largest_id} to a {reader.en} that knows "
                f"{words} tokens",
                f"分词器的编号到 {tokenizer.largest_id}，{reader.zh}却只有 {words} 个词元",
            )
        )
    if blueprint.tokenizer.context > context:
        wrong.append(
            Text(
                f"texts of {blueprint.tokenizer.context} tokens for a {reader.en} that reads "
                f"{context}",
                f"文本长 {blueprint.tokenizer.context} 个词元，{reader.zh}却只读 {context} 个",
            )
        )
    return wrong


def picture_misfits(tower: VitConfig | MobileNetConfig, size: int) -> list[Text]:
    """Returns why a tower cannot see pictures of this size."""
    expected = size if isinstance(tower, MobileNetConfig) else tower.image_size
    if size == expected and size <= MOST_PIXELS:
        return []
    return [
        Text(
            f"pictures of {size} pixels a side for a tower that sees {expected}, at most "
            f"{MOST_PIXELS}",
            f"图片边长 {size} 像素，图像塔看的却是 {expected}，最多 {MOST_PIXELS}",
        )
    ]


def build(config: VlmConfig, initial: Mapping[str, float]) -> Vlm:
    """Creates a model whose connector and decoder are initialised as in GPT-2, with smaller weights
    where a residual branch ends. Gates of cross-attention start open: Flamingo's start closed to
    leave a trained language model as it is, and this one is new."""
    model = Vlm(config)
    for name, module in (*model.connector.named_modules(), *model.decoder.named_modules()):
        if isinstance(module, nn.Linear | nn.Embedding):
            ends = name.endswith(("attention.out", "mlp.down"))
            spread = SPREAD / (2 * config.decoder.depth) ** 0.5 if ends else SPREAD
            nn.init.normal_(module.weight, std=spread)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        if isinstance(module, GatedCrossBlock):
            nn.init.ones_(module.gate1)
            nn.init.ones_(module.gate2)
    return model


def reuse(model: Vlm, folder: Path | None) -> None:
    """Keeps a frozen tower's output for each image, in float16, in a folder or in memory."""
    if is_frozen(model.tower):
        reuse_features(model.tower, folder)


def step(bundle: Bundle[Vlm], autocast: torch.dtype | None) -> TrainedVlm:
    return TrainedVlm(bundle, autocast)


FAMILY = Family(
    name="vlm",
    model=Vlm,
    config=VlmConfig,
    parts={
        "vit": VitConfig,
        "mobilenet": MobileNetConfig,
        "linear": LinearConnectorConfig,
        "mlp": MlpConnectorConfig,
        "pixel_shuffle": PixelShuffleConfig,
        "patch_merger": PatchMergerConfig,
        "perceiver": PerceiverConfig,
        "query_resampler": QueryResamplerConfig,
        "q_former": QFormerConnectorConfig,
    },
    misfits=misfits,
    build=build,
    step=step,
    reuse=reuse,
    borrow=borrow,
)
