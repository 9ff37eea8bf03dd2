"""A language model's cache of the tokens it has read: keys, values and padding.

    cache = KeyValueCache()
    hidden = decoder(embeds, cache=cache)             # the prompt
    hidden = decoder(decoder.embed(next_ids), cache=cache)   # each further token

Buffers grow in steps, so most new tokens copy nothing.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

STEP = 256
"""Tokens by which a buffer grows."""

KeysValues = tuple[
    Float[Tensor, "batch key_heads keys head_dim"], Float[Tensor, "batch key_heads keys head_dim"]
]


class LayerCache:
    """Keys and values of one layer."""

    def __init__(self) -> None:
        self.length = 0
        """Tokens in it, padding included."""
        self.real: Bool[Tensor, "batch keys"] | None = None
        """Which of them are not padding; None if none are padding. Layers that read the same tokens
        share one tensor."""
        self.media: KeysValues | None = None
        """Keys and values of the pictures or the encoded text that the layer attends to."""
        self.images = 0
        """Pictures among them."""
        self._buffers: KeysValues | None = None

    def append(
        self,
        keys: Float[Tensor, "batch key_heads tokens head_dim"],
        values: Float[Tensor, "batch key_heads tokens head_dim"],
    ) -> KeysValues:
        """Adds the keys and values of new tokens. Returns those of all tokens."""
        begin, self.length = self.length, self.length + keys.shape[2]
        if self._buffers is None or self.length > self._buffers[0].shape[2]:
            self._grow(keys, begin)
        assert self._buffers is not None
        for buffer, new in zip(self._buffers, (keys, values), strict=True):
            buffer[:, :, begin : self.length] = new
        return self._filled()

    @property
    def keys(self) -> Float[Tensor, "batch key_heads keys head_dim"]:
        """The keys of all tokens."""
        return self._filled()[0]

    def _filled(self) -> KeysValues:
        assert self._buffers is not None
        keys, values = self._buffers
        return keys[:, :, : self.length], values[:, :, : self.length]

    def _grow(self, like: Float[Tensor, "batch key_heads tokens head_dim"], used: int) -> None:
        batch, heads, _, head_dim = like.shape
        capacity = -(-self.length // STEP) * STEP
        keys, values = (like.new_empty(batch, heads, capacity, head_dim) for _ in range(2))
        if self._buffers is not None:
            keys[:, :, :used] = self._buffers[0][:, :, :used]
            values[:, :, :used] = self._buffers[1][:, :, :used]
        self._buffers = keys, values

    def append_media(self, new: KeysValues | None, images: int) -> None:
        """Adds the keys and values of new pictures to `media`."""
        self.images += images
        if new is not None and self.media is not None:
            keys, values = self.media
            new = torch.cat([keys, new[0]], dim=2), torch.cat([values, new[1]], dim=2)
        self.media = self.media if new is None else new

    def select(self, rows: Int[Tensor, " rows"]) -> "LayerCache":
        """Returns a copy for these rows, except `real`, which layers share: the caller sets it."""
        chosen = LayerCache()
        chosen.length, chosen.images = self.length, self.images
        if self._buffers is not None:
            keys, values = (one.index_select(0, rows) for one in self._filled())
            chosen._buffers = keys, values
        if self.media is not None:
            keys, values = (one.index_select(0, rows) for one in self.media)
            chosen.media = keys, values
        return chosen

    def without_last(self, tokens: int) -> "LayerCache":
        """Returns this without its last tokens, except `real`, as `select` does. It shares memory
        with this one: select rows of it, but append nothing."""
        shorter = LayerCache()
        shorter.length, shorter.images = self.length - tokens, self.images
        shorter._buffers, shorter.media = self._buffers, self.media
        return shorter

    def stacked(self, other: "LayerCache") -> "LayerCache":
        """Returns a copy with another's rows appended. The shorter is padded on the left."""
        length = max(self.length, other.length)
        keys, values, real = map(
            torch.cat, zip(self._padded(length), other._padded(length), strict=True)
        )
        both = LayerCache()
        both.append(keys, values)
        if self.media is not None and other.media is not None:
            keys, values = (torch.cat(pair) for pair in zip(self.media, other.media, strict=True))
            both.append_media((keys, values), self.images)
        both.real = None if bool(real.all()) else real
        return both

    def _padded(self, length: int) -> tuple[Tensor, Tensor, Tensor]:
        (keys, values), real, missing = self._filled(), self.real, length - self.length
        if real is None:
            real = torch.ones(len(keys), self.length, dtype=torch.bool, device=keys.device)
        if missing:
            keys, values = (F.pad(one, (0, 0, missing, 0)) for one in (keys, values))
        return keys, values, F.pad(real, (missing, 0))


class KeyValueCache:
    """The caches of all layers. They may differ in length: later layers lack pruned tokens."""

    def __init__(self) -> None:
        self.layers: list[LayerCache] = []
        self.latest_image: Int[Tensor, " batch"] | None = None
        """The number of the picture that each row's last token attends to (cross_attention.py)."""

    def layer(self, index: int) -> LayerCache:
        """Returns the cache of layer `index`, empty before the layer's first call."""
        while len(self.layers) <= index:
            self.layers.append(LayerCache())
        return self.layers[index]

    @property
    def length(self) -> int:
        """Tokens that the first layer has read, padding included."""
        return self.layers[0].length if self.layers else 0

    def tokens_before(self, batch: int, device: torch.device) -> Int[Tensor, " batch"]:
        """Returns how many tokens each row has in the first layer, padding excluded: the position
        of its next token in plain text."""
        if self.layers and self.layers[0].real is not None:
            return self.layers[0].real.sum(1)
        return torch.full((batch,), self.length, device=device)

    def select(self, rows: Int[Tensor, " rows"]) -> "KeyValueCache":
        """Returns a copy for these rows, in this order; rows may repeat. Beam search keeps some
        rows and drops others; several questions about one picture start from copies of one row."""
        chosen = KeyValueCache()
        reals: dict[int, Tensor] = {}
        for layer in self.layers:
            chosen.layers.append(layer.select(rows))
            if layer.real is not None:
                if id(layer.real) not in reals:
                    reals[id(layer.real)] = layer.real.index_select(0, rows)
                chosen.layers[-1].real = reals[id(layer.real)]
        if self.latest_image is not None:
            chosen.latest_image = self.latest_image.index_select(0, rows)
        return chosen

    def without_last(self, tokens: int) -> "KeyValueCache":
        """Returns this without its last tokens, which are neither padding nor pictures. It shares
        memory with this one: select rows of it, but append nothing."""
        shorter = KeyValueCache()
        for layer in self.layers:
            shorter.layers.append(layer.without_last(tokens))
            if layer.real is not None:
                shorter.layers[-1].real = layer.real[:, : layer.length - tokens]
        shorter.latest_image = self.latest_image
        return shorter

    def stacked(self, other: "KeyValueCache") -> "KeyValueCache":
        """Returns a copy with another's rows appended. Both have read as many pictures."""
        both = KeyValueCache()
        for one, two in zip(self.layers, other.layers, strict=True):
            layer, before = one.stacked(two), both.layers[-1] if both.layers else None
            if before and before.real is not None and layer.real is not None:
                # Layers that read the same tokens share one tensor.
                same = torch.equal(before.real, layer.real)
                layer.real = before.real if same else layer.real
            both.layers.append(layer)
        if self.latest_image is not None and other.latest_image is not None:
            both.latest_image = torch.cat([self.latest_image, other.latest_image])
        return both
