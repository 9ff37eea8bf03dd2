"""Building a vision-language model from an image tower, a connector and a decoder, for a recipe."""

from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from tokenizers import AddedToken
from torch import Tensor, nn

from seesay.data.chat_templates import chat_template
from seesay.data.tokenizer import Tokenizer, TokenizerConfig
from seesay.errors import ConfigError
from seesay.models.blip2 import Blip2Matcher
from seesay.models.connectors import (
    ConnectorConfig,
    LinearConnectorConfig,
    MlpConnectorConfig,
    PerceiverConfig,
    PixelShuffleConfig,
    QFormerConnector,
    QFormerConnectorConfig,
)
from seesay.models.cross_attention import GatedCrossBlock, GatedCrossConfig
from seesay.models.decoder import Decoder, DecoderConfig
from seesay.models.layers import require_range
from seesay.models.qformer import QFormer, QFormerConfig
from seesay.models.vit import VitConfig
from seesay.models.vlm import Vlm, VlmConfig
from seesay.text import Text
from seesay.training.towers import OpenedTower, open_tower
from seesay.weights.bundle import Bundle, GenerationConfig, family_of, load_bundle
from seesay.weights.hub import locate
from seesay.weights.language_models import open_language_model

TEMPLATE = "seesay"
"""The chat template used with a new decoder."""
WITH_QUERIES = ("perceiver", "q-former", "gated-cross-attention")
"""The connectors whose number of rows is a setting."""
QUERIES = 32  # unless it is set
RESAMPLER_DEPTH = 2  # layers of a Perceiver; Flamingo's has 6, for data of another size
QFORMER_DEPTH = 4  # every second layer attends to the picture: as often as that Perceiver
CONTEXT = 512
"""Tokens of a conversation with a trained decoder, unless it is set."""
NEARLY_CLOSED = 0.01
"""Gates of cross-attention before a trained decoder. Flamingo's start at 0, where no gradient
reaches what they read in the first step."""


@dataclass(frozen=True, kw_only=True)
class NewDecoderConfig:
    """A Llama-style decoder with random weights, whose input and output share the token
    embeddings."""

    dim: int = 256
    """Width of the token vectors."""
    depth: int = 4
    """Number of transformer layers."""
    heads: int = 4
    """Attention heads; they share `dim` equally."""
    hidden: int = 704
    """Width inside the MLPs."""

    def __post_init__(self) -> None:
        require_range(1, dim=self.dim, depth=self.depth, heads=self.heads, hidden=self.hidden)
        if self.dim % (2 * self.heads):
            raise ConfigError(
                Text(
                    f"dim={self.dim} and heads={self.heads} give heads of odd or broken width, "
                    "expected a dim that is a multiple of twice the heads: change one",
                    f"dim={self.dim} 不能平均分成 heads={self.heads} 个偶数宽度的头；dim 应是 "
                    "heads 两倍的倍数；请改其中之一",
                )
            )

    def config(self, vocab_size: int, context: int) -> DecoderConfig:
        return DecoderConfig(
            vocab_size=vocab_size,
            context=context,
            dim=self.dim,
            depth=self.depth,
            heads=self.heads,
            key_heads=self.heads,
            head_dim=self.dim // self.heads,
            hidden=self.hidden,
            tied=True,
        )


