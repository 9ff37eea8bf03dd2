"""A vocabulary made from captions: what it knows, what it does with what it does not know."""

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tokenizers import Tokenizer

from seesay.data.settings import build
from seesay.data.sources import SourceConfig, texts_of_classes
from seesay.data.tokenizer import Tokenizer as Words
from seesay.data.tokenizer import TokenizerConfig, load_tokenizer
from seesay.errors import ConfigError, DataError
from seesay.training.build import make_model
from seesay.training.recipe import Recipe
from seesay.training.tokenizer import (
    PAD,
    PAD_ID,
    VocabularyConfig,
    texts_of_records,
    train_tokenizer,
)

TEXTS = [
    "A dog runs through the snow .",
    "the dog is running after a dog",
    "two children on a slide",
    "雪地里的狗。",
    "两个孩子在玩滑梯",
    "一只狗在雪地里跑",
]
SMALL = VocabularyConfig(size=360, min_frequency=2)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(TEXTS, SMALL)


def pieces(tokenizer: Tokenizer, text: str) -> list[str]:
    return tokenizer.encode(text).tokens


def test_a_frequent_english_word_is_one_token(tokenizer: Tokenizer) -> None:
    assert pieces(tokenizer, "the dog") == ["the", "dog"]


def test_each_chinese_character_is_a_token(tokenizer: Tokenizer) -> None:
    assert pieces(tokenizer, "雪地里的狗") == ["雪", "地", "里", "的", "狗"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The Dog.", "the dog"),
        ("\uff44\uff4f\uff47，狗！", "dog 狗"),
        ("“dog” — 雪地？", "dog 雪地"),
    ],
)
def test_case_width_and_punctuation_make_no_difference(
    tokenizer: Tokenizer, one: str, other: str
) -> None:
    assert tokenizer.encode(one).ids == tokenizer.encode(other).ids


def test_a_character_never_seen_is_spelt_in_bytes(tokenizer: Tokenizer) -> None:
    assert pieces(tokenizer, "鰐") == [f"<0x{byte:02X}>" for byte in "鰐".encode()]


@given(st.text(min_size=1))
def test_no_text_makes_padding_out_of_words(text: str) -> None:
    assert PAD_ID not in train_once().encode(text).ids


def train_once(made: list[Tokenizer] = []) -> Tokenizer:  # noqa: B006
    if not made:
        made.append(train_tokenizer(TEXTS, SMALL))
        made[0].encode_special_tokens = True  # as `Tokenizer` does: "<pad>" in a text is text
    return made[0]


def test_only_padding_is_special(tokenizer: Tokenizer) -> None:
    added = json.loads(tokenizer.to_str())["added_tokens"]
    assert [(token["content"], token["id"]) for token in added] == [(PAD, PAD_ID)]


def test_another_process_makes_the_same_file(tokenizer: Tokenizer) -> None:
    code = (
        "import sys; from seesay.training.tokenizer import *; "
        f"print(train_tokenizer({TEXTS!r}, {SMALL!r}).to_str())"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert json.loads(made.stdout) == json.loads(tokenizer.to_str())


def test_the_saved_vocabulary_reads_as_any_other(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    loaded = load_tokenizer(tmp_path, TokenizerConfig(context=8, pad_id=PAD_ID))
    rows = loaded.encode(["the dog", "雪地里的狗", "?"]).ids
    expected = [tokenizer.encode(text).ids for text in ("the dog", "雪地里的狗")]
    assert rows.tolist() == [row + [PAD_ID] * (8 - len(row)) for row in [*expected, []]]


def test_no_text_at_all_is_refused() -> None:
    with pytest.raises(DataError, match="0 texts"):
        train_tokenizer([" ", "?"], SMALL)


def test_too_small_a_vocabulary_names_the_size_it_needs() -> None:
    with pytest.raises(DataError, match="set it to 289 or more"):
        train_tokenizer(TEXTS, VocabularyConfig(size=288))
    assert train_tokenizer(TEXTS, VocabularyConfig(size=289)).get_vocab_size() == 289


@pytest.mark.parametrize("settings", [{"size": 257}, {"min_frequency": 0}])
def test_impossible_settings_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="make no vocabulary"):
        VocabularyConfig(**settings)


def test_a_vocabulary_to_write_in_gives_texts_back() -> None:
    written = VocabularyConfig(size=360, written=True)
    config = TokenizerConfig(context=40, pad_id=PAD_ID)
    tokenizer = Words(train_tokenizer(TEXTS, written), config)
    assert (tokenizer.prefix, tokenizer.suffix) == ([1], [2])
    for text, back in {
        "A dog runs through the snow .": "a dog runs through the snow",
        "two  children, 12 dogs": "two children 12 dogs",
        "一只狗 在雪地里跑。": "一只狗 在雪地里跑",
        "鰐 dog": "鰐 dog",
    }.items():
        ids = tokenizer.encode([text]).ids[0].tolist()
        assert tokenizer.decode(ids) == back
        assert tokenizer.decode([*ids[: ids.index(2)], 2, 70, 71]) == back  # nothing after its end


# The texts of a recipe


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
    both = SourceConfig(path=path, stop=3)
    assert list(texts_of_records(both)) == ["a dog", "狗", "一只狗", "a cat"]
    chinese = SourceConfig(path=path, stop=3, languages=("zh",))
    assert list(texts_of_records(chinese)) == ["狗", "一只狗"]


def test_names_of_classes_stand_in_every_template_of_their_language(tmp_path: Path) -> None:
    file = tmp_path / "classes.json"
    file.write_text(json.dumps([{"en": "tench", "zh": "丁鲷"}]))
    templates = {"en": ("{}", "a {}"), "zh": ("{}的照片",)}
    assert list(texts_of_classes(str(file), templates)) == ["tench", "a tench", "丁鲷的照片"]
    of_source = SourceConfig(path="not read", classes=str(file), templates=templates)
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
