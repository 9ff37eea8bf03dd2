"""Vision-language models: tower -> connector -> rows among the token embeddings of a decoder.

    seen = model.see(pixels)                              # once for each picture
    hidden = model(ids, seen, cache=cache, mask=mask)     # the prompt
    hidden = model(next_ids, cache=cache)                 # each further token
    logits = model.logits(hidden[:, -1:])

The prompt holds a placeholder for each row of a picture. `Tiling` says how to reassemble pictures
that were cut into tiles.
"""

from dataclasses import dataclass, replace
from math import ceil
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seesay.errors import ConfigError
from seesay.models.cache import KeyValueCache
from seesay.models.connectors import (
    CONNECTORS,
    ConnectorConfig,
    LinearConnectorConfig,
    MlpConnectorConfig,
    PatchMerger,
    PatchMergerConfig,
    PerceiverConfig,
)
from seesay.models.cross_attention import Media
from seesay.models.decoder import Decoder, DecoderConfig
from seesay.models.layers import conflict, require_range
from seesay.models.mobilenet import MobileNet, MobileNetConfig
from seesay.models.packed_vit import PackedVit, PackedVitConfig
from seesay.models.t5 import T5
from seesay.models.token_reduction import FastVConfig, Prompt, PruMergeConfig, fastv, prumerge
from seesay.models.vit import Vit, VitConfig
from seesay.text import Text


class Tiling(NamedTuple):
    """How a picture was cut: one tile that shows all of it, then a grid of tiles, and which patches
    of the grid are kept (seesay.data.tiling.AnyResLayout)."""

    rows: int
    columns: int
    """Both 0 if the whole-picture tile is the only one."""
    kept: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Left, top, right and bottom edge of the part that is not padding, in patches."""
    size: tuple[int, int] = (0, 0)
    """Rows and columns that the kept part is scaled to."""


@dataclass(frozen=True, kw_only=True)
class VlmConfig:
    """A vision-language model whose pictures are squares of one size."""

    tower: VitConfig | MobileNetConfig
    """The image tower; a ViT's features come from its `layer`, a MobileNet's from its last map."""
    connector: ConnectorConfig
    """Maps image features to rows of the decoder's width."""
    decoder: DecoderConfig
    """The language model; with `cross`, its gated blocks read the connector's rows, which are as
    wide as `media_dim`, and the prompt has one placeholder for each picture."""
    image_ids: tuple[int, ...]
    """Placeholder tokens for the rows of pictures and videos."""
    class_token: bool = False
    """Whether the connector also gets the class token."""
    newline: bool = False
    """Whether a learned newline row ends each line of a tiled picture (LLaVA-NeXT)."""
    most_tiles: int | None = None
    """Grids with more tiles are shrunk to the size of this many (LLaVA-OneVision); read by the code
    that cuts pictures."""

    def __post_init__(self) -> None:
        if not self.image_ids:
            raise conflict("image_ids=() and a tower", "at least one token", "至少一个词元")
        if self.most_tiles is not None:
            require_range(1, most_tiles=self.most_tiles)
        if self.class_token and not self.has_class_token:
            raise conflict(
                "class_token=True and a tower without one",
                "class_token=False: leave it out",
                "class_token=False：请去掉该项",
            )
        cross, connector = self.decoder.cross, self.connector
        if cross is not None:
            width = connector.text_dim
            if width is None:
                assert isinstance(connector, PerceiverConfig)  # without a last map
                width = connector.dim
            if width != cross.media_dim or self.newline:
                raise conflict(
                    f"decoder.cross.media_dim={cross.media_dim}, a connector {width} wide and "
                    f"newline={self.newline}",
                    "equal widths and newline=False: change them",
                    "两者宽度相同，且 newline=False：请修改",
                )

    @property
    def rows_in_prompt(self) -> bool:
        """Whether each row of a picture has a placeholder; with gated blocks, each picture has."""
        return self.decoder.cross is None

    @property
    def has_class_token(self) -> bool:
        """Whether the tower has a class token."""
        return isinstance(self.tower, VitConfig) and self.tower.has_class_token

    @property
    def vit(self) -> VitConfig:
        """The tower of a model that cuts pictures into tiles. Raises ConfigError for one that is no
        ViT."""
        if isinstance(self.tower, VitConfig):
            return self.tower
        raise conflict(
            f"{type(self.tower).__name__} and tiles",
            "a ViT: give whole pictures",
            "ViT：请给整张图片",
        )


