"""Rule tables of published connectors, as parts of a vision-language checkpoint.

Each function takes the published prefix and ours, both without a trailing dot.
"""

from seesay.weights.tensors import Rule, Transposed, both, fused


def mlp_rules(theirs: str, ours: str) -> dict[str, Rule]:
    """LLaVA's MLP in transformers: `multi_modal_projector`."""
    return {
        **both(f"{theirs}.linear_1", f"{ours}.mlp.0"),
        **both(f"{theirs}.linear_2", f"{ours}.mlp.2"),
    }


def numbered_mlp_rules(theirs: str, ours: str) -> dict[str, Rule]:
    """An MLP stored as nn.Sequential: LLaVA's own `model.mm_projector`, InternVL's own `mlp1`."""
    return both(f"{theirs}.{{}}", f"{ours}.mlp.{{}}")


def pixel_shuffle_rules(theirs: str, ours: str) -> dict[str, Rule]:
    """InternVL's MLP in transformers: `multi_modal_projector`."""
    return {
        **both(f"{theirs}.layer_norm", f"{ours}.mlp.0"),
        **both(f"{theirs}.linear_1", f"{ours}.mlp.1"),
        **both(f"{theirs}.linear_2", f"{ours}.mlp.3"),
    }


def patch_merger_rules(theirs: str, ours: str) -> dict[str, Rule]:
    """The merger of Qwen2-VL and Qwen2.5-VL: `visual.merger`. An RMSNorm has no bias."""
    return {
        **both(f"{theirs}.ln_q", f"{ours}.norm"),
        **both(f"{theirs}.mlp.{{}}", f"{ours}.mlp.{{}}"),
    }


def qwen3_merger_rules(theirs: str, ours: str) -> dict[str, Rule]:
    """The mergers of Qwen3-VL: `model.visual.merger` and `model.visual.deepstack_merger_list.{}`,
    which also has `{}` in our prefix."""
    return {
        **both(f"{theirs}.norm", f"{ours}.norm"),
        **both(f"{theirs}.linear_fc1", f"{ours}.mlp.0"),
        **both(f"{theirs}.linear_fc2", f"{ours}.mlp.2"),
    }


def flamingo_rules(theirs: str, ours: str) -> dict[str, Rule]:
    """OpenFlamingo's resampler: `perceiver`. Each layer is a pair whose MLP is an nn.Sequential."""
    attention = f"{theirs}.layers.{{}}.{{}}"
    block = f"{ours}.blocks.{{0}}"
    return {
        f"{theirs}.latents": f"{ours}.queries",
        f"{theirs}.frame_embs": f"{ours}.frames",
        f"{theirs}.media_time_embs": f"{ours}.media",
        **both(f"{attention}.norm_media", f"{block}.attention.norm_patches"),
        **both(f"{attention}.norm_latents", f"{block}.attention.norm_queries"),
        f"{attention}.to_q.weight": f"{block}.attention.query.weight",
        f"{attention}.to_kv.weight": (
            f"{block}.attention.key.weight",
            f"{block}.attention.value.weight",
        ),
        f"{attention}.to_out.weight": f"{block}.attention.out.weight",
        **both(f"{theirs}.layers.{{}}.{{}}.{{}}", f"{block}.mlp.{{2}}"),
        **both(f"{theirs}.norm", f"{ours}.norm_out"),
    }


def idefics_rules(theirs: str, ours: str) -> dict[str, Rule]:
    """Idefics' resampler: `model.perceiver_resampler`. Each layer is a pair."""
    layer, block = f"{theirs}.blocks.{{}}.{{}}", f"{ours}.blocks.{{0}}"
    modules = {
        "context_layer_norm": "attention.norm_patches",
        "latents_layer_norm": "attention.norm_queries",
        "q_layer_norm": "attention.norm_query",
        "k_layer_norm": "attention.norm_key",
        "q_proj": "attention.query",
        "k_proj": "attention.key",
        "v_proj": "attention.value",
        "output_proj": "attention.out",
        "ln": "mlp.0",
        "fc": "mlp.1",
        "c_proj": "mlp.3",
    }
    rules: dict[str, Rule] = {f"{theirs}.latents": f"{ours}.queries"}
    for a, b in modules.items():
        rules |= both(f"{layer}.{a}", f"{block}.{b}")
    return {**rules, **both(f"{theirs}.layer_norm", f"{ours}.norm_out")}


def query_resampler_rules(theirs: str, ours: str) -> dict[str, Rule]:
    """Qwen-VL's resampler and what follows it: `transformer.visual.attn_pool`, `ln_post`, `proj`;
    the prefix is `transformer.visual`."""
    pool = f"{theirs}.attn_pool"
    parts = ("attention.query", "attention.key", "attention.value")
    return {
        f"{pool}.query": f"{ours}.queries",
        f"{pool}.pos_embed": f"{ours}.positions",
        f"{pool}.kv_proj.weight": f"{ours}.map.weight",
        **fused(f"{pool}.attn.in_proj", ours, parts, joint="_"),
        **both(f"{pool}.attn.out_proj", f"{ours}.attention.out"),
        **both(f"{pool}.ln_q", f"{ours}.norm_queries"),
        **both(f"{pool}.ln_kv", f"{ours}.norm_patches"),
        **both(f"{theirs}.ln_post", f"{ours}.norm_out"),
        f"{theirs}.proj": Transposed(f"{ours}.project.weight"),
    }
