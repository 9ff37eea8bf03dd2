"""Tiny image towers of transformers, every parameter random, under the names of a published
vision-language model."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_parts import TINY, randomise
from seesay.models.packed_vit import PackedVitConfig
from seesay.models.vit import VitConfig
from seesay.weights import image_towers as towers
from seesay.weights.settings import HUGGING_FACE, every_setting
from seesay.weights.tensors import Rules

SIDE, PATCH = 32, 8
SQUARE = dict(TINY, image_size=SIDE, patch_size=PATCH)
OURS = "tower"


@dataclass
class TowerReference:
    model: nn.Module
    config: VitConfig | PackedVitConfig
    tensors: dict[str, Tensor]
    rules: Rules
    hidden: Callable[..., list[Tensor]]
    """What enters the first layer, and what leaves each."""
    published: dict[str, Any] = field(default_factory=dict)


def lively(model: nn.Module) -> nn.Module:
    """Norms about 1, so that attention tells patches apart and a slip shows."""
    randomise(model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 and name.endswith("weight"):
                parameter.add_(1.0)
            elif name.endswith(("lambda_1", "lambda_2")):
                parameter.add_(0.5)
            elif parameter.ndim == 2:
                parameter.mul_(1.5)
            elif parameter.ndim == 5:
                parameter.mul_(2.0)
    return model


def read(published: dict[str, Any], reader: Callable[..., Any]) -> Any:
    """Reads a config as a part of config.json; every setting must be known."""
    with every_setting({"vision_config": published}, "config.json", HUGGING_FACE) as whole:
        return reader(whole.section("vision_config"))


def _square(model: nn.Module, theirs: str, read_name: str, rules_name: str) -> TowerReference:
    lively(model)

    def hidden(images: Tensor) -> list[Tensor]:
        return list(model(images, output_hidden_states=True, **_resizing(model)).hidden_states)

    published = model.config.to_dict()
    rules = getattr(towers, rules_name)(theirs, OURS)
    return TowerReference(
        model=model,
        config=read(published, getattr(towers, read_name)),
        tensors={f"{theirs}.{name}": value for name, value in model.state_dict().items()},
        rules=rules,
        hidden=hidden,
        published=published,
    )


def _resizing(model: nn.Module) -> dict[str, bool]:
    internvl = model.config.model_type == "internvl_vision"
    return {} if internvl else {"interpolate_pos_encoding": True}


def clip(prefix: str = "vision_tower.vision_model") -> TowerReference:
    from transformers import CLIPVisionConfig, CLIPVisionModel

    model = CLIPVisionModel(CLIPVisionConfig(**SQUARE))
    return _square(model, prefix, "read_clip", "clip_rules")


def clip_of_transformers_5() -> TowerReference:
    return clip("vision_tower")


def siglip(head: bool = False) -> TowerReference:
    from transformers import SiglipVisionConfig, SiglipVisionModel

    model = SiglipVisionModel(SiglipVisionConfig(**SQUARE, vision_use_head=head))
    return _square(model, "vision_tower.vision_model", "read_siglip", "siglip_rules")


def siglip_with_head() -> TowerReference:
    return siglip(head=True)


def eva() -> TowerReference:
    from transformers import Blip2VisionConfig, Blip2VisionModel

    model = Blip2VisionModel(Blip2VisionConfig(**SQUARE))
    return _square(model, "vision_model", "read_eva", "eva_rules")


LAVIS = {
    "vision_model.embeddings.class_embedding": "visual_encoder.cls_token",
    "vision_model.embeddings.patch_embedding": "visual_encoder.patch_embed.proj",
    "vision_model.embeddings.position_embedding": "visual_encoder.pos_embed",
    "vision_model.post_layernorm": "ln_vision",
    "vision_model.encoder.layers": "visual_encoder.blocks",
    "self_attn.projection": "attn.proj",
    "self_attn": "attn",
    "layer_norm": "norm",
}


def lavis_eva() -> TowerReference:
    """The same as LAVIS publishes it: keys have no bias."""
    found = eva()
    tensors: dict[str, Tensor] = {}
    for name, value in found.tensors.items():
        for theirs, original in LAVIS.items():
            name = name.replace(theirs, original)
        if name.endswith("qkv.bias"):
            q, k, v = value.chunk(3)
            k.zero_()
            tensors[name.replace("qkv.bias", "q_bias")] = q
            tensors[name.replace("qkv.bias", "v_bias")] = v
        else:
            tensors[name] = value
    found.config = replace(found.config, key_bias=False)
    found.tensors, found.rules = tensors, towers.lavis_eva_rules("visual_encoder", OURS)
    return found


def internvl(**options: Any) -> TowerReference:
    from transformers.models.internvl.modeling_internvl import (
        InternVLVisionConfig,
        InternVLVisionModel,
    )

    options = {"attention_bias": True, **options}
    model = InternVLVisionModel(InternVLVisionConfig(**SQUARE, **options))
    return _square(model, "vision_tower", "read_internvl", "internvl_rules")


def internvl_6b() -> TowerReference:
    return internvl(norm_type="rms_norm", attention_bias=False, use_qk_norm=True)


# transformers' name of a module in a layer -> OpenGVLab's
ORIGINAL = {
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "attention.projection_layer": "attn.proj",
    "attention.q_norm": "attn.q_norm",
    "attention.k_norm": "attn.k_norm",
    "lambda_1": "ls1",
    "lambda_2": "ls2",
    "cls_token": "class_embedding",
    "patch_embeddings.projection": "patch_embedding",
    "position_embeddings": "position_embedding",
    "encoder.layer.": "encoder.layers.",
}


def intern_vit_names(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of transformers' tower under OpenGVLab's names, with query, key and value
    fused."""
    tensors: dict[str, Tensor] = {}
    for place, value in found.items():
        name = place.replace("vision_tower.", "vision_model.")
        for theirs, original in ORIGINAL.items():
            name = name.replace(theirs, original)
        if ".q_proj." in name:
            parts = [found[place.replace("q_proj", f"{p}_proj")] for p in "qkv"]
            tensors[name.replace("attention.q_proj", "attn.qkv")] = torch.cat(parts)
        elif ".k_proj." not in name and ".v_proj." not in name:
            tensors[name] = value
    return tensors