@dataclass(frozen=True, kw_only=True)
class AssistantConfig:
    """The parts of a new vision-language model."""

    tower: str = "seesay-base"
    """Catalogue name or folder of the dual encoder whose image tower is used."""
    size: int | None = None
    """Side in pixels of its images, for towers that take any size; none: the tower's own."""
    connector: Literal[
        "linear", "mlp", "pixel-shuffle", "perceiver", "q-former", "gated-cross-attention"
    ] = "mlp"
    """How image features reach the decoder: as tokens, by LLaVA's linear map or MLP, by InternVL's
    pixel shuffle, which merges each 2 x 2 of them, or by the queries of a Perceiver or of BLIP-2's
    Q-Former; or, as in Flamingo, by gated blocks before each of its layers, which attend to such
    queries, so that a picture takes one token."""
    queries: int | None = None
    """Queries of "perceiver", "q-former" and "gated-cross-attention"; none: 32."""
    qformer: str | None = None
    """Folder of a model of BLIP-2's first stage, from whose Q-Former the connector "q-former"
    starts; none: random weights."""
    decoder: NewDecoderConfig | str = field(default_factory=NewDecoderConfig)
    """The language model: a new one of these sizes; or, as a text, a trained one with its
    vocabulary: a GGUF file, the folder or hub name of a published one, or
    "smollm2-135m-instruct"."""
    context: int | None = None
    """Longest conversation in tokens, pictures included, with a trained decoder; none: 512. New
    ones have it in model.tokenizer."""
    beams: int = 1
    """Default beam search width for captions that the finished model writes."""

    def __post_init__(self) -> None:
        require_range(1, beams=self.beams)
        if self.queries is not None:
            require_range(1, queries=self.queries)
            if self.connector not in WITH_QUERIES:
                raise ConfigError(
                    Text(
                        f"connector={self.connector!r} has no queries, but queries={self.queries}; "
                        f"expected one of {', '.join(WITH_QUERIES)}: choose one, or leave queries "
                        "out",
                        f"connector={self.connector!r} 没有查询向量，却设了 queries={self.queries}"
                        f"；应为 {'、'.join(WITH_QUERIES)} 之一；请换一个，或去掉 queries",
                    )
                )
        if self.qformer is not None and (self.connector != "q-former" or self.queries is not None):
            given = f"connector={self.connector!r}, queries={self.queries}"
            raise ConfigError(
                Text(
                    f"qformer={self.qformer!r} brings a Q-Former with its queries, but {given}; "
                    "expected connector='q-former' alone: correct them",
                    f"qformer={self.qformer!r} 自带 Q-Former 和查询向量，却设了 {given}；"
                    "应只有 connector='q-former'；请改正",
                )
            )
        if self.context is not None:
            require_range(1, context=self.context)
            if not isinstance(self.decoder, str):
                raise ConfigError(
                    Text(
                        f"context={self.context} is set, which model.tokenizer brings along for a "
                        "new decoder: remove it",
                        f"设了 context={self.context}，而新解码器由 model.tokenizer 给出；请去掉",
                    )
                )

    def connector_config(self, tower: OpenedTower, decoder: DecoderConfig) -> ConnectorConfig:
        """The connector between these two; heads and MLPs of its queries are as wide as the
        decoder's."""
        width, text_dim = tower.config.dim, decoder.dim
        match self.connector:
            case "linear":
                return LinearConnectorConfig(image_dim=width, text_dim=text_dim)
            case "mlp":
                return MlpConnectorConfig(image_dim=width, text_dim=text_dim)
            case "pixel-shuffle":
                return PixelShuffleConfig(image_dim=width, text_dim=text_dim)
            case "q-former":
                qformer = QFormerConfig(
                    queries=self.queries or QUERIES,
                    dim=text_dim,
                    depth=QFORMER_DEPTH,
                    heads=decoder.heads,
                    hidden=decoder.hidden,
                    image_dim=width,
                )
                return QFormerConnectorConfig(qformer=qformer, text_dim=text_dim)
        return PerceiverConfig(
            dim=width,
            text_dim=text_dim if self.connector == "perceiver" else None,
            queries=self.queries or QUERIES,
            depth=RESAMPLER_DEPTH,
            heads=decoder.heads,
            head_dim=decoder.head_dim,
            hidden=decoder.hidden,
        )

    def with_cross_attention(self, decoder: DecoderConfig, width: int) -> DecoderConfig:
        """The decoder with the gated blocks that the connector asks for, if any, for a tower of
        this width."""
        if self.connector != "gated-cross-attention":
            return decoder
        cross = GatedCrossConfig(
            every=1,
            media_dim=width,
            heads=decoder.heads,
            head_dim=decoder.head_dim,
            hidden=decoder.hidden,
        )
        return replace(decoder, cross=cross)


