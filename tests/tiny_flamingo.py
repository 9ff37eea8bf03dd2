"""A tiny OpenFlamingo after its description, under its published names: a random checkpoint.pt and,
beside it, the language model and the image tower that it was trained on."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from seesay.models.decoder import alibi_slopes

PIXELS, PATCH, WIDE, LATENTS, HEAD_DIM = 16, 8, 16, 3, 64
DIM, HEADS, HIDDEN = 32, 4, 128
T = dict[str, Tensor]
VISION = dict(
    hidden_size=WIDE,
    intermediate_size=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    image_size=PIXELS,
    patch_size=PATCH,
    hidden_act="quick_gelu",
)
TOWER = dict(
    model_type="clip",
    architectures=["CLIPModel"],
    projection_dim=8,
    text_config=dict(hidden_size=8),
    vision_config=VISION,
)
TOWER_PREFIX, LANGUAGE, TRAINED = "image_tower.vision_model", "language_model", "lang_encoder"


@dataclass(frozen=True)
class TinyFlamingo:
    """MPT-1B ("mosaic_gpt"), MPT-7B ("mpt") or RedPajama ("gpt_neox"), with its tensors by the
    names that tell its three files apart."""

    family: str
    vocab: int
    every: int
    tensors: T

    @property
    def image(self) -> int:
        """The token of a picture."""
        return self.vocab - 2

    @property
    def layers(self) -> str:
        return "gpt_neox.layers" if self.family == "gpt_neox" else "transformer.blocks"

    @property
    def embed(self) -> str:
        return "gpt_neox.embed_in" if self.family == "gpt_neox" else "transformer.wte"

    def save(self, folder: Path) -> Path:
        """The folder, with what it was trained on in folders of its own."""
        parts = {"": {}, LANGUAGE: {}, "image_tower": {}}
        for name, value in self.tensors.items():
            place = next((p for p in (LANGUAGE, "image_tower") if name.startswith(f"{p}.")), "")
            parts[place][name.removeprefix(f"{place}.") if place else name] = value
        torch.save(parts[""], folder / "checkpoint.pt")
        # Before it was trained further, the language model had fewer tokens.
        parts[LANGUAGE][f"{self.embed}.weight"] = torch.ones(self.vocab - 3, DIM)
        configs = {LANGUAGE: language_config(self), "image_tower": TOWER}
        for part, config in configs.items():
            (folder / part).mkdir(exist_ok=True)
            (folder / part / "config.json").write_text(json.dumps(config))
            tensors = {name: value.contiguous() for name, value in parts[part].items()}
            save_file(tensors, folder / part / "model.safetensors")
        return folder

    @torch.no_grad()
    def latents(self, picture: Tensor) -> Tensor:
        """What the gated blocks read of a picture."""
        return _resampled(self.tensors, _patches(self.tensors, picture))

    @torch.no_grad()
    def logits(self, ids: list[int], latents: list[Tensor]) -> Tensor:
        """The logits after each token of a prompt with these pictures."""
        t = self.tensors
        x = t[f"{TRAINED}.{self.embed}.weight"][torch.tensor(ids)]
        latest = [sum(one == self.image for one in ids[: at + 1]) for at in range(len(ids))]
        for layer in range(4):
            if (layer + 1) % self.every == 0:
                gated = f"{TRAINED}.{self.layers}.{layer}.gated_cross_attn_layer"
                x = _looked(t, gated, x, latest, latents)
            name = f"{LANGUAGE}.{self.layers}.{layer}"
            x = _neox(t, name, x) if self.family == "gpt_neox" else _mpt(t, name, x, self.family)
        last = {"gpt_neox": "gpt_neox.final_layer_norm", "mpt": "transformer.norm_f"}
        x = _norm(t, f"{LANGUAGE}.{last.get(self.family, 'transformer.ln_f')}", x)
        head = "embed_out" if self.family == "gpt_neox" else self.embed
        return x @ t[f"{TRAINED}.{head}.weight"].T


def language_config(model: TinyFlamingo) -> dict:
    if model.family == "gpt_neox":
        return dict(
            model_type="gpt_neox",
            vocab_size=model.vocab - 3,
            hidden_size=DIM,
            num_hidden_layers=4,
            num_attention_heads=HEADS,
            intermediate_size=HIDDEN,
            max_position_embeddings=1024,
            rotary_pct=0.5,
            rotary_emb_base=10000,
            use_parallel_residual=False,
        )
    common = dict(
        model_type=model.family,
        d_model=DIM,
        n_heads=HEADS,
        n_layers=4,
        max_seq_len=1024,
        vocab_size=model.vocab - 3,
        no_bias=True,
    )
    if model.family == "mpt":
        return dict(common, expansion_ratio=4, attn_config=dict(alibi=True, qk_ln=False))
    return dict(common, mlp_ratio=4, attn_qk_ln=True, alibi=True, low_precision_layernorm=True)


class Draw:
    """Random tensors, one after another."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(0)

    def some(self, *shape: int, spread: float = 0.2) -> Tensor:
        return spread * torch.randn(*shape, generator=self.generator)

    def linear(self, name: str, out: int, into: int, bias: bool = True) -> T:
        more = {f"{name}.bias": self.some(out)} if bias else {}
        return {f"{name}.weight": self.some(out, into)} | more

    def norm(self, name: str, width: int, bias: bool = True) -> T:
        more = {f"{name}.bias": self.some(width)} if bias else {}
        return {f"{name}.weight": 1.0 + self.some(width)} | more


