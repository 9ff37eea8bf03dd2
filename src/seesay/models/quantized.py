"""Linear layers with weights in 8 or 4 bits, which a processor multiplies without widening them: a
decoder that writes token by token is as fast as its weights are read.

    quantize(model, "int8")     # in place; the table of tokens stays as it is

Only weights are quantized. Inputs and results keep their format, and layers without numbers of
their own, norms among them, stay as they are.
"""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int8
from torch import Tensor, nn

from seesay.models.decoder import Decoder
from seesay.models.layers import conflict

Bits = Literal["int8", "int4"]
GROUP = 32
"""Weights of a row that share a scale in 4 bits."""
PACKED_ROWS = 8
"""Up to so many rows of inputs are multiplied by the packed numbers. For more, these are widened
first: with 64 rows, that takes half the time (4096 x 2048 weights, one thread of a processor with
AVX-512: 7.1 ms, not 13.7)."""


class Int8Linear(nn.Module):
    """One scale for each row of weights."""

    numbers: Int8[Tensor, "out_dim in_dim"]

    def __init__(self, weight: Float[Tensor, "out_dim in_dim"], bias: Tensor | None) -> None:
        super().__init__()
        largest = weight.float().abs().amax(1).clamp(min=1e-20)
        # The kernel takes scales in bfloat16: rounding them first costs nothing in the numbers.
        self.scales = nn.Buffer((largest / 127).bfloat16())
        numbers = (weight.float() / self.scales.float()[:, None]).round_().clamp_(-127, 127)
        self.numbers = nn.Buffer(numbers.to(torch.int8))
        self.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)

    def forward(self, x: Float[Tensor, "*axes in_dim"]) -> Float[Tensor, "*axes out_dim"]:
        flat = x.flatten(0, -2)
        if len(flat) <= PACKED_ROWS:
            scales = self.scales.bfloat16()
            y = torch._weight_int8pack_mm(flat.bfloat16(), self.numbers, scales).to(x.dtype)
        else:
            y = F.linear(flat, self.numbers.to(x.dtype)) * self.scales.to(x.dtype)
        return (y if self.bias is None else y + self.bias).unflatten(0, x.shape[:-1])


class Int4Linear(nn.Module):
    """One scale and one offset for every 32 weights of a row."""

    def __init__(self, weight: Float[Tensor, "out_dim in_dim"], bias: Tensor | None) -> None:
        super().__init__()
        groups = weight.float().unflatten(1, (-1, GROUP))
        low, high = groups.amin(2), groups.amax(2)
        scales = ((high - low) / 15).clamp(min=1e-20).bfloat16()
        middle = (low + 8 * scales.float()).bfloat16()  # what the number 8 stands for
        numbers = (groups - middle.float()[..., None]) / scales.float()[..., None] + 8
        whole = numbers.round_().clamp_(0, 15).flatten(1).to(torch.int32)
        self.packed = nn.Buffer(torch.ops.aten._convert_weight_to_int4pack_for_cpu(whole, 1))
        self.scales = nn.Buffer(torch.stack([scales, middle], dim=2).transpose(0, 1).contiguous())
        self.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)

    def forward(self, x: Float[Tensor, "*axes in_dim"]) -> Float[Tensor, "*axes out_dim"]:
        flat = x.flatten(0, -2).bfloat16().contiguous()
        y = torch.ops.aten._weight_int4pack_mm_for_cpu(
            flat, self.packed, GROUP, self.scales.bfloat16()
        ).to(x.dtype)
        return (y if self.bias is None else y + self.bias).unflatten(0, x.shape[:-1])


def check_quantization(bits: str, device: torch.device) -> None:
    """Raises ConfigError for other numbers of bits, and for another device than a processor."""
    if bits not in get_args(Bits) or device.type != "cpu":
        raise conflict(
            f"weights={bits!r} and device={device.type!r}",
            'weights="int8" or "int4" on device="cpu", whose kernels read them: set both so, or '
            "leave weights out",
            'device="cpu" 上的 weights="int8" 或 "int4"，因为只有处理器的内核能读取：请这样设置，'
            "或不写 weights",
        )


@torch.no_grad()
def quantize(model: nn.Module, bits: Bits) -> None:
    """Quantizes the linear layers of a model's decoders, one after another, and their heads in 8
    bits even if the others have 4; a head that is the table of tokens gets numbers of its own.

    Raises ConfigError as `check_quantization` does.
    """
    decoders = [one for one in model.modules() if isinstance(one, Decoder)]
    for decoder in decoders:
        check_quantization(bits, decoder.token_embed.weight.device)
        for module in list(decoder.blocks.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, nn.Linear):
                    setattr(module, name, _quantized(child, bits))
        head = decoder.token_embed if decoder.head is None else decoder.head
        assert isinstance(head.weight, Tensor)
        decoder.head = Int8Linear(head.weight, None)


def _quantized(linear: nn.Linear, bits: Bits) -> nn.Module:
    # The 4-bit kernel takes whole groups of inputs, and outputs in sixteens.
    whole = linear.in_features % GROUP == 0 and linear.out_features % 16 == 0
    make = Int4Linear if bits == "int4" and whole else Int8Linear
    return make(linear.weight, linear.bias)
