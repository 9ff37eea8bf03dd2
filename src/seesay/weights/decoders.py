"""Published language models, alone or as a part of a vision-language model: Llama and Vicuna,
Mistral, Qwen2 and 2.5, Qwen3, InternLM2, OPT, MPT and GPT-NeoX (RedPajama, Pythia).

    decoder = load_decoder(Path("Qwen/Qwen2.5-0.5B-Instruct"))

A family is a function from its config.json to a `DecoderConfig`, and one to a rule table. Which of
them a folder needs is in its config's "model_type".
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from seesay.data.model_files import read_json
from seesay.models.decoder import Decoder, DecoderConfig
from seesay.models.rope import RopeConfig
from seesay.weights.bundle import checked
from seesay.weights.settings import HUGGING_FACE, Known, Settings, every_setting
from seesay.weights.tensors import (
    MOST_PARTS,
    Grouped,
    Rule,
    Rules,
    blank_model,
    both,
    fused,
    load_weights,
    read_tensors,
)

# Defaults of transformers' configs, which leave out of a file what equals them; a test compares.
LLAMA_DEFAULTS: dict[str, Any] = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": None,
    "head_dim": None,
    "hidden_act": "silu",
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6,
    "attention_bias": False,
    "mlp_bias": False,
}
MISTRAL_DEFAULTS: dict[str, Any] = {
    **LLAMA_DEFAULTS,
    "intermediate_size": 14336,
    "num_key_value_heads": 8,
    "max_position_embeddings": 4096 * 32,
    "sliding_window": 4096,
}
QWEN2_DEFAULTS: dict[str, Any] = {
    **LLAMA_DEFAULTS,
    "vocab_size": 151936,
    "intermediate_size": 22016,
    "num_key_value_heads": 32,
    "max_position_embeddings": 32768,
}
QWEN3_DEFAULTS: dict[str, Any] = {**QWEN2_DEFAULTS, "head_dim": 128}
# The language models in Qwen2-VL and 2.5-VL, and in Qwen3-VL.
QWEN2_VL_DEFAULTS: dict[str, Any] = {
    **LLAMA_DEFAULTS,
    "vocab_size": 152064,
    "hidden_size": 8192,
    "intermediate_size": 29568,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-5,
    "rope_theta": 1e6,
}
QWEN3_VL_DEFAULTS: dict[str, Any] = {
    **QWEN3_DEFAULTS,
    "max_position_embeddings": 128000,
    "rope_theta": 5e5,
}
INTERNLM2_DEFAULTS: dict[str, Any] = {**LLAMA_DEFAULTS, "vocab_size": 103168, "bias": True}
OPT_DEFAULTS: dict[str, Any] = {
    "vocab_size": 50272,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "ffn_dim": 3072,
    "max_position_embeddings": 2048,
    "num_attention_heads": 12,
    "activation_function": "relu",
}
MPT_DEFAULTS: dict[str, Any] = {
    "d_model": 2048,
    "n_heads": 16,
    "n_layers": 24,
    "expansion_ratio": 4,
    "max_seq_len": 2048,
    "vocab_size": 50368,
    "layer_norm_epsilon": 1e-5,
}
NEOX_DEFAULTS: dict[str, Any] = {
    "vocab_size": 50432,
    "hidden_size": 6144,
    "num_hidden_layers": 44,
    "num_attention_heads": 64,
    "intermediate_size": 24576,
    "hidden_act": "gelu",
    "max_position_embeddings": 2048,
    "layer_norm_eps": 1e-5,
    "use_parallel_residual": True,
    "attention_bias": True,
}
ACTIVATIONS = {
    "silu": "silu",
    "relu": "relu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
}
KNOWN: Known = {
    **HUGGING_FACE,
    **dict.fromkeys(("auto_map", "_name_or_path"), "names code or a folder"),
    **dict.fromkeys(("pretraining_tp", "init_device", "init_std"), "for training"),
    **dict.fromkeys(("attn_implementation", "attn_impl", "norm_type"), "how it is computed"),
    **dict.fromkeys(("resid_pdrop", "emb_pdrop", "attn_pdrop", "hidden_dropout"), "for training"),
    **dict.fromkeys(("embedding_fraction", "init_config", "layerdrop"), "for training"),
    **dict.fromkeys(("verbose", "tokenizer_name"), "for the program that trained it"),
}

# From config.json to our config


def llama(c: Settings) -> DecoderConfig:
    """Llama and Vicuna, and what the others have in common with them."""
    heads, dim = c["num_attention_heads"], c["hidden_size"]
    return DecoderConfig(
        vocab_size=c["vocab_size"],
        context=c["max_position_embeddings"],
        dim=dim,
        depth=c["num_hidden_layers"],
        heads=heads,
        key_heads=c["num_key_value_heads"] or heads,
        head_dim=c["head_dim"] or dim // heads,
        hidden=c["intermediate_size"],
        activation=activation(c, "hidden_act"),
        norm_eps=c["rms_norm_eps"],
        input_bias=c["attention_bias"],
        output_bias=c["attention_bias"],
        mlp_bias=c["mlp_bias"],
        rope=rope(c),
    )


def mistral(c: Settings) -> DecoderConfig:
    c.require("sliding_window", None, (None,))
    return llama(c)


def qwen2(c: Settings) -> DecoderConfig:
    """Qwen2 and 2.5: biases in queries, keys and values alone."""
    _without_windows(c)
    return replace(llama(c), input_bias=True)


def qwen3(c: Settings) -> DecoderConfig:
    _without_windows(c)
    return replace(llama(c), query_key_norm=True)


def qwen3_vl(c: Settings) -> DecoderConfig:
    """Qwen3 whose positions in time, row and column take turns; not every file says so."""
    model = qwen3(c)
    return replace(model, rope=replace(model.rope, interleaved=True))


def _without_windows(c: Settings) -> None:
    """Every file of Qwen has windows of attention, and none uses them."""
    c.require("use_sliding_window", False, (False,))
    c.ignore("sliding_window", "max_window_layers")
    layers = set(c.get("layer_types") or ())
    if layers - {"full_attention"}:
        raise c.refusal("layer_types", sorted(layers), ["full_attention"])


def internlm2(c: Settings) -> DecoderConfig:
    return replace(llama(c), input_bias=c["bias"], output_bias=c["bias"])


def opt(c: Settings) -> DecoderConfig:
    """OPT, of all sizes but 350M, whose norms come after the sums."""
    dim, heads = c["hidden_size"], c["num_attention_heads"]
    for name, value in OPT_NEEDS.items():
        c.require(name, value, (value,))
    c.require("word_embed_proj_dim", dim, (dim, None))
    return DecoderConfig(
        vocab_size=c["vocab_size"],
        context=c["max_position_embeddings"],
        dim=dim,
        depth=c["num_hidden_layers"],
        heads=heads,
        key_heads=heads,
        head_dim=dim // heads,
        hidden=c["ffn_dim"],
        activation=activation(c, "activation_function"),
        gated=False,
        norm="layer",
        input_bias=True,
        output_bias=True,
        mlp_bias=True,
        positions="learned",
    )


OPT_NEEDS = {
    "do_layer_norm_before": True,
    "_remove_final_layer_norm": False,
    "enable_bias": True,
    "layer_norm_elementwise_affine": True,
}


def mpt(c: Settings) -> DecoderConfig:
    dim, heads = c["d_model"], c["n_heads"]
    attention = c.section("attn_config")
    for name, value in MPT_NEEDS.items():
        attention.require(name, value, (value,))
    c.require("logit_scale", None, (None,))
    c.require("no_bias", True, (True,))
    c.ignore("learned_pos_emb")  # with the penalty for distance, there is no such table
    return DecoderConfig(
        vocab_size=c["vocab_size"],
        context=c["max_seq_len"],
        dim=dim,
        depth=c["n_layers"],
        heads=heads,
        key_heads=heads,
        head_dim=dim // heads,
        hidden=c["expansion_ratio"] * dim,
        activation="gelu",
        gated=False,
        norm="layer",
        norm_eps=c["layer_norm_epsilon"],
        norm_bias=False,
        positions="alibi",
    )


MPT_NEEDS = {
    "attn_type": "multihead_attention",
    "alibi": True,
    "alibi_bias_max": 8,
    "clip_qkv": None,
    "softmax_scale": None,
    "prefix_lm": False,
    "qk_ln": False,
    "attn_uses_sequence_id": False,
}


def gpt_neox(c: Settings) -> DecoderConfig:
    dim, heads = c["hidden_size"], c["num_attention_heads"]
    return DecoderConfig(
        vocab_size=c["vocab_size"],
        context=c["max_position_embeddings"],
        dim=dim,
        depth=c["num_hidden_layers"],
        heads=heads,
        key_heads=heads,
        head_dim=dim // heads,
        hidden=c["intermediate_size"],
        activation=activation(c, "hidden_act"),
        gated=False,
        norm="layer",
        norm_eps=c["layer_norm_eps"],
        input_bias=c["attention_bias"],
        output_bias=c["attention_bias"],
        mlp_bias=True,
        rope=rope(
            c,
            theta=float(c.get("rotary_emb_base", 10_000)),
            fraction=float(c.get("rotary_pct", 0.25)),
        ),
        parallel=c["use_parallel_residual"],
    )


def rope(c: Settings, theta: float = 10_000.0, fraction: float = 1.0) -> RopeConfig:
    """Rotary positions from "rope_parameters" (transformers 5) or "rope_theta" and "rope_scaling"
    (before)."""
    theta = float(c.get("rope_theta", theta))
    old, new = c.get("rope_scaling"), c.get("rope_parameters")
    p: Settings = new or old or Settings("config.json", "", {})
    sections = p.get("mrope_section")
    scaling = p.get("rope_type", p.get("type", "default"))
    plain = RopeConfig(
        theta=float(p.get("rope_theta", theta)),
        fraction=float(p.get("partial_rotary_factor", fraction)),
        sections=None if sections is None else tuple(sections),
        interleaved=p.get("mrope_interleaved", False),
    )
    match scaling:
        case "default" | "mrope":
            return plain
        case "dynamic":  # has no effect up to the length of pre-training
            p.ignore("factor", "original_max_position_embeddings")
            return plain
        case "linear":
            return replace(plain, scaling="linear", factor=float(p["factor"]))
        case "llama3":
            return replace(
                plain,
                scaling="llama3",
                factor=float(p["factor"]),
                trained=p["original_max_position_embeddings"],
                low=float(p["low_freq_factor"]),
                high=float(p["high_freq_factor"]),
            )
    raise c.refusal("rope_scaling", scaling, "linear", "llama3", "dynamic", "mrope")


def activation(c: Settings, name: str) -> str:
    """Our name for one of transformers' activations."""
    return ACTIVATIONS[c.require(name, None, tuple(ACTIVATIONS))]


