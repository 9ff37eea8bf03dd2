"""Building a Q-Former over a frozen image tower, for BLIP-2's first stage."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from seesay.data.tokenizer import Tokenizer
from seesay.errors import ConfigError
from seesay.models.bert import Bert, BertConfig
from seesay.models.blip2 import Blip2Matcher, Blip2MatcherConfig
from seesay.models.layers import require_range
from seesay.models.qformer import QFormer, QFormerConfig
from seesay.text import Text
from seesay.training.towers import open_tower, short_tokenizer
from seesay.weights.bundle import Bundle, family_of, load_bundle
from seesay.weights.hub import locate

CAPTION = "[DEC]"
"""The token that a caption is written after, in vocabularies that have one (LAVIS)."""


@dataclass(frozen=True, kw_only=True)
class NewQFormerConfig:
    """A new Q-Former over the image tower of a trained dual encoder. What is left open is that of
    `text`, or that of a small Q-Former: 256 wide, 4 layers of 4 heads, MLPs of 1024."""

    tower: str = "seesay-base"
    """Catalogue name or folder of the dual encoder whose image tower is used; it stays frozen."""
    size: int | None = None
    """Side in pixels of its images, for towers that take any size; none: the tower's own."""
    text: str | None = None
    """Catalogue name or folder of a model with a BERT as its text tower, from whose words and
    layers the Q-Former starts; none: random weights."""
    context: int | None = None
    """Longest text in tokens, with `text`; none: 32. Others have it in model.tokenizer."""
    queries: int = 32
    """Number of queries."""
    dim: int | None = None
    """Width of the token vectors."""
    depth: int | None = None
    """Number of layers; with `text`, its first ones."""
    heads: int | None = None
    """Attention heads; they share `dim` equally."""
    hidden: int | None = None
    """Width inside the MLPs."""
    cross_every: int = 2
    """The queries attend to the image in every how-many-th layer, starting with the first."""
    embed_dim: int = 256
    """Width of the space in which images and texts are compared."""

    def __post_init__(self) -> None:
        open_sizes = {"context": self.context, "dim": self.dim, "heads": self.heads}
        open_sizes |= {"hidden": self.hidden, "size": self.size}
        given = {name: value for name, value in open_sizes.items() if value is not None}
        sizes = {"queries": self.queries, "cross_every": self.cross_every}
        require_range(1, **given, **sizes, embed_dim=self.embed_dim)
        if self.depth is not None:
            require_range(2, depth=self.depth)  # a text reads what queries saw a layer before
        of_text = ("dim", "heads", "hidden")
        wrong = [name for name in of_text if self.text is not None and name in given]
        if self.text is None and self.context is not None:
            wrong = ["context"]
        if wrong:
            brings = "model.tokenizer" if self.text is None else f"text={self.text!r}"
            named = ", ".join(f"{name}={given[name]}" for name in wrong)
            raise ConfigError(
                Text(
                    f"{named} is set, which {brings} brings along: remove it",
                    f"设了 {named}，而 {brings} 已经给出；请去掉",
                )
            )


def build_qformer(
    config: NewQFormerConfig, given: Tokenizer | None, seed: int, initial: Mapping[str, float]
) -> Bundle[Blip2Matcher]:
    """Builds a model with the image tower's trained weights, and random ones or those of a BERT
    elsewhere; `given` is the tokenizer of a model without `text`. Raises ConfigError if the parts
    do not fit together."""
    seen = open_tower(config.tower, config.size, "model.qformer").normed()
    bert = None if config.text is None else _open_bert(config.text)
    tokenizer = given
    if bert is not None:
        tokenizer = short_tokenizer(str(config.text), bert, config.context)
    assert tokenizer is not None  # ModelConfig
    _check_prefix(tokenizer)
    text = None if bert is None else bert.config.text
    words = max(tokenizer.vocab_size, tokenizer.largest_id + 1, text.vocab_size if text else 0)
    begin_id = tokenizer.for_prompts().token_to_id(CAPTION)
    built = Blip2MatcherConfig(
        image=seen.config,
        qformer=replace(
            _qformer_config(config, text),
            image_dim=seen.config.dim,
            vocab_size=words + (begin_id is None),
            context=tokenizer.config.context,
        ),
        embed_dim=config.embed_dim,
        begin_id=words if begin_id is None else begin_id,
    )
    torch.manual_seed(seed)
    model: Blip2Matcher = family_of(built).build(built, initial)
    seen.initialise(model.image)
    if bert is not None:
        _start_from(model.qformer, bert.model.text)
    return Bundle(model=model, transform=seen.transform, tokenizer=tokenizer, name="")


