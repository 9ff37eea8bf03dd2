"""Late interaction: a page and a query become one vector for each of their tokens, and a page is as
like a query as, summed over the query's tokens, the token of the page that is nearest to each
(ColBERT's MaxSim; ColPali, arXiv 2407.01449).

ColQwen2 is Qwen2-VL with a projection of its last hidden states.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seesay.models.layers import require_range
from seesay.models.vlm import PackedVlm, PackedVlmConfig, Seen


@dataclass(frozen=True, kw_only=True)
class LateInteractionConfig:
    """The defaults are ColQwen2's."""

    vlm: PackedVlmConfig
    """The model whose hidden states are projected; it needs no head."""
    embed_dim: int = 128
    """Width of the vectors."""

    def __post_init__(self) -> None:
        require_range(1, embed_dim=self.embed_dim)


class LateInteraction(nn.Module):
    """Tokens of a page or of a query -> one unit vector for each."""

    def __init__(self, config: LateInteractionConfig) -> None:
        super().__init__()
        self.config = config
        self.vlm = PackedVlm(config.vlm)
        self.out = nn.Linear(config.vlm.decoder.dim, config.embed_dim)

    def forward(
        self,
        ids: Int[Tensor, "batch tokens"],
        seen: Seen | None = None,
        positions: Int[Tensor, "*axes batch tokens"] | None = None,
        mask: Bool[Tensor, "batch tokens"] | None = None,
    ) -> Float[Tensor, "batch tokens embed"]:
        """Returns unit vectors, and zeros at padding. The arguments are as in PackedVlm.forward."""
        vectors = self.out(self.vlm(ids, seen, positions, mask=mask))
        vectors = vectors / vectors.norm(dim=-1, keepdim=True)
        return vectors if mask is None else vectors * mask[..., None]


def max_sim(
    query: Float[np.ndarray, "query_tokens embed"], page: Float[np.ndarray, "page_tokens embed"]
) -> float:
    """Returns the sum, over the tokens of a query, of the largest product with a token of the
    page."""
    return float((query.astype(np.float32) @ page.astype(np.float32).T).max(axis=1).sum())
