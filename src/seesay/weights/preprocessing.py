"""A checkpoint's published image preparation -> our ImageTransformConfig."""

from collections.abc import Mapping
from typing import Any, Literal

from seesay.data.squares import OPENAI_MEAN, OPENAI_STD, ImageTransformConfig
from seesay.errors import WeightsError
from seesay.text import Text
from seesay.weights.settings import Known, Settings, every_setting

Triple = tuple[float, float, float]
HALF: Triple = (0.5, 0.5, 0.5)

Interpolation = Literal["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"]
# PIL's numbers, as preprocessor_config.json writes them
RESAMPLE: dict[int, Interpolation] = dict(
    enumerate(("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"))
)
FILE = "preprocessor_config.json"
KNOWN: Known = {
    **dict.fromkeys(
        ("image_processor_type", "feature_extractor_type", "processor_class"), "names the class"
    ),
    "do_convert_rgb": "every picture is RGB here",
    "do_resize": (True,),  # otherwise pictures must already have the right size
    "do_pad": (False,),
    **dict.fromkeys(
        ("data_format", "input_data_format", "return_tensors", "device", "disable_grouping"),
        "form of the result",
    ),
    "default_to_square": "how a number as size is read; a published file spells it out",
}


def transform_from_hf(
    published: dict[str, Any],
    *,
    size: int,
    mean: Triple,
    std: Triple,
    default_crop: bool = True,
) -> ImageTransformConfig:
    """Read preprocessor_config.json; `size` and the other arguments are the values for a folder
    without one. `size` may stand there as a number, a shortest edge, or a height and a width; null
    is the default of the class (transformers 5 writes every setting)."""
    given = {name: value for name, value in published.items() if value is not None}
    with every_setting(given, FILE, KNOWN) as settings:
        edge, crop = _edge_and_crop(settings, size, default_crop)
        mean, std = _mean_and_std(settings, mean, std)
        return ImageTransformConfig(
            size=edge,
            resize="shortest" if crop else "squash",
            crop=crop,
            interpolation=RESAMPLE[settings.get("resample", 3)],
            mean=mean,
            std=std,
        )


def transform_of_patches(
    published: dict[str, Any], *, size: int, patch: int, patches: int
) -> ImageTransformConfig:
    """Read the preprocessor_config.json of SigLIP 2 NaFlex; the other arguments are the values for
    a folder without one. `size` is the side of the tower's square of positions, in pixels."""
    with every_setting(published, FILE, KNOWN) as settings:
        mean, std = _mean_and_std(settings, HALF, HALF)
        return ImageTransformConfig(
            size=size,
            resize="patches",
            crop=False,
            patch=settings.one_of("patch_size", patch),
            patches=settings.get("max_num_patches", patches),
            interpolation=RESAMPLE[settings.get("resample", 2)],
            mean=mean,
            std=std,
        )


def _edge_and_crop(published: Settings, size: int, default_crop: bool) -> tuple[int, bool]:
    """Returns the side of the square, and whether it is cut out of a picture that keeps its
    shape."""
    wanted = published.get("size", size)
    if not isinstance(wanted, Mapping):
        edge, crop = wanted, bool(published.get("do_center_crop", default_crop))
    elif "shortest_edge" in wanted:
        edge, crop = wanted["shortest_edge"], published.one_of("do_center_crop", True)
    elif wanted.get("height") == wanted.get("width") is not None:
        edge, crop = wanted["height"], False
    else:
        raise WeightsError(
            Text(
                f"{FILE} asks for pictures of size {wanted}; expected a square, such as "
                '{"height": 224, "width": 224} or {"shortest_edge": 224}; choose another model: '
                "seesay models list",
                f"{FILE} 要求图片尺寸 {wanted}；应为正方形，如 "
                '{"height": 224, "width": 224} 或 {"shortest_edge": 224}；请换一个模型：'
                "seesay models list",
            )
        )
    cuts = published.get("do_center_crop", crop)
    cut = published.get("crop_size", edge)
    if isinstance(cut, Mapping):
        cut = cut.get("height") if cut.get("height") == cut.get("width") else cut
    if cuts and cut != edge:
        raise WeightsError(
            Text(
                f"{FILE} resizes to {edge} and then crops to {cut}; expected the same size for "
                "both, as every published dual encoder has it; choose another model: seesay "
                "models list",
                f"{FILE} 先缩放到 {edge}，再裁剪到 {cut}；两者应相同，公开的双塔模型都是如此；"
                "请换一个模型：seesay models list",
            )
        )
    return edge, crop


def _mean_and_std(published: Settings, mean: Triple, std: Triple) -> tuple[Triple, Triple]:
    """Mean and std of values from 0 to 1, with all other scaling of pixels folded in."""
    given = published.get("image_mean", mean), published.get("image_std", std)
    if not published.get("do_normalize", True):
        given = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    mean, std = map(_triple, given)
    factor = published.get("rescale_factor", 1 / 255)
    if not published.get("do_rescale", True):
        factor = 1
    if factor == 1 / 255:
        return mean, std
    # (pixel x factor - mean) / std, written with pixel / 255
    return _triple(m / (255 * factor) for m in mean), _triple(s / (255 * factor) for s in std)


def transform_from_open_clip(
    published: Settings, *, size: int, squash: bool
) -> ImageTransformConfig:
    """Read the `preprocess_cfg` of open_clip_config.json; missing settings are OpenAI's."""
    mode = published.get("resize_mode") or ("squash" if squash else "shortest")
    if mode not in ("shortest", "squash"):
        raise WeightsError(
            Text(
                f"open_clip_config.json asks for resize_mode {mode!r}; expected 'shortest' (then "
                "a centre crop) or 'squash'; choose another model: seesay models list",
                f"open_clip_config.json 要求 resize_mode {mode!r}；应为 'shortest'（再居中裁剪）或 "
                "'squash'；请换一个模型：seesay models list",
            )
        )
    return ImageTransformConfig(
        size=size,
        resize="shortest" if mode == "shortest" else "squash",
        crop=mode == "shortest",
        crop_rounding="half_even",  # open_clip crops with torchvision
        interpolation=published.get("interpolation") or "bicubic",
        mean=_triple(published.get("mean") or OPENAI_MEAN),
        std=_triple(published.get("std") or OPENAI_STD),
    )


def _triple(values: Any) -> Triple:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
