"""Linear layers with 8-bit or 4-bit weights, which the CPU multiplies without unpacking them:
token-by-token decoding is limited by how fast weights are read.

    quantize(model, "int8")     # in place; token embeddings stay as they are

Only the weights of linear layers are quantized. Inputs and outputs keep their dtype, and other
layers, such as norms, stay as they are.
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
"""Weights of a row that share a scale at 4 bits."""
PACKED_ROWS = 8
"""Up to this many input rows are multiplied by the packed weights. For more, the weights are
unpacked first: with 64 rows that halves the time (4096 x 2048 weights, one AVX-512 thread: 7.1 ms
instead of 13.7)."""


class Int8Linear(nn.Module):
    """One scale for each row of weights."""

    numbers: Int8[Tensor, "out_dim in_dim"]

    def __init__(self, weight: Float[Tensor, "out_dim in_dim"], bias: Tensor | None) -> None:
        super().__init__()
        largest = weight.float().abs().amax(1).clamp(min=1e-20)
        # The kernel takes bfloat16 scales: quantize with the rounded ones, so no precision is lost.
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
        middle = (low + 8 * scales.float()).bfloat16()  # the value that 8 encodes
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
    """Raises ConfigError for any other bit width, and for any device but the CPU."""
    if bits not in get_args(Bits) or device.type != "cpu":
        raise conflict(
            f"weights={bits!r} and device={device.type!r}",
            'weights="int8" or "int4" on device="cpu", the only one with such kernels: set '
            "both, or leave weights out",
            'device="cpu" 上的 weights="int8" 或 "int4"，因为只有 CPU 有这种内核：请同时设置，'
            "或去掉 weights",
        )


@torch.no_grad()
def quantize(model: nn.Module, bits: Bits) -> None:
    """Quantizes the linear layers of a model's decoders one by one. Output heads always get 8 bits;
    a head tied to the token embeddings gets its own quantized copy.

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
    # The 4-bit kernel needs whole groups of inputs, and outputs in multiples of 16.
    whole = linear.in_features % GROUP == 0 and linear.out_features % 16 == 0
    make = Int4Linear if bits == "int4" and whole else Int8Linear
    return make(linear.weight, linear.bias)
