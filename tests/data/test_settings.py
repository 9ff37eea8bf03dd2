"""What describes data refuses nonsense itself, whoever makes it: in Python no recipe reads it
first."""

from dataclasses import MISSING, fields

import pytest

from seesay.data.augmentation import AugmentationConfig
from seesay.data.batches import LoadingConfig
from seesay.data.sources import RecordsConfig, SourceConfig
from seesay.data.squares import ImageTransformConfig
from seesay.errors import ConfigError

WRONG = {
    "format": (RecordsConfig, {"format": "webdatset"}, "did you mean 'webdataset'?"),
    "language": (RecordsConfig, {"languages": ("en", "zn")}, "'en' or 'zh': did you mean 'zh'?"),
    "no language": (RecordsConfig, {"languages": ()}, "name one"),
    "column": (
        RecordsConfig,
        {"format": "table", "columns": {"imge": "file"}},
        "names 'imge', expected 'image' or",
    ),
    "column of tar": (RecordsConfig, {"columns": {"image": "file"}}, "one of table, parquet"),
    "start": (RecordsConfig, {"start": -1}, "start=-1"),
    "stop": (RecordsConfig, {"start": 5, "stop": 5}, "start=5 and stop=5"),
    "template": (RecordsConfig, {"templates": {"en": ("a photo",)}}, "('a photo',)"),
    "language of template": (RecordsConfig, {"templates": {"eng": ("{}",)}}, "did you mean 'en'?"),
    "classes": (RecordsConfig, {"classes": "names.json"}, "add templates"),
    "size": (SourceConfig, {"size": 0}, "size=0"),
    "batch": (SourceConfig, {"batch": 0}, "batch=0, captions=1, questions=0"),
    "questions": (SourceConfig, {"questions": -1}, "questions=-1"),
    "no text": (SourceConfig, {"captions": 0}, "at least 1 caption or question"),
    "requests": (SourceConfig, {"requests": {"zh": ()}}, "requests.zh is empty"),
    "workers": (LoadingConfig, {"workers": -1}, "workers=-1"),
    "flip": (AugmentationConfig, {"flip": 1.5}, "flip=1.5"),
    "hue": (AugmentationConfig, {"hue": 0.6}, "hue=0.6"),
    "crop": (AugmentationConfig, {"crop_scale": (1.0, 0.5)}, "crop_scale=(1.0, 0.5)"),
    "ratio": (AugmentationConfig, {"crop_ratio": (0.0, 0.5)}, "crop_ratio=(0.0, 0.5)"),
    "square": (ImageTransformConfig, {"size": 0}, "size=0"),
    "resize": (ImageTransformConfig, {"size": 8, "resize": "crop"}, "shortest or squash"),
    "rounding": (ImageTransformConfig, {"size": 8, "crop_rounding": "up"}, "down or half_even"),
    "kernel": (ImageTransformConfig, {"size": 8, "interpolation": "cubic"}, "bicubic or"),
    "std": (ImageTransformConfig, {"size": 8, "std": (0.5, 0.5, 0.0)}, "those of std above 0"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_what_was_expected_and_what_to_do_are_said(name):
    kind, settings, said = WRONG[name]
    with pytest.raises(ConfigError) as raised:
        make(kind, settings)
    wrong, _, rest = str(raised.value).partition(", expected ")
    expected, _, to_do = rest.rpartition(": ")
    assert wrong and expected and to_do
    assert said in str(raised.value)


def make(kind: type, settings: dict) -> None:
    """As `kind(**settings)` outside the tests, where nobody checks types before."""
    config = object.__new__(kind)
    for field in fields(kind):
        default = None if field.default is MISSING else field.default
        default = default if field.default_factory is MISSING else field.default_factory()
        object.__setattr__(config, field.name, settings.get(field.name, default))
    config.__post_init__()
