"""Our LLaVA gives the numbers of transformers': rows of pictures, logits and greedy tokens."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import rule_slips
from decoder_references import GROUPED, SIZES, close
from reference_parts import randomise
from seesay.data.tiling import AnyResConfig, anyres_layout
from seesay.errors import ConfigError, WeightsError
from seesay.models.cache import KeyValueCache
from seesay.models.vlm import Tiling, Vlm
from seesay.weights import llava
from seesay.weights.llava import KNOWN, load_llava, read_llava
from seesay.weights.settings import every_setting
from seesay.weights.tensors import read_tensors

IMAGE, VIDEO, SIDE, PIXELS = 60, 59, 4, 32
VISION = dict(
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=3,
    num_attention_heads=4,
    image_size=PIXELS,
    patch_size=PIXELS // SIDE,
)
PINPOINTS = [[PIXELS, 2 * PIXELS], [2 * PIXELS, PIXELS], [2 * PIXELS, 2 * PIXELS]]
WRITTEN = 16


@dataclass
class Reference:
    folder: Path
    model: nn.Module


def saved(folder: Path, model: nn.Module) -> Reference:
    randomise(model, norms=1.0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 and name.endswith("norm.weight"):
                parameter.add_(1.0)  # the language model's
            elif parameter.ndim == 2:
                parameter.mul_(1.5)
    model.save_pretrained(folder)
    return Reference(folder, model)


def llava_15(folder: Path) -> Reference:
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    config = LlavaConfig(
        vision_config=dict(VISION, model_type="clip_vision_model"),
        text_config=dict(SIZES, model_type="llama"),
        image_token_index=IMAGE,
    )
    return saved(folder, LlavaForConditionalGeneration(config))


def llava_next(folder: Path) -> Reference:
    from transformers import LlavaNextConfig, LlavaNextForConditionalGeneration

    config = LlavaNextConfig(
        vision_config=dict(VISION, model_type="clip_vision_model"),
        text_config=dict(GROUPED, model_type="mistral", sliding_window=None),
        image_token_index=IMAGE,
        image_grid_pinpoints=PINPOINTS,
    )
    return saved(folder, LlavaNextForConditionalGeneration(config))


def llava_onevision(folder: Path) -> Reference:
    from transformers import LlavaOnevisionConfig, LlavaOnevisionForConditionalGeneration

    config = LlavaOnevisionConfig(
        vision_config=dict(VISION, model_type="siglip_vision_model", vision_use_head=False),
        text_config=dict(GROUPED, model_type="qwen2"),
        image_token_index=IMAGE,
        video_token_index=VIDEO,
        image_grid_pinpoints=PINPOINTS,
        vision_aspect_ratio="anyres_max_2",  # so that four tiles are shrunk
    )
    return saved(folder, LlavaOnevisionForConditionalGeneration(config))


FAMILIES = {"llava 1.5": llava_15, "llava-next": llava_next, "llava-onevision": llava_onevision}


@pytest.fixture(params=FAMILIES, scope="module")
def reference(request, tmp_path_factory) -> Reference:
    torch.manual_seed(0)
    return FAMILIES[request.param](tmp_path_factory.mktemp("llava"))


# Three pictures: the rows and columns of their tiles, and their height and width.
CUT = [((2, 2), (50, 61)), ((1, 2), (20, 51)), ((2, 1), (64, 22))]


def tiling_of(grid: tuple[int, int], size: tuple[int, int], most_tiles: int | None) -> Tiling:
    config = AnyResConfig(
        tile=PIXELS,
        patch=PIXELS // SIDE,
        resolutions=((grid[1] * PIXELS, grid[0] * PIXELS),),
        most_tiles=most_tiles,
        rounding="hf",
    )
    layout = anyres_layout(size[::-1], config)
    return Tiling(*grid, layout.kept, layout.features[::-1])


def tiles_of(grid: tuple[int, int], seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1 + grid[0] * grid[1], 3, PIXELS, PIXELS, generator=generator)


@torch.no_grad()
def rows_and_expected(reference: Reference, model: Vlm) -> tuple[list, list, dict]:
    """Our rows of some pictures, transformers', and what transformers is given."""
    if not model.config.newline:
        pixels = torch.randn(2, 3, PIXELS, PIXELS, generator=torch.Generator().manual_seed(3))
        given = dict(pixel_values=pixels)
        ours = list(model.see(pixels))
    else:
        tiles = [tiles_of(grid, seed) for seed, (grid, _) in enumerate(CUT)]
        most = max(map(len, tiles))
        padded = [torch.cat([t, torch.zeros(most - len(t), *t.shape[1:])]) for t in tiles]
        sizes = torch.tensor([size for _, size in CUT])
        given = dict(pixel_values=torch.stack(padded), image_sizes=sizes)
        ours = [
            model.join_tiles(model.see(some), tiling_of(*cut, model.config.most_tiles))
            for some, cut in zip(tiles, CUT, strict=True)
        ]
    theirs = reference.model.model.get_image_features(**given).pooler_output
    return ours, list(theirs), given