def intern_vit(reference: Callable[[], TowerReference] = internvl) -> TowerReference:
    """The same tower as OpenGVLab publishes it."""
    found = reference()
    tensors = intern_vit_names(found.tensors)
    c = found.published
    published = dict(
        SQUARE,
        model_type="intern_vit_6b",
        architectures=["InternVisionModel"],
        auto_map={"AutoModel": "modeling_intern_vit.InternVisionModel"},
        hidden_act="gelu",
        layer_norm_eps=1e-6,
        drop_path_rate=0.1,
        use_flash_attn=True,
        num_channels=3,
        norm_type=c["norm_type"],
        qkv_bias=c["attention_bias"],
        qk_normalization=c["use_qk_norm"],
        use_moe=False,
        num_experts=8,
    )
    found.config = read(published, towers.read_intern_vit)
    found.tensors, found.published = tensors, published
    found.rules = towers.intern_vit_rules("vision_model", OURS)
    return found


def intern_vit_6b() -> TowerReference:
    return intern_vit(internvl_6b)


SQUARE_TOWERS: dict[str, Callable[[], TowerReference]] = {
    "clip": clip,
    "clip of transformers 5": clip_of_transformers_5,
    "siglip": siglip,
    "siglip with head": siglip_with_head,
    "eva": eva,
    "eva of lavis": lavis_eva,
    "internvl": internvl,
    "internvl 6b": internvl_6b,
    "intern_vit": intern_vit,
    "intern_vit 6b": intern_vit_6b,
}


class QwenVit(nn.Module):
    """Qwen-VL's tower, written after its description: a ViT whose queries, keys and values are
    fused head by head, and whose 16 x 16 positions are resized."""

    def __init__(self, dim: int, depth: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.conv1 = nn.Conv2d(3, dim, 2, stride=2, bias=False)
        self.positional_embedding = nn.Parameter(torch.randn(256, dim))
        self.ln_pre = nn.LayerNorm(dim, eps=1e-6)
        self.transformer = nn.Module()
        self.transformer.resblocks = nn.ModuleList()
        for _ in range(depth):
            block = nn.Module()
            block.ln_1, block.ln_2 = (nn.LayerNorm(dim, eps=1e-6) for _ in range(2))
            block.attn, block.mlp = nn.Module(), nn.Module()
            block.attn.in_proj, block.attn.out_proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
            block.mlp.c_fc, block.mlp.c_proj = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
            self.transformer.resblocks.append(block)

    def forward(self, images: Tensor) -> list[Tensor]:
        x = self.conv1(images)
        table = self.positional_embedding.T.reshape(1, -1, 16, 16)
        x = x + F.interpolate(table, x.shape[2:], mode="bicubic", align_corners=False)
        states = [self.ln_pre(x.flatten(2).transpose(1, 2))]
        for block in self.transformer.resblocks:
            x = states[-1]
            rows = block.attn.in_proj(block.ln_1(x)).unflatten(-1, (self.heads, -1))
            q, k, v = rows.transpose(1, 2).chunk(3, dim=-1)
            y = (q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])).softmax(-1) @ v
            x = x + block.attn.out_proj(y.transpose(1, 2).flatten(2))
            states.append(x + block.mlp.c_proj(F.gelu(block.mlp.c_fc(block.ln_2(x)))))
        return states


