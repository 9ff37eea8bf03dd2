"""Tiny language models of transformers, every parameter random, saved as they publish them, and
what compares them with ours."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from reference_parts import layers, randomise

DIM, HEADS, KEY_HEADS, LAYERS, VOCAB = 32, 4, 2, 3, 61
SIZES = dict(
    vocab_size=VOCAB,
    hidden_size=DIM,
    intermediate_size=48,
    num_hidden_layers=LAYERS,
    num_attention_heads=HEADS,
    max_position_embeddings=256,
    bos_token_id=1,
    eos_token_id=2,
    pad_token_id=0,
)
GROUPED = dict(SIZES, num_key_value_heads=KEY_HEADS)
LLAMA3 = dict(
    rope_type="llama3",
    rope_theta=100.0,
    factor=4.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=64,
)


TOLERANCE = 1e-4


def close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    scale = max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(actual, expected, rtol=0, atol=TOLERANCE * scale)


def outputs(model: torch.nn.Module, names: list[str]) -> dict[str, torch.Tensor]:
    kept: dict[str, torch.Tensor] = {}

    def keep(name: str):
        return lambda module, inputs, output: kept.update(
            {name: output[0] if isinstance(output, tuple) else output}
        )

    for name in names:
        model.get_submodule(name).register_forward_hook(keep(name))
    return kept


@dataclass
class DecoderReference:
    """One published language model: its folder, and the modules whose outputs correspond."""

    folder: Path
    model: nn.Module
    stages: dict[str, str]


def _saved(
    folder: Path, model: nn.Module, layer: str, last: str, shards: str = "5GB"
) -> DecoderReference:
    randomise(model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Norms about 1, so that attention tells tokens apart.
            if parameter.ndim == 1 and name.endswith("weight"):
                parameter.add_(1.0)
            elif parameter.ndim == 2:
                parameter.mul_(1.5)
    model.save_pretrained(folder, max_shard_size=shards)
    return DecoderReference(folder, model, layers("blocks", layer, LAYERS) | {"norm_out": last})


def llama(folder: Path, **settings: object) -> DecoderReference:
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(LlamaConfig(**dict(GROUPED, rms_norm_eps=1e-5) | settings))
    return _saved(folder, model, "model.layers", "model.norm")


def llama_with_biases(folder: Path) -> DecoderReference:
    return llama(folder, attention_bias=True, mlp_bias=True, head_dim=16, hidden_act="gelu")


def llama3(folder: Path) -> DecoderReference:
    return llama(folder, rope_parameters=LLAMA3, tie_word_embeddings=True)


def llama_stretched(folder: Path) -> DecoderReference:
    scaling = dict(rope_type="linear", rope_theta=100.0, factor=3.0)
    return llama(folder, rope_parameters=scaling)


def vicuna_of_2023(folder: Path) -> DecoderReference:
    """In shards, with the settings' old names, and angles beside the weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    scaling = dict(rope_type="linear", rope_theta=100.0, factor=3.0)
    model = LlamaForCausalLM(LlamaConfig(**GROUPED, rope_parameters=scaling))
    reference = _saved(folder, model, "model.layers", "model.norm", shards="20KB")
    config = json.loads((folder / "config.json").read_text())
    del config["rope_parameters"]
    config |= dict(rope_theta=100.0, rope_scaling=dict(type="linear", factor=3.0))
    (folder / "config.json").write_text(json.dumps(config))
    index = folder / "model.safetensors.index.json"
    shards = json.loads(index.read_text())
    first = sorted(set(shards["weight_map"].values()))[0]
    name = "model.layers.0.self_attn.rotary_emb.inv_freq"
    save_file({**load_file(folder / first), name: torch.ones(4)}, folder / first)
    shards["weight_map"][name] = first
    index.write_text(json.dumps(shards))
    return reference


def mistral(folder: Path) -> DecoderReference:
    from transformers import MistralConfig, MistralForCausalLM

    model = MistralForCausalLM(MistralConfig(**GROUPED, sliding_window=None))
    return _saved(folder, model, "model.layers", "model.norm")


def qwen2(folder: Path) -> DecoderReference:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    model = Qwen2ForCausalLM(Qwen2Config(**GROUPED, rope_parameters=dict(rope_theta=1e6)))
    return _saved(folder, model, "model.layers", "model.norm")


def qwen3(folder: Path) -> DecoderReference:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    model = Qwen3ForCausalLM(Qwen3Config(**GROUPED, head_dim=16, tie_word_embeddings=True))
    return _saved(folder, model, "model.layers", "model.norm")


