"""Our Qwen2-VL, 2.5-VL and 3-VL give the numbers of transformers': rows, logits, greedy tokens."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

import rule_slips
from decoder_references import close
from reference_parts import randomise
from seesay.errors import ConfigError
from seesay.models.cache import KeyValueCache
from seesay.models.vlm import PackedVlm, Seen
from seesay.weights.qwen_vl import KNOWN, load_qwen_vl, read_qwen_vl
from seesay.weights.settings import every_setting
from seesay.weights.tensors import read_tensors

VOCAB, IMAGE, VIDEO, WRITTEN = 70, 60, 61, 16
TEXT = dict(
    vocab_size=VOCAB,
    hidden_size=64,
    intermediate_size=48,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=256,
    bos_token_id=1,
    eos_token_id=2,
    pad_token_id=0,
)
VISION = dict(depth=3, num_heads=2, patch_size=4, hidden_act="gelu_pytorch_tanh")
GRIDS = torch.tensor([[1, 4, 4], [1, 2, 6], [1, 6, 4]])
ROWS = (4, 3, 6)


@dataclass
class Reference:
    folder: Path
    model: nn.Module


def saved(name: str, folder: Path, vision: dict, **text: object) -> Reference:
    import transformers

    sections = [4, 2, 2] if name == "Qwen3VL" else [2, 3, 3]
    rope = dict(rope_type="default", rope_theta=1e4, mrope_section=sections)
    config = getattr(transformers, f"{name}Config")(
        vision_config=VISION | vision,
        text_config=dict(TEXT, rope_parameters=rope, **text),
        image_token_id=IMAGE,
        video_token_id=VIDEO,
        vision_start_token_id=62,
        vision_end_token_id=63,
    )
    model = getattr(transformers, f"{name}ForConditionalGeneration")(config)
    randomise(model, norms=1.0)
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            own = "visual" not in parameter_name or name == "Qwen2_5_VL"
            if own and parameter.ndim == 1 and parameter_name.endswith("norm.weight"):
                parameter.add_(1.0)  # RMSNorms of transformers' own
    model.save_pretrained(folder)
    return Reference(folder, model)


def qwen2_vl(folder: Path) -> Reference:
    vision = dict(embed_dim=32, hidden_size=64, mlp_ratio=2)
    return saved("Qwen2VL", folder, vision, tie_word_embeddings=True)


def qwen2_vl_of_2024(folder: Path) -> Reference:
    """The settings of the language model beside those of the whole, by their old names."""
    reference = saved("Qwen2VL", folder, dict(embed_dim=32, hidden_size=64, mlp_ratio=2))
    path = folder / "config.json"
    config = json.loads(path.read_text())
    text = config.pop("text_config")
    rope = text.pop("rope_parameters")
    text |= dict(rope_theta=rope["rope_theta"])
    text |= dict(rope_scaling=dict(type="mrope", mrope_section=rope["mrope_section"]))
    config["vision_config"]["model_type"] = "qwen2_vl"
    path.write_text(json.dumps(text | config))
    return reference


def qwen2_5_vl(folder: Path) -> Reference:
    vision = dict(hidden_size=32, intermediate_size=40, out_hidden_size=64, window_size=16)
    return saved("Qwen2_5_VL", folder, vision | dict(fullatt_block_indexes=[1]))


def qwen3_vl(folder: Path) -> Reference:
    vision = dict(hidden_size=32, intermediate_size=40, out_hidden_size=64)
    vision |= dict(num_position_embeddings=25, deepstack_visual_indexes=[0, 2])
    return saved("Qwen3VL", folder, vision, head_dim=16)


FAMILIES = {
    "qwen2-vl": qwen2_vl,
    "qwen2-vl of 2024": qwen2_vl_of_2024,
    "qwen2.5-vl": qwen2_5_vl,
    "qwen3-vl": qwen3_vl,
}


@pytest.fixture(params=FAMILIES, scope="module")
def reference(request, tmp_path_factory) -> Reference:
    torch.manual_seed(0)
    return FAMILIES[request.param](tmp_path_factory.mktemp("qwen"))


def some_patches() -> torch.Tensor:
    count = int(GRIDS.prod(1).sum())
    return torch.randn(count, 3 * 2 * 4 * 4, generator=torch.Generator().manual_seed(1))


def prompts() -> tuple[torch.Tensor, torch.Tensor]:
    """Two pictures in the first row, and one in the second, padded at the left."""
    first = [1, 7, 62, *[IMAGE] * ROWS[0], 63, 8, 62, *[IMAGE] * ROWS[1], 63, 9]
    second = [1, 62, *[IMAGE] * ROWS[2], 63, 11]
    ids = torch.tensor([first, [0] * (len(first) - len(second)) + second])
    return ids, ids != 0


@torch.no_grad()
def test_rows_logits_and_greedy_tokens_match(reference):
    model = load_qwen_vl(reference.folder)
    patches, (ids, mask) = some_patches(), prompts()
    seen = model.see(patches, GRIDS)
    theirs = reference.model.model.get_image_features(patches, GRIDS)
    close(seen.rows, torch.cat(list(theirs.pooler_output)))
    given = dict(
        pixel_values=patches,
        image_grid_thw=GRIDS,
        mm_token_type_ids=(ids == IMAGE).int(),
        attention_mask=mask.long(),
    )
    expected = reference.model(input_ids=ids, **given).logits
    positions, deltas = reference.model.model.get_rope_index(
        ids, given["mm_token_type_ids"], image_grid_thw=GRIDS, attention_mask=mask.long()
    )
    cache = KeyValueCache()
    hidden = model(ids, seen, positions, cache, mask)
    close(model.logits(hidden)[mask], expected[mask])
    written = reference.model.generate(
        input_ids=ids, max_new_tokens=WRITTEN, min_new_tokens=WRITTEN, do_sample=False, **given
    )[:, -WRITTEN:]
    mine, place = [], mask.sum(1, keepdim=True) + deltas
    for step in range(WRITTEN):
        logits = model.logits(hidden[:, -1:])
        logits[..., 2] = -torch.inf
        mine.append(logits.argmax(-1))
        hidden = model.decoder(model.decoder.embed(mine[-1]), place + step, cache)
    assert torch.equal(torch.cat(mine, dim=1), written)


@torch.no_grad()
def test_a_row_is_that_of_its_pictures_alone(reference):
    model = load_qwen_vl(reference.folder)
    patches, (ids, mask) = some_patches(), prompts()
    together = model(ids, model.see(patches, GRIDS), mask=mask)
    for row, pictures in ((0, slice(0, 2)), (1, slice(2, 3))):
        ends = [0, *GRIDS.prod(1).cumsum(0).tolist()]
        some = patches[ends[pictures.start] : ends[pictures.stop]]
        alone = model(ids[row : row + 1, mask[row]], model.see(some, GRIDS[pictures]))
        close(together[row][mask[row]], alone[0])


def test_every_slip_in_the_rule_table_is_noticed(reference):
    model, tensors = load_qwen_vl(reference.folder), read_tensors(reference.folder)
    published = json.loads((reference.folder / "config.json").read_text())
    with every_setting(published, "config.json", KNOWN) as config:
        rules = dict(read_qwen_vl(config, tensors).rules)
    patches, (ids, mask) = some_patches(), prompts()

    def numbers(model: PackedVlm) -> dict[str, torch.Tensor]:
        hidden = model(ids, model.see(patches, GRIDS), mask=mask)
        return {"logits": model.logits(hidden)[mask]}

    assert rule_slips.unnoticed(model, tensors, rules, numbers, most=60) == []


@torch.no_grad()
def test_as_many_places_as_rows_are_needed(tmp_path):
    torch.manual_seed(0)
    model = load_qwen_vl(qwen3_vl(tmp_path).folder)
    seen = model.see(some_patches(), GRIDS)
    with pytest.raises(ConfigError, match=r"1 image placeholders.* 13 rows"):
        model(torch.tensor([[1, IMAGE]]), seen)
    with pytest.raises(ConfigError, match=r"13 image placeholders.* 3 rows"):
        model(prompts()[0], Seen(seen.rows[:3], seen.deepstack))
