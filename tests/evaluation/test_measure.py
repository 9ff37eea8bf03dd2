"""What is measured is the same in training, on the command line and in Python."""

import json
from dataclasses import dataclass

import pytest

import seesay
from seesay.errors import ConfigError, DataError
from seesay.evaluation.composition import Composition
from seesay.evaluation.measure import MEASURES, OF_ASSISTANTS, evaluate
from seesay.evaluation.probing import ProbeAccuracy
from seesay.evaluation.retrieval import Retrieval
from seesay.evaluation.zero_shot import ZeroShot
from seesay.training.recipe import read_recipe
from seesay.training.recipe_reference import recipe_reference
from seesay.training.run import train
from tiny_runs import COLOURS, write_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("measures")
    write_run(folder)
    classes = [f'{{"en": "{en}", "zh": "{zh}"}}' for en, (zh, _) in COLOURS.items()]
    (folder / "classes.json").write_text(f"[{', '.join(classes)}]", encoding="utf-8")
    for colour in COLOURS:
        (folder / "sorted" / colour).mkdir(parents=True)
        for picture in sorted(folder.glob(f"{colour}-*-0.png")):
            (folder / "sorted" / colour / picture.name).write_bytes(picture.read_bytes())
    red = sorted(folder.glob("red-*-0.png"))[0].name
    contrast = {"images": [red], "captions": ["a red square", "a blue square"]}
    (folder / "binding.jsonl").write_text(json.dumps(contrast), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def embedder():
    return seesay.load("seesay-mini", device="cpu")


def measures(folder):
    table = {"path": str(folder / "squares.jsonl"), "format": "table"}
    templates = {"en": ("something {}",), "zh": ("{}方块",)}
    return [
        Retrieval(**table, stop=16),
        ZeroShot(**table, classes=str(folder / "classes.json"), templates=templates),
        ProbeAccuracy(path=str(folder / "sorted")),
        Composition(path=str(folder / "binding.jsonl"), loader="contrasts", languages=("en",)),
    ]


def test_every_measure_gives_the_values_that_it_names(embedder, folder):
    given = measures(folder)
    # A model that answers has its own (tests/training/test_answering_run.py).
    assert {type(one) for one in given} == set(MEASURES.values()) - set(OF_ASSISTANTS)
    found = evaluate(embedder, given)
    assert list(found) == [name for one in given for name in one.names()]
    assert all(0 <= value <= 1 for value in found.values())
    assert found["en_zero_shot_top5"] == 1.0  # of four classes


def test_all_data_is_checked_before_the_model_is_used(embedder, folder, monkeypatch):
    monkeypatch.setattr(type(embedder), "embed_images", lambda *given: pytest.fail("was used"))
    broken = ProbeAccuracy(path=str(folder / "nothing"))
    with pytest.raises(DataError, match="nothing is no folder"):
        evaluate(embedder, [*measures(folder)[:2], broken])


def test_two_values_of_one_name_are_refused(embedder, folder):
    with pytest.raises(ConfigError, match="two measures give en_text_to_image_r1"):
        evaluate(embedder, [measures(folder)[0], measures(folder)[0]])


def test_too_few_pictures_for_a_probe_are_refused(folder, tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "dog").mkdir()
    picture = (folder / "red-left-0.png").read_bytes()
    for name in ("cat/1", "dog/1", "dog/2", "dog/3"):
        (tmp_path / f"{name}.png").write_bytes(picture)
    with pytest.raises(DataError, match=r"the class cat has 1 pictures .* at least 3"):
        ProbeAccuracy(path=str(tmp_path)).check()


def test_a_new_measure_is_a_class_and_a_line(folder, tmp_path, monkeypatch):
    @dataclass(frozen=True, kw_only=True)
    class Width:
        """How wide the vectors are."""

        factor: float = 1.0
        """What it is multiplied by."""

        def names(self):
            return ("width",)

        def check(self):
            pass

        def measure(self, embedder):
            yield "width", self.factor * embedder.dim

    monkeypatch.setitem(MEASURES, "width", Width)
    settings = ("run.steps=1", "evaluation.width.factor=2", "evaluation.best=['width']")
    place = f"run.folder={tmp_path / 'run'}"
    recipe = read_recipe(folder / "recipe.toml", (*settings, place))
    assert train(recipe).measured == {"width": 32.0}
    with pytest.raises(ConfigError, match=r"did you mean evaluation.width.factor\?"):
        read_recipe(folder / "recipe.toml", ("evaluation.width.facto=2",))
    assert "### [evaluation.width]\n\nHow wide the vectors are." in recipe_reference()
