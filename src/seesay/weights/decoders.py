"""Published language models, alone or inside a vision-language model: Llama and Vicuna, Mistral,
Qwen, Qwen2 and 2.5, Qwen3, InternLM2, OPT, MPT and GPT-NeoX (RedPajama, Pythia).

    decoder = load_decoder(Path("Qwen/Qwen2.5-0.5B-Instruct"))

A family is two functions: config.json -> `DecoderConfig`, and `DecoderConfig` -> rule table. The
config's "model_type" selects the family.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from seesay.data.model_files import read_json
from seesay.models.decoder import Decoder, DecoderConfig
from seesay.models.rope import RopeConfig
from seesay.weights.bundle import checked
from seesay.weights.decoder_rules import (
    internlm2_rules,
    llama_rules,
    mosaic_rules,
    mpt_rules,
    neox_rules,
    opt_rules,
    qwen_rules,
)
from seesay.weights.settings import HUGGING_FACE, Known, Settings, every_setting
from seesay.weights.tensors import MOST_PARTS, Rules, blank_model, load_weights, read_tensors

# Defaults of transformers' configs, whose files omit values equal to them; a test compares.
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
# configuration_qwen.py, beside the files of the first Qwen.
QWEN_DEFAULTS: dict[str, Any] = {
    "vocab_size": 151936,
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "kv_channels": 128,
    "intermediate_size": 22016,
    "layer_norm_epsilon": 1e-6,
    "max_position_embeddings": 8192,
    "seq_length": 2048,
    "rotary_emb_base": 10000,
    "use_dynamic_ntk": True,
    "use_logn_attn": True,
}
QWEN2_DEFAULTS: dict[str, Any] = {
    **LLAMA_DEFAULTS,
    "vocab_size": 151936,
    "intermediate_size": 22016,
    "num_key_value_heads": 32,
    "max_position_embeddings": 32768,
}
QWEN3_DEFAULTS: dict[str, Any] = {**QWEN2_DEFAULTS, "head_dim": 128}
# The language models of Qwen2-VL and 2.5-VL, and of Qwen3-VL.
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
MOSAIC_DEFAULTS: dict[str, Any] = {
    "d_model": 2048,
    "n_heads": 16,
    "n_layers": 24,
    "mlp_ratio": 4,
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
    **dict.fromkeys(("attn_dropout_prob", "emb_dropout_prob"), "for training"),
    **dict.fromkeys(("bf16", "fp16", "fp32", "use_flash_attn", "onnx_safe"), "how it is computed"),
    "tokenizer_type": "names the class",
    **dict.fromkeys(("low_precision_layernorm", "param_init_fn"), "how it is computed"),
    **dict.fromkeys(("init_nonlinearity", "init_gain", "fan_mode"), "for training"),
    **dict.fromkeys(
        ("init_div_is_residual", "emb_init_std", "emb_init_uniform_lim"), "for training"
    ),
}

# From config.json to our config


def llama(c: Settings) -> DecoderConfig:
    """Llama and Vicuna, and what the others share with them."""
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


def qwen(c: Settings) -> DecoderConfig:
    """The first Qwen. Beyond its training length it stretches positions and scores, so its context
    ends there."""
    for name, value in {"no_bias": True, "scale_attn_weights": True, "rotary_pct": 1.0}.items():
        c.require(name, value, (value,))
    stretched = any([c["use_dynamic_ntk"], c["use_logn_attn"]])
    lengths = c["seq_length"], c["max_position_embeddings"]
    heads = c["num_attention_heads"]
    return DecoderConfig(
        vocab_size=c["vocab_size"],
        context=min(lengths) if stretched else lengths[1],
        dim=c["hidden_size"],
        depth=c["num_hidden_layers"],
        heads=heads,
        key_heads=heads,
        head_dim=c["kv_channels"],
        hidden=c["intermediate_size"] // 2,  # counts both projections
        norm_eps=c["layer_norm_epsilon"],
        input_bias=True,
        rope=RopeConfig(theta=float(c["rotary_emb_base"])),
    )


def qwen2(c: Settings) -> DecoderConfig:
    """Qwen2 and 2.5: biases only in queries, keys and values."""
    _without_windows(c)
    return replace(llama(c), input_bias=True)


def qwen3(c: Settings) -> DecoderConfig:
    _without_windows(c)
    return replace(llama(c), query_key_norm=True)


def qwen3_vl(c: Settings) -> DecoderConfig:
    """Qwen3 with interleaved time, row and column positions; not every file says so."""
    model = qwen3(c)
    return replace(model, rope=replace(model.rope, interleaved=True))


def _without_windows(c: Settings) -> None:
    """Every Qwen file configures attention windows, and none uses them."""
    c.require("use_sliding_window", False, (False,))
    c.ignore("sliding_window", "max_window_layers")
    layers = set(c.get("layer_types") or ())
    if layers - {"full_attention"}:
        raise c.refusal("layer_types", sorted(layers), ["full_attention"])


def internlm2(c: Settings) -> DecoderConfig:
    return replace(llama(c), input_bias=c["bias"], output_bias=c["bias"])


def opt(c: Settings) -> DecoderConfig:
    """OPT in all sizes but 350M, whose norms come after the residual sums."""
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
    dim = c["d_model"]
    attention = c.section("attn_config")
    for name, value in MPT_NEEDS.items():
        attention.require(name, value, (value,))
    joint = attention.require("qk_ln", False, (False, True))
    return _mpt(c, hidden=c["expansion_ratio"] * dim, joint=joint)


def mosaic_gpt(c: Settings) -> DecoderConfig:
    """MPT-1B, whose code is older than MPT's (MosaicML examples, configuration_mosaic_gpt.py)."""
    for name, value in MOSAIC_NEEDS.items():
        c.require(name, value, (value,))
    joint = c.require("attn_qk_ln", False, (False, True))
    return _mpt(c, hidden=c["mlp_ratio"] * c["d_model"], joint=joint)


