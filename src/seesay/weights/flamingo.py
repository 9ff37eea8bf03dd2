"""OpenFlamingo 3B, 4B and 9B: only the trained part is published; the frozen image tower and
language model are separate files.

    model = load_flamingo(
        Path("openflamingo/OpenFlamingo-3B-vitl-mpt1b"),
        language=Path("anas-awadalla/mpt-1b-redpajama-200b"),
        tower=Path("openai/clip-vit-large-patch14"),
    )

The trained part is checkpoint.pt. It has no config: the spacing and width of the gated blocks and
the number of tokens come from its tensors.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from seesay.data.model_files import read_json
from seesay.errors import WeightsError
from seesay.models.connectors import PerceiverConfig
from seesay.models.cross_attention import GatedCrossConfig
from seesay.models.flamingo import Flamingo, FlamingoConfig
from seesay.text import Text
from seesay.weights import clip, decoders
from seesay.weights.connectors import flamingo_rules
from seesay.weights.decoders import read_decoder
from seesay.weights.image_towers import clip_rules, read_clip
from seesay.weights.settings import Known, Settings, every_setting
from seesay.weights.tensors import Rule, Tensors, both, read_file, read_tensors, with_prefix
from seesay.weights.vlm import ModelBlueprint, build_model

CHECKPOINT = "checkpoint.pt"
LANGUAGE, TOWER = "language_model", "image_tower"
"""Folders beside checkpoint.pt, and the prefixes of their tensors here."""
TRAINED = "lang_encoder."
KNOWN: Known = {**decoders.KNOWN, **clip.KNOWN}


class Parts(NamedTuple):
    """Hub names of the parts of an OpenFlamingo."""

    language: str
    tower: str = "openai/clip-vit-large-patch14"


PUBLISHED = {
    "OpenFlamingo-3B-vitl-mpt1b": Parts("anas-awadalla/mpt-1b-redpajama-200b"),
    "OpenFlamingo-3B-vitl-mpt1b-langinstruct": Parts("anas-awadalla/mpt-1b-redpajama-200b-dolly"),
    "OpenFlamingo-4B-vitl-rpj3b": Parts("togethercomputer/RedPajama-INCITE-Base-3B-v1"),
    "OpenFlamingo-4B-vitl-rpj3b-langinstruct": Parts(
        "togethercomputer/RedPajama-INCITE-Instruct-3B-v1"
    ),
    "OpenFlamingo-9B-vitl-mpt7b": Parts("anas-awadalla/mpt-7b"),
}
"""open_flamingo, README.md, "Released OpenFlamingo models"."""


def load_flamingo(folder: Path, language: Path, tower: Path) -> Flamingo:
    """Loads an OpenFlamingo in float32 and evaluation mode. Raises WeightsError unless configs and
    tensors match the model exactly."""
    trained = read_file(folder / CHECKPOINT)
    tensors = joined(trained, read_tensors(language), read_tensors(tower))
    text, image = (read_json(one / "config.json") for one in (language, tower))

    def read() -> ModelBlueprint[FlamingoConfig]:
        with (
            every_setting(text, "config.json", KNOWN) as c,
            every_setting(image, "config.json", KNOWN) as v,
        ):
            return read_flamingo(c, v, tensors)

    return build_model(folder, (Flamingo, FlamingoConfig), read, tensors)


def joined(trained: Tensors, language: Tensors, tower: Tensors) -> Tensors:
    """Returns the tensors of all three under distinct names. The trained token embeddings, of which
    there are more, replace the original ones."""
    return {
        **trained,
        **{
            f"{LANGUAGE}.{name}": tensor
            for name, tensor in language.items()
            if TRAINED + name not in trained
        },
        **{
            f"{TOWER}.{name}": tensor
            for name, tensor in tower.items()
            if name.startswith("vision_model.")
        },
    }


LAYERS = {
    "mosaic_gpt": "transformer.blocks",
    "mpt": "transformer.blocks",
    "gpt_neox": "gpt_neox.layers",
}
"""Prefix of a language model's layers, by its "model_type"."""
GATED = "gated_cross_attn_layer"