def tiny_flamingo(family: str, vocab: int = 40) -> TinyFlamingo:
    draw = Draw()
    tensors = _tower(draw) | _perceiver(draw)
    model = TinyFlamingo(family, vocab, 2 if family == "gpt_neox" else 1, tensors)
    tensors[f"{TRAINED}.{model.embed}.weight"] = draw.some(vocab, DIM, spread=0.1)
    for layer in range(4):
        if (layer + 1) % model.every == 0:
            name = f"{TRAINED}.{model.layers}.{layer}.gated_cross_attn_layer"
            tensors |= _gated_block(draw, name)
        name = f"{LANGUAGE}.{model.layers}.{layer}"
        neox = family == "gpt_neox"
        tensors |= _neox_layer(draw, name) if neox else _mpt_layer(draw, name, family)
    if family == "gpt_neox":
        tensors |= draw.norm(f"{LANGUAGE}.gpt_neox.final_layer_norm", DIM)
        tensors[f"{TRAINED}.embed_out.weight"] = draw.some(vocab, DIM)
    else:
        last = "norm_f" if family == "mpt" else "ln_f"
        tensors |= draw.norm(f"{LANGUAGE}.transformer.{last}", DIM, bias=False)
    return model


def _tower(draw: Draw) -> T:
    v = TOWER_PREFIX
    tensors: T = {
        f"{v}.embeddings.class_embedding": draw.some(WIDE),
        f"{v}.embeddings.patch_embedding.weight": draw.some(WIDE, 3, PATCH, PATCH),
        f"{v}.embeddings.position_embedding.weight": draw.some((PIXELS // PATCH) ** 2 + 1, WIDE),
        **draw.norm(f"{v}.pre_layrnorm", WIDE),
        **draw.norm(f"{v}.post_layernorm", WIDE),
    }
    for layer in range(2):
        name = f"{v}.encoder.layers.{layer}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            tensors |= draw.linear(f"{name}.self_attn.{part}", WIDE, WIDE)
        tensors |= draw.linear(f"{name}.mlp.fc1", 32, WIDE)
        tensors |= draw.linear(f"{name}.mlp.fc2", WIDE, 32)
        tensors |= draw.norm(f"{name}.layer_norm1", WIDE) | draw.norm(f"{name}.layer_norm2", WIDE)
    return tensors


def _perceiver(draw: Draw) -> T:
    tensors: T = {"perceiver.latents": draw.some(LATENTS, WIDE, spread=1.0)}
    for layer in range(2):
        name = f"perceiver.layers.{layer}"
        for part in ("0.norm_media", "0.norm_latents", "1.0"):
            tensors |= draw.norm(f"{name}.{part}", WIDE)
        for part, out, into in (
            ("0.to_q", HEAD_DIM, WIDE),
            ("0.to_kv", 2 * HEAD_DIM, WIDE),
            ("0.to_out", WIDE, HEAD_DIM),
            ("1.1", 64, WIDE),
            ("1.3", WIDE, 64),
        ):
            tensors |= draw.linear(f"{name}.{part}", out, into, bias=False)
    return tensors | draw.norm("perceiver.norm", WIDE)


def _gated_block(draw: Draw, name: str) -> T:
    tensors = draw.norm(f"{name}.attn.norm", DIM) | draw.norm(f"{name}.ff.0", DIM)
    for part, out, into in (
        ("attn.to_q", 2 * HEAD_DIM, DIM),
        ("attn.to_kv", 4 * HEAD_DIM, WIDE),
        ("attn.to_out", DIM, 2 * HEAD_DIM),
        ("ff.1", HIDDEN, DIM),
        ("ff.3", DIM, HIDDEN),
    ):
        tensors |= draw.linear(f"{name}.{part}", out, into, bias=False)
    return tensors | {f"{name}.{gate}": 0.7 + draw.some(1) for gate in ("attn_gate", "ff_gate")}


def _neox_layer(draw: Draw, name: str) -> T:
    tensors = draw.norm(f"{name}.input_layernorm", DIM)
    tensors |= draw.norm(f"{name}.post_attention_layernorm", DIM)
    tensors |= draw.linear(f"{name}.attention.query_key_value", 3 * DIM, DIM)
    tensors |= draw.linear(f"{name}.attention.dense", DIM, DIM)
    tensors |= draw.linear(f"{name}.mlp.dense_h_to_4h", HIDDEN, DIM)
    return tensors | draw.linear(f"{name}.mlp.dense_4h_to_h", DIM, HIDDEN)


def _mpt_layer(draw: Draw, name: str, family: str) -> T:
    up, down, *norms = MPT_NAMES[family]
    tensors: T = {}
    for part in norms:
        tensors |= draw.norm(f"{name}.{part}", DIM, bias=False)
    for part, out, into in (
        ("attn.Wqkv", 3 * DIM, DIM),
        ("attn.out_proj", DIM, DIM),
        (up, HIDDEN, DIM),
        (down, DIM, HIDDEN),
    ):
        tensors |= draw.linear(f"{name}.{part}", out, into, bias=False)
    return tensors


MPT_NAMES = {
    "mpt": ("ffn.up_proj", "ffn.down_proj", "norm_1", "norm_2"),
    "mosaic_gpt": ("mlp.mlp_up", "mlp.mlp_down", "ln_1", "ln_2", "attn.q_ln", "attn.k_ln"),
}


def _affine(t: T, name: str, x: Tensor) -> Tensor:
    return F.linear(x, t[f"{name}.weight"], t.get(f"{name}.bias"))


def _norm(t: T, name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], t[f"{name}.weight"], t.get(f"{name}.bias"))


def _attended(q: Tensor, k: Tensor, v: Tensor, heads: int, bias: Tensor | float = 0.0) -> Tensor:
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(0, 1) for x in (q, k, v))
    scores = q @ k.transpose(1, 2) / math.sqrt(q.shape[-1]) + bias
    return (scores.softmax(-1) @ v).transpose(0, 1).flatten(1)


