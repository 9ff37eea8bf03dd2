"""Recipes are refused before anything is loaded, and the message names what was meant."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from seesay.data.settings import build, override, read_toml
from seesay.errors import ConfigError
from seesay.training.recipe import read_recipe
from seesay.training.recipe_reference import (
    recipe_reference,
    recipe_settings,
    setting_notes,
    toml,
)
from seesay.training.sweep import read_sweep
from tiny_runs import write_run


@dataclass(frozen=True, kw_only=True)
class CatConfig:
    """A cat."""

    lives: int = 9
    """How often it comes back."""


@dataclass(frozen=True, kw_only=True)
class DogConfig:
    legs: int = 4
    barks: bool = True

    def __post_init__(self) -> None:
        if self.legs < 0:
            raise ConfigError(f"legs={self.legs} must be at least 0")


@dataclass(frozen=True, kw_only=True)
class Zoo:
    name: str
    size: float = 1.0
    mood: Literal["calm", "wild"] = "calm"
    corner: tuple[int, int] = (0, 0)
    words: tuple[str, ...] = ()
    guest: int | None = None
    pet: CatConfig | DogConfig | None = None
    dog: DogConfig = field(default_factory=DogConfig)
    more: Mapping[str, CatConfig | DogConfig] = field(default_factory=dict)
    numbers: Mapping[Literal["en", "zh"], tuple[float, ...]] = field(default_factory=dict)


def test_a_table_becomes_the_config_it_describes():
    zoo = build(
        Zoo,
        {
            "name": "z",
            "size": 2,
            "corner": [1, 2],
            "words": ["a"],
            "guest": 3,
            "pet": {"kind": "cat", "lives": 7},
            "dog": {"legs": 3},
            "more": {"rex": {"kind": "dog"}},
            "numbers": {"zh": [1, 2.5]},
        },
    )
    assert zoo == Zoo(
        name="z",
        size=2.0,
        corner=(1, 2),
        words=("a",),
        guest=3,
        pet=CatConfig(lives=7),
        dog=DogConfig(legs=3),
        more={"rex": DogConfig()},
        numbers={"zh": (1.0, 2.5)},
    )
    assert type(zoo.size) is float


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"nam": "z"}, "nam is no setting: did you mean name?"),
        ({"legs": 4}, "legs is no setting: did you mean pet.legs?"),
        ({"dog": {"leg": 4}}, "dog.leg is no setting: did you mean dog.legs?"),
        ({"more": {"rex": {"kind": "dog", "lives": 1}}}, "did you mean pet.lives?"),
        ({"xyz": 1}, "xyz is no setting: expected one of name, size, mood"),
        ({"size": "big"}, "size = 'big' must be a number"),
        ({"size": True}, "size = True must be a number"),
        ({"guest": 1.5}, "guest = 1.5 must be a whole number"),
        ({"dog": {"barks": 1}}, "dog.barks = 1 must be true or false"),
        ({"mood": "mild"}, "mood = 'mild' is not one of 'calm', 'wild': did you mean 'wild'?"),
        ({"corner": [1]}, "corner = [1] has 1 entries, expected 2"),
        ({"words": "a"}, "words = 'a' must be a list: write ['a']"),
        ({"words": [1]}, "words = 1 must be a text"),
        ({"dog": 4}, "dog = 4 is a value, expected a section of settings"),
        ({"more": 4}, "more = 4 is a value, expected a section"),
        ({"pet": {"kind": "bird"}}, "pet.kind = 'bird' is not one of 'cat', 'dog'"),
        ({"pet": {"lives": 3}}, "pet.kind = '(nothing)' is not one of"),
        ({"dog": {"legs": -1}}, "[dog] legs=-1 must be at least 0"),
        ({"numbers": {"fr": [1]}}, "numbers = 'fr' is not one of 'en', 'zh'"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_was_meant(wrong, message):
    with pytest.raises(ConfigError) as error:
        build(Zoo, {"name": "z", **wrong})
    assert message in str(error.value)


def test_all_problems_are_told_at_once():
    with pytest.raises(ConfigError) as error:
        build(Zoo, {"size": "big", "dog": {"barks": 1, "leg": 2}})
    for part in ("name is missing", "size = 'big'", "dog.barks = 1", "dog.leg is no setting"):
        assert part in str(error.value)


def test_assignments_change_a_copy():
    table = {"a": {"b": 1}, "c": 2}
    changed = override(table, ["a.b=2", "a.d.e=[1, 2]", "c=plain text", 'f="1"', "g = true"])
    assert changed == {
        "a": {"b": 2, "d": {"e": [1, 2]}},
        "c": "plain text",
        "f": "1",
        "g": True,
    }
    assert table == {"a": {"b": 1}, "c": 2}


@pytest.mark.parametrize("wrong", ["a.b", "=3", "a..b=1", "c.d=1"])
def test_an_assignment_that_sets_nothing_is_refused(wrong):
    with pytest.raises(ConfigError):
        override({"c": 2}, [wrong])


def test_a_file_that_is_missing_or_no_toml_is_refused(tmp_path):
    (tmp_path / "recipe.toml").write_text("a = ")
    with pytest.raises(ConfigError, match="is no TOML file"):
        read_toml(tmp_path / "recipe.toml")
    with pytest.raises(ConfigError, match=r"did you mean .*recipe\.toml"):
        read_toml(tmp_path / "recpie.toml")


def test_a_recipe_is_looked_for_where_recipes_lie(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").mkdir()
    for name in ("pyproject.toml", "recipes/seesay-mini.toml"):
        (tmp_path / name).write_text("a = 1")
    with pytest.raises(ConfigError, match=r"did you mean recipes/seesay-mini\.toml\?"):
        read_toml(Path("seesay-mini.toml"))
    with pytest.raises(ConfigError, match=r"such as recipes/seesay-mini\.toml$"):
        read_toml(Path("project.toml"))
    (tmp_path / "recipes" / "seesay-mini.toml").unlink()
    with pytest.raises(ConfigError, match="correct the path, or write one"):
        read_toml(Path("project.toml"))


def test_a_file_that_is_no_recipe_is_named_once(tmp_path):
    (tmp_path / "README.md").write_text("# Read me")
    with pytest.raises(ConfigError) as error:
        read_recipe(tmp_path / "README.md")
    assert str(error.value).count("README.md") == 1


def test_recipes_and_sweeps_are_told_from_each_other(tmp_path):
    sweep = tmp_path / "sweep.toml"
    sweep.write_text('recipe = "recipe.toml"\n[axes.a.b]\n"run.steps" = 1')
    with pytest.raises(ConfigError, match=r"is a sweep.*seesay sweep .*sweep\.toml$"):
        read_recipe(sweep)
    with pytest.raises(ConfigError, match=r"is a recipe.*seesay train .*recipe\.toml$"):
        read_sweep(write_run(tmp_path))


# The real recipe


@pytest.mark.parametrize(
    "assignment, message",
    [
        ("optimizer.lrr=1", "optimizer.lrr is no setting: did you mean optimizer.lr?"),
        ("run.lr=1", "run.lr is no setting: did you mean optimizer.lr?"),
        ("optimizer.lr=fast", "optimizer.lr = 'fast' must be a number"),
        ("optimizer.lr=-1", "[optimizer] lr=-1.0"),
        ("data.squares.batch=0", "[data.squares] batch=0"),
        ("data.squares.augmentation.flip=2", "[data.squares.augmentation] flip=2.0"),
        ("objective.pairs.loss=sofmax", "did you mean 'softmax'?"),
        ("objective.pairs.source=square", "expected one of squares"),
        ("model.start=seesay-mini", "remove one or the other"),
        ("hardware.precision=bf16", "did you mean 'bfloat16'?"),
        ("evaluation.best=['x']", "cannot be known without a measure"),
        ("checkpoint.keep=0", "keep=0"),
        ("log.every=0", "every=0"),
        ("model.architecture.image.kind=vti", "did you mean 'vit'?"),
        ("model.architecture.image.patch_size=32", "image_size=16 and patch_size=32"),
        ("optimizer.lr=nan", "optimizer.lr = nan must be a finite number"),
        ("optimizer.lr=inf", "optimizer.lr = inf must be a finite number"),
        ("optimizer.weight_decay=nan", "optimizer.weight_decay = nan must be a finite number"),
        ("objective.pairs.weight=nan", "objective.pairs.weight = nan must be a finite number"),
        ("run.clip_norm=nan", "run.clip_norm = nan must be a finite number"),
        ("run.epochs=inf", "run.epochs = inf must be a finite number"),
        ("run.epochs=0", "[run] epochs=0.0 and steps=12 train nothing"),
        ("model.architecture.embed_dim=0", "[model.architecture] embed_dim=0 cannot be built"),
        ("model.architecture.embed_dim=-4", "embed_dim=-4 cannot be built, expected at least 1"),
        ("model.architecture.scale_init=0", "scale_init=0.0 cannot be computed with"),
        ("model.architecture.scale_init=-1", "scale_init=-1.0 cannot be computed with"),
        ("model.architecture.text.depth=-1", "[model.architecture.text] depth=-1 cannot be built"),
        ("model.architecture.text.dim=0", "[model.architecture.text] dim=0 cannot be built"),
        ("model.architecture.text.hidden=0", "hidden=0 cannot be built"),
        ("model.architecture.text.hidden=-1", "hidden=-1 cannot be built"),
        ("model.architecture.text.heads=0", "heads=0 cannot be built"),
        ("model.architecture.text.heads=7", "[model.architecture.text] dim=16 does not split"),
        ("model.architecture.text.norm_eps=-1", "norm_eps=-1.0 cannot be computed with"),
        ("model.architecture.image.depth=0", "[model.architecture.image] depth=0 cannot be"),
        ("model.tokenizer.pad_id=99999", "pad_id=99999 is not one of the"),
        ("model.tokenizer.context=99", "context=99 is more than the"),
        ("model.transform.size=32", "size=32 is not the"),
        ("optimizer.freeze=['imag']", "optimizer.freeze: the model has no part 'imag': did you"),
        ("optimizer.multipliers.imag=2", "optimizer.multipliers: the model has no part 'imag'"),
        ("optimizer.learning=1e-4", "optimizer.learning is no setting: did you mean optimizer.lr?"),
        ("optimizer.learning_rate=1", "did you mean optimizer.lr?"),
        ("hardware.bf16=true", "hardware.bf16 is no setting: did you mean hardware.precision?"),
        ("run.batch_size=2", "run.batch_size is no setting: did you mean data.NAME.batch?"),
        ("loading.workers=-1", "--set SECTION.KEY=VALUE"),
    ],
)
def test_a_wrong_recipe_is_refused_before_anything_is_loaded(tmp_path, assignment, message):
    recipe = write_run(tmp_path)
    for name in ("squares.jsonl", "tokenizer.json"):
        (tmp_path / name).unlink()  # nobody may have looked for them
    with pytest.raises(ConfigError) as error:
        read_recipe(recipe, (assignment,))
    assert message in str(error.value) and str(recipe) in str(error.value)


def test_a_good_recipe_and_its_changes_are_read(tmp_path):
    recipe = read_recipe(write_run(tmp_path), ("run.seed=3", "optimizer.freeze=['image']"))
    assert recipe.run.seed == 3
    assert recipe.optimizer.freeze == ("image",)
    assert recipe.data["squares"].batch == 8


# The reference


def test_every_setting_stands_in_the_reference_with_its_meaning():
    reference = recipe_reference()
    assert recipe_settings()[0]["settings"][0] == {
        "setting": "folder",
        "value": "a text",
        "default": None,
        "meaning": "Where checkpoints, logs and the finished model go.",
    }
    for part in (
        "### [run]",
        "### [data.NAME.augmentation]",
        '### [objective.NAME (kind = "contrastive")]',
        "### [model.transform]",
        '### [model.architecture.image (kind = "vit")]',
        '| `precision` | `"auto"` or `"float32"`',
        "| `lr` | a number | `0.0005` | Highest learning rate",
        "| `folder` | a text | required |",
    ):
        assert part in reference
    empty = [
        line for line in reference.splitlines() if line.startswith("|") and line.endswith("|  |")
    ]
    assert empty == []


def test_notes_come_from_docstrings_and_parents():
    @dataclass(frozen=True)
    class Child(CatConfig):
        colour: str = ""

    assert setting_notes(CatConfig) == {"lives": "How often it comes back."}
    assert setting_notes(Child) == {"lives": "How often it comes back."}


def test_values_are_written_as_toml_reads_them():
    import tomllib

    values = {"a": True, "b": (1, 2), "c": {"d": "x"}, "e": 0.25}
    text = "\n".join(f"{name} = {toml(value)}" for name, value in values.items())
    assert tomllib.loads(text) == {"a": True, "b": [1, 2], "c": {"d": "x"}, "e": 0.25}