INTERNLM2_NAMES = {
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.o_proj": "attention.wo",
    "mlp.gate_proj": "feed_forward.w1",
    "mlp.up_proj": "feed_forward.w3",
    "mlp.down_proj": "feed_forward.w2",
    "embed_tokens": "tok_embeddings",
    "lm_head": "output",
}


def internlm2_names(tensors: dict[str, torch.Tensor], prefix: str = "") -> dict:
    """The tensors of a Llama under InternLM2's names, its queries, keys and values fused: after the
    queries that share a head of keys stand that head and its values."""
    tensors = dict(tensors)
    width = tensors[f"{prefix}model.norm.weight"].shape[0]
    layers = sum(name.endswith("q_proj.weight") for name in tensors)
    for layer in range(layers):
        attention = f"{prefix}model.layers.{layer}"
        parts = [tensors.pop(f"{attention}.self_attn.{name}_proj.weight") for name in "qkv"]
        head = len(parts[1]) // KEY_HEADS
        rows = []
        for group, heads in enumerate(parts[0].reshape(KEY_HEADS, -1, head, width)):
            rows += [*heads, *(part.reshape(KEY_HEADS, head, width)[group] for part in parts[1:])]
        tensors[f"{attention}.attention.wqkv.weight"] = torch.cat(rows)
    for theirs, ours in INTERNLM2_NAMES.items():
        tensors = {name.replace(theirs, ours): tensor for name, tensor in tensors.items()}
    return tensors


def internlm2(folder: Path) -> DecoderReference:
    """A Llama under the names of InternLM2."""
    reference = llama(folder, rope_parameters=dict(rope_theta=1e6))
    tensors = internlm2_names(load_file(folder / "model.safetensors"))
    save_file(tensors, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    del config["rope_parameters"], config["attention_bias"], config["mlp_bias"]
    config |= dict(
        model_type="internlm2",
        bias=False,
        rope_theta=1e6,
        rope_scaling=dict(type="dynamic", factor=2.0),
        auto_map={"AutoModel": "modeling_internlm2.InternLM2ForCausalLM"},
        attn_implementation="eager",
    )
    (folder / "config.json").write_text(json.dumps(config))
    return reference


def opt(folder: Path) -> DecoderReference:
    from transformers import OPTConfig, OPTForCausalLM

    sizes = dict(SIZES, ffn_dim=48)
    del sizes["intermediate_size"]
    model = OPTForCausalLM(OPTConfig(**sizes))
    return _saved(folder, model, "model.decoder.layers", "model.decoder.final_layer_norm")


def mpt(folder: Path, heads: int = HEADS) -> DecoderReference:
    from transformers import MptConfig, MptForCausalLM

    model = MptForCausalLM(
        MptConfig(
            d_model=8 * heads, n_heads=heads, n_layers=LAYERS, vocab_size=VOCAB, max_seq_len=64
        )
    )
    return _saved(folder, model, "transformer.blocks", "transformer.norm_f")


def mpt_of_six_heads(folder: Path) -> DecoderReference:
    return mpt(folder, heads=6)


def gpt_neox(folder: Path, parallel: bool = True) -> DecoderReference:
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    config = GPTNeoXConfig(
        **SIZES,
        use_parallel_residual=parallel,
        rope_parameters=dict(rope_theta=1e4, partial_rotary_factor=0.5, rope_type="default"),
    )
    return _saved(
        folder, GPTNeoXForCausalLM(config), "gpt_neox.layers", "gpt_neox.final_layer_norm"
    )


def redpajama(folder: Path) -> DecoderReference:
    """One branch after the other, with the settings' old names."""
    reference = gpt_neox(folder, parallel=False)
    config = json.loads((folder / "config.json").read_text())
    del config["rope_parameters"]
    config |= dict(rotary_pct=0.5, rotary_emb_base=10000)
    (folder / "config.json").write_text(json.dumps(config))
    return reference


DECODER_FAMILIES: dict[str, Callable[[Path], DecoderReference]] = {
    "llama": llama,
    "llama with biases": llama_with_biases,
    "llama 3": llama3,
    "llama, stretched": llama_stretched,
    "vicuna of 2023": vicuna_of_2023,
    "mistral": mistral,
    "qwen2": qwen2,
    "qwen3": qwen3,
    "internlm2": internlm2,
    "opt": opt,
    "mpt": mpt,
    "mpt of six heads": mpt_of_six_heads,
    "gpt-neox": gpt_neox,
    "redpajama": redpajama,
}
