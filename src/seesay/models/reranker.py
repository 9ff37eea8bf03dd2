"""A cross-encoder: a query and a text, read together, get one score (bge-reranker; the head is that
of RoBERTa for classification)."""

from dataclasses import dataclass, field

from jaxtyping import Float, Int
from torch import Tensor, nn

from seesay.models.bert import Bert, BertConfig


@dataclass(frozen=True, kw_only=True)
class RerankerConfig:
    text: BertConfig = field(default_factory=BertConfig)
    """The encoder, whose first token is read."""


class Reranker(nn.Module):
    """Token ids of pairs -> one logit for each: how well the text answers the query."""

    def __init__(self, config: RerankerConfig) -> None:
        super().__init__()
        self.config = config
        self.text = Bert(config.text)
        self.dense = nn.Linear(config.text.dim, config.text.dim)
        self.out = nn.Linear(config.text.dim, 1)

    def forward(self, ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, " batch"]:
        return self.out(self.dense(self.text(ids)).tanh())[:, 0]