def prompts(counts: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """A row of ids for each picture, padded at the left, and its mask."""
    texts = [[1, 7 + row, *[IMAGE] * count, 9, 11] for row, count in enumerate(counts)]
    longest = max(map(len, texts))
    ids = torch.tensor([[0] * (longest - len(text)) + text for text in texts])
    return ids, ids != 0


@torch.no_grad()
def test_rows_logits_and_greedy_tokens_match(reference):
    model = load_llava(reference.folder)
    ours, theirs, given = rows_and_expected(reference, model)
    assert [len(rows) for rows in ours] == [len(rows) for rows in theirs]
    for mine, their in zip(ours, theirs, strict=True):
        close(mine, their)
    ids, mask = prompts([len(rows) for rows in ours])
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    expected = reference.model(
        input_ids=ids, attention_mask=mask.long(), position_ids=positions, **given
    ).logits
    rows = torch.cat(ours)
    close(model.logits(model(ids, rows, mask=mask))[mask], expected[mask])
    written = reference.model.generate(
        input_ids=ids,
        attention_mask=mask.long(),
        max_new_tokens=WRITTEN,
        min_new_tokens=WRITTEN,
        do_sample=False,
        **given,
    )[:, -WRITTEN:]
    cache = KeyValueCache()
    hidden, mine = model(ids, rows, cache=cache, mask=mask), []
    for _ in range(WRITTEN):
        logits = model.logits(hidden[:, -1:])
        logits[..., 2] = -torch.inf
        mine.append(logits.argmax(-1))
        embeds = model.decoder.embed(mine[-1])  # a placeholder may be written too
        hidden = model.decoder(embeds, cache=cache)
    assert torch.equal(torch.cat(mine, dim=1), written)


@torch.no_grad()
def test_a_row_is_that_of_its_picture_alone(reference):
    model = load_llava(reference.folder)
    ours, _, _ = rows_and_expected(reference, model)
    ids, mask = prompts([len(rows) for rows in ours])
    together = model(ids, torch.cat(ours), mask=mask)
    for row, rows in enumerate(ours):
        close(together[row][mask[row]], model(ids[row : row + 1, mask[row]], rows)[0])


@torch.no_grad()
def test_a_picture_without_a_grid_and_a_video_match(tmp_path):
    torch.manual_seed(0)
    reference = llava_onevision(tmp_path)
    model = load_llava(tmp_path)
    whole = model.join_tiles(model.see(tiles_of((0, 0))), Tiling(0, 0))
    expected = reference.model.model.get_image_features(
        pixel_values=tiles_of((0, 0))[None],
        image_sizes=torch.tensor([[9, 9]]),
        batch_num_images=torch.tensor([2]),  # of several pictures none is cut
    ).pooler_output
    close(whole, expected[0])
    frames = torch.randn(3, 3, PIXELS, PIXELS)
    expected = reference.model.model.get_video_features(frames[None]).pooler_output
    close(model.join_frames(model.see(frames)), expected.flatten(0, 1))


def test_every_slip_in_the_rule_table_is_noticed(reference):
    model, tensors = load_llava(reference.folder), read_tensors(reference.folder)
    with every_setting(
        json.loads((reference.folder / "config.json").read_text()), "config.json", KNOWN
    ) as config:
        rules = dict(read_llava(config, tensors).rules)
    # The tower's last layer and norm are in the files, but LLaVA reads what is before them.
    used = {key: rule for key, rule in rules.items() if "post_layernorm" not in key}
    ids = torch.tensor([[1, 7, *[IMAGE] * (SIDE**2), 9, 11]])
    pixels = torch.randn(1, 3, PIXELS, PIXELS)

    def numbers(model: Vlm) -> dict[str, torch.Tensor]:
        newline = {} if model.newline is None else {"newline": model.newline}
        return newline | {"logits": model.logits(model(ids, model.see(pixels)[0]))}

    kept = {name: tensor for name, tensor in tensors.items()}
    slips = rule_slips.unnoticed(model, kept, rules, numbers, most=80)
    assert [slip for slip in slips if all(part in used for part in slip.split(" <-> "))] == []


@torch.no_grad()
@pytest.mark.parametrize("projector", ["linear", "mlp2x_gelu"])
def test_the_authors_files_give_the_same_numbers(projector, tmp_path, monkeypatch):
    torch.manual_seed(0)
    reference = llava_15(tmp_path / "hf")
    expected = load_llava(tmp_path / "hf")
    tensors = load_file(tmp_path / "hf" / "model.safetensors")
    tower, own = {}, {}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        if part == "vision_tower":
            tower[f"vision_model.{rest.removeprefix('vision_model.')}"] = tensor
        elif part == "language_model":
            own[rest] = tensor
        elif projector == "mlp2x_gelu":
            number = {"linear_1": 0, "linear_2": 2}[rest.partition(".")[0]]
            own[f"model.mm_projector.{number}.{rest.partition('.')[2]}"] = tensor
        elif "linear_1" in rest:
            own[f"model.mm_projector.{rest.partition('.')[2]}"] = tensor
    tower["text_model.final_layer_norm.weight"] = torch.ones(3)  # CLIP's other half
    for folder, some in (("own", own), ("tower", tower)):
        (tmp_path / folder).mkdir()
        save_file(some, tmp_path / folder / "model.safetensors")
    config = json.loads((tmp_path / "hf" / "config.json").read_text())["text_config"] | dict(
        model_type="llava",
        architectures=["LlavaLlamaForCausalLM"],
        mm_vision_tower="tiny",
        mm_vision_select_layer=-2,
        mm_vision_select_feature="patch",
        mm_projector_type=projector,
        mm_hidden_size=32,
        image_aspect_ratio="pad",
    )
    (tmp_path / "own" / "config.json").write_text(json.dumps(config))
    tiny = dict(VISION, model_type="clip_vision_model")
    monkeypatch.setitem(llava.ORIGINAL_TOWERS, "tiny", tiny)
    model = load_llava(tmp_path / "own", tmp_path / "tower")
    pixels = torch.randn(1, 3, PIXELS, PIXELS)
    features = expected.tower.features(pixels)[:, 1:]
    rows = model.see(pixels)[0]
    first = reference.model.model.multi_modal_projector.linear_1
    close(rows, first(features)[0] if projector == "linear" else expected.see(pixels)[0])
    ids = torch.tensor([[1, 7, *[-200] * SIDE**2, 9]])
    close(model(ids, rows), expected(ids.where(ids >= 0, torch.tensor(IMAGE)), rows))
    with pytest.raises(WeightsError, match=r"missing from the checkpoint: tower\."):
        load_llava(tmp_path / "own")


@torch.no_grad()
def test_as_many_places_as_rows_are_needed(tmp_path):
    torch.manual_seed(0)
    llava_15(tmp_path)
    model = load_llava(tmp_path)
    rows = model.see(torch.randn(1, 3, PIXELS, PIXELS))[0]
    with pytest.raises(ConfigError, match=r"3 image placeholders.* 16 rows") as raised:
        model(torch.tensor([[1, IMAGE, IMAGE, IMAGE, 2]]), rows)
    assert "3 个图片占位词元" in raised.value.text.zh
    with pytest.raises(ConfigError, match=r"1 image placeholders.* 0 rows"):
        model(torch.tensor([[1, IMAGE]]))
