"""Training vision-language models: building one from an image tower, a connector and a decoder, and
the objective that teaches it to answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from seesay.data.chat import Media, Message, encode, render
from seesay.data.chat_templates import chat_template
from seesay.data.tokenizer import Tokenizer
from seesay.errors import ConfigError, DataError
from seesay.models.connectors import (
    ConnectorConfig,
    LinearConnectorConfig,
    MlpConnectorConfig,
    PerceiverConfig,
    PixelShuffleConfig,
)
from seesay.models.cross_attention import GatedCrossConfig
from seesay.models.decoder import DecoderConfig
from seesay.models.layers import require_range
from seesay.models.vlm import Vlm, VlmConfig
from seesay.objectives.captioning import caption_loss, rows_by_image
from seesay.objectives.objective import (
    Batch,
    Objective,
    ObjectiveConfig,
    ObjectiveContext,
    SourceBatch,
    View,
)
from seesay.text import Text
from seesay.training.towers import open_tower
from seesay.weights.bundle import Bundle, family_of
from seesay.weights.vlm_step import rows_per_picture

TEMPLATE = "seesay"
"""The chat template of models built here."""
WITH_QUERIES = ("perceiver", "gated-cross-attention")
"""The connectors whose number of rows is a setting."""
QUERIES = 32  # unless it is set
RESAMPLER_DEPTH = 2  # layers of a Perceiver; Flamingo's has 6, for data of another size


# The model


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
    connector: Literal["linear", "mlp", "pixel-shuffle", "perceiver", "gated-cross-attention"] = (
        "mlp"
    )
    """How image features reach the decoder: as tokens, by LLaVA's linear map or MLP, by InternVL's
    pixel shuffle, which merges each 2 x 2 of them, or by a Perceiver's queries; or, as in Flamingo,
    by gated blocks before each of its layers, which attend to such queries, so that a picture takes
    one token."""
    queries: int | None = None
    """Queries of "perceiver" and "gated-cross-attention"; none: 32."""
    decoder: NewDecoderConfig = field(default_factory=NewDecoderConfig)
    """The language model."""

    def __post_init__(self) -> None:
        if self.queries is None:
            return
        require_range(1, queries=self.queries)
        if self.connector not in WITH_QUERIES:
            raise ConfigError(
                Text(
                    f"connector={self.connector!r} has no queries, but queries={self.queries}; "
                    f"expected one of {', '.join(WITH_QUERIES)}: choose one, or leave queries out",
                    f"connector={self.connector!r} 没有查询向量，却设了 queries={self.queries}；"
                    f"应为 {'、'.join(WITH_QUERIES)} 之一；请换一个，或去掉 queries",
                )
            )

    def resampler(self, width: int, text_dim: int | None) -> PerceiverConfig:
        """A Perceiver for a tower of this width, with heads and MLPs as wide as the decoder's."""
        return PerceiverConfig(
            dim=width,
            text_dim=text_dim,
            queries=QUERIES if self.queries is None else self.queries,
            depth=RESAMPLER_DEPTH,
            heads=self.decoder.heads,
            head_dim=self.decoder.dim // self.decoder.heads,
            hidden=self.decoder.hidden,
        )

    def decoder_config(self, width: int, vocab_size: int, context: int) -> DecoderConfig:
        """The decoder for a tower of this width."""
        config = self.decoder.config(vocab_size, context)
        if self.connector != "gated-cross-attention":
            return config
        cross = GatedCrossConfig(
            every=1,
            media_dim=width,
            heads=config.heads,
            head_dim=config.head_dim,
            hidden=config.hidden,
        )
        return replace(config, cross=cross)


