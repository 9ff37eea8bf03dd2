"""The first Qwen-VL after its description, tiny, under its published names: its config, its random
tensors, and what it computes."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from seesay.models.connectors import sincos_square

VOCAB, DIM, DEPTH, HEADS, HALF = 70, 64, 2, 4, 40
WIDE, LAYERS, TOWER_HEADS, HIDDEN, PATCH, PIXELS = 32, 2, 4, 48, 2, 48
SIDE, START = 4, 60
IMAGE, ROWS = START + 2, SIDE**2
CONFIG = dict(
    architectures=["QWenLMHeadModel"],
    auto_map={"AutoModelForCausalLM": "modeling_qwen.QWenLMHeadModel"},
    attn_dropout_prob=0.0,
    bf16=True,
    emb_dropout_prob=0.0,
    fp16=False,
    fp32=False,
    hidden_size=DIM,
    initializer_range=0.02,
    intermediate_size=2 * HALF,
    kv_channels=DIM // HEADS,
    layer_norm_epsilon=1e-6,
    max_position_embeddings=512,
    model_type="qwen",
    no_bias=True,
    num_attention_heads=HEADS,
    num_hidden_layers=DEPTH,
    onnx_safe=None,
    rotary_emb_base=10000,
    rotary_pct=1.0,
    scale_attn_weights=True,
    seq_length=256,
    tie_word_embeddings=False,
    tokenizer_type="QWenTokenizer",
    use_cache=True,
    use_dynamic_ntk=True,
    use_flash_attn=False,
    use_logn_attn=True,
    visual=dict(
        heads=TOWER_HEADS,
        image_size=PIXELS,
        image_start_id=START,
        layers=LAYERS,
        mlp_ratio=1.51,
        n_queries=ROWS,
        output_dim=DIM,
        patch_size=PATCH,
        width=WIDE,
    ),
    vocab_size=VOCAB,
)
T = dict[str, Tensor]


def published(vocab: int = VOCAB) -> T:
    """Every tensor of a Qwen-VL, random."""
    generator = torch.Generator().manual_seed(0)

    def some(*shape: int, spread: float = 0.15) -> Tensor:
        return spread * torch.randn(*shape, generator=generator)

    def linear(name: str, out: int, into: int) -> T:
        return {f"{name}.weight": 1.5 * some(out, into), f"{name}.bias": some(out)}

    def norm(name: str, width: int) -> T:
        return {f"{name}.weight": 1.0 + some(width), f"{name}.bias": some(width)}

    tensors: T = {"transformer.wte.weight": some(vocab, DIM, spread=0.5)}
    for layer in range(DEPTH):
        name = f"transformer.h.{layer}"
        tensors |= linear(f"{name}.attn.c_attn", 3 * DIM, DIM)
        tensors[f"{name}.attn.c_proj.weight"] = some(DIM, DIM)
        for part in ("w1", "w2"):
            tensors[f"{name}.mlp.{part}.weight"] = 2 * some(HALF, DIM)
        tensors[f"{name}.mlp.c_proj.weight"] = some(DIM, HALF)
        for part in ("ln_1", "ln_2"):
            tensors[f"{name}.{part}.weight"] = 1.0 + some(DIM)
    tensors["transformer.ln_f.weight"] = 1.0 + some(DIM)
    tensors["lm_head.weight"] = some(vocab, DIM)
    visual = "transformer.visual"
    tensors[f"{visual}.conv1.weight"] = 2 * some(WIDE, 3, PATCH, PATCH)
    tensors[f"{visual}.positional_embedding"] = some(256, WIDE, spread=0.5)
    tensors |= norm(f"{visual}.ln_pre", WIDE)
    for layer in range(LAYERS):
        name = f"{visual}.transformer.resblocks.{layer}"
        tensors |= norm(f"{name}.ln_1", WIDE) | norm(f"{name}.ln_2", WIDE)
        tensors |= linear(f"{name}.attn.in_proj", 3 * WIDE, WIDE)
        tensors |= linear(f"{name}.attn.out_proj", WIDE, WIDE)
        tensors |= linear(f"{name}.mlp.c_fc", HIDDEN, WIDE)
        tensors |= linear(f"{name}.mlp.c_proj", WIDE, HIDDEN)
    pool = f"{visual}.attn_pool"
    tensors[f"{pool}.query"] = some(ROWS, DIM, spread=1.0)
    tensors[f"{pool}.pos_embed"] = sincos_square(SIDE, DIM)
    tensors[f"{pool}.kv_proj.weight"] = some(DIM, WIDE)
    tensors[f"{pool}.attn.in_proj_weight"] = some(3 * DIM, DIM)
    tensors[f"{pool}.attn.in_proj_bias"] = some(3 * DIM)
    tensors |= linear(f"{pool}.attn.out_proj", DIM, DIM)
    tensors |= norm(f"{pool}.ln_q", DIM) | norm(f"{pool}.ln_kv", DIM)
    tensors |= norm(f"{visual}.ln_post", DIM)
    tensors[f"{visual}.proj"] = some(DIM, DIM)
    return tensors


def affine(t: T, name: str, x: Tensor) -> Tensor:
    return F.linear(x, t[f"{name}.weight"], t.get(f"{name}.bias"))


def normed(t: T, name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], t[f"{name}.weight"], t[f"{name}.bias"], 1e-6)


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int, causal: bool = False) -> Tensor:
    """Attention of one sequence [tokens, dim]."""
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(0, 1) for x in (q, k, v))
    scores = q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])
    if causal:
        later = torch.ones(scores.shape[1:], dtype=torch.bool).triu(1)
        scores = scores.masked_fill(later, -torch.inf)
    return (scores.softmax(-1) @ v).transpose(0, 1).flatten(1)


def resized(table: Tensor, side: int) -> Tensor:
    own = math.isqrt(len(table))
    square = table.T.reshape(1, -1, own, own)
    square = F.interpolate(square, (side, side), mode="bicubic", align_corners=False)
    return square[0].flatten(1).T


def rows_of(t: T, picture: Tensor) -> Tensor:
    """The rows of one picture."""
    v, grid = "transformer.visual", PIXELS // PATCH
    x = F.conv2d(picture[None], t[f"{v}.conv1.weight"], stride=PATCH)[0].flatten(1).T
    x = normed(t, f"{v}.ln_pre", x + resized(t[f"{v}.positional_embedding"], grid))
    for layer in range(LAYERS):
        name = f"{v}.transformer.resblocks.{layer}"
        mixed = affine(t, f"{name}.attn.in_proj", normed(t, f"{name}.ln_1", x))
        parts = mixed.unflatten(-1, (TOWER_HEADS, 3, -1)).unbind(2)  # head by head
        seen = attend(*(part.flatten(1) for part in parts), TOWER_HEADS)
        x = x + affine(t, f"{name}.attn.out_proj", seen)
        inner = F.gelu(affine(t, f"{name}.mlp.c_fc", normed(t, f"{name}.ln_2", x)))
        x = x + affine(t, f"{name}.mlp.c_proj", inner)
    pool = f"{v}.attn_pool"
    x = normed(t, f"{pool}.ln_kv", affine(t, f"{pool}.kv_proj", x))
    weight, bias = (t[f"{pool}.attn.in_proj_{part}"].chunk(3) for part in ("weight", "bias"))
    places = t[f"{pool}.pos_embed"]
    q = F.linear(normed(t, f"{pool}.ln_q", t[f"{pool}.query"]) + places, weight[0], bias[0])
    k = F.linear(x + resized(places, grid), weight[1], bias[1])
    gathered = attend(q, k, F.linear(x, weight[2], bias[2]), heads=1)
    out = affine(t, f"{pool}.attn.out_proj", gathered)
    return normed(t, f"{v}.ln_post", out) @ t[f"{v}.proj"]


def rms(t: T, name: str, x: Tensor) -> Tensor:
    return x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * t[f"{name}.weight"]


def turned(x: Tensor) -> Tensor:
    """Queries or keys at places 0, 1, 2 ..., turned in pairs of numbers half a head apart."""
    tokens, width = len(x), DIM // HEADS
    speeds = 10000.0 ** (-torch.arange(0, width, 2) / width)
    angle = torch.outer(torch.arange(tokens).float(), speeds).repeat(1, 2)[:, None]
    heads = x.unflatten(-1, (HEADS, width))
    half = torch.cat([-heads[..., width // 2 :], heads[..., : width // 2]], dim=-1)
    return (heads * angle.cos() + half * angle.sin()).flatten(1)


def logits_of(t: T, ids: list[int], rows: Tensor, image: int = IMAGE) -> Tensor:
    """The logits after each token of one prompt."""
    x = t["transformer.wte.weight"][torch.tensor(ids)].clone()
    x[torch.tensor(ids) == image] = rows
    for layer in range(DEPTH):
        name = f"transformer.h.{layer}"
        q, k, v = affine(t, f"{name}.attn.c_attn", rms(t, f"{name}.ln_1", x)).chunk(3, dim=-1)
        seen = attend(turned(q), turned(k), v, HEADS, causal=True)
        x = x + affine(t, f"{name}.attn.c_proj", seen)
        y = rms(t, f"{name}.ln_2", x)
        inner = affine(t, f"{name}.mlp.w1", y) * F.silu(affine(t, f"{name}.mlp.w2", y))
        x = x + affine(t, f"{name}.mlp.c_proj", inner)
    return affine(t, "lm_head", rms(t, "transformer.ln_f", x))
