"""Fewer image tokens for a language model.

    kept = fastv(decoder, prompt, images, FastVConfig(layer=2, keep=0.5), cache)
    logits = decoder.logits(kept.hidden[:, -1:])       # continue with the same cache

    rows = prumerge(patches, keys, attention, PruMergeConfig())

FastV (Chen et al. 2024, arXiv 2403.06764) drops image tokens between two layers of the decoder: the
caches of earlier layers hold all tokens, those of later layers only the ones that are left.
PruMerge (Shang et al. 2024, arXiv 2403.15388) merges patches before the connector, so the prompt
needs fewer placeholders. Both are for inference and need no training.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seesay.models.cache import KeyValueCache
from seesay.models.decoder import Decoder, DecoderBlock, Step
from seesay.models.layers import conflict, require_range
from seesay.models.rope import Angles


@dataclass(frozen=True, kw_only=True)
class FastVConfig:
    """Which image tokens all layers of a decoder read. Text is never dropped, and the remaining
    tokens keep their positions."""

    layer: int = 2
    """Number of layers that read all tokens (K in the paper)."""
    keep: float = 0.5
    """Share of each row's image tokens that the other layers read, rounded down (1 - R in the
    paper)."""
    ranking: Literal["attention", "random", "uniform"] = "attention"
    """Which to keep: those the prompt's last token attends to most in the last of these layers,
    averaged over heads; or a baseline, random or evenly spaced."""
    seed: int = 0
    """Seed of the random baseline."""

    def __post_init__(self) -> None:
        require_range(1 if self.ranking == "attention" else 0, layer=self.layer)
        if not 0 < self.keep <= 1:
            raise conflict(
                f"keep={self.keep} and FastV",
                "a share above 0 and up to 1: set one, such as 0.5",
                "大于 0 且不超过 1 的比例：请设为例如 0.5",
            )


@dataclass(frozen=True, kw_only=True)
class PruMergeConfig:
    """Which patches are kept, and how the others are merged into them."""

    plus: bool = False
    """PruMerge+: also keep evenly spaced patches, about three for each one already kept."""
    neighbours: int = 32
    """Patches that are merged into each kept one."""

    def __post_init__(self) -> None:
        require_range(1, neighbours=self.neighbours)


TokenReduction = FastVConfig | PruMergeConfig


# FastV


class Prompt(NamedTuple):
    """Embeddings as `Decoder.forward` takes them, and what a model adds to image tokens between
    layers."""

    embeds: Float[Tensor, "batch tokens dim"]
    positions: Int[Tensor, "*axes batch tokens"] | None = None
    mask: Bool[Tensor, "batch tokens"] | None = None
    deepstack: tuple[Float[Tensor, "batch tokens dim"], ...] = ()
    """Added after each of the first layers in turn (Qwen3-VL)."""


class Kept(NamedTuple):
    """The hidden states of the remaining tokens, padded on the left."""

    hidden: Float[Tensor, "batch kept dim"]
    places: Int[Tensor, "batch kept"]
    """Index of each in the prompt."""
    real: Bool[Tensor, "batch kept"]
    """False for padding, in rows with fewer remaining tokens than others."""


def fastv(
    decoder: Decoder,
    prompt: Prompt,
    images: Bool[Tensor, "batch tokens"],
    config: FastVConfig,
    cache: KeyValueCache | None = None,
) -> Kept:
    """Reads a prompt and drops image tokens after `config.layer` layers; `images` is true for image
    tokens. The cache may hold earlier tokens, and takes later ones as usual.

    Raises ConfigError for a decoder with fewer layers, or one whose positions depend on the number
    of preceding tokens (ALiBi).
    """
    _check(decoder, config)
    cache = KeyValueCache() if cache is None else cache
    x, step = decoder.begin(prompt.embeds, prompt.positions, cache, prompt.mask, None)
    real = torch.ones_like(images) if prompt.mask is None else prompt.mask
    deep, split = list(prompt.deepstack), config.layer
    before = _run(decoder, x, step, cache, deep, range(split - 1))
    x = _run(decoder, before, step, cache, deep, range(max(0, split - 1), split))
    if config.ranking == "attention":
        scores = _last_token_attention(decoder, before, step, cache, split - 1)
    else:
        scores = _baseline(images, config)
    chosen = _most(scores, images & real, config.keep) | (real & ~images)
    places, left = _places(chosen)
    x, step = x.take_along_dim(places[..., None], 1), _kept(step, places, left)
    deep = [one.take_along_dim(places[..., None], 1) for one in deep]
    x = _run(decoder, x, step, cache, deep, range(split, decoder.config.depth))
    return Kept(decoder.norm_out(x), places, left)


def _check(decoder: Decoder, config: FastVConfig) -> None:
    c = decoder.config
    if c.positions == "alibi" or c.cross is not None:
        raise conflict(
            f"FastV, positions={c.positions!r} and cross={c.cross is not None}",
            "a decoder that reads pictures as tokens with positions of their own: leave the "
            "reduction out",
            "把图片读作带位置的词元的解码器：请去掉 reduction",
        )
    require_range(0, c.depth, layer=config.layer)


def _run(
    decoder: Decoder,
    x: Float[Tensor, "batch tokens dim"],
    step: Step,
    cache: KeyValueCache,
    deep: list[Float[Tensor, "batch tokens dim"]],
    layers: range,
) -> Float[Tensor, "batch tokens dim"]:
    """Returns the output of the last of these layers, adding from `deep` after each of the
    first."""
    while deep and layers:
        x = decoder.run(x, step, cache, layers[:1]) + deep.pop(0)
        layers = layers[1:]
    return decoder.run(x, step, cache, layers)


def _last_token_attention(
    decoder: Decoder,
    x: Float[Tensor, "batch tokens dim"],
    step: Step,
    cache: KeyValueCache,
    layer: int,
) -> Float[Tensor, "batch tokens"]:
    """Returns how much each row's last token attends to every token of the call, averaged over
    heads, in a layer with input `x`. Only its queries are computed; the keys are cached."""
    block, kept = decoder.blocks[layer], cache.layer(layer)
    assert isinstance(block, DecoderBlock)
    count = torch.arange(x.shape[1], device=x.device)
    last = torch.full((len(x), 1), x.shape[1] - 1, device=x.device)
    if step.real is not None:
        last = (count * step.real).amax(1, keepdim=True)
    token = x.take_along_dim(last[..., None], 1)
    q = block.attention.queries(block.norm1(token), _angles_at(step.angles, last))
    keys = kept.keys
    grouped = q.unflatten(1, (keys.shape[1], -1)).flatten(2, 3)  # queries by the keys they share
    scores = grouped.float() @ keys.float().mT / q.shape[-1] ** 0.5
    if kept.real is not None:
        scores = scores.masked_fill(~kept.real[:, None, None], -torch.inf)
    earlier = keys.shape[2] - x.shape[1]
    later = torch.arange(keys.shape[2], device=x.device) > last + earlier
    weights = scores.masked_fill(later[:, None, None], -torch.inf).softmax(-1)
    return weights.mean((1, 2))[:, earlier:]


def _baseline(
    images: Bool[Tensor, "batch tokens"], config: FastVConfig
) -> Float[Tensor, "batch tokens"]:
    """Returns scores that are highest at random or evenly spaced image tokens. They depend only on
    the row's image tokens."""
    scores = torch.zeros(images.shape)
    for row, of_row in enumerate(images.cpu()):
        count = int(of_row.sum())
        if config.ranking == "random":
            generator = torch.Generator().manual_seed(config.seed)
            scores[row, of_row] = torch.rand(count, generator=generator)
        else:
            number = torch.arange(1, count + 1) * int(config.keep * count)
            step = number // max(1, count)
            scores[row, of_row] = step.diff(prepend=torch.zeros(1, dtype=torch.long)).float()
    return scores.to(images.device)


