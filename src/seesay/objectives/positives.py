"""Which images and texts belong together, without a matrix of all pairs."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from seesay.errors import ConfigError
from seesay.objectives.exchange import Exchange, gather_objects
from seesay.objectives.tiled import Tile
from seesay.text import Text


class PairIds(NamedTuple):
    """A number for each image and each text; equal numbers belong together."""

    images: Int[Tensor, " images"]
    texts: Int[Tensor, " texts"]


class Positives:
    """The pairs that belong together, seen by the process that holds these images.

    A group is a thing that this process has images of; texts of all other things form one more
    group, the last. Counts cover all processes.
    """

    def __init__(self, ids: PairIds, exchange: Exchange) -> None:
        images, texts = exchange.gather_images(ids.images), exchange.gather_texts(ids.texts)
        things, self.image_groups = torch.unique(ids.images, return_inverse=True)
        self.groups = len(things)
        self.text_groups = _position(texts, things)
        self.texts_of_images = self._count(self.text_groups)[self.image_groups]
        self.images_of_images = self._count(_position(images, things))[self.image_groups]
        self.texts_have_images = torch.isin(texts, images)
        self.images_with_texts = torch.isin(images, texts).sum()
        self.texts_with_images = self.texts_have_images.sum()

    def pairs_in(
        self, place: slice, tile: Tile
    ) -> tuple[Int[Tensor, " matches"], Int[Tensor, " matches"]]:
        """Row and column of each matching pair in the tile.

        `place` is the position of the block of texts among all texts.
        """
        images, texts = self.image_groups[tile.rows], self.text_groups[place][tile.columns]
        # Few columns have a partner in these rows, and comparing only those costs next to nothing.
        wanted = torch.zeros(self.groups + 1, dtype=torch.bool, device=images.device)
        wanted[images] = True
        candidates = wanted[texts].nonzero()[:, 0]
        row, candidate = (images[:, None] == texts[candidates]).nonzero(as_tuple=True)
        return row, candidates[candidate]

    def _count(self, groups: Int[Tensor, " rows"]) -> Int[Tensor, " groups"]:
        return torch.bincount(groups, minlength=self.groups + 1)


def _position(numbers: Int[Tensor, " numbers"], things: Int[Tensor, " groups"]) -> Tensor:
    """Position of each number in the sorted `things`; one past the end if it is missing."""
    position = torch.searchsorted(things, numbers)
    there = torch.cat([things, things.new_zeros(1)])[position] == numbers
    return torch.where(there, position, len(things))


def checked_ids(ids: PairIds | None, images: Tensor, texts: Tensor, exchange: Exchange) -> PairIds:
    """Checks the given ids, or returns those of a batch whose rows match one to one.

    Raises ConfigError if the numbers of rows do not fit.
    """
    if ids is None:
        if len(images) != len(texts):
            raise ConfigError(
                Text(
                    f"there are {len(images)} images and {len(texts)} texts, and without ids row "
                    "i of both belongs together: pass ids, which say what each image and text is "
                    "about",
                    f"有 {len(images)} 张图片和 {len(texts)} 段文字；没有 ids 时两边第 i 行相配，"
                    "数量应相同；请传入 ids，说明每张图片和每段文字各属于什么",
                )
            )
        place = exchange.texts_of(exchange.rank)
        rows = torch.arange(place.start, place.stop, device=images.device)
        return PairIds(rows, rows)
    if (len(ids.images), len(ids.texts)) != (len(images), len(texts)):
        raise ConfigError(
            Text(
                f"there are ids for {len(ids.images)} images and {len(ids.texts)} texts, but "
                f"{len(images)} images and {len(texts)} texts: give one id to each row",
                f"ids 有 {len(ids.images)} 个图片号和 {len(ids.texts)} 个文字号，实际是 "
                f"{len(images)} 张图片和 {len(texts)} 段文字；应每行一个；请补齐",
            )
        )
    return PairIds(ids.images.long(), ids.texts.long())


def ids_of_batch(groups: Tensor, owners: Tensor, text_numbers: Tensor) -> PairIds:
    """Ids of the images and texts that belong together: those of one group, and of all groups that
    share a text, since a repeated caption is true of both images. The same in all processes.

    groups (images): equal where images share their texts; owners (texts): each text's image;
    text_numbers (texts): equal for equal texts.
    """
    own = groups[owners]
    everyone = gather_objects((own.numpy(), text_numbers.numpy()))
    all_groups, all_texts = (np.concatenate(parts) for parts in zip(*everyone, strict=True))
    pairs = np.unique(np.stack([all_texts, all_groups]), axis=1)
    repeated = np.flatnonzero(pairs[0, 1:] == pairs[0, :-1])
    if not len(repeated):
        return PairIds(groups, own)
    root: dict[int, int] = {}

    def find(group: int) -> int:
        while root.get(group, group) != group:
            group = root[group]
        return group

    for at in repeated:
        first, second = sorted((find(int(pairs[1, at])), find(int(pairs[1, at + 1]))))
        root[second] = first
    merged = torch.tensor([find(int(group)) for group in groups])
    return PairIds(merged, merged[owners])
