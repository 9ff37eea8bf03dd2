"""ColQwen2 (vidore, Apache-2.0 on Qwen2-VL), in transformers' layout or in its authors' with the
adapter merged.

    load_colqwen2(Path("vidore/colqwen2-v1.0-hf"))
"""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any, get_type_hints

from seesay.data.model_files import read_json
from seesay.errors import WeightsError
from seesay.models.late_interaction import LateInteraction, LateInteractionConfig
from seesay.text import Text
from seesay.weights.bundle import checked
from seesay.weights.qwen_vl import KNOWN, read_qwen_vl
from seesay.weights.settings import every_setting
from seesay.weights.tensors import (
    MOST_PARTS,
    Rules,
    blank_model,
    both,
    load_weights,
    prefix_of,
    read_tensors,
    with_prefix,
)
from seesay.weights.vlm import ModelBlueprint

PUBLISHED = {"colqwen2": "vidore/colqwen2-v1.0-hf"}
"""Repositories by their short names."""
HUGGING_FACE_CLASS, AUTHORS_CLASS = "ColQwen2ForRetrieval", "ColQwen2"
DIM = 128
"""Width of the vectors in the authors' layout, whose config does not say."""
_PROJECTIONS = ("embedding_proj_layer.weight", "custom_text_proj.weight")
_HEAD = "lm_head.weight"
_OF_PICTURES = ("image_token_id", "video_token_id")


def is_colqwen2(published: dict[str, Any]) -> bool:
    """Whether a config.json describes such a model."""
    return published.get("architectures") in ([HUGGING_FACE_CLASS], [AUTHORS_CLASS])


def load_colqwen2(folder: Path) -> LateInteraction:
    """Loads a folder in evaluation mode. Raises WeightsError unless config and tensors match the
    model exactly."""
    published = read_json(folder / "config.json")
    if not is_colqwen2(published):
        raise _no_pages(folder, published.get("architectures"))
    tensors = read_tensors(folder)
    hints = {"model": get_type_hints(LateInteraction.__init__)["config"]}
    blueprint = checked(lambda: read_colqwen2(published, tensors), folder, hints)
    model = blank_model(LateInteraction, blueprint.model, MOST_PARTS * len(tensors))
    load_weights(model, tensors, blueprint.rules)
    return model.eval()


def read_colqwen2(
    published: dict[str, Any], names: Collection[str]
) -> ModelBlueprint[LateInteractionConfig]:
    """Returns the blueprint of a model from its config and tensor names. The head of the language
    model, which some files still have, is not wanted."""
    nested = "vlm_config" in published
    if nested:
        published = {**published, "vlm_config": _each_once(published["vlm_config"])}
    else:
        published = _each_once(published)
    with every_setting(published, "config.json", KNOWN) as c:
        whole = c.section("vlm_config") if nested else c
        dim = c.get("embedding_dim", DIM) if nested else DIM
        vlm = read_qwen_vl(whole, [name for name in names if not name.endswith(_HEAD)])
    # The projection stands in another place than the rest.
    ours = {name for name in names if name.endswith(_PROJECTIONS)}
    projection = next(iter(ours), _PROJECTIONS[0]).removesuffix(".weight")
    rules: Rules = {
        **with_prefix(vlm.rules, "", "vlm."),
        **both(projection, "out"),
        f"{prefix_of(names, _HEAD, '')}{_HEAD}": None,
    }
    decoder = replace(vlm.model.decoder, tied=True)
    config = LateInteractionConfig(vlm=replace(vlm.model, decoder=decoder), embed_dim=dim)
    return ModelBlueprint(model=config, rules=rules)


def _each_once(vlm: dict[str, Any]) -> dict[str, Any]:
    """transformers 4.52 to 4.57 wrote the settings of the language model twice, and those of
    pictures among them."""
    text = vlm.get("text_config")
    if not text:
        return vlm
    own = {name: value for name, value in text.items() if name not in _OF_PICTURES}
    rest = {k: v for k, v in vlm.items() if k == "model_type" or k not in own or own[k] != v}
    return {**rest, "text_config": own}


def _no_pages(folder: Path, kinds: object) -> WeightsError:
    return WeightsError(
        Text(
            f"{folder} holds {kinds!r:.80}, expected {HUGGING_FACE_CLASS}, which compares a query "
            f"with pages. Choose {', '.join(PUBLISHED)}",
            f"{folder} 里的是 {kinds!r:.80}；应为把查询与页面作比较的 {HUGGING_FACE_CLASS}。"
            f"请选用 {'、'.join(PUBLISHED)}",
        )
    )