def read_flamingo(
    c: Settings, v: Settings, tensors: Mapping[str, Tensor]
) -> ModelBlueprint[FlamingoConfig]:
    """Returns the blueprint of a model from the configs of its language model and image tower and
    from all its tensors."""
    family = c.require("model_type", "", tuple(LAYERS))
    names = [name.removeprefix(f"{LANGUAGE}.").removeprefix(TRAINED) for name in tensors]
    decoder = read_decoder(c, names, family)
    embed = next(key for key, ours in decoder.rules.items() if ours == "token_embed.weight")
    vocab_size = len(_tensor(tensors, TRAINED + embed))
    v.require("model_type", "clip", ("clip",))
    v.ignore("text_config", "text_config_dict", "projection_dim")
    layers = TRAINED + LAYERS[family]
    return ModelBlueprint(
        model=FlamingoConfig(
            tower=read_clip(v.section("vision_config")),
            resampler=_resampler(tensors),
            decoder=replace(decoder.model, vocab_size=vocab_size, cross=_gated(tensors, layers)),
            image_ids=(vocab_size - 2,),  # second to last, before the padding token
        ),
        rules={
            **with_prefix(decoder.rules, f"{LANGUAGE}.", "decoder."),
            **with_prefix(decoder.rules, TRAINED, "decoder."),
            **clip_rules(f"{TOWER}.vision_model", "tower"),
            **flamingo_rules("perceiver", "resampler"),
            **gated_rules(f"{layers}.{{}}.{GATED}", "decoder.blocks.{}.cross"),
        },
    )


HEAD_DIM = 64
"""Head width in OpenFlamingo's own attention (helpers.py)."""


def _resampler(tensors: Mapping[str, Tensor]) -> PerceiverConfig:
    queries, dim = _tensor(tensors, "perceiver.latents").shape
    first = "perceiver.layers.0"
    return PerceiverConfig(
        dim=dim,
        queries=queries,
        depth=_count(r"perceiver\.layers\.(\d+)\.", tensors),
        heads=len(_tensor(tensors, f"{first}.0.to_q.weight")) // HEAD_DIM,
        head_dim=HEAD_DIM,
        hidden=len(_tensor(tensors, f"{first}.1.1.weight")),
    )


def _count(pattern: str, names: Collection[str]) -> int:
    return 1 + max(int(found.group(1)) for name in names if (found := re.match(pattern, name)))


def _gated(tensors: Mapping[str, Tensor], layers: str) -> GatedCrossConfig:
    pattern = re.compile(rf"{re.escape(layers)}\.(\d+)\.{GATED}\.attn_gate")
    found = sorted(int(one.group(1)) for name in tensors if (one := pattern.fullmatch(name)))
    if not found:
        raise _incomplete(f"{layers}.0.{GATED}.attn_gate")
    first = f"{layers}.{found[0]}.{GATED}"
    inner, width = _tensor(tensors, f"{first}.attn.to_kv.weight").shape
    return GatedCrossConfig(
        every=found[0] + 1,
        media_dim=width,
        heads=inner // 2 // HEAD_DIM,
        head_dim=HEAD_DIM,
        hidden=len(_tensor(tensors, f"{first}.ff.1.weight")),
    )


def gated_rules(theirs: str, ours: str) -> dict[str, Rule]:
    """Returns rules for OpenFlamingo's gated blocks, whose norm is the first layer of the MLP."""
    return {
        **both(f"{theirs}.attn.norm", f"{ours}.norm1"),
        f"{theirs}.attn.to_q.weight": f"{ours}.attention.query.weight",
        f"{theirs}.attn.to_kv.weight": (
            f"{ours}.attention.key.weight",
            f"{ours}.attention.value.weight",
        ),
        f"{theirs}.attn.to_out.weight": f"{ours}.attention.out.weight",
        f"{theirs}.attn_gate": f"{ours}.gate1",
        **both(f"{theirs}.ff.0", f"{ours}.norm2"),
        f"{theirs}.ff.1.weight": f"{ours}.mlp.up.weight",
        f"{theirs}.ff.3.weight": f"{ours}.mlp.down.weight",
        f"{theirs}.ff_gate": f"{ours}.gate2",
    }


def _tensor(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in tensors:
        raise _incomplete(name)
    return tensors[name]


def _incomplete(name: str) -> WeightsError:
    return WeightsError(
        Text(
            f"{CHECKPOINT} has no {name}; expected the trained part of an OpenFlamingo next to the "
            "language model it was trained with. Download both again",
            f"{CHECKPOINT} 里没有 {name}；应为 OpenFlamingo 的训练部分，旁边放着训练时所用的语言"
            "模型；请重新下载两者",
        )
    )
