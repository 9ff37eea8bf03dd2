"""What a checkpoint says about its pictures -> our ImageTransformConfig."""

from typing import Any, Literal

from seesay.data.squares import OPENAI_MEAN, OPENAI_STD, ImageTransformConfig
from seesay.errors import WeightsError

Triple = tuple[float, float, float]
HALF: Triple = (0.5, 0.5, 0.5)

Interpolation = Literal["nearest", "lanczos", "bilinear", "bicubic"]
# PIL's numbers, as preprocessor_config.json writes them
RESAMPLE: dict[int, Interpolation] = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}


def transform_from_hf(
    published: dict[str, Any],
    *,
    size: int,
    mean: Triple,
    std: Triple,
    default_crop: bool = True,
) -> ImageTransformConfig:
    """Read preprocessor_config.json; `size` and the other arguments are what a folder without one
    gets. `size` may stand there as a number, a shortest edge, or a height and a width."""
    wanted = published.get("size", size)
    if isinstance(wanted, dict) and "shortest_edge" not in wanted:
        if wanted.get("height") != wanted.get("width") or "height" not in wanted:
            raise WeightsError(
                f"preprocessor_config.json asks for pictures of size {wanted}; expected a square, "
                'such as {"height": 224, "width": 224} or {"shortest_edge": 224}'
            )
        edge, crop = wanted["height"], bool(published.get("do_center_crop", False))
    elif isinstance(wanted, dict):
        edge, crop = wanted["shortest_edge"], bool(published.get("do_center_crop", True))
    else:
        edge, crop = wanted, bool(published.get("do_center_crop", default_crop))
    cut = published.get("crop_size", edge)
    if crop and (cut.get("height") if isinstance(cut, dict) else cut) != edge:
        raise WeightsError(
            f"preprocessor_config.json resizes to {edge} and then crops to {cut}; expected the "
            "same size for both, as every published dual encoder has it"
        )
    return ImageTransformConfig(
        size=edge,
        resize="shortest" if crop else "squash",
        crop=crop,
        interpolation=RESAMPLE[published.get("resample", 3)],
        mean=_triple(published.get("image_mean", mean)),
        std=_triple(published.get("image_std", std)),
    )


def transform_from_open_clip(
    published: dict[str, Any], *, size: int, squash: bool
) -> ImageTransformConfig:
    """Read the `preprocess_cfg` of open_clip_config.json; what it leaves out is OpenAI's."""
    mode = published.get("resize_mode", "squash" if squash else "shortest")
    if mode not in ("shortest", "squash"):
        raise WeightsError(
            f"open_clip_config.json asks for resize_mode {mode!r}; "
            "expected 'shortest' (then a centre crop) or 'squash'"
        )
    return ImageTransformConfig(
        size=published.get("size", size) if isinstance(published.get("size", size), int) else size,
        resize="shortest" if mode == "shortest" else "squash",
        crop=mode == "shortest",
        crop_rounding="half_even",  # open_clip crops with torchvision
        interpolation=published.get("interpolation", "bicubic"),
        mean=_triple(published.get("mean", OPENAI_MEAN)),
        std=_triple(published.get("std", OPENAI_STD)),
    )


def _triple(values: Any) -> Triple:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
