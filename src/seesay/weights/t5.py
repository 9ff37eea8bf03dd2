"""T5 1.1, Flan-T5 and T5 in Hugging Face's layout, alone or inside a vision-language model."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seesay.data.model_files import read_json
from seesay.models.t5 import T5, T5Config
from seesay.weights.bundle import checked
from seesay.weights.settings import HUGGING_FACE, Known, Settings, every_setting
from seesay.weights.tensors import (
    MOST_PARTS,
    Rule,
    Rules,
    blank_model,
    load_weights,
    read_tensors,
)

# Defaults of transformers' T5Config; a test compares them.
DEFAULTS: dict[str, Any] = {
    "vocab_size": 32128,
    "d_model": 512,
    "d_kv": 64,
    "d_ff": 2048,
    "num_layers": 6,
    "num_decoder_layers": None,
    "num_heads": 8,
    "relative_attention_num_buckets": 32,
    "relative_attention_max_distance": 128,
    "layer_norm_epsilon": 1e-6,
    "feed_forward_proj": "relu",
}
# "feed_forward_proj" -> our activation, and whether it is gated. If gated, "gelu" is the tanh
# approximation (transformers, T5Config).
FEED_FORWARD = {
    "relu": ("relu", False),
    "gelu": ("gelu", False),
    "gated-gelu": ("gelu_tanh", True),
    "gated-silu": ("silu", True),
}
KNOWN: Known = {
    **HUGGING_FACE,
    "is_encoder_decoder": (True,),
    "dropout_rate": "for training",
    "n_positions": "there are no positions",
    **dict.fromkeys(("dense_act_fn", "is_gated_act"), "from feed_forward_proj"),
}


@dataclass(frozen=True, kw_only=True)
class T5Blueprint:
    """The model a config describes, before any tensor is read."""

    model: T5Config
    rules: Rules


def read_t5(c: Settings, names: Collection[str]) -> T5Blueprint:
    """Returns the blueprint of a T5 from its section of a config and its tensor names, which tell
    whether it has an untied head. Raises WeightsError."""
    c.complete(DEFAULTS)
    activation, gated = FEED_FORWARD[
        c.require("feed_forward_proj", DEFAULTS["feed_forward_proj"], tuple(FEED_FORWARD))
    ]
    # Version 1.1 unties the head and does not scale; transformers records this since 5.0.
    scaled = c.get("scale_decoder_outputs", c.get("tie_word_embeddings", True) is not False)
    model = T5Config(
        vocab_size=c["vocab_size"],
        dim=c["d_model"],
        depth=c["num_layers"],
        decoder_depth=c["num_layers"] if (n := c["num_decoder_layers"]) is None else n,
        heads=c["num_heads"],
        head_dim=c["d_kv"],
        hidden=c["d_ff"],
        activation=activation,
        gated=gated,
        norm_eps=c["layer_norm_epsilon"],
        buckets=c["relative_attention_num_buckets"],
        farthest=c["relative_attention_max_distance"],
        tied="lm_head.weight" not in names,
        scale_outputs=scaled,
    )
    return T5Blueprint(model=model, rules=GATED_RULES if gated else PLAIN_RULES)


def load_t5(folder: Path) -> T5:
    """Loads a published T5 in float32 and evaluation mode. Raises WeightsError unless config and
    tensors match the model exactly."""
    published = read_json(folder / "config.json")
    tensors = read_tensors(folder)

    def read() -> T5Blueprint:
        with every_setting(published, "config.json", KNOWN) as config:
            return read_t5(config, tensors)

    blueprint = checked(read, folder, {"model": T5Config})
    model = blank_model(T5, blueprint.model, MOST_PARTS * len(tensors))
    load_weights(model, tensors, blueprint.rules)
    return model.eval()


PROJECTIONS = {"q": "query", "k": "key", "v": "value", "o": "out"}


def _stack_rules(stack: str, modules: dict[str, str]) -> dict[str, Rule]:
    layer, ours = f"{stack}.block.{{}}.layer", f"{stack}.blocks.{{}}"
    table: dict[str, Rule] = {
        f"{stack}.embed_tokens.weight": None,  # same as `shared.weight`
        f"{stack}.final_layer_norm.weight": f"{stack}.norm_out.weight",
        f"{layer}.0.SelfAttention.relative_attention_bias.weight": f"{stack}.distance_bias.weight",
    }
    for theirs, name in modules.items():
        table[f"{layer}.{theirs}.weight"] = f"{ours}.{name}.weight"
    return table


def _attention(theirs: str, ours: str) -> dict[str, str]:
    return {f"{theirs}.{a}": f"{ours}.{b}" for a, b in PROJECTIONS.items()}


def _table(mlp: dict[str, str]) -> Rules:
    """`mlp` names the projections of the MLP, the last module of a layer."""
    own = {"0.layer_norm": "norm1", **_attention("0.SelfAttention", "attention")}
    cross = {"1.layer_norm": "norm_cross", **_attention("1.EncDecAttention", "cross")}
    ends = [
        {f"{place}.layer_norm": "norm2"}
        | {f"{place}.DenseReluDense.{a}": f"mlp.{b}" for a, b in mlp.items()}
        for place in (1, 2)
    ]
    return {
        "shared.weight": "token_embed.weight",
        "lm_head.weight": "head.weight",
        **_stack_rules("encoder", own | ends[0]),
        **_stack_rules("decoder", own | cross | ends[1]),
        # The first T5 files have this unused tensor.
        "decoder.block.{}.layer.1.EncDecAttention.relative_attention_bias.weight": None,
    }


GATED_RULES = _table({"wi_0": "gate", "wi_1": "up", "wo": "down"})
PLAIN_RULES = _table({"wi": "up", "wo": "down"})
