"""The first Qwen-VL, which transformers does not have, follows its formulas: rows, logits and
greedy tokens."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import rule_slips
from decoder_references import close
from seesay.errors import WeightsError
from seesay.models.cache import KeyValueCache
from seesay.models.vlm import Vlm
from seesay.weights.qwen_vl import KNOWN, load_first_qwen_vl, read_first_qwen_vl
from seesay.weights.settings import every_setting
from tiny_first_qwen_vl import CONFIG, IMAGE, PIXELS, ROWS, START, T, logits_of, published, rows_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("qwen-vl")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    save_file({n: value.contiguous() for n, value in published().items()}, folder / FILE)
    return folder


FILE = "model.safetensors"
PROMPTS = [
    [7, START, *[IMAGE] * ROWS, START + 1, 9, 11],
    [5, 3, START, *[IMAGE] * ROWS, START + 1, START, *[IMAGE] * ROWS, START + 1, 12],
]


def pictures() -> Tensor:
    return torch.randn(3, 3, PIXELS, PIXELS, generator=torch.Generator().manual_seed(4))


@torch.no_grad()
def test_rows_logits_and_greedy_tokens_follow_the_formulas(folder):
    model, t = load_first_qwen_vl(folder), published()
    rows = model.see(pictures())
    expected = [rows_of(t, one) for one in pictures()]
    close(rows, torch.stack(expected))
    assert model.decoder.config.context == 256  # beyond which positions are stretched
    longest = max(map(len, PROMPTS))
    ids = torch.tensor([[0] * (longest - len(one)) + one for one in PROMPTS])
    mask = torch.tensor([[False] * (longest - len(one)) + [True] * len(one) for one in PROMPTS])
    cache = KeyValueCache()
    hidden = model(ids, rows.flatten(0, 1), cache=cache, mask=mask)
    own = [torch.cat(expected[:1]), torch.cat(expected[1:])]
    written = [list(one) for one in PROMPTS]
    for row in range(2):
        close(model.logits(hidden)[row, mask[row]], logits_of(t, PROMPTS[row], own[row]))
    for _ in range(32):
        logits = model.logits(hidden[:, -1:])
        logits[..., START:] = -torch.inf  # marks
        chosen = logits.argmax(-1)
        for row in range(2):
            theirs = logits_of(t, written[row], own[row])[-1]
            theirs[START:] = -torch.inf
            assert int(theirs.argmax()) == int(chosen[row])
            written[row].append(int(chosen[row]))
        hidden = model.decoder(model.decoder.embed(chosen), cache=cache)
    assert all(len(set(one[-32:])) > 3 for one in written)


def test_every_slip_in_the_rule_table_is_noticed(folder):
    model, tensors = load_first_qwen_vl(folder), published()
    with every_setting(CONFIG, "config.json", KNOWN) as config:
        rules = dict(read_first_qwen_vl(config, tensors).rules)
    ids = torch.tensor(PROMPTS[:1])

    def numbers(model: Vlm) -> dict[str, Tensor]:
        return {"logits": model.logits(model(ids, model.see(pictures()[:1])[0]))}

    assert rule_slips.unnoticed(model, tensors, rules, numbers, most=60) == []


def test_a_setting_that_changes_numbers_and_a_missing_tensor_are_named(folder, tmp_path):
    def refused(words: str, tensors: T, **settings: object) -> None:
        (tmp_path / "config.json").write_text(json.dumps(CONFIG | settings))
        save_file({n: value.contiguous() for n, value in tensors.items()}, tmp_path / FILE)
        with pytest.raises(WeightsError, match=words):
            load_first_qwen_vl(tmp_path)

    tensors = published()
    refused("rotary_pct to 0.5", tensors, rotary_pct=0.5)
    refused("sets new_setting", tensors, new_setting=1)
    del tensors["transformer.visual.proj"]
    refused("1 missing from the checkpoint: connector.project.weight", tensors)
