"""A folder loads whole or not at all, and says why not."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file, save_file

from open_clip_references import open_clip_vit
from references import VOCAB, openai_clip, write_tokenizer
from seesay.data.squares import ImageTransformConfig
from seesay.errors import ConfigError, DataError, WeightsError
from seesay.models.dual_encoder import DualEncoder, DualEncoderConfig
from seesay.models.text_encoder import TextConfig
from seesay.models.vit import VitConfig
from seesay.weights import bundle as bundle_module
from seesay.weights.bundle import (
    Blueprint,
    Bundle,
    Family,
    GenerationConfig,
    Published,
    load_bundle,
)
from seesay.weights.saving import save_bundle


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("published") / "clip"
    openai_clip(folder)
    return folder


@pytest.fixture
def folder(published, tmp_path):
    return shutil.copytree(published, tmp_path / "clip")


def vectors(folder) -> torch.Tensor:
    model = load_bundle(folder).model
    images = torch.linspace(-1, 1, 2 * 3 * 32 * 32).reshape(2, 3, 32, 32)
    with torch.no_grad():
        return model.embed_images(images)


def test_shards_load_like_one_file(folder):
    expected = vectors(folder)
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    shards = {"a.safetensors": names[:30], "b.safetensors": names[30:]}
    for shard, part in shards.items():
        save_file({name: tensors[name] for name in part}, folder / shard)
    index = {"weight_map": {name: shard for shard, part in shards.items() for name in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors").unlink()
    torch.testing.assert_close(vectors(folder), expected, rtol=0, atol=0)

    (folder / "b.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"names the shard b\.safetensors, which is not beside"):
        load_bundle(folder)


def test_a_pickle_of_tensors_loads_like_safetensors(folder):
    expected = vectors(folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    torch.testing.assert_close(vectors(folder), expected, rtol=0, atol=0)


def test_half_precision_weights_come_back_in_float32(folder):
    tensors = load_file(folder / "model.safetensors")
    half = {name: value.half() for name, value in tensors.items()}
    save_file(half, folder / "model.safetensors")
    model = load_bundle(folder).model
    assert {value.dtype for value in model.parameters()} == {torch.float32}


class Hostile:
    def __reduce__(self):
        return (print, ("code from a checkpoint ran",))


def damage_truncated(folder):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


def damage_empty(folder):
    (folder / "model.safetensors").write_bytes(b"")


def damage_pickle_renamed_to_safetensors(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "x.bin")
    (folder / "x.bin").rename(folder / "model.safetensors")


def damage_code_in_the_pickle(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": Hostile()}))


def damage_text_as_pickle(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_text("version https://git-lfs.github.com/spec/v1")


def damage_no_weights(folder):
    (folder / "model.safetensors").unlink()


def damage_no_config(folder):
    (folder / "config.json").unlink()


def damage_cut_config(folder):
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text[: len(text) // 2])


def damage_config_is_a_list(folder):
    (folder / "config.json").write_text("[]")


def damage_other_family(folder):
    (folder / "config.json").write_text('{"model_type": "llama"}')


def damage_wrong_type_in_config(folder):
    config = json.loads((folder / "config.json").read_text())
    config["vision_config"]["hidden_size"] = "wide"
    (folder / "config.json").write_text(json.dumps(config))


def damage_one_tensor_missing(folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors["text_projection.weight"]
    save_file(tensors, folder / "model.safetensors")


def damage_one_tensor_renamed(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors["text_projektion.weight"] = tensors.pop("text_projection.weight")
    save_file(tensors, folder / "model.safetensors")


def damage_one_tensor_misshapen(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors["text_projection.weight"] = tensors["text_projection.weight"][:, :5].contiguous()
    save_file(tensors, folder / "model.safetensors")


DAMAGES = {
    damage_truncated: "is not a whole safetensors file",
    damage_empty: "is not a whole safetensors file",
    damage_pickle_renamed_to_safetensors: "renamed from another format",
    damage_code_in_the_pickle: "would run code, is never opened",
    damage_text_as_pickle: "cannot be read as plain tensors",
    damage_no_weights: "has no weights; expected one of model.safetensors",
    damage_no_config: "has no config.json",
    damage_cut_config: "not JSON",
    damage_config_is_a_list: "holds a list; expected a JSON object",
    damage_other_family: "of type 'llama'; expected one of clip, metaclip_2, siglip",
    damage_wrong_type_in_config: "do not describe a model",
    damage_one_tensor_missing: "1 missing from the checkpoint: text_proj.weight",
    damage_one_tensor_renamed: "1 not in the rule table: text_projektion.weight",
    damage_one_tensor_misshapen: r"text_proj.weight: published \(16, 5\), ours \(16, 32\)",
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__[7:])
def test_a_damaged_folder_gives_one_clear_error_and_runs_nothing(damage, folder, capfd):
    damage(folder)
    with pytest.raises(WeightsError, match=DAMAGES[damage]) as error:
        load_bundle(folder)
    assert "weights_only" not in str(error.value)  # torch's advice to run the code after all
    assert error.value.__cause__ is None  # one error, not a chain
    assert "code from a checkpoint ran" not in capfd.readouterr().out


def test_a_missing_folder_is_said(tmp_path):
    with pytest.raises(WeightsError, match="is not a folder"):
        load_bundle(tmp_path / "nowhere")


def test_the_text_half_of_taiyi_asks_for_its_image_half(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(WeightsError, match="only the text half of Taiyi-CLIP"):
        load_bundle(tmp_path)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_our_own_layout_gives_back_what_was_saved(published, tmp_path, dtype):
    saved = load_bundle(published, name="ours")
    save_bundle(tmp_path / "own", saved, dtype)
    loaded = load_bundle(tmp_path / "own")
    assert loaded.model.config == saved.model.config
    assert loaded.transform == saved.transform
    assert loaded.tokenizer.config == saved.tokenizer.config
    for name, value in saved.model.state_dict().items():
        expected = value.to(dtype).float()
        torch.testing.assert_close(loaded.model.state_dict()[name], expected, rtol=0, atol=0)
    texts = ["a dog", "cat!"]
    assert (loaded.tokenizer.encode(texts).ids == saved.tokenizer.encode(texts).ids).all()


def test_saving_over_a_folder_replaces_it_and_leaves_nothing_unfinished(published, tmp_path):
    bundle = load_bundle(published)
    for _ in range(2):
        save_bundle(tmp_path / "own", bundle)
    assert [path.name for path in tmp_path.iterdir()] == ["own"]


def test_a_failed_save_leaves_the_old_folder(published, tmp_path, monkeypatch):
    bundle = load_bundle(published)
    save_bundle(tmp_path / "own", bundle)
    before = (tmp_path / "own" / "model.safetensors").read_bytes()

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("seesay.weights.saving.save_file", full)
    with pytest.raises(DataError, match="No space left"):
        save_bundle(tmp_path / "own", bundle)
    assert [path.name for path in tmp_path.iterdir()] == ["own"]
    assert (tmp_path / "own" / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"thesis.txt": "years of work"}, r"holds 'thesis\.txt', which no saved model has"),
        ({"seesay.json": "[]"}, r"has no seesay\.json that can be read"),
        ({"tokenizer.json": "{}"}, r"has no seesay\.json that can be read"),
    ],
)
def test_saving_never_replaces_a_folder_that_is_no_saved_model(published, tmp_path, files, words):
    (tmp_path / "own").mkdir()
    for name, text in files.items():
        (tmp_path / "own" / name).write_text(text)
    with pytest.raises(ConfigError, match=words):
        save_bundle(tmp_path / "own", load_bundle(published))
    assert {path.name: path.read_text() for path in (tmp_path / "own").iterdir()} == files


def test_settings_for_writing_are_saved_with_the_model(published, tmp_path):
    bundle = replace(load_bundle(published), generation=GenerationConfig(beams=4))
    save_bundle(tmp_path / "own", bundle)
    assert load_bundle(tmp_path / "own").generation == GenerationConfig(beams=4)


def test_a_folder_names_its_family_and_those_of_version_0_1_0_are_dual_encoders(
    published, tmp_path
):
    save_bundle(tmp_path / "own", load_bundle(published))
    file = tmp_path / "own" / "seesay.json"
    described = json.loads(file.read_text())
    assert described.pop("family") == "dual_encoder"
    file.write_text(json.dumps(described))
    assert isinstance(load_bundle(tmp_path / "own").model, DualEncoder)


def test_a_family_that_is_not_needed_is_not_imported():
    code = "import seesay, sys; seesay.load('seesay-mini'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ours = {name for name in done.stdout.split() if name.startswith("seesay.weights.")}
    names = ("bundle", "catalog", "dual_encoder", "hub", "hub_clients", "quantization", "tensors")
    assert ours == {f"seesay.weights.{name}" for name in names}


def test_a_new_family_is_a_module_and_a_line_of_the_table(published, tmp_path, monkeypatch):
    """One that has a model of its own, reads folders of its own, and is saved as ours are."""
    known = load_bundle(published)

    def read(folder, image_folder):
        if not (folder / "other.bin").exists():
            return None
        blueprint = Blueprint(
            model=OtherConfig(image=OtherPart(width=3)),
            rules={"w": "weight"},
            transform=known.transform,
            tokenizer=known.tokenizer.config,
        )
        return Published(blueprint=blueprint, tensors={"w": torch.ones(3)}, folder=published)

    family = Family(
        name="other",
        model=Other,
        config=OtherConfig,
        parts={"part": OtherPart, "another": AnotherPart},
        model_types=("other",),
        read=read,
        misfits=lambda blueprint, tokenizer: [],
        check=lambda bundle, folder: None,
        build=lambda config, initial: Other(config),
        extend=lambda model, initial: None,
        step=lambda bundle, autocast: bundle.model,
        reuse=lambda model: None,
    )
    module = ModuleType("other_family")
    module.FAMILY = family
    monkeypatch.setitem(sys.modules, "other_family", module)
    monkeypatch.setitem(bundle_module.FAMILIES, "other", "other_family")
    (tmp_path / "published").mkdir()
    (tmp_path / "published" / "other.bin").touch()
    loaded = load_bundle(tmp_path / "published")
    assert (type(loaded.model), loaded.model.weight.tolist()) == (Other, [1, 1, 1])
    doubled = loaded.with_weights({"weight": 2 * torch.ones(3)})
    assert (doubled.model.weight.tolist(), loaded.model.weight.tolist()) == ([2] * 3, [1] * 3)
    save_bundle(tmp_path / "own", doubled)
    assert json.loads((tmp_path / "own" / "seesay.json").read_text())["family"] == "other"
    again = load_bundle(tmp_path / "own")
    assert (again.config, again.model.weight.tolist()) == (loaded.config, [2, 2, 2])


@dataclass(frozen=True, kw_only=True)
class OtherPart:
    width: int


@dataclass(frozen=True, kw_only=True)
class AnotherPart:
    height: int


@dataclass(frozen=True, kw_only=True)
class OtherConfig:
    image: OtherPart | AnotherPart


class Other(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.weight = torch.nn.Parameter(torch.empty(config.image.width))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"family": "dancer"},
            "is of the family 'dancer'; this version of seesay has dual_encoder",
        ),
        ({"format": 2}, "is of format 2; this version of seesay reads format 1"),
        ({"model": {"image": {"tower": "vit", "sides": 3}}}, "setting 'sides' that VitConfig"),
        ({"transform": None}, "do not describe a model"),
    ],
)
def test_an_own_folder_from_another_version_is_refused(tmp_path, published, change, words):
    save_bundle(tmp_path / "own", load_bundle(published))
    described = json.loads((tmp_path / "own" / "seesay.json").read_text())
    for key, value in change.items():
        if isinstance(value, dict):
            described[key] |= value
        else:
            described[key] = value
    (tmp_path / "own" / "seesay.json").write_text(json.dumps(described))
    with pytest.raises(WeightsError, match=words):
        load_bundle(tmp_path / "own")


def test_a_fresh_model_can_be_saved_without_any_published_folder(tmp_path):
    from seesay.data.tokenizer import TokenizerConfig, load_tokenizer

    write_tokenizer(tmp_path)
    size = dict(dim=16, depth=1, heads=2, hidden=32)
    config = DualEncoderConfig(
        image=VitConfig(image_size=16, patch_size=8, **size),
        text=TextConfig(vocab_size=VOCAB, context=8, eos_id=VOCAB - 1, **size),
        embed_dim=8,
    )
    transform = ImageTransformConfig(
        size=16,
        resize="squash",
        crop=False,
        interpolation="bicubic",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    )
    tokenizer = load_tokenizer(tmp_path, TokenizerConfig(context=8, pad_id=0))
    model = DualEncoder(config)
    bundle = Bundle(model=model, transform=transform, tokenizer=tokenizer, name="fresh")
    save_bundle(tmp_path / "fresh", bundle)
    assert load_bundle(tmp_path / "fresh").transform == transform


@pytest.mark.skipif(os.name != "posix", reason="rights of files are POSIX's")
@pytest.mark.parametrize("umask, rights", [(0o022, (0o755, 0o644)), (0o077, (0o700, 0o600))])
def test_a_saved_model_may_be_read_by_whom_the_umask_lets_read(published, tmp_path, umask, rights):
    bundle = load_bundle(published)
    before = os.umask(umask)
    try:
        save_bundle(tmp_path / "own", bundle)
    finally:
        os.umask(before)
    paths = (tmp_path / "own", *(tmp_path / "own").iterdir())
    assert len(paths) == 4
    assert tuple(path.stat().st_mode & 0o777 for path in paths) == (rights[0], *[rights[1]] * 3)


# Two layouts in one folder, as LAION publishes them and as caches end up


def side_by_side(tmp_path, *, clip_file, open_clip_file):
    """One folder with two models, each in the file that its own layout names; their vectors."""
    folder, other = tmp_path / "both", tmp_path / "open_clip"
    folder.mkdir()
    torch.manual_seed(1)
    openai_clip(folder)
    open_clip_vit(other)
    expected = {"hf": vectors(folder), "open_clip": vectors(other)}
    for source, target in ((folder, clip_file), (other, open_clip_file)):
        (file,) = source.glob("*.safetensors")
        tensors = load_file(file)
        file.unlink()
        save = save_file if target.endswith("safetensors") else torch.save
        save(tensors, folder / target)
    shutil.copy(other / "open_clip_config.json", folder)
    return folder, expected


@pytest.mark.parametrize(
    ("clip_file", "open_clip_file", "layout"),
    [
        ("model.safetensors", "open_clip_model.safetensors", "open_clip"),
        ("pytorch_model.bin", "open_clip_pytorch_model.bin", "open_clip"),
        ("pytorch_model.bin", "open_clip_model.safetensors", "open_clip"),
        ("model.safetensors", "open_clip_pytorch_model.bin", "hf"),
    ],
)
def test_the_layout_decides_which_file_is_read(tmp_path, clip_file, open_clip_file, layout):
    folder, expected = side_by_side(tmp_path, clip_file=clip_file, open_clip_file=open_clip_file)
    torch.testing.assert_close(vectors(folder), expected[layout], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("part", "words"),
    [("text_projection.weight", "different texts"), ("visual_projection.weight", "pictures")],
)
@pytest.mark.parametrize("value", [0.0, torch.nan])
def test_a_model_to_which_all_is_the_same_is_refused(folder, part, words, value):
    tensors = load_file(folder / "model.safetensors")
    tensors[part] = torch.full_like(tensors[part], value)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(WeightsError, match=f"{words} the same vector"):
        load_bundle(folder)
