"""Rule tables of published language models, alone or inside a vision-language model.

Each function takes our config and the file's names of body and head.
"""

from collections.abc import Mapping

from seesay.models.decoder import DecoderConfig
from seesay.weights.tensors import Grouped, Rule, Rules, both, fused


def _rules(body: str, embed: str, modules: Mapping[str, str], last: str, head: str) -> Rules:
    """Returns the table of a family whose layers have these modules, each with a weight and an
    optional bias."""
    table: dict[str, Rule] = {
        f"{embed}.weight": "token_embed.weight",
        f"{head}.weight": "head.weight",
        **both(last, "norm_out"),
    }
    for theirs, ours in modules.items():
        table |= both(f"{body}.{{}}.{theirs}", f"blocks.{{}}.{ours}")
    return table


LLAMA_MODULES = {
    "input_layernorm": "norm1",
    "post_attention_layernorm": "norm2",
    "self_attn.q_proj": "attention.query",
    "self_attn.k_proj": "attention.key",
    "self_attn.v_proj": "attention.value",
    "self_attn.o_proj": "attention.out",
    "self_attn.q_norm": "attention.query_norm",
    "self_attn.k_norm": "attention.key_norm",
    "mlp.gate_proj": "mlp.gate",
    "mlp.up_proj": "mlp.up",
    "mlp.down_proj": "mlp.down",
}
INTERNLM2_MODULES = {
    "attention_norm": "norm1",
    "ffn_norm": "norm2",
    "attention.wo": "attention.out",
    "feed_forward.w1": "mlp.gate",
    "feed_forward.w3": "mlp.up",
    "feed_forward.w2": "mlp.down",
}
QWEN_MODULES = {
    "ln_1": "norm1",
    "ln_2": "norm2",
    "attn.c_proj": "attention.out",
    "mlp.w1": "mlp.up",
    "mlp.w2": "mlp.gate",
    "mlp.c_proj": "mlp.down",
}
OPT_MODULES = {
    "self_attn_layer_norm": "norm1",
    "final_layer_norm": "norm2",
    "self_attn.q_proj": "attention.query",
    "self_attn.k_proj": "attention.key",
    "self_attn.v_proj": "attention.value",
    "self_attn.out_proj": "attention.out",
    "fc1": "mlp.up",
    "fc2": "mlp.down",
}
MPT_MODULES = {
    "norm_1": "norm1",
    "norm_2": "norm2",
    "attn.q_ln": "attention.query_norm",
    "attn.k_ln": "attention.key_norm",
    "attn.out_proj": "attention.out",
    "ffn.up_proj": "mlp.up",
    "ffn.down_proj": "mlp.down",
}
MOSAIC_MODULES = {
    "ln_1": "norm1",
    "ln_2": "norm2",
    "attn.q_ln": "attention.query_norm",
    "attn.k_ln": "attention.key_norm",
    "attn.out_proj": "attention.out",
    "mlp.mlp_up": "mlp.up",
    "mlp.mlp_down": "mlp.down",
}
NEOX_MODULES = {
    "input_layernorm": "norm1",
    "post_attention_layernorm": "norm2",
    "attention.dense": "attention.out",
    "mlp.dense_h_to_4h": "mlp.up",
    "mlp.dense_4h_to_h": "mlp.down",
}
PARTS = ("query", "key", "value")
ATTENTION = tuple(f"blocks.{{}}.attention.{part}" for part in PARTS)


def llama_rules(config: DecoderConfig, body: str, head: str) -> Rules:
    """`body` and `head` are the names of the two parts in the file."""
    layers = f"{body}.layers"
    return {
        **_rules(layers, f"{body}.embed_tokens", LLAMA_MODULES, f"{body}.norm", head),
        f"{layers}.{{}}.self_attn.rotary_emb.inv_freq": None,  # files of 2023 have it
    }


def internlm2_rules(config: DecoderConfig, body: str, head: str) -> Rules:
    """Each key head follows the query heads that share it and precedes its value head
    (modeling_internlm2.py, InternLM2Attention.forward)."""
    shares = (config.heads // config.key_heads, 1, 1)
    layers = f"{body}.layers"
    return {
        **_rules(layers, f"{body}.tok_embeddings", INTERNLM2_MODULES, f"{body}.norm", head),
        **_grouped(f"{layers}.{{}}.attention.wqkv", config.key_heads, shares),
        f"{layers}.{{}}.attention.rotary_emb.inv_freq": None,
    }


def qwen_rules(config: DecoderConfig, body: str, head: str) -> Rules:
    layers = f"{body}.h"
    return {
        **_rules(layers, f"{body}.wte", QWEN_MODULES, f"{body}.ln_f", head),
        **fused(f"{layers}.{{}}.attn.c_attn", "blocks.{}.attention", PARTS),
    }


def opt_rules(config: DecoderConfig, body: str, head: str) -> Rules:
    layers, last = f"{body}.layers", f"{body}.final_layer_norm"
    return {
        **_rules(layers, f"{body}.embed_tokens", OPT_MODULES, last, head),
        f"{body}.embed_positions.weight": "positions.weight",
    }


def mpt_rules(config: DecoderConfig, body: str, head: str) -> Rules:
    return _mpt_rules(body, MPT_MODULES, f"{body}.norm_f", head)


def mosaic_rules(config: DecoderConfig, body: str, head: str) -> Rules:
    return _mpt_rules(body, MOSAIC_MODULES, f"{body}.ln_f", head)


def _mpt_rules(body: str, modules: Mapping[str, str], last: str, head: str) -> Rules:
    layers = f"{body}.blocks"
    return {
        **_rules(layers, f"{body}.wte", modules, last, head),
        **fused(f"{layers}.{{}}.attn.Wqkv", "blocks.{}.attention", PARTS),
    }


def neox_rules(config: DecoderConfig, body: str, head: str) -> Rules:
    layers, last = f"{body}.layers", f"{body}.final_layer_norm"
    return {
        **_rules(layers, f"{body}.embed_in", NEOX_MODULES, last, head),
        **_grouped(f"{layers}.{{}}.attention.query_key_value", config.heads, (1, 1, 1)),
        **{
            f"{layers}.{{}}.attention.{name}": None
            for name in ("bias", "masked_bias", "rotary_emb.inv_freq")
        },
    }


def _grouped(theirs: str, groups: int, shares: tuple[int, ...]) -> dict[str, Rule]:
    return {
        f"{theirs}.{p}": Grouped(tuple(f"{name}.{p}" for name in ATTENTION), groups, shares)
        for p in ("weight", "bias")
    }
