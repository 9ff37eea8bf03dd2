"""Image towers that open_clip takes from timm: those of SigLIP, EVA, PE-Core, MobileCLIP-B and
BiomedCLIP."""

import re
from dataclasses import replace

from seesay.errors import WeightsError
from seesay.models.vit import VitConfig
from seesay.weights.mapping import Rules, batch_norm, both, fused

# width, layers, heads, MLP width (timm, vision_transformer.py and eva.py)
SIGLIP_SIZES = {
    "base": (768, 12, 12, 3072),
    "large": (1024, 24, 16, 4096),
    "so400m": (1152, 27, 16, 4304),
    "giantopt": (1536, 40, 16, 6144),
}
EVA02_SIZES = {"base": (768, 12, 12, 2048), "large": (1024, 24, 16, 2730)}
# Those that timm builds with the tanh approximation of GELU; the others use the exact one.
TANH_SIZES = {
    "base_patch32_siglip_256",
    "large_patch16_siglip_512",
    "so400m_patch16_siglip_256",
    "so400m_patch16_siglip_384",
    "so400m_patch16_siglip_512",
    "giantopt_patch16_siglip_256",
    "giantopt_patch16_siglip_384",
}


PLAIN = VitConfig(activation="gelu", norm_eps=1e-6, patch_bias=True, pre_norm=False)
PE = VitConfig(activation="gelu", pool="attention", class_token=True, pool_heads=8, pe=True)
# timm, eva.py, vision_transformer.py and vision_transformer_hybrid.py
NAMED = {
    "vit_base_patch16_224": PLAIN,
    "vit_base_mci_224": replace(PLAIN, stem="convs", class_position=False),
    "vit_large_patch14_clip_224": VitConfig(
        patch_size=14, dim=1024, depth=24, heads=16, hidden=4096, activation="gelu"
    ),
    "eva_giant_patch14_224": replace(
        PLAIN, patch_size=14, dim=1408, depth=40, heads=16, hidden=6144, key_bias=False
    ),
    "vit_pe_core_tiny_patch16_384": replace(PE, dim=192, heads=3, hidden=768, rope_reference=24),
    "vit_pe_core_small_patch16_384": replace(PE, dim=384, heads=6, hidden=1536, rope_reference=24),
    "vit_pe_core_base_patch16_224": replace(PE, rope_reference=14),
    "vit_pe_core_large_patch14_336": replace(
        PE, patch_size=14, dim=1024, depth=24, heads=16, hidden=4096, rope_reference=24
    ),
    "vit_pe_core_gigantic_patch14_448": replace(
        PE,
        patch_size=14,
        dim=1536,
        depth=50,
        heads=16,
        hidden=8960,
        pool_hidden=6144,
        class_token=False,
        rope_reference=32,
    ),
}


def timm_vit(name: str, image_size: int) -> VitConfig:
    """`vit_base_patch16_siglip_256`, `eva02_large_patch14_clip_336`, ... -> the tower."""
    if name in NAMED:
        return replace(NAMED[name], image_size=image_size)
    if found := re.fullmatch(r"vit_((\w+)_patch(\d+)_siglip_\d+)", name):
        variant, size, patch = found.groups()
        if size in SIGLIP_SIZES:
            dim, depth, heads, hidden = SIGLIP_SIZES[size]
            return VitConfig(
                image_size=image_size,
                patch_size=int(patch),
                dim=dim,
                depth=depth,
                heads=heads,
                hidden=hidden,
                activation="gelu_tanh" if variant in TANH_SIZES else "gelu",
                norm_eps=1e-6,
                pool="attention",
                patch_bias=True,
                pre_norm=False,
            )
    found = re.fullmatch(r"eva02_(base|large)_patch(\d+)_clip_\d+", name)
    if found is None:
        raise WeightsError(
            f"this checkpoint's image tower is timm's {name}, which seesay does not have; "
            f"expected a SigLIP tower ({', '.join(SIGLIP_SIZES)}), an EVA-02-CLIP one "
            f"({', '.join(EVA02_SIZES)}), or one of {', '.join(NAMED)}; "
            "choose another model: seesay models list"
        )
    dim, depth, heads, hidden = EVA02_SIZES[found[1]]
    return VitConfig(
        image_size=image_size,
        patch_size=int(found[2]),
        dim=dim,
        depth=depth,
        heads=heads,
        hidden=hidden,
        norm_eps=1e-6,
        patch_bias=True,
        pre_norm=False,
        eva=True,
    )


_BLOCK, _OURS, _POOL = "visual.trunk.blocks.{}", "image.blocks.{}", "visual.trunk.attn_pool"

TIMM_RULES: Rules = {
    "visual.trunk.cls_token": "image.cls_token",
    "visual.trunk.pos_embed": "image.positions",
    **both("visual.trunk.patch_embed.proj", "image.patch_embed"),
    **both("visual.trunk.norm", "image.norm_out"),
    **both("visual.trunk.head", "image_proj"),
    **both("visual.head.proj", "image_proj"),
    **both("visual.trunk.norm_pre", "image.norm_in"),
    **both("visual.trunk.patch_embed.backbone.{}.conv", "image.patch_embed.{}.0"),
    **batch_norm("visual.trunk.patch_embed.backbone.{}.bn", "image.patch_embed.{}.1"),
    **both(f"{_BLOCK}.norm1", f"{_OURS}.norm1"),
    **both(f"{_BLOCK}.norm2", f"{_OURS}.norm2"),
    **both(f"{_BLOCK}.attn.proj", f"{_OURS}.attention.out"),
    # SigLIP
    **fused(f"{_BLOCK}.attn.qkv", f"{_OURS}.attention", ("query", "key", "value")),
    **both(f"{_BLOCK}.mlp.fc1", f"{_OURS}.mlp.up"),
    **both(f"{_BLOCK}.mlp.fc2", f"{_OURS}.mlp.down"),
    f"{_POOL}.latent": "image.pool.probe",
    **both(f"{_POOL}.q", "image.pool.attention.query"),
    **fused(f"{_POOL}.kv", "image.pool.attention", ("key", "value")),
    **both(f"{_POOL}.proj", "image.pool.attention.out"),
    **both(f"{_POOL}.norm", "image.pool.norm"),
    **both(f"{_POOL}.mlp.fc1", "image.pool.mlp.up"),
    **both(f"{_POOL}.mlp.fc2", "image.pool.mlp.down"),
    # EVA-01
    f"{_BLOCK}.attn.q_bias": f"{_OURS}.attention.query.bias",
    f"{_BLOCK}.attn.v_bias": f"{_OURS}.attention.value.bias",
    # EVA-02
    **both(f"{_BLOCK}.attn.q_proj", f"{_OURS}.attention.query"),
    f"{_BLOCK}.attn.k_proj.weight": f"{_OURS}.attention.key.weight",
    **both(f"{_BLOCK}.attn.v_proj", f"{_OURS}.attention.value"),
    **both(f"{_BLOCK}.attn.norm", f"{_OURS}.attention.norm"),
    **both(f"{_BLOCK}.mlp.fc1_g", f"{_OURS}.mlp.gate"),
    **both(f"{_BLOCK}.mlp.fc1_x", f"{_OURS}.mlp.up"),
    **both(f"{_BLOCK}.mlp.norm", f"{_OURS}.mlp.norm"),
}
