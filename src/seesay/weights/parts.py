"""Parts of a vision-language model that come from other models: its image tower and its decoder.

A folder may hold only what was trained, a connector and low-rank adapters, and name the rest:

    "parts": {"tower": {"model": "seesay-base", "crc32": 1}, "decoder": {...}}
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

from torch import Tensor

from seesay.errors import WeightsError
from seesay.models.lora import is_adapter, merge_lora
from seesay.models.vlm import Vlm, VlmConfig
from seesay.text import Text
from seesay.weights.bundle import FILE, load_bundle
from seesay.weights.catalog import find
from seesay.weights.hub import locate
from seesay.weights.language_models import PACKAGES, open_language_model
from seesay.weights.lora import CONFIG, load_adapter
from seesay.weights.tensors import Tensors, blank_model


def is_borrowed(name: str, parts: Collection[str]) -> bool:
    """Whether a tensor comes from the model of a part; gated cross-attention in a decoder does
    not."""
    return name.split(".")[0] in parts and ".cross." not in name


def checksum(weights: Mapping[str, Tensor], part: str) -> int:
    """Returns a number that tells whether a part has the weights that a connector was trained
    with."""
    number = 0
    for name in sorted(weights):
        if is_borrowed(name, (part,)) and not is_adapter(name):
            number = crc32(weights[name].detach().cpu().contiguous().numpy().data, number)
    return number


def borrow(config: VlmConfig, parts: Mapping[str, Any], folder: Path) -> Tensors:
    """Returns the tensors of the parts that a folder names, with its adapters merged.

    Raises WeightsError unless they are the ones it was trained with, and what opening them raises.
    """
    wanted = blank_model(Vlm, config).state_dict()
    borrowed: dict[str, Tensor] = {}
    for part, described in parts.items():
        name = _checked(part, described, folder)
        model = _tower(name) if part == "tower" else open_language_model(name).decoder
        weights = {f"{part}.{n}": one for n, one in model.state_dict().items()}
        own = {n: one for n, one in weights.items() if n in wanted}
        if checksum(own, part) != described.get("crc32"):
            raise _refused(folder, part, f"{name}, whose weights are others than in training")
        if part == "decoder" and (folder / CONFIG).is_file():
            load_adapter(model, folder)
            merge_lora(model)
            own = {f"{part}.{n}": one for n, one in model.state_dict().items()}
        borrowed |= own
    return borrowed


def _tower(name: str) -> Any:
    place = locate(name)
    return load_bundle(place.folder, image_folder=place.image_folder).model.image


def _checked(part: str, described: Any, folder: Path) -> str:
    """The name of a model that is on this machine or pinned by the catalogue: a folder, which may
    come from anyone, decides on no other downloads."""
    name = described.get("model") if isinstance(described, dict) else None
    if part not in ("tower", "decoder") or not isinstance(name, str):
        raise _refused(folder, part, repr(described)[:60])
    known = name in PACKAGES or find(name) is not None
    if not known and not Path(name).expanduser().exists():
        raise _refused(folder, part, f"{name!r:.60}, which is not on this machine")
    return name


def _refused(folder: Path, part: str, reason: str) -> WeightsError:
    return WeightsError(
        Text(
            f"{folder / FILE} takes its {part} from {reason}; expected a model that comes with "
            "seesay or one of its extras, or a path on this machine, as it was when the folder was "
            "written: install that version, or train the model again",
            f"{folder / FILE} 的 {part} 取自 {reason}；应为 seesay 或其附加包自带的模型，或本机上"
            "的路径，且与写出该文件夹时相同；请安装当时的版本，或重新训练",
        )
    )
