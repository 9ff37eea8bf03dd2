"""How likely an assistant's answer is right, where its folder says how to tell.

`certainty.safetensors`, which `tools/certainty.py` fits on questions with known answers, holds a
logistic model of the log probabilities of an answer's tokens, and the mean and spread of what the
decoder gets of the pictures that were learnt. Works without torch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError, safe_open

from seesay.errors import WeightsError
from seesay.text import Text

FILE = "certainty.safetensors"
DOUBT = 0.5
"""An answer that is less likely to be right is not sure."""
LONGEST = 8
"""Tokens of an answer whose probabilities are judged. The logistic model knows short ones; every
sentence has several good continuations, so its probability tells little."""
SENTENCE_ENDS = (".", "。")
"""An answer with one of these endings counts as a sentence and gets no certainty."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Certainty:
    """Judges answers of one model."""

    mean_weight: float
    """Of the mean log probability of the tokens."""
    least_weight: float
    """Of the least of them."""
    bias: float
    farthest: float
    """Distance beyond which a picture is unfamiliar."""
    center: Float[np.ndarray, " dim"]
    """Mean of the learnt pictures, each the mean of its rows before the decoder."""
    whitening: Float[np.ndarray, "dim kept"]
    """Directions divided by the spread of the learnt pictures along them."""

    def of(self, log_probabilities: Sequence[float]) -> float | None:
        """Returns the probability that an answer with these tokens is right, its end included; None
        for a long one, and where a beam search left no probabilities."""
        known = [one for one in log_probabilities if not math.isnan(one)]
        if not known or len(log_probabilities) > LONGEST or len(known) < len(log_probabilities):
            return None
        mean, least = sum(known) / len(known), min(known)
        score = self.mean_weight * mean + self.least_weight * least + self.bias
        return 1 / (1 + math.exp(-max(min(score, 30.0), -30.0)))

    def distances(self, means: Float[np.ndarray, "pictures dim"]) -> Float[np.ndarray, " pictures"]:
        """Returns how far pictures are from the learnt ones, in spreads of these: about 1 for a
        usual one."""
        found: Float[np.ndarray, " pictures"]
        found = np.sqrt((((means - self.center) @ self.whitening) ** 2).mean(axis=1))
        return found

    def is_unfamiliar(self, means: Float[np.ndarray, "pictures dim"]) -> bool:
        """Whether one of the pictures is far from the learnt ones."""
        return bool((self.distances(means) > self.farthest).any())


def read_certainty(folder: Path) -> Certainty | None:
    """Reads a model's `certainty.safetensors`; None without one. Raises WeightsError."""
    file = folder / FILE
    if not file.is_file():
        return None
    try:
        with safe_open(file, framework="numpy") as opened:
            numbers = opened.metadata() or {}
            center, whitening = (
                opened.get_tensor(name).astype(np.float32) for name in ("center", "whitening")
            )
        names = ("mean_weight", "least_weight", "bias", "farthest")
        found = {name: float(numbers[name]) for name in names}
        if whitening.shape[:1] != center.shape or not np.isfinite(whitening).all():
            raise ValueError(f"center {center.shape}, whitening {whitening.shape}")
    except (SafetensorError, OSError, LookupError, ValueError) as error:
        raise WeightsError(
            Text(
                f"{file} cannot be read ({error}); expected what tools/certainty.py writes: get "
                "the model again, or remove the file to go without it",
                f"{file} 无法读取（{error}）；应为 tools/certainty.py 写出的文件；请重新获取模型，"
                "或删除该文件，不判断把握",
            )
        ) from None
    return Certainty(center=center, whitening=whitening, **found)