def _mpt(c: Settings, *, hidden: int, joint: bool) -> DecoderConfig:
    dim, heads = c["d_model"], c["n_heads"]
    c.require("logit_scale", None, (None,))
    c.require("no_bias", True, (True,))
    c.ignore("learned_pos_emb")  # with ALiBi, there is no such table
    return DecoderConfig(
        vocab_size=c["vocab_size"],
        context=c["max_seq_len"],
        dim=dim,
        depth=c["n_layers"],
        heads=heads,
        key_heads=heads,
        head_dim=dim // heads,
        hidden=hidden,
        activation="gelu",
        gated=False,
        norm="layer",
        norm_eps=c["layer_norm_epsilon"],
        norm_bias=False,
        joint_query_key_norm=joint,
        positions="alibi",
    )


MPT_NEEDS = {
    "attn_type": "multihead_attention",
    "alibi": True,
    "alibi_bias_max": 8,
    "clip_qkv": None,
    "softmax_scale": None,
    "prefix_lm": False,
    "attn_uses_sequence_id": False,
}
MOSAIC_NEEDS = {
    "alibi": True,
    "alibi_bias_max": 8,
    "attn_clip_qkv": None,
    "softmax_scale": None,
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
        case "dynamic":  # has no effect up to the pre-training length
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
    """Returns our name for one of transformers' activations."""
    return ACTIVATIONS[c.require(name, None, tuple(ACTIVATIONS))]


# Families


@dataclass(frozen=True)
class DecoderFamily:
    """How to read the files of a family."""

    config: Callable[[Settings], DecoderConfig]
    rules: Callable[[DecoderConfig, str, str], Rules]
    defaults: Mapping[str, Any]
    body: str = "model"
    """Prefix of all names but the head's."""
    head: str = "lm_head"
    """Name of the head, which files with tied embeddings lack."""


# "model_type" -> family
DECODERS: dict[str, DecoderFamily] = {
    "llama": DecoderFamily(llama, llama_rules, LLAMA_DEFAULTS),
    "mistral": DecoderFamily(mistral, llama_rules, MISTRAL_DEFAULTS),
    "qwen": DecoderFamily(qwen, qwen_rules, QWEN_DEFAULTS, body="transformer"),
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
    "mosaic_gpt": DecoderFamily(mosaic_gpt, mosaic_rules, MOSAIC_DEFAULTS, body="transformer"),
    "gpt_neox": DecoderFamily(
        gpt_neox, neox_rules, NEOX_DEFAULTS, body="gpt_neox", head="embed_out"
    ),
}


@dataclass(frozen=True, kw_only=True)
class DecoderBlueprint:
    """The decoder a config describes, before any tensor is read."""

    model: DecoderConfig
    rules: Rules


def read_decoder(
    config: Settings,
    names: Collection[str],
    family: str = "",
    body: str = "",
    head: str = "",
) -> DecoderBlueprint:
    """Returns the blueprint of a decoder from its section of a config and its tensor names, which
    tell whether it has an untied head.

    `family` applies if "model_type" is missing or means something else. `body` and `head` are the
    prefixes of the two parts inside another model. Raises WeightsError.
    """
    if not family:
        family = config.require("model_type", "", tuple(DECODERS))
    reader = DECODERS[family]
    config.complete(reader.defaults)
    head = head or reader.head
    model = replace(reader.config(config), tied=f"{head}.weight" not in names)
    return DecoderBlueprint(model=model, rules=reader.rules(model, body or reader.body, head))


def load_decoder(folder: Path) -> Decoder:
    """Loads a published language model in float32 and evaluation mode. Raises WeightsError unless
    config and tensors match the model exactly."""
    published = read_json(folder / "config.json")
    tensors = read_tensors(folder)

    def read() -> DecoderBlueprint:
        with every_setting(published, "config.json", KNOWN) as config:
            return read_decoder(config, tensors)

    blueprint = checked(read, folder, {"model": DecoderConfig})
    model = blank_model(Decoder, blueprint.model, MOST_PARTS * len(tensors))
    load_weights(model, tensors, blueprint.rules)
    return model.eval()
