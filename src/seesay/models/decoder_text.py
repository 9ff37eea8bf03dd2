"""A decoder as a text tower: the vector of a text is its last token's hidden state
(Qwen3-Embedding, arXiv 2506.05176), and as a judge that answers yes or no (Qwen3-Reranker)."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from seesay.models.decoder import Decoder, DecoderConfig
from seesay.models.layers import require_range


@dataclass(frozen=True, kw_only=True)
class DecoderTextConfig:
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    """The language model."""
    context: int = 8192
    """Most tokens in one text, including the one that ends it."""
    pad_id: int = 0
    """The token that pads a text after its end."""
    ends_with_pad: bool = False
    """Whether the token that ends a text is the one that pads (Qwen3-Embedding)."""

    def __post_init__(self) -> None:
        require_range(1, context=self.context)
        require_range(0, self.vocab_size - 1, pad_id=self.pad_id)

    @property
    def vocab_size(self) -> int:
        return self.decoder.vocab_size

    @property
    def output_dim(self) -> int:
        """Width of the text's vector."""
        return self.decoder.dim

    @property
    def depth(self) -> int:
        return self.decoder.depth


class DecoderText(nn.Module):
    """Token ids -> one vector for the text. Padding is on the right, where causal attention never
    sees it."""

    def __init__(self, config: DecoderTextConfig) -> None:
        super().__init__()
        self.config = config
        self.decoder = Decoder(config.decoder)

    def forward(self, ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch output_dim"]:
        hidden = self.decoder(self.decoder.embed(ids))
        return hidden[torch.arange(len(ids), device=ids.device), self._last(ids)]

    def trim(self, ids: Int[Tensor, "batch tokens"]) -> Int[Tensor, "batch fewer"]:
        """The ids without the columns after the last token of every row."""
        return ids[:, : int(self._last(ids).max()) + 1] if len(ids) else ids[:, :1]

    def _last(self, ids: Int[Tensor, "batch tokens"]) -> Int[Tensor, " batch"]:
        count = (ids != self.config.pad_id).sum(dim=1) + int(self.config.ends_with_pad)
        return (count - 1).clamp(0, ids.shape[1] - 1)


class DecoderJudge(nn.Module):
    """Token ids of a question that is answered by yes or no -> the logit of yes against no: its
    sigmoid is the softmax over these two tokens (Qwen3-Reranker)."""

    def __init__(self, config: DecoderTextConfig, yes: int, no: int) -> None:
        super().__init__()
        self.text = DecoderText(config)
        self.yes, self.no = yes, no

    def forward(self, ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch 1"]:
        logits = self.text.decoder.logits(self.text(ids)[:, None])
        return logits[:, :, self.yes] - logits[:, :, self.no]