def _patches(t: T, picture: Tensor) -> Tensor:
    """CLIP's patches before the last norm, without the class token."""
    v = TOWER_PREFIX
    kernel = t[f"{v}.embeddings.patch_embedding.weight"]
    x = F.conv2d(picture[None], kernel, stride=PATCH)[0].flatten(1).T
    x = torch.cat([t[f"{v}.embeddings.class_embedding"][None], x])
    x = _norm(t, f"{v}.pre_layrnorm", x + t[f"{v}.embeddings.position_embedding.weight"])
    for layer in range(2):
        name = f"{v}.encoder.layers.{layer}"
        y = _norm(t, f"{name}.layer_norm1", x)
        parts = (_affine(t, f"{name}.self_attn.{part}_proj", y) for part in "qkv")
        x = x + _affine(t, f"{name}.self_attn.out_proj", _attended(*parts, heads=2))
        inner = _affine(t, f"{name}.mlp.fc1", _norm(t, f"{name}.layer_norm2", x))
        x = x + _affine(t, f"{name}.mlp.fc2", inner * (1.702 * inner).sigmoid())
    return x[1:]


def _resampled(t: T, patches: Tensor) -> Tensor:
    x = t["perceiver.latents"]
    for layer in range(2):
        name = f"perceiver.layers.{layer}"
        own = _norm(t, f"{name}.0.norm_latents", x)
        seen = torch.cat([_norm(t, f"{name}.0.norm_media", patches), own])
        k, v = _affine(t, f"{name}.0.to_kv", seen).chunk(2, dim=-1)
        q = _affine(t, f"{name}.0.to_q", own)
        x = x + _affine(t, f"{name}.0.to_out", _attended(q, k, v, heads=1))
        inner = F.gelu(_affine(t, f"{name}.1.1", _norm(t, f"{name}.1.0", x)))
        x = x + _affine(t, f"{name}.1.3", inner)
    return _norm(t, "perceiver.norm", x)