class Vlm(nn.Module):
    """Pictures and text -> the language model's hidden states."""

    def __init__(self, config: VlmConfig) -> None:
        super().__init__()
        c = config
        self.config = c
        self.tower: Vit | MobileNet
        self.tower = Vit(c.tower) if isinstance(c.tower, VitConfig) else MobileNet(c.tower)
        self.connector: nn.Module = CONNECTORS[type(c.connector)](c.connector)
        self.decoder = Decoder(c.decoder)
        self.newline = nn.Parameter(torch.zeros(c.decoder.dim)) if c.newline else None

    def see(
        self, pixels: Float[Tensor, "images 3 height width"]
    ) -> Float[Tensor, "images rows dim"]:
        """Returns the embeddings of each picture or tile."""
        return self.connector(self.patches(pixels))

    def patches(
        self, pixels: Float[Tensor, "images 3 height width"]
    ) -> Float[Tensor, "images patches image_dim"]:
        """Returns what the connector gets of each picture or tile."""
        x = patches_of(self.tower, pixels)
        return x[:, 1:] if self.config.has_class_token and not self.config.class_token else x

    def see_merged(
        self, pixels: Float[Tensor, "images 3 height width"], config: PruMergeConfig
    ) -> list[Float[Tensor, "rows dim"]]:
        """Returns fewer rows for each picture than `see` does. Raises ConfigError for a tower
        without a class token or a connector that needs all patches."""
        if not isinstance(self.config.connector, LinearConnectorConfig | MlpConnectorConfig):
            raise conflict(
                f"PruMerge and {type(self.config.connector).__name__}",
                "a connector that reads each patch alone, like LLaVA's: choose another reduction",
                "逐个读取图块的连接器（如 LLaVA 的）：请换一种 reduction",
            )
        assert isinstance(self.tower, Vit)  # the class tokens of others are refused before
        features = self.tower.features(pixels)
        lead = features[:, : self.config.class_token]
        attention, keys = self.tower.class_attention(features)
        merged = [
            prumerge(*one, config) for one in zip(features[:, 1:], keys, attention, strict=True)
        ]
        both = zip(lead, merged, strict=True)
        return [self.connector(torch.cat(one)[None])[0] for one in both]

    def join_tiles(
        self, tiles: Float[Tensor, "tiles patches dim"], tiling: Tiling
    ) -> Float[Tensor, "rows dim"]:
        """Joins the rows of a picture's tiles: the whole-picture tile first, then the grid line by
        line, without padding."""
        whole, grid = tiles[0], tiles[1:]
        if not len(grid):
            return whole if self.newline is None else torch.cat([whole, self.newline[None]])
        side = self.config.vit.grid
        lines = grid.unflatten(1, (side, side)).unflatten(0, (tiling.rows, tiling.columns))
        square = lines.transpose(1, 2).flatten(2, 3).flatten(0, 1)  # rows, columns, dim
        left, top, right, bottom = tiling.kept
        square = square[top:bottom, left:right]
        if square.shape[:2] != tiling.size:
            square = _scaled(square, tiling.size)
        if self.newline is not None:
            newlines = self.newline.expand(len(square), 1, -1)
            square = torch.cat([square, newlines], dim=1)
        return torch.cat([whole, square.flatten(0, 1)])

    def join_frames(self, frames: Float[Tensor, "frames patches dim"]) -> Float[Tensor, "rows dim"]:
        """Joins the rows of a video's frames, each at half the resolution, with one newline at the
        end (LLaVA-OneVision)."""
        side = self.config.vit.grid
        square = frames.unflatten(1, (side, side)).permute(0, 3, 1, 2)
        small = F.interpolate(square, size=(ceil(side / 2),) * 2, mode="bilinear")
        rows = small.permute(0, 2, 3, 1).flatten(0, 2)
        return rows if self.newline is None else torch.cat([rows, self.newline[None]])

    def embed(
        self,
        ids: Int[Tensor, "batch tokens"],
        rows: Float[Tensor, "rows dim"] | None = None,
    ) -> Float[Tensor, "batch tokens dim"]:
        """Returns the embeddings of a prompt, with the rows of its pictures at their placeholders,
        in order. Raises ConfigError if the numbers of placeholders and rows differ."""
        return embed_with_rows(self.decoder, ids, self.config.image_ids, rows)

    def inputs(
        self,
        ids: Int[Tensor, "batch tokens"],
        rows: Float[Tensor, "*images rows width"] | None = None,
        cache: KeyValueCache | None = None,
    ) -> tuple[Float[Tensor, "batch tokens dim"], Media | None]:
        """Returns what the decoder gets of a prompt: its embeddings, and its pictures if gated
        blocks read them. `rows` are those of all pictures, one after another; for gated blocks, as
        `see` returns them. Raises ConfigError as `embed` does."""
        if self.config.rows_in_prompt:
            return self.embed(ids, None if rows is None else rows.flatten(0, -2)), None
        places = _places(ids, self.config.image_ids)
        known = ids.masked_fill(places & (ids >= self.config.decoder.vocab_size), 0)
        return self.decoder.embed(known), self.decoder.media(places, rows, cache)

    def forward(
        self,
        ids: Int[Tensor, "batch tokens"],
        rows: Float[Tensor, "*images rows width"] | None = None,
        positions: Int[Tensor, "*axes batch tokens"] | None = None,
        cache: KeyValueCache | None = None,
        mask: Bool[Tensor, "batch tokens"] | None = None,
        reduction: FastVConfig | None = None,
    ) -> Float[Tensor, "batch kept dim"]:
        """Returns the hidden states. `rows` are as in `inputs`, the rest is as in Decoder.forward.
        With a reduction, only the tokens of `token_reduction.Kept` are left."""
        embeds, media = self.inputs(ids, rows, cache)
        if reduction is None:
            return self.decoder(embeds, positions, cache, mask, media)
        places = _places(ids, self.config.image_ids)
        return fastv(self.decoder, Prompt(embeds, positions, mask), places, reduction, cache).hidden

    def logits(
        self, hidden: Float[Tensor, "batch tokens dim"]
    ) -> Float[Tensor, "batch tokens vocab"]:
        """Returns the logits of the next token at each position."""
        return self.decoder.logits(hidden)