def build_assistant(
    config: AssistantConfig, given: Tokenizer | None, seed: int, name: str
) -> Bundle[Vlm]:
    """Builds a model with the trained weights of its image tower and, where the recipe names them,
    of its decoder and Q-Former, and random ones elsewhere; `given` is the tokenizer of a new
    decoder. Raises ConfigError if the parts do not fit together."""
    seen = open_tower(config.tower, config.size, "model.assistant")
    if config.connector == "q-former":
        seen = seen.normed()
    language, tokenizer, template = _language(config, given)
    decoder = language.config if isinstance(language, Decoder) else language
    connector, qformer = config.connector_config(seen, decoder), None
    if config.qformer is not None:
        qformer = _open_qformer(config.qformer, seen)
        trained = replace(qformer.config, vocab_size=None, context=QFormerConfig().context)
        connector = QFormerConnectorConfig(qformer=trained, text_dim=decoder.dim)
    image_id = tokenizer.for_prompts().token_to_id(chat_template(template).marks.image)
    assert image_id is not None  # _language
    tower = seen.config
    built = VlmConfig(
        tower=tower,
        connector=connector,
        decoder=config.with_cross_attention(decoder, tower.dim),
        image_ids=(image_id,),
        class_token=isinstance(connector, QFormerConnectorConfig)
        and isinstance(tower, VitConfig)
        and tower.has_class_token,
    )
    torch.manual_seed(seed)
    model: Vlm = family_of(built).build(built, {})
    seen.initialise(model.tower)
    if qformer is not None:
        assert isinstance(model.connector, QFormerConnector)
        _copy(qformer, model.connector.qformer)
    if isinstance(language, Decoder):
        _start_from(language, model.decoder)
    return Bundle(
        model=model,
        transform=seen.transform,
        tokenizer=tokenizer,
        generation=GenerationConfig(beams=config.beams) if config.beams > 1 else None,
        template=template,
        name=name,
    )


# The language model


def _language(
    config: AssistantConfig, given: Tokenizer | None
) -> tuple[Decoder | DecoderConfig, Tokenizer, str]:
    """The trained decoder or the config of a new one, its tokenizer and its chat template."""
    if isinstance(config.decoder, str):
        found = open_language_model(config.decoder)
        image = chat_template(found.template).marks.image
        if found.vocabulary.token_to_id(image) is None:
            # Its number is beyond the embeddings, which a placeholder does without.
            found.vocabulary.add_special_tokens([AddedToken(image, normalized=False)])
        context = min(config.context or CONTEXT, found.decoder.config.context)
        settings = TokenizerConfig(context=context, pad_id=0)  # padding is masked
        return found.decoder, Tokenizer(found.vocabulary, settings), found.template
    assert given is not None  # ModelConfig
    prompts = given.for_prompts()
    if prompts.token_to_id(chat_template(TEMPLATE).marks.image) is None:
        raise ConfigError(
            Text(
                "model.assistant needs tokens for images and turns, expected a vocabulary of the "
                'chat template "seesay": set model.vocabulary.chat = true',
                "model.assistant 需要图片和对话轮次的词元；应为对话模板 “seesay” 的词表；"
                "请设 model.vocabulary.chat = true",
            )
        )
    made = config.decoder.config(prompts.get_vocab_size(), given.config.context)
    return made, given, TEMPLATE


@torch.no_grad()
def _start_from(trained: Decoder, decoder: Decoder) -> None:
    """Copies all weights; the gated blocks between them, if any, are nearly closed, so that the
    language model stays what it is."""
    decoder.load_state_dict(decoder.state_dict() | trained.state_dict())
    for module in decoder.modules():
        if isinstance(module, GatedCrossBlock):
            nn.init.constant_(module.gate1, NEARLY_CLOSED)
            nn.init.constant_(module.gate2, NEARLY_CLOSED)


# BLIP-2's first stage


def _open_qformer(name: str, seen: OpenedTower) -> QFormer:
    """The Q-Former of a first stage over the same tower."""
    place = locate(name)
    bundle = load_bundle(place.folder, image_folder=place.image_folder)
    model = bundle.model
    same = (
        isinstance(model, Blip2Matcher)
        and model.config.image == seen.config
        and bundle.transform == seen.transform
        and _equal(model.image, seen.bundle.model.image.state_dict())
    )
    if not same:
        raise ConfigError(
            Text(
                f"model.assistant.qformer={name!r} cannot be used: it is a "
                f"{type(model).__name__}; expected a model of BLIP-2's first stage that was "
                "trained over the same tower with the same size: set tower and size as in the "
                "recipe of that stage",
                f"model.assistant.qformer={name!r} 不能用：它是 {type(model).__name__}；应为 "
                "BLIP-2 第一阶段的模型，图像塔和图片尺寸都相同；请按该阶段的配方设置 tower 和 size",
            )
        )
    return model.qformer


def _equal(tower: nn.Module, weights: dict[str, Tensor]) -> bool:
    """Whether a tower has these weights, up to the number format that it was exported in."""
    return all(
        torch.allclose(one, weights[name], atol=0.02 * float(one.abs().max()))
        for name, one in tower.state_dict().items()
        if one.is_floating_point()
    )


def _copy(trained: QFormer, qformer: QFormer) -> None:
    """Copies what a Q-Former without texts has."""
    weights = trained.state_dict()
    qformer.load_state_dict({name: weights[name] for name in qformer.state_dict()})
