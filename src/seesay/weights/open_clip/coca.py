"""CoCa in open_clip's layout: CLIP whose image tower ends in queries and whose text tower ends in a
class token, and a decoder upon both (coca_model.py)."""

from typing import Any

from seesay.models.captioner import CaptionerConfig
from seesay.weights.mapping import Rule, Rules, Transposed, both, fused
from seesay.weights.settings import Settings

PROJECTIONS = ("query", "key", "value")


def pool_settings(vision: Settings, embed_dim: int) -> dict[str, Any]:
    """What a VitConfig holds about the end of the tower."""
    if not (pool := vision.get("attentional_pool")):
        vision.ignore("attn_pooler_queries", "attn_pooler_heads")
        return {}
    if pool is not True:
        raise vision.refusal("attentional_pool", pool, True)
    vision.one_of("pool_type", "tok")
    vision.one_of("norm_kwargs", None)  # its pooling would not have them
    return {
        "pool": "queries",
        "queries": vision.get("attn_pooler_queries", 256),
        "query_dim": embed_dim,
        "query_heads": vision.get("attn_pooler_heads", 8),
    }


def captioner(published: Settings) -> CaptionerConfig | None:
    """The decoder, where the config describes one."""
    if (m := published.get("multimodal_cfg")) is None:
        return None
    if not (pool := published["vision_cfg"].get("attentional_pool")):
        raise published["vision_cfg"].refusal("attentional_pool", pool, True)
    return CaptionerConfig(
        depth=m.get("layers", 12),
        heads=m.get("heads", 8),
        hidden=4 * m.get("width", 512),  # MultimodalTransformer's own, whatever mlp_ratio says
        activation="quick_gelu" if published.get("quick_gelu") else "gelu",
    )


def _layer(theirs: str, ours: str) -> dict[str, Rule]:
    return {
        **fused(f"{theirs}.attn.in_proj", f"{ours}.attention", PROJECTIONS, "_"),
        **both(f"{theirs}.attn.out_proj", f"{ours}.attention.out"),
        **both(f"{theirs}.ln_1", f"{ours}.norm1"),
        **both(f"{theirs}.ln_1_kv", f"{ours}.norm_image"),
        **both(f"{theirs}.ln_2", f"{ours}.norm2"),
        **both(f"{theirs}.mlp.c_fc", f"{ours}.mlp.up"),
        **both(f"{theirs}.mlp.c_proj", f"{ours}.mlp.down"),
    }


COCA_RULES: Rules = {
    "visual.attn_pool.query": "image.pool.queries",
    **both("visual.attn_pool.ln_q", "image.pool.norm_queries"),
    **both("visual.attn_pool.ln_k", "image.pool.norm_patches"),
    # Apart where the patches have a width of their own, in one tensor where they have not.
    **{
        f"visual.attn_pool.attn.{p[0]}_proj_weight": f"image.pool.attention.{p}.weight"
        for p in PROJECTIONS
    },
    **fused("visual.attn_pool.attn.in_proj", "image.pool.attention", PROJECTIONS, "_"),
    **both("visual.attn_pool.attn.out_proj", "image.pool.attention.out"),
    "text.cls_emb": "text.cls_token",
    **_layer("text_decoder.resblocks.{}", "captioner.blocks.{}.read"),
    **_layer("text_decoder.cross_attn.{}", "captioner.blocks.{}.look"),
    **both("text_decoder.ln_final", "captioner.norm_out"),
    "text_decoder.text_projection": Transposed("captioner.vocab.weight"),
}