@dataclass(frozen=True, kw_only=True)
class PackedVlmConfig:
    """A vision-language model for pictures and videos of any size (Qwen2-VL, 2.5-VL and 3-VL)."""

    tower: PackedVitConfig
    """The image tower."""
    connector: PatchMergerConfig
    """Turns each square of patches into one row."""
    decoder: DecoderConfig
    """The language model, with positions in time, row and column."""
    image_ids: tuple[int, ...] = (151655, 151656)
    """Placeholder tokens for the rows of pictures and videos."""

    def __post_init__(self) -> None:
        if len(self.tower.deepstack) > self.decoder.depth:
            raise conflict(
                f"deepstack={self.tower.deepstack} and depth={self.decoder.depth}",
                "at most as many layers of the tower as the decoder has: drop some",
                "塔的层数不多于解码器的层数：请去掉一些",
            )


class Seen(NamedTuple):
    """What the decoder gets from pictures and videos: one row for each placeholder."""

    rows: Float[Tensor, "rows dim"]
    deepstack: tuple[Float[Tensor, "rows dim"], ...] = ()
    """Added at the same positions after each of the first layers in turn (Qwen3-VL)."""


class PackedVlm(nn.Module):
    """Pictures and videos of any size, and text -> the language model's hidden states."""

    def __init__(self, config: PackedVlmConfig) -> None:
        super().__init__()
        c = config
        self.config = c
        self.tower = PackedVit(c.tower)
        self.connector = PatchMerger(c.connector)
        deep = replace(c.connector, norm_merged=True)
        self.deep_connectors = nn.ModuleList(PatchMerger(deep) for _ in c.tower.deepstack)
        self.decoder = Decoder(c.decoder)

    def see(
        self, patches: Float[Tensor, "patches patch_dim"], grids: Int[Tensor, "images 3"]
    ) -> Seen:
        """Returns the rows of all pictures, concatenated; see PackedVit.features."""
        features = self.tower.features(patches, grids)
        deep = zip(self.deep_connectors, features.deepstack, strict=True)
        return Seen(self.connector(features.patches), tuple(merge(x) for merge, x in deep))

    def forward(
        self,
        ids: Int[Tensor, "batch tokens"],
        seen: Seen | None = None,
        positions: Int[Tensor, "*axes batch tokens"] | None = None,
        cache: KeyValueCache | None = None,
        mask: Bool[Tensor, "batch tokens"] | None = None,
        reduction: FastVConfig | None = None,
    ) -> Float[Tensor, "batch kept dim"]:
        """Returns the hidden states, as Vlm.forward does. Raises ConfigError if the numbers of
        placeholders and rows differ."""
        rows = None if seen is None else seen.rows
        embeds = embed_with_rows(self.decoder, ids, self.config.image_ids, rows)
        places = _places(ids, self.config.image_ids)
        deepstack = () if seen is None else seen.deepstack
        if reduction is not None:
            added = tuple(fill_places(torch.zeros_like(embeds), places, one) for one in deepstack)
            prompt = Prompt(embeds, positions, mask, added)
            return fastv(self.decoder, prompt, places, reduction, cache).hidden
        x, step = self.decoder.begin(embeds, positions, cache, mask, None)
        for index, deep in enumerate(deepstack):
            x = self.decoder.run(x, step, cache, range(index, index + 1))
            x = x + fill_places(torch.zeros_like(x), places, deep)
        rest = range(len(deepstack), self.config.decoder.depth)
        return self.decoder.norm_out(self.decoder.run(x, step, cache, rest))

    def logits(
        self, hidden: Float[Tensor, "batch tokens dim"]
    ) -> Float[Tensor, "batch tokens vocab"]:
        """Returns the logits of the next token at each position."""
        return self.decoder.logits(hidden)