def _qformer_config(config: NewQFormerConfig, bert: BertConfig | None) -> QFormerConfig:
    if bert is None:
        return QFormerConfig(
            queries=config.queries,
            dim=config.dim or 256,
            depth=config.depth or 4,
            heads=config.heads or 4,
            hidden=config.hidden or 1024,
            cross_every=config.cross_every,
        )
    depth = bert.depth if config.depth is None else config.depth
    if depth > bert.depth:
        raise ConfigError(
            Text(
                f"model.qformer.depth={depth} is more than the {bert.depth} layers of "
                f"text={config.text!r}: set {bert.depth} or fewer",
                f"model.qformer.depth={depth} 超过了 text={config.text!r} 的 {bert.depth} 层；"
                f"请设为 {bert.depth} 或更少",
            )
        )
    return QFormerConfig(
        queries=config.queries,
        dim=bert.dim,
        depth=depth,
        heads=bert.heads,
        hidden=bert.hidden,
        cross_every=config.cross_every,
        activation=bert.activation,
        norm_eps=bert.norm_eps,
    )


# A BERT to start from


def _open_bert(name: str) -> Bundle[Any]:
    place = locate(name)
    bundle = load_bundle(place.folder, image_folder=place.image_folder)
    text = getattr(bundle.config, "text", None)
    if not isinstance(text, BertConfig):
        tower = type(text).__name__
        raise ConfigError(
            Text(
                f"model.qformer.text={name!r} cannot be used: its text tower is a {tower}; "
                "expected a BERT, as in seesay-text or Chinese-CLIP: choose another",
                f"model.qformer.text={name!r} 不能用：它的文字编码器是 {tower}；应为 BERT，"
                "如 seesay-text 或 Chinese-CLIP；请换一个",
            )
        )
    return bundle


def _check_prefix(tokenizer: Tokenizer) -> None:
    if len(tokenizer.prefix) == 1:
        return
    raise ConfigError(
        Text(
            f"the vocabulary puts the tokens {list(tokenizer.prefix)} before a text, expected one, "
            "at which a Q-Former reads it: set model.vocabulary.written = true, or choose another "
            "tokenizer",
            f"词表在文字前加的词元是 {list(tokenizer.prefix)}；应恰有一个，Q-Former 在那里读出"
            "文字；请设 model.vocabulary.written = true，或换一个分词器",
        )
    )


@torch.no_grad()
def _start_from(qformer: QFormer, bert: Bert) -> None:
    """Copies words, positions and layers. The MLPs of the queries begin as copies of the texts'
    (LAVIS, init_Qformer); every text is of BERT's first type."""
    assert qformer.token_embed is not None and qformer.positions is not None
    first, context = bert.config.first_position, len(qformer.positions)
    qformer.token_embed.weight[: bert.config.vocab_size] = bert.token_embed.weight
    qformer.positions.copy_(bert.positions[first : first + context] + bert.types[0])
    qformer.norm_in.load_state_dict(bert.norm_in.state_dict())
    for block, layer in zip(qformer.blocks, bert.blocks[: len(qformer.blocks)], strict=True):
        for ours, theirs in MODULES.items():
            block.get_submodule(ours).load_state_dict(layer.get_submodule(theirs).state_dict())


MODULES = {
    "attention": "attention",
    "norm1": "norm1",
    "mlp": "mlp",
    "norm2": "norm2",
    "mlp_text": "mlp",
    "norm_text": "norm2",
}
"""Modules of a Q-Former's layer -> those of a BERT's."""
