"""A model without weights, to be filled from a file."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from seesay.models.dual_encoder import DualEncoder, DualEncoderConfig


def blank_dual_encoder(config: DualEncoderConfig) -> DualEncoder:
    """A model whose weights are whatever was in memory, all of which must be replaced.

    Not on the "meta" device: random numbers there, though none are drawn, make torch import its
    compiler, which takes longer than reading a small model.
    """
    with _Undrawn():
        return DualEncoder(config)


class _Undrawn(TorchFunctionMode):
    """Leaves first weights undrawn, and so most of their memory untouched."""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(function, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]  # which such a function returns
        if function is torch.randn:
            return torch.empty(*args, **kwargs)
        return function(*args, **kwargs)