def patches_of(
    tower: Vit | MobileNet, pixels: Float[Tensor, "images 3 height width"]
) -> Float[Tensor, "images patches dim"]:
    """Returns the features of each image in a row: those of a ViT, with its class token first, or
    the places of a MobileNet's last map, line by line."""
    x = tower.features(pixels)
    return x.flatten(2).transpose(1, 2) if isinstance(tower, MobileNet) else x


# Rows at their placeholders


def embed_with_rows(
    decoder: Decoder | T5,
    ids: Int[Tensor, "batch tokens"],
    image_ids: tuple[int, ...],
    rows: Float[Tensor, "rows dim"] | None,
) -> Float[Tensor, "batch tokens dim"]:
    """Returns the embeddings of a prompt with the rows of its pictures at their placeholders."""
    places = _places(ids, image_ids)
    # A placeholder may have no embedding.
    return fill_places(decoder.embed(ids.masked_fill(places, 0)), places, rows)


def _places(
    ids: Int[Tensor, "batch tokens"], image_ids: tuple[int, ...]
) -> Bool[Tensor, "batch tokens"]:
    return torch.isin(ids, torch.tensor(image_ids, device=ids.device))


def fill_places(
    embeds: Float[Tensor, "batch tokens dim"],
    places: Bool[Tensor, "batch tokens"],
    rows: Float[Tensor, "rows dim"] | None,
) -> Float[Tensor, "batch tokens dim"]:
    """Returns the embeddings with these rows at these places. Raises ConfigError if their numbers
    differ."""
    kept, given = int(places.sum()), 0 if rows is None else len(rows)
    if kept != given:
        raise ConfigError(
            Text(
                f"the prompt has {kept} image placeholders, but the pictures have {given} rows; "
                "expected equal numbers. Give each picture as many placeholders "
                "as it has rows",
                f"提示里有 {kept} 个图片占位词元，图片却有 {given} 行；两者应相等。"
                "请让每张图片的占位词元个数与其行数相同",
            )
        )
    if rows is None:
        return embeds
    return embeds.masked_scatter(places[..., None], rows.to(embeds.dtype))


def _scaled(
    square: Float[Tensor, "rows columns dim"], size: tuple[int, int]
) -> Float[Tensor, "new_rows new_columns dim"]:
    """Returns the grid scaled to this many rows and columns."""
    pictures = square.permute(2, 0, 1)[None]
    return F.interpolate(pictures, size=size, mode="bilinear")[0].permute(1, 2, 0)
