"""The built-in reader: where texts answer a question."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from seesay.errors import SeesayError
from seesay.inference.embedder import load
from seesay.inference.reader import Page, Reader, load_reader
from seesay.weights.catalog import find
from seesay.weights.tensors import dequantized

BASE = find("seesay-text").built_in
FOLDER = BASE.with_name("seesay-reader")
FLAT = Page(
    title="Flat on Harrow Lane",
    sentences=(
        "The rent was 840 pounds until February.",
        "Since then it has been 905 pounds, due on the third of each month.",
        "Mrs Calloway owns the house.",
        "Her nephew Piers looks after it while she is abroad.",
    ),
)
SHOP = Page(
    title="文具店会员须知",
    sentences=(
        "会员卡办理免费，有效期为两年。",
        "生日当月购物可享八五折。",
        "卡片遗失请到二楼服务台补办，工本费5元。",
        "积分每年12月31日清零。",
    ),
)


@pytest.mark.parametrize(
    ("page", "question", "best"),
    [
        (FLAT, "How much does the flat cost per month now?", 1),
        (FLAT, "Who takes care of the house when the landlady is away?", 3),
        (SHOP, "会员卡丢了怎么办？", 2),
        (SHOP, "积分什么时候作废？", 3),
    ],
)
def test_the_sentence_that_answers_in_other_words_scores_best(page, question, best):
    (scores,) = load_reader().scores(question, [page])
    assert int(scores.argmax()) == best
    assert scores.shape == (4,)


def test_the_page_that_answers_scores_above_one_that_does_not():
    of_flat, of_shop = load_reader().scores("积分什么时候作废？", [FLAT, SHOP])
    assert of_shop.max() > of_flat.max() + 4


def test_the_same_scores_whatever_is_read_beside_it():
    reader = load_reader()
    question = "How much does the flat cost per month now?"
    (alone,) = reader.scores(question, [FLAT])
    together = reader.scores(question, [SHOP, FLAT, SHOP])[1]
    np.testing.assert_allclose(together, alone, atol=1e-3)


def test_a_long_page_is_read_to_its_end():
    filling = [f"On day {n} we walked along the river and saw nothing of note." for n in range(90)]
    page = Page(title="Diary", sentences=(*filling, "The key is under the blue flower pot."))
    (scores,) = load_reader().scores("Where is the key?", [page])
    assert int(scores.argmax()) == 90
    assert np.isfinite(scores).all()


def test_a_sentence_without_words_has_no_score():
    (scores,) = load_reader().scores(
        "Where is it?", [Page(title="", sentences=("\u200b", "Here."))]
    )
    assert scores[0] == -np.inf
    assert np.isfinite(scores[1])
    assert load_reader().scores("Where is it?", []) == []


def test_it_equals_the_model_in_torch():
    """Scores from the tokens of torch's model with the same weights."""
    reader = load_reader()
    model = load("seesay-text", device="cpu", dtype="float32").model.text
    tensors = dequantized(load_file(FOLDER / "model.safetensors"), FOLDER)
    own = {name.removeprefix("text."): one for name, one in tensors.items() if "spans" not in name}
    model.load_state_dict(model.state_dict() | own)
    (row,) = reader._rows("Who owns the house?", [FLAT])
    ids = torch.tensor([row.ids])
    with torch.inference_mode():
        states = model.features(ids)
        wanted = states @ tensors["spans.weight"].T + tensors["spans.bias"]
    np.testing.assert_allclose(reader._logits(ids.numpy())[0], wanted[0].numpy(), atol=2e-3)


@pytest.mark.parametrize("damage", ["cut", "without spans", "no description"])
def test_damaged_files_are_told(tmp_path, damage):
    folder = Path(shutil.copytree(FOLDER, tmp_path / "reader"))
    weights = folder / "model.safetensors"
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif damage == "without spans":
        save_file({"text.norm_in.bias": torch.zeros(384)}, weights)
    else:
        (folder / "seesay.json").write_text(json.dumps({"format": 1}))
    with pytest.raises(SeesayError, match=r"reader"):
        Reader(folder, BASE)