def build_assistant(
    config: AssistantConfig, tokenizer: Tokenizer, seed: int, name: str
) -> Bundle[Vlm]:
    """Builds a model with the image tower's trained weights and random ones elsewhere. Raises
    ConfigError if the parts do not fit together."""
    seen = open_tower(config.tower, config.size, "model.assistant")
    prompts, decoder = tokenizer.for_prompts(), config.decoder
    image_id = prompts.token_to_id(chat_template(TEMPLATE).marks.image)
    if image_id is None:
        raise ConfigError(
            Text(
                "model.assistant needs tokens for images and turns, expected a vocabulary of the "
                'chat template "seesay": set model.vocabulary.chat = true',
                "model.assistant 需要图片和对话轮次的词元；应为对话模板 “seesay” 的词表；"
                "请设 model.vocabulary.chat = true",
            )
        )
    width = seen.config.dim
    connectors: dict[str, ConnectorConfig] = {
        "linear": LinearConnectorConfig(image_dim=width, text_dim=decoder.dim),
        "mlp": MlpConnectorConfig(image_dim=width, text_dim=decoder.dim),
        "pixel-shuffle": PixelShuffleConfig(image_dim=width, text_dim=decoder.dim),
        "perceiver": config.resampler(width, decoder.dim),
        "gated-cross-attention": config.resampler(width, None),
    }
    built = VlmConfig(
        tower=seen.config,
        connector=connectors[config.connector],
        decoder=config.decoder_config(width, prompts.get_vocab_size(), tokenizer.config.context),
        image_ids=(image_id,),
    )
    torch.manual_seed(seed)
    model: Vlm = family_of(built).build(built, {})
    seen.initialise(model.tower)
    return Bundle(
        model=model, transform=seen.transform, tokenizer=tokenizer, template=TEMPLATE, name=name
    )


# The objective


@dataclass(frozen=True, kw_only=True)
class AnsweringConfig(ObjectiveConfig):
    """Write answers and captions, token by token, given the image and what is asked; only what the
    assistant writes is learned (LLaVA, Liu et al. 2023). Freeze the tower and the decoder to train
    the connector alone, as LLaVA's first stage does."""

    @property
    def trains(self) -> tuple[str, ...]:
        return ("tower", "connector", "decoder")

    def make(self, context: ObjectiveContext) -> Objective:
        return Answering(self, context)

    def check(self, name: str, architecture: Any) -> None:
        if not isinstance(architecture, VlmConfig):
            raise ConfigError(
                Text(
                    f"objective.{name} learns to answer, expected a vision-language model: add "
                    "[model.assistant], or start from a model that was trained with it",
                    f"objective.{name} 要学回答；应有视觉语言模型；请加上 [model.assistant]，"
                    "或从用它训练过的模型开始",
                )
            )


class Answering:
    """The objective of AnsweringConfig. All conversations about an image share its row, so that a
    batch can be split anywhere."""

    def __init__(self, config: AnsweringConfig, context: ObjectiveContext) -> None:
        bundle: Bundle[Vlm] = context.bundle
        self._source = config.source
        self._images, self._answers = View("images", config.source), View("answers", config.source)
        self._template = chat_template(bundle.template)
        self._tokenizer = bundle.tokenizer.for_prompts()
        self._pad_id, self._limit = bundle.tokenizer.config.pad_id, bundle.tokenizer.config.context
        self._media = Media("image", (rows_per_picture(bundle),))
        self._learned = 0

    def inputs(self, batch: Batch) -> Mapping[View, Tensor]:
        own = batch.sources[self._source]
        rows = conversations_by_image(self._encode(own), own.owners, len(own.images), self._pad_id)
        self._learned = int(rows[:, :, 1, 1:].sum())
        return {self._images: own.images, self._answers: rows}

    def loss(
        self,
        outputs: Mapping[View, Tensor],
        batch: Batch,
        log_scale: Tensor | None = None,
        bias: Tensor | None = None,
    ) -> Tensor:
        return caption_loss(outputs[self._answers], self._learned)

    def _encode(self, own: SourceBatch) -> list[Tensor]:
        """Returns (2 tokens) for each text: the ids of its conversation, and which are learned."""
        texts = []
        for request, answer in zip(own.requests, own.texts, strict=True):
            asked = Message("user", (self._media, request) if request else (self._media,))
            prompt = render(self._template, [asked, Message("assistant", answer)], opening=False)
            try:
                encoded = encode(prompt, self._tokenizer, self._limit)
            except DataError as error:
                where = Text.of(f"data.{self._source}, {request!r:.60} {answer!r:.60}")
                raise DataError(
                    Text(f"{where.en}: {error.text.en}", f"{where.zh}：{error.text.zh}")
                ) from None
            texts.append(torch.tensor([encoded.ids, encoded.answer], dtype=torch.long))
        return texts


def conversations_by_image(texts: list[Tensor], owners: Tensor, images: int, pad_id: int) -> Tensor:
    """Groups conversations, (2 tokens) each, by image: returns (images most 2 tokens). Images with
    fewer conversations get padding, of which nothing is learned."""
    ids = pad_sequence([text[0] for text in texts], batch_first=True, padding_value=pad_id)
    learned = pad_sequence([text[1] for text in texts], batch_first=True)
    parts = rows_by_image(ids, owners, images, pad_id), rows_by_image(learned, owners, images, 0)
    return torch.stack(parts, dim=2)
