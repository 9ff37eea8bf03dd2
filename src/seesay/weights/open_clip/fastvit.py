"""MobileCLIP's FastViT towers, which open_clip takes from timm: sizes and names of tensors."""

from seesay.models.fastvit import FastVitConfig
from seesay.weights.mapping import Rule, Rules, batch_norm, both

# timm, fastvit.py
FASTVITS = {
    "fastvit_mci0": FastVitConfig(layers=(2, 6, 10, 2)),
    "fastvit_mci1": FastVitConfig(),
    "fastvit_mci2": FastVitConfig(layers=(4, 12, 24, 4), dims=(80, 160, 320, 640)),
    "fastvit_mci3": FastVitConfig(
        layers=(2, 12, 24, 4, 2),
        dims=(96, 192, 384, 768, 1536),
        mlp_ratio=4,
        attention_stages=2,
        large=True,
    ),
    "fastvit_mci4": FastVitConfig(
        layers=(2, 12, 24, 4, 4),
        dims=(128, 256, 512, 1024, 2048),
        mlp_ratio=4,
        attention_stages=2,
        large=True,
    ),
}


def _conv_norm(theirs: str, ours: str) -> dict[str, Rule]:
    return {f"{theirs}.conv.weight": f"{ours}.0.weight", **batch_norm(f"{theirs}.bn", f"{ours}.1")}


def _branches(theirs: str, ours: str) -> dict[str, Rule]:
    return {
        **_conv_norm(f"{theirs}.conv_kxk.{{}}", f"{ours}.conv"),  # a list of one
        **_conv_norm(f"{theirs}.conv_scale", f"{ours}.pixels"),
        **batch_norm(f"{theirs}.identity", f"{ours}.same"),
    }


def _gate(theirs: str, ours: str) -> dict[str, Rule]:
    return {**both(f"{theirs}.fc1", f"{ours}.down"), **both(f"{theirs}.fc2", f"{ours}.up")}


def _rules() -> Rules:
    theirs, ours = "visual.trunk.stages.{}", "image.stages.{}"
    block, mine = f"{theirs}.blocks.{{}}", f"{ours}.blocks.{{}}"
    # The first is in timm a list of two, whose second part is named with its number.
    smaller = f"{theirs}.downsample.proj.{{}}"
    names = ("query", "key", "value")
    return {
        **_branches("visual.trunk.stem.{}", "image.stem.{}"),
        **_conv_norm(f"{smaller}.large_conv", f"{ours}.smaller.wide"),
        **_conv_norm(f"{smaller}.small_conv", f"{ours}.smaller.narrow"),
        **_gate(f"{smaller}.se", f"{ours}.smaller.gate"),
        **_branches(smaller, f"{ours}.smaller.mix"),
        **both(f"{theirs}.pos_emb.pos_enc", f"{ours}.positions"),
        # convolutions
        **_branches(f"{block}.token_mixer.mixer", f"{mine}.mixer.mix"),
        **batch_norm(f"{block}.token_mixer.norm.identity", f"{mine}.mixer.norm"),
        f"{block}.token_mixer.layer_scale.gamma": f"{mine}.mixer_scale",
        f"{block}.layer_scale.gamma": f"{mine}.mlp_scale",
        # attention
        **batch_norm(f"{block}.norm", f"{mine}.mixer.norm"),
        f"{block}.token_mixer.qkv.weight": tuple(
            f"{mine}.mixer.attention.{n}.weight" for n in names
        ),
        **both(f"{block}.token_mixer.proj", f"{mine}.mixer.attention.out"),
        f"{block}.layer_scale_1.gamma": f"{mine}.mixer_scale",
        f"{block}.layer_scale_2.gamma": f"{mine}.mlp_scale",
        **_conv_norm(f"{block}.mlp.conv", f"{mine}.mlp.conv"),
        **both(f"{block}.mlp.fc1", f"{mine}.mlp.up"),
        **both(f"{block}.mlp.fc2", f"{mine}.mlp.down"),
        **_branches("visual.trunk.final_conv", "image.wider"),
        **_gate("visual.trunk.final_conv.se", "image.gate"),
        **both("visual.trunk.head.fc", "image_proj"),
    }


FASTVIT_RULES = _rules()
