"""A model without weights, to be given those of a file."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from seesay.errors import WeightsError
from seesay.models.dual_encoder import DualEncoder, DualEncoderConfig


def blank_dual_encoder(config: DualEncoderConfig) -> DualEncoder:
    """A model of shapes alone, on the "meta" device: all its tensors must be replaced.

    Raises WeightsError where no such tensors can be, as for 2^60 numbers.
    """
    try:
        with torch.device("meta"), _Undrawn():
            return DualEncoder(config)
    except (RuntimeError, ArithmeticError, TypeError, ValueError) as error:
        raise WeightsError(
            f"the config describes tensors that cannot be ({str(error).splitlines()[0]:.100}); "
            "expected the sizes of the checkpoint's own tensors. It was changed: download it again"
        ) from None


class _Undrawn(TorchFunctionMode):
    """Leaves first weights undrawn and unscaled: random numbers and products on the "meta" device,
    which come to nothing there, make torch import its compiler, which takes longer than reading a
    small model."""

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
        if function in (torch.Tensor.mul, torch.Tensor.__rmul__):
            return args[0] if isinstance(args[0], torch.Tensor) else args[1]
        return function(*args, **kwargs)