def _most(
    scores: Float[Tensor, "batch tokens"], images: Bool[Tensor, "batch tokens"], keep: float
) -> Bool[Tensor, "batch tokens"]:
    """Returns which of each row's image tokens score highest; ties go to the first."""
    counts = images.sum(1, keepdim=True)
    wanted = (keep * counts.double()).long().clamp(min=1)
    order = scores.masked_fill(~images, -torch.inf).argsort(dim=1, descending=True, stable=True)
    return images & (order.argsort(dim=1) < wanted)


def _places(
    chosen: Bool[Tensor, "batch tokens"],
) -> tuple[Int[Tensor, "batch kept"], Bool[Tensor, "batch kept"]]:
    """Returns the indices of each row's chosen tokens, in order, padded on the left."""
    width = int(chosen.sum(1).max())
    places = chosen.long().argsort(dim=1, stable=True)[:, chosen.shape[1] - width :]
    return places, chosen.take_along_dim(places, 1)


def _kept(step: Step, places: Int[Tensor, "batch kept"], left: Bool[Tensor, "batch kept"]) -> Step:
    return Step(_angles_at(step.angles, places), None if bool(left.all()) else left, step.media)


def _angles_at(angles: Angles | None, places: Int[Tensor, "batch kept"]) -> Angles | None:
    if angles is None:
        return None
    cos, sin = (
        part.expand(len(places), -1, -1, -1).take_along_dim(places[:, None, :, None], 2)
        for part in angles
    )
    return Angles(cos, sin)


# PruMerge


def prumerge(
    patches: Float[Tensor, "patches dim"],
    keys: Float[Tensor, "patches dim"],
    attention: Float[Tensor, " patches"],
    config: PruMergeConfig,
) -> Float[Tensor, "kept dim"]:
    """Returns the patches of one picture with outlying class attention, highest first, each with
    its neighbours merged in; then one patch that merges all the others.

    `keys` and `attention` are from `Vit.class_attention`.
    """
    kept = _outliers(attention)
    if config.plus:
        kept = _with_uniform(kept, len(patches))
    unit = F.normalize(keys.float(), dim=1)
    likeness = unit[kept] @ unit.T
    likeness[torch.arange(len(kept), device=kept.device), kept] = -torch.inf  # exclude itself
    near = likeness.topk(min(config.neighbours, len(patches) - 1)).indices
    merged = patches[kept] + (attention[near, None].to(patches.dtype) * patches[near]).sum(1)
    others = torch.ones(len(patches), dtype=torch.bool, device=patches.device)
    others[kept] = False
    if not bool(others.any()):
        return merged
    rest = (attention[others, None].to(patches.dtype) * patches[others]).sum(0, keepdim=True)
    return torch.cat([merged, rest])


def _outliers(attention: Float[Tensor, " patches"]) -> Int[Tensor, " kept"]:
    """Returns the patches whose attention exceeds the third quartile by more than 1.5 times the
    interquartile range; the highest one if none does."""
    lower, upper = torch.quantile(attention.float(), attention.new_tensor([0.25, 0.75]).float())
    count = int((attention > upper + 1.5 * (upper - lower)).sum())
    return attention.topk(max(1, count)).indices


def _with_uniform(kept: Int[Tensor, " kept"], patches: int) -> Int[Tensor, " more"]:
    """Returns these patches, then evenly spaced ones. The published code never takes the last
    patch, and fails if more than a third are kept."""
    step = max(1, patches // len(kept) // 3)
    uniform = torch.arange(0, patches, step, device=kept.device)
    return torch.cat([kept, uniform[~torch.isin(uniform, kept)]])