# From the tensors' names to ours


def _rules(body: str, embed: str, modules: Mapping[str, str], last: str, head: str) -> Rules:
    """The table of a family whose layers have these modules; each has a weight and perhaps a
    bias."""
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
    "attn.out_proj": "attention.out",
    "ffn.up_proj": "mlp.up",
    "ffn.down_proj": "mlp.down",
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
    """`body` and `head` are the names that the two parts have in the file."""
    layers = f"{body}.layers"
    return {
        **_rules(layers, f"{body}.embed_tokens", LLAMA_MODULES, f"{body}.norm", head),
        f"{layers}.{{}}.self_attn.rotary_emb.inv_freq": None,  # files of 2023 have it
    }


def internlm2_rules(config: DecoderConfig, body: str, head: str) -> Rules:
    """Each head of keys stands behind the queries that share it, and before its values
    (modeling_internlm2.py, InternLM2Attention.forward)."""
    shares = (config.heads // config.key_heads, 1, 1)
    layers = f"{body}.layers"
    return {
        **_rules(layers, f"{body}.tok_embeddings", INTERNLM2_MODULES, f"{body}.norm", head),
        **_grouped(f"{layers}.{{}}.attention.wqkv", config.key_heads, shares),
        f"{layers}.{{}}.attention.rotary_emb.inv_freq": None,
    }


def opt_rules(config: DecoderConfig, body: str, head: str) -> Rules:
    layers, last = f"{body}.layers", f"{body}.final_layer_norm"
    return {
        **_rules(layers, f"{body}.embed_tokens", OPT_MODULES, last, head),
        f"{body}.embed_positions.weight": "positions.weight",
    }


def mpt_rules(config: DecoderConfig, body: str, head: str) -> Rules:
    layers = f"{body}.blocks"
    return {
        **_rules(layers, f"{body}.wte", MPT_MODULES, f"{body}.norm_f", head),
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


# Families


@dataclass(frozen=True)
class DecoderFamily:
    """How the files of a family are read."""

    config: Callable[[Settings], DecoderConfig]
    rules: Callable[[DecoderConfig, str, str], Rules]
    defaults: Mapping[str, Any]
    body: str = "model"
    """What stands before the names of everything but the head."""
    head: str = "lm_head"
    """The name of the head, which a file with tied embeddings lacks."""


# The value of "model_type" -> its family
DECODERS: dict[str, DecoderFamily] = {
    "llama": DecoderFamily(llama, llama_rules, LLAMA_DEFAULTS),
    "mistral": DecoderFamily(mistral, llama_rules, MISTRAL_DEFAULTS),
    "qwen2": DecoderFamily(qwen2, llama_rules, QWEN2_DEFAULTS),
    "qwen3": DecoderFamily(qwen3, llama_rules, QWEN3_DEFAULTS),
    "qwen2_vl_text": DecoderFamily(qwen2, llama_rules, QWEN2_VL_DEFAULTS),
    "qwen2_5_vl_text": DecoderFamily(qwen2, llama_rules, QWEN2_VL_DEFAULTS),
    "qwen3_vl_text": DecoderFamily(
        qwen3_vl, llama_rules, QWEN3_VL_DEFAULTS, body="model.language_model"
    ),
    "internlm2": DecoderFamily(internlm2, internlm2_rules, INTERNLM2_DEFAULTS, head="output"),
    "opt": DecoderFamily(opt, opt_rules, OPT_DEFAULTS, body="model.decoder"),
    "mpt": DecoderFamily(mpt, mpt_rules, MPT_DEFAULTS, body="transformer"),
    "gpt_neox": DecoderFamily(
        gpt_neox, neox_rules, NEOX_DEFAULTS, body="gpt_neox", head="embed_out"
    ),
}


@dataclass(frozen=True, kw_only=True)
class DecoderBlueprint:
    """The decoder that a config describes, before any tensor is read."""

    model: DecoderConfig
    rules: Rules


def read_decoder(
    config: Settings,
    names: Collection[str],
    family: str = "",
    body: str = "",
    head: str = "",
) -> DecoderBlueprint:
    """Returns the blueprint of a decoder from its section of a config and the names of the
    tensors in its files, which say whether it has a head of its own.

    `family` is what "model_type" means if it is missing or says something else. `body` and `head`
    are the names of the two parts where the decoder is a part of another model. Raises
    WeightsError.
    """
    if not family:
        family = config.require("model_type", "", tuple(DECODERS))
    reader = DECODERS[family]
    config.complete(reader.defaults)
    head = head or reader.head
    model = replace(reader.config(config), tied=f"{head}.weight" not in names)
    return DecoderBlueprint(model=model, rules=reader.rules(model, body or reader.body, head))


def load_decoder(folder: Path) -> Decoder:
    """Load a published language model, in float32 and in evaluation mode. Raises WeightsError, with
    the reason, unless every tensor has its place."""
    published = read_json(folder / "config.json")
    tensors = read_tensors(folder)

    def read() -> DecoderBlueprint:
        with every_setting(published, "config.json", KNOWN) as config:
            return read_decoder(config, tensors)

    blueprint = checked(read, folder, {"model": DecoderConfig})
    model = blank_model(Decoder, blueprint.model, MOST_PARTS * len(tensors))
    load_weights(model, tensors, blueprint.rules)
    return model.eval()
