import io
import json
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from seesay.data.sources import RecordsConfig
from seesay.errors import ConfigError
from seesay.training.build import make_model
from seesay.training.recipe import Recipe
from seesay.training.settings import build
from seesay.training.tokenizer import texts_of_classes, texts_of_records


def shard(path: Path, rows: list[dict[str, list[str]] | str]) -> str:
    picture = io.BytesIO()
    Image.new("RGB", (4, 4)).save(picture, "JPEG")
    with tarfile.open(path, "w") as archive:
        for number, row in enumerate(rows):
            texts = row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)
            for name, content in (("jpg", picture.getvalue()), ("json", texts.encode())):
                member = tarfile.TarInfo(f"{number}.{name}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return str(path)


def test_captions_come_in_the_languages_that_are_trained_on_without_damaged_records(
    tmp_path: Path,
) -> None:
    rows: list[dict[str, list[str]] | str] = [
        {"en": ["a dog"], "zh": ["狗", "一只狗"]},
        "{damaged",
        {"en": ["a cat"]},
        {"en": ["beyond"]},
    ]
    path = shard(tmp_path / "train.tar", rows)
    both = RecordsConfig(path=path, stop=3)
    assert list(texts_of_records(both)) == ["a dog", "狗", "一只狗", "a cat"]
    chinese = RecordsConfig(path=path, stop=3, languages=("zh",))
    assert list(texts_of_records(chinese)) == ["狗", "一只狗"]


def test_names_of_classes_stand_in_every_template_of_their_language(tmp_path: Path) -> None:
    file = tmp_path / "classes.json"
    file.write_text(json.dumps([{"en": "tench", "zh": "丁鲷"}]))
    templates = {"en": ("{}", "a {}"), "zh": ("{}的照片",)}
    assert list(texts_of_classes(str(file), templates)) == ["tench", "a tench", "丁鲷的照片"]
    of_source = RecordsConfig(path="not read", classes=str(file), templates=templates)
    assert list(texts_of_records(of_source)) == ["tench", "a tench", "丁鲷的照片"]


def recipe(tmp_path: Path, **model: object) -> Recipe:
    classes = tmp_path / "classes.json"
    classes.write_text(json.dumps([{"en": "tench", "zh": "丁鲷"}]))
    templates = {"en": ["a {}"], "zh": ["{}的照片"]}
    path = shard(tmp_path / "train.tar", [{"en": ["a dog", "the dog"], "zh": ["狗"]}])
    towers = {
        "image": {"kind": "mobilenet"},
        "text": {"kind": "meantext", "vocab_size": 400, "context": 8, "depth": 0},
    }
    settings = {
        "run": {"folder": str(tmp_path / "run")},
        "model": {
            "architecture": towers,
            "tokenizer": {"context": 8, "pad_id": 0},
            "transform": {"size": 32},
            **model,
        },
        "data": {
            "captions": {"path": path},
            "classes": {"path": path, "classes": str(classes), "templates": templates},
        },
        "objective": {"pairs": {"kind": "contrastive", "source": "captions"}},
    }
    return build(Recipe, settings)


def test_a_recipe_makes_its_own_vocabulary_of_captions_and_names(tmp_path: Path) -> None:
    made = make_model(recipe(tmp_path, vocabulary={"size": 400, "min_frequency": 1}), "made")
    ids = made.tokenizer.encode(["dog", "tench", "丁鲷", "狗"]).ids
    assert (ids != 0).sum(axis=1).tolist() == [1, 1, 2, 1]


def test_a_vocabulary_is_either_made_or_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="remove one or the other"):
        recipe(tmp_path, vocabulary={}, tokenizer_folder="somewhere")
    with pytest.raises(ConfigError, match="vocabulary"):
        recipe(tmp_path)
