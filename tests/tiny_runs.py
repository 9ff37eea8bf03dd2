"""A training run of a second: coloured squares, their names in two languages, tiny towers."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor

from seesay.inference.embedder import Embedder
from seesay.training.recipe import Recipe
from seesay.training.run_log import read_log
from seesay.weights.bundle import load_bundle

COLOURS = {
    "red": ("红色", (220, 30, 30)),
    "green": ("绿色", (30, 200, 30)),
    "blue": ("蓝色", (30, 30, 220)),
    "white": ("白色", (240, 240, 240)),
}
PLACES = {"left": "左边", "right": "右边", "top": "上面", "bottom": "下面"}
SIDE = 16

RECIPE = """
[run]
folder = "{folder}/run"
steps = 12

[model]
tokenizer_folder = "{folder}"
tokenizer = {{ context = 12, pad_id = 0 }}
transform = {{ size = 16 }}

[model.architecture]
embed_dim = 16

[model.architecture.image]
kind = "vit"
image_size = 16
patch_size = 8
dim = 16
depth = 1
heads = 2
hidden = 32

[model.architecture.text]
kind = "text"
vocab_size = 31
context = 12
dim = 16
depth = 1
heads = 2
hidden = 32
eos_id = 2

[data.squares]
path = "{folder}/squares.jsonl"
format = "table"
batch = 8

[objective.pairs]
kind = "contrastive"
source = "squares"

[optimizer]
lr = 0.01
weight_decay = 0.1

[hardware]
device = "cpu"
precision = "float32"

[loading]
workers = 0

[checkpoint]
every = 3

[log]
every = 1
"""


# A model that writes captions, which learns that alone.
CAPTIONS = (
    "objective.pairs.kind=captioning",
    "model.architecture.image.pool=queries",
    "model.architecture.image.queries=4",
    "model.architecture.image.query_dim=16",
    "model.architecture.image.query_heads=2",
    "model.architecture.text.pool=cls",
    "model.architecture.text.pad_id=0",
    "model.architecture.captioner={ depth = 1, heads = 2, hidden = 32 }",
)


def write_squares(folder: Path, copies: int = 2) -> list[dict[str, object]]:
    """16 pictures per copy with captions in both languages, and squares.jsonl about them."""
    rows = []
    for copy in range(copies):
        for colour, (zh, rgb) in COLOURS.items():
            for place, zh_place in PLACES.items():
                name = f"{colour}-{place}-{copy}.png"
                image = Image.new("RGB", (SIDE, SIDE), (40 + copy, 40, 40))
                at = {"left": (1, 5), "right": (9, 5), "top": (5, 1), "bottom": (5, 9)}[place]
                image.paste(rgb, (*at, at[0] + 6, at[1] + 6))
                image.save(folder / name)
                rows.append(
                    {
                        "image": name,
                        "en": [f"a {colour} square at the {place}", f"something {colour}"],
                        "zh": [f"{zh_place}的{zh}方块"],
                        "label": list(COLOURS).index(colour),
                    }
                )
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "squares.jsonl").write_text(lines, encoding="utf-8")
    return rows


def write_questions(
    folder: Path, name: str, copies: tuple[int, ...], rejected: bool = False
) -> None:
    """A table of three questions about each picture of these copies; two with a rejected answer,
    if wanted."""
    rows = []
    for copy in copies:
        for colour, (zh, _) in COLOURS.items():
            for place in PLACES:
                image = f"{colour}-{place}-{copy}.png"
                other = next(one for one in COLOURS if one != colour)
                asked = [
                    ("What colour is it?", colour.capitalize() + ".", f"{other} or so"),
                    ("Is it a square?", "yes", "no"),
                    ("它是什么颜色？", zh, ""),
                ]
                for question, answer, worse in asked:
                    row = {"image": image, "question": question, "answer": answer}
                    rows.append(row | ({"rejected": worse} if rejected else {}))
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / name).write_text(lines, encoding="utf-8")


def write_tokenizer(folder: Path) -> None:
    """Whole English words and single Chinese characters; [bos] and [eos] around them."""
    words = ["a", "square", "at", "the", "something", *COLOURS, *PLACES]
    characters = sorted({c for zh, _ in COLOURS.values() for c in zh} | set("左边右上面下的方块"))
    names = ["[pad]", "[bos]", "[eos]", "[unk]", *words, *characters]
    backend = Tokenizer(models.WordLevel({n: i for i, n in enumerate(names)}, unk_token="[unk]"))
    backend.normalizer = normalizers.BertNormalizer()  # puts blanks around Chinese characters
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[bos] $A [eos]", special_tokens=[("[bos]", 1), ("[eos]", 2)]
    )
    backend.save(str(folder / "tokenizer.json"))


def write_run(folder: Path, copies: int = 2) -> Path:
    """Everything a run needs; returns its recipe."""
    write_squares(folder, copies)
    write_tokenizer(folder)
    recipe = folder / "recipe.toml"
    recipe.write_text(RECIPE.format(folder=folder), encoding="utf-8")
    return recipe


def weights(folder: Path) -> dict[str, Tensor]:
    """Of a model folder."""
    return load_bundle(folder).model.state_dict()


def same(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    """To the last bit."""
    return one.keys() == two.keys() and all(torch.equal(one[n], two[n]) for n in one)


def losses(run: Path) -> dict[int, float]:
    """By step."""
    return {row["step"]: row["loss"] for row in read_log(run / "log.jsonl") if "loss" in row}


@dataclass(frozen=True)
class ByFunction:
    """A measure whose values a function of the model gives."""

    function: Callable[[Embedder], Mapping[str, float]]
    value_names: tuple[str, ...]

    def names(self) -> tuple[str, ...]:
        return self.value_names

    def check(self) -> None:
        pass

    def measure(self, embedder: Embedder) -> Iterator[tuple[str, float]]:
        yield from self.function(embedder).items()


def measured_by(
    recipe: Recipe,
    function: Callable[[Embedder], Mapping[str, float]],
    *names: str,
    best: tuple[str, ...] = (),
) -> Recipe:
    """The recipe, measured by a function."""
    measures = {"function": ByFunction(function, names)}
    return replace(recipe, evaluation=replace(recipe.evaluation, measures=measures, best=best))