def _looked(t: T, name: str, x: Tensor, latest: list[int], latents: list[Tensor]) -> Tensor:
    """Each token looks at the latest picture before it; without one, at nothing."""
    q = _affine(t, f"{name}.attn.to_q", _norm(t, f"{name}.attn.norm", x))
    rows = []
    for at, number in enumerate(latest):
        seen = torch.zeros(1, q.shape[1])
        if number:
            k, v = _affine(t, f"{name}.attn.to_kv", latents[number - 1]).chunk(2, dim=-1)
            seen = _attended(q[at : at + 1], k, v, heads=2)
        rows.append(seen)
    x = x + t[f"{name}.attn_gate"].tanh() * _affine(t, f"{name}.attn.to_out", torch.cat(rows))
    inner = F.gelu(_affine(t, f"{name}.ff.1", _norm(t, f"{name}.ff.0", x)))
    return x + t[f"{name}.ff_gate"].tanh() * _affine(t, f"{name}.ff.3", inner)


def _causal(tokens: int) -> Tensor:
    return torch.zeros(tokens, tokens).masked_fill(
        torch.ones(tokens, tokens).triu(1).bool(), -torch.inf
    )


def _mpt(t: T, name: str, x: Tensor, family: str) -> Tensor:
    up, down, first, second, *joint = MPT_NAMES[family]
    q, k, v = _affine(t, f"{name}.attn.Wqkv", _norm(t, f"{name}.{first}", x)).chunk(3, dim=-1)
    if joint:
        q, k = _norm(t, f"{name}.{joint[0]}", q), _norm(t, f"{name}.{joint[1]}", k)
    place = torch.arange(len(x)).float()
    slopes = alibi_slopes(HEADS, torch.device("cpu"))[:, None, None]
    bias = _causal(len(x)) - slopes * (place[:, None] - place)
    x = x + _affine(t, f"{name}.attn.out_proj", _attended(q, k, v, HEADS, bias))
    inner = F.gelu(_affine(t, f"{name}.{up}", _norm(t, f"{name}.{second}", x)))
    return x + _affine(t, f"{name}.{down}", inner)


def _neox(t: T, name: str, x: Tensor) -> Tensor:
    mixed = _affine(t, f"{name}.attention.query_key_value", _norm(t, f"{name}.input_layernorm", x))
    q, k, v = mixed.unflatten(-1, (HEADS, 3, -1)).unbind(2)  # head by head
    q, k = (_half_turned(one).flatten(1) for one in (q, k))
    seen = _attended(q, k, v.flatten(1), HEADS, _causal(len(x)))
    x = x + _affine(t, f"{name}.attention.dense", seen)
    y = _norm(t, f"{name}.post_attention_layernorm", x)
    inner = F.gelu(_affine(t, f"{name}.mlp.dense_h_to_4h", y))
    return x + _affine(t, f"{name}.mlp.dense_4h_to_h", inner)


def _half_turned(x: Tensor) -> Tensor:
    """The first half of each head's numbers turned with its place."""
    turn = x.shape[-1] // 2
    speeds = 10000.0 ** (-torch.arange(0, turn, 2) / turn)
    angle = torch.outer(torch.arange(len(x)).float(), speeds).repeat(1, 2)[:, None]
    first = x[..., :turn]
    half = torch.cat([-first[..., turn // 2 :], first[..., : turn // 2]], dim=-1)
    return torch.cat([first * angle.cos() + half * angle.sin(), x[..., turn:]], dim=-1)