QWEN = dict(width=32, layers=3, heads=4, mlp_ratio=1.51, patch_size=2, image_size=48)


def qwen_vl() -> TowerReference:
    model = lively(QwenVit(32, 3, 4, 48))
    published = dict(QWEN, output_dim=64, image_start_id=5)
    return TowerReference(
        model=model,
        config=read(published, towers.read_qwen),
        tensors={f"transformer.visual.{n}": value for n, value in model.state_dict().items()},
        rules=towers.qwen_rules("transformer.visual", OURS, heads=4),
        hidden=model,
        published=published,
    )


# Packed patches

GRIDS = torch.tensor([[1, 4, 6], [3, 4, 4], [1, 10, 14], [1, 4, 6], [1, 2, 2]])
PACKED = dict(
    depth=4, num_heads=4, patch_size=4, spatial_merge_size=2, temporal_patch_size=2, in_channels=3
)


def patches_of(grids: Tensor = GRIDS) -> Tensor:
    count = int(grids.prod(dim=1).sum())
    return torch.randn(count, 3 * 2 * 4 * 4, generator=torch.Generator().manual_seed(1))


def _packed(model: nn.Module, theirs: str, read_name: str, rules_name: str) -> TowerReference:
    lively(model)
    states: list[Tensor] = []
    for block in model.blocks:
        block.register_forward_hook(lambda module, inputs, output: states.append(output))

    def hidden(patches: Tensor, grids: Tensor) -> list[Tensor]:
        states.clear()
        model(patches, grid_thw=grids)
        return [x[unwindowed(model, grids)] for x in states]

    published = model.config.to_dict()
    return TowerReference(
        model=model,
        config=read(published, getattr(towers, read_name)),
        tensors={
            f"{theirs}.{name}": value
            for name, value in model.state_dict().items()
            if "merger" not in name
        },
        rules=getattr(towers, rules_name)(theirs, OURS),
        hidden=hidden,
        published=published,
    )


def unwindowed(model: nn.Module, grids: Tensor) -> Tensor:
    """Where each patch is among those that Qwen2.5-VL keeps window by window."""
    count = int(grids.prod(dim=1).sum())
    if not hasattr(model, "window_size"):
        return torch.arange(count)
    from transformers.vision_utils import get_vision_window_index

    order, _ = get_vision_window_index(grids, 2, model.window_size, model.patch_size)
    return torch.arange(count).unflatten(0, (-1, 4))[order.argsort()].flatten()


def qwen2_vl() -> TowerReference:
    from transformers.models.qwen2_vl.modeling_qwen2_vl import (
        Qwen2VisionTransformerPretrainedModel,
        Qwen2VLVisionConfig,
    )

    config = Qwen2VLVisionConfig(**PACKED, embed_dim=32, hidden_size=24, mlp_ratio=2)
    model = Qwen2VisionTransformerPretrainedModel._from_config(config)
    return _packed(model, "visual", "read_qwen2", "qwen2_rules")


def qwen2_5_vl() -> TowerReference:
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
        Qwen2_5_VisionTransformerPretrainedModel,
        Qwen2_5_VLVisionConfig,
    )

    sizes = dict(hidden_size=32, intermediate_size=48, out_hidden_size=24, window_size=16)
    config = Qwen2_5_VLVisionConfig(**PACKED, **sizes, fullatt_block_indexes=[1, 3])
    model = Qwen2_5_VisionTransformerPretrainedModel._from_config(config)
    return _packed(model, "visual", "read_qwen2_5", "qwen2_5_rules")


def qwen3_vl() -> TowerReference:
    from transformers.models.qwen3_vl.modeling_qwen3_vl import (
        Qwen3VLVisionConfig,
        Qwen3VLVisionModel,
    )

    sizes = dict(hidden_size=32, intermediate_size=48, out_hidden_size=24)
    config = Qwen3VLVisionConfig(
        **PACKED, **sizes, num_position_embeddings=36, deepstack_visual_indexes=[0, 2]
    )
    model = Qwen3VLVisionModel._from_config(config)
    return _packed(model, "model.visual", "read_qwen3", "qwen3_rules")


PACKED_TOWERS: dict[str, Callable[[], TowerReference]] = {
    "qwen2-vl": qwen2_vl,
    "qwen2.5-vl": qwen2_5_vl,
    "qwen3-vl": qwen3_vl,
}
