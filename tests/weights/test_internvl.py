"""Our InternVL gives the numbers of transformers': tower, connector, logits and greedy tokens; and
OpenGVLab's files give those of transformers' form."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import rule_slips
from decoder_references import GROUPED, close
from internvl_form import as_opengvlab_publishes
from reference_parts import randomise
from seesay.errors import WeightsError
from seesay.models.cache import KeyValueCache
from seesay.models.vlm import Vlm
from seesay.weights.internvl import KNOWN, load_internvl, read_internvl
from seesay.weights.settings import every_setting
from seesay.weights.tensors import read_tensors

IMAGE, PIXELS, ROWS, WRITTEN = 60, 32, 4, 32
VISION = dict(
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=3,
    num_attention_heads=4,
    image_size=[PIXELS, PIXELS],
    patch_size=[8, 8],
)
TEXTS = {
    "llama": dict(GROUPED, model_type="llama", rope_parameters=dict(rope_theta=1e6)),
    "qwen2": dict(GROUPED, model_type="qwen2", rope_parameters=dict(rope_theta=1e6)),
    "qwen3": dict(GROUPED, model_type="qwen3", head_dim=16),
}


@dataclass
class Reference:
    folder: Path
    model: nn.Module


def saved(folder: Path, text: str, **vision: object) -> Reference:
    from transformers import InternVLConfig, InternVLForConditionalGeneration

    config = InternVLConfig(
        vision_config=VISION | dict(attention_bias=True) | vision,
        text_config=dict(TEXTS[text], tie_word_embeddings=False),
        image_token_id=IMAGE,
        image_seq_length=ROWS,
        tie_word_embeddings=False,  # or the head is tied, whatever the text says
    )
    model = randomise(InternVLForConditionalGeneration(config), norms=1.0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 and name.endswith("norm.weight"):
                parameter.add_(1.0)  # RMSNorms of transformers' own
            elif name.endswith(("lambda_1", "lambda_2")):
                parameter.add_(0.5)
            elif parameter.ndim == 2:
                parameter.mul_(1.5)
    model.save_pretrained(folder)
    return Reference(folder, model)


def six_billion(folder: Path) -> Reference:
    """The larger tower: RMSNorms, also of queries and keys, and no biases there."""
    return saved(folder, "llama", norm_type="rms_norm", attention_bias=False, use_qk_norm=True)


FAMILIES: dict[str, Callable[[Path], Reference]] = {
    "on llama, 6b": six_billion,
    "on qwen2": lambda folder: saved(folder, "qwen2"),
    "on qwen3": lambda folder: saved(folder, "qwen3"),
}


@pytest.fixture(params=FAMILIES, scope="module")
def reference(request, tmp_path_factory) -> Reference:
    torch.manual_seed(0)
    return FAMILIES[request.param](tmp_path_factory.mktemp("internvl"))


def some_tiles(count: int = 5) -> torch.Tensor:
    return torch.randn(count, 3, PIXELS, PIXELS, generator=torch.Generator().manual_seed(3))


def prompts() -> tuple[torch.Tensor, torch.Tensor]:
    """Three tiles in the first row and two in the second, which is padded at the left."""
    first = [1, 7, *[IMAGE] * 3 * ROWS, 9, 11]
    second = [1, 5, 3, *[IMAGE] * 2 * ROWS, 12]
    ids = torch.tensor([first, [0] * (len(first) - len(second)) + second])
    return ids, ids != 0


@torch.no_grad()
def test_rows_logits_and_greedy_tokens_match(reference):
    model, tiles, (ids, mask) = load_internvl(reference.folder), some_tiles(), prompts()
    theirs = reference.model.model.get_image_features(tiles)
    close(model.tower.features(tiles), theirs.last_hidden_state)
    rows = model.see(tiles)
    close(rows, theirs.pooler_output)
    rows = rows.flatten(0, 1)
    given = dict(pixel_values=tiles, attention_mask=mask.long())
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    expected = reference.model(input_ids=ids, position_ids=positions, **given).logits
    close(model.logits(model(ids, rows, mask=mask))[mask], expected[mask])
    written = reference.model.generate(  # nothing twice, or it would be for ever
        input_ids=ids,
        max_new_tokens=WRITTEN,
        min_new_tokens=WRITTEN,
        do_sample=False,
        no_repeat_ngram_size=1,
        **given,
    )[:, -WRITTEN:]
    cache = KeyValueCache()
    hidden, mine = model(ids, rows, cache=cache, mask=mask), ids
    for _ in range(WRITTEN):
        chosen = best(model.logits(hidden[:, -1:]), mine)
        mine = torch.cat([mine, chosen], dim=1)
        hidden = model.decoder(model.decoder.embed(chosen), cache=cache)
    assert torch.equal(mine[:, -WRITTEN:], written)
    # The same without a cache: the prompt and all that was written, read at once.
    real = torch.cat([mask, torch.ones_like(written, dtype=torch.bool)], dim=1)
    embeds = torch.cat([model.embed(ids, rows), model.decoder.embed(written)], dim=1)
    logits = model.logits(model.decoder(embeds, mask=real))[:, ids.shape[1] - 1 : -1]
    for step in range(WRITTEN):
        before = torch.cat([ids, written[:, :step]], dim=1)
        assert torch.equal(best(logits[:, step : step + 1], before), written[:, step : step + 1])


def best(logits: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """The likeliest token of each row that is neither the last one nor among those before."""
    logits = logits.scatter(2, before[:, None], -torch.inf)
    logits[..., 2] = -torch.inf
    return logits.argmax(-1)


@torch.no_grad()
def test_opengvlabs_files_give_the_same_numbers(reference, tmp_path):
    expected, model = load_internvl(reference.folder), None
    model = load_internvl(as_opengvlab_publishes(reference.folder, tmp_path))
    tiles, (ids, mask) = some_tiles(), prompts()
    rows = model.see(tiles)
    close(rows, expected.see(tiles))
    [place] = model.config.image_ids
    ours = model(ids.where(ids != IMAGE, torch.tensor(place)), rows.flatten(0, 1), mask=mask)
    close(ours[mask], expected(ids, rows.flatten(0, 1), mask=mask)[mask])


@torch.no_grad()
def test_the_first_order_of_squares_goes_down_the_columns(reference, tmp_path):
    path = as_opengvlab_publishes(reference.folder, tmp_path) / "config.json"
    config = json.loads(path.read_text())
    rows = load_internvl(tmp_path).see(some_tiles())
    path.write_text(json.dumps(config | dict(ps_version="v1")))
    turned = load_internvl(tmp_path).see(some_tiles())
    assert torch.equal(rows.unflatten(1, (2, 2)).transpose(1, 2).flatten(1, 2), turned)


@pytest.mark.parametrize("published", [False, True])
def test_every_slip_in_the_rule_table_is_noticed(reference, published, tmp_path):
    folder = as_opengvlab_publishes(reference.folder, tmp_path) if published else reference.folder
    model, tensors = load_internvl(folder), read_tensors(folder)
    with every_setting(
        json.loads((folder / "config.json").read_text()), "config.json", KNOWN
    ) as config:
        rules = dict(read_internvl(config, tensors).rules)
    ids = torch.tensor([[1, 7, *[model.config.image_ids[0]] * 2 * ROWS, 9, 11]])
    tiles = some_tiles(2)

    def numbers(model: Vlm) -> dict[str, torch.Tensor]:
        return {"logits": model.logits(model(ids, model.see(tiles).flatten(0, 1)))}

    # The weights of the two norms are multiplied with one another in every score.
    slips = rule_slips.unnoticed(model, tensors, rules, numbers, most=40)
    assert [slip for slip in slips if slip.count("_norm.weight") < 2 or "norm1" in slip] == []


def test_a_tensor_too_few_or_too_many_is_named(tmp_path):
    torch.manual_seed(0)
    folder = as_opengvlab_publishes(saved(tmp_path / "hf", "qwen2").folder, tmp_path)
    tensors = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if name != "mlp1.1.bias"}
    save_file(kept, folder / "model.safetensors")
    with pytest.raises(WeightsError, match=r"1 missing from the checkpoint: connector.mlp.1.bias"):
        load_internvl(folder)
    save_file(tensors | {"mlp1.4.bias": torch.ones(2)}, folder / "model.safetensors")
    with pytest.raises(WeightsError, match=r"1 not in our model: connector.mlp.4.bias"):
        load_internvl(folder)
