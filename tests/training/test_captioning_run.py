"""Whole runs that learn to write captions."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageOps

import seesay
from photographs import folder as of_scikit_image
from seesay.data.settings import build
from seesay.errors import ConfigError
from seesay.inference.generation import caption
from seesay.objectives.captioning import texts_by_image
from seesay.training.build import make_model
from seesay.training.recipe import Recipe, check_parts, read_recipe
from seesay.training.run import train
from tiny_runs import CAPTIONS, write_run

DOCS = Path(__file__).parents[2] / "docs"
WORDS = {
    "astronaut.png": "a woman in an orange space suit before a flag",
    "chelsea.png": "the face of a cat with green eyes",
    "coffee.png": "a cup of coffee with a spoon on a wooden table",
    "rocket.jpg": "a rocket taking off at night",
    "camera.png": "a man in a coat looks through a camera on a tripod",
    "moon.png": "the surface of the moon",
    "motorcycle_left.png": "一辆停在车库里的红色摩托车",
    "coins.png": "四排古老的硬币",
}
RECIPE = """
[run]
folder = "{folder}/run"
steps = 80

[model.vocabulary]
size = 400
written = true

[model.tokenizer]
context = 40
pad_id = 0

[model.transform]
size = 32

[model.architecture]
embed_dim = 32

[model.architecture.image]
kind = "vit"
image_size = 32
patch_size = 8
dim = 48
depth = 1
heads = 4
hidden = 96
pool = "queries"
queries = 8
query_dim = 48
query_heads = 4

[model.architecture.text]
kind = "text"
vocab_size = 400
context = 40
dim = 48
depth = 1
heads = 4
hidden = 96
pool = "cls"
pad_id = 0

[model.architecture.captioner]
depth = 1
heads = 4
hidden = 96

[data.photographs]
path = "{folder}/photographs.jsonl"
format = "table"
batch = 8

[data.photographs.augmentation]
crop_scale = [1.0, 1.0]
flip = 0.0

[objective.captions]
kind = "captioning"
source = "photographs"
weight = 2

[objective.pairs]
kind = "contrastive"
source = "photographs"
languages = "together"

[optimizer]
lr = 4e-3
weight_decay = 0.0

[hardware]
device = "cpu"
precision = "float32"

[loading]
workers = 0

[checkpoint]
every = 1000
"""


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Real photographs, small: most of the time would otherwise go into reading them."""
    folder = tmp_path_factory.mktemp("photographs")
    for name in WORDS:
        image = Image.open(of_scikit_image() / name).convert("RGB")
        ImageOps.fit(image, (32, 32)).save(folder / f"{name}.png")
    return [folder / f"{name}.png" for name in WORDS]


@pytest.fixture(scope="module")
def trained(photographs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("captions")
    rows = [
        {"image": str(file), ("en" if text.isascii() else "zh"): text}
        for file, text in zip(photographs, WORDS.values(), strict=True)
    ]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "photographs.jsonl").write_text(lines, encoding="utf-8")
    (folder / "recipe.toml").write_text(RECIPE.format(folder=folder), encoding="utf-8")
    return seesay.load(train(read_recipe(folder / "recipe.toml")).folder, device="cpu")


@pytest.mark.parametrize("beams", [1, 3])
def test_captions_learned_by_heart_are_repeated_word_for_word(trained, photographs, beams):
    assert list(caption(trained, photographs, beams=beams)) == list(WORDS.values())


def test_what_was_trained_beside_finds_the_photographs_too(trained, photographs):
    images = trained.embed_images(photographs).vectors
    texts = trained.embed_texts(list(WORDS.values())).vectors
    assert (images @ texts.T).argmax(1).tolist() == list(range(len(WORDS)))


def test_a_caption_goes_on_from_its_beginning(trained, photographs):
    rocket = [photographs[list(WORDS).index("rocket.jpg")]]
    assert list(caption(trained, rocket, begin="a rocket")) == [WORDS["rocket.jpg"]]


def test_a_model_that_writes_nothing_says_so():
    embedder = seesay.load("seesay-mini", device="cpu")
    with pytest.raises(
        ConfigError, match=r"asked for captions .* expected a model with a captioner"
    ):
        caption(embedder, [])


def test_each_image_stands_in_one_row_with_its_texts():
    ids = torch.tensor([[1, 5, 2, 0], [1, 6, 2, 0], [1, 7, 0, 0]])
    rows = texts_by_image(ids, torch.tensor([0, 0, 2]), 3, pad_id=0)
    nothing = [0, 0, 0]
    assert rows.tolist() == [[[1, 5, 2], [1, 6, 2]], [nothing, nothing], [[1, 7, 0], nothing]]


def test_a_recipe_without_a_captioner_is_refused(tmp_path):
    file = write_run(tmp_path)
    with pytest.raises(ConfigError, match=r"objective.pairs learns to write .* add \[model"):
        read_recipe(file, CAPTIONS[:1])
    read_recipe(file, CAPTIONS)


def held(file, *settings):
    model = make_model(read_recipe(file, (*CAPTIONS, *settings)), "tiny").model
    return {name for name, parameter in model.named_parameters() if not parameter.requires_grad}


def test_what_no_loss_reaches_is_held_still(tmp_path):
    # Several processes would wait for its gradient.
    file = write_run(tmp_path)
    of_embeddings = {"image_proj.weight", "text_proj.weight", "text.cls_token", "log_scale"}
    assert held(file) == of_embeddings | {"text.norm_out.weight", "text.norm_out.bias"}
    assert held(file, "objective.more={ kind = 'contrastive', source = 'squares' }") == set()
    alone = held(file, "objective.pairs.kind=contrastive")
    assert alone and all(name.startswith("captioner.") for name in alone)


def test_a_vocabulary_in_which_nothing_can_end_is_refused(tmp_path):
    file = write_run(tmp_path)
    pad = ("model.tokenizer.pad_id=2", "model.architecture.text.pad_id=2")
    plain = ("model.vocabulary={ size = 300 }", "model.architecture.text.vocab_size=300")
    without = file.read_text(encoding="utf-8").replace("tokenizer_folder", "# tokenizer_folder")
    for settings, wrong in ((pad, r"\[2\] and pads it by 2"), (plain, r"\[\] and pads it by 0")):
        if settings is plain:
            file.write_text(without, encoding="utf-8")
        with pytest.raises(ConfigError, match=rf"{wrong}, expected .*written = true"):
            train(read_recipe(file, (*CAPTIONS, *settings)))


def test_heads_that_do_not_divide_the_text_tower_are_refused(tmp_path):
    file = write_run(tmp_path)
    with pytest.raises(ConfigError, match="dim=16 does not split into heads=3"):
        read_recipe(file, (*CAPTIONS, "model.architecture.captioner.heads=3"))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_model_that_the_page_describes_can_be_built(language):
    page = (DOCS / language / "training.md").read_text(encoding="utf-8")
    [block] = [b for b in re.findall(r"```toml\n(.*?)```", page, re.DOTALL) if "captioner" in b]
    more = '[run]\nfolder = "x"\n[data.photos]\npath = "y"'
    check_parts(build(Recipe, tomllib.loads(f"{block}\n{more}")))
