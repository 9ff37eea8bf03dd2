"""Layouts in which others publish or leave their checkpoints."""

import json
import logging
import shutil
import warnings

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from open_clip_references import OPEN_CLIP_TEXT, VIT, open_clip_resnet, open_clip_vit
from reference_parts import IMAGE_SIZE, clip_ids, randomise, write_tokenizer
from references import openai_clip
from seesay.errors import WeightsError
from seesay.weights.bundle import load_bundle


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    torch.manual_seed(0)
    return open_clip_vit(tmp_path_factory.mktemp("published") / "clip")


@pytest.fixture
def folder(reference, tmp_path):
    return shutil.copytree(reference.folder, tmp_path / "clip")


@torch.no_grad()
def same_vectors(folder, theirs, image_size=IMAGE_SIZE) -> None:
    model = load_bundle(folder).model
    torch.manual_seed(1)
    images, ids = torch.randn(2, 3, image_size, image_size), clip_ids()
    pairs = (
        (model.embed_images(images), theirs.encode_image(images)),
        (model.embed_texts(ids), theirs.encode_text(ids)),
    )
    for mine, expected in pairs:
        torch.testing.assert_close(mine, F.normalize(expected, dim=-1), rtol=0, atol=2e-6)


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize("wrapped", [True, False])
def test_a_checkpoint_of_open_clips_training_loads(reference, folder, prefix, wrapped):
    (folder / "open_clip_model.safetensors").unlink()
    tensors = {prefix + name: value for name, value in reference.model.state_dict().items()}
    saved = {"epoch": 32, "name": "run", "state_dict": tensors, "optimizer": {"state": {}}}
    torch.save(saved if wrapped else tensors, folder / "epoch_32.pt")
    same_vectors(folder, reference.model)


def test_a_prefix_that_only_some_names_have_is_no_wrapper(reference, folder):
    tensors = reference.model.state_dict()
    first = next(iter(tensors))
    tensors = {f"module.{first}": tensors.pop(first), **tensors}
    (folder / "open_clip_model.safetensors").unlink()
    torch.save(tensors, folder / "epoch_1.pt")
    with pytest.raises(WeightsError, match=rf"not in the rule table: module\.{first}"):
        load_bundle(folder)


def test_several_checkpoints_in_one_folder_are_not_chosen_from(folder):
    (folder / "open_clip_model.safetensors").unlink()
    for name in ("epoch_1.pt", "epoch_2.pt"):
        torch.save({}, folder / name)
    with pytest.raises(WeightsError, match=r"several files of weights \(epoch_1\.pt, epoch_2\.pt"):
        load_bundle(folder)


def test_a_root_of_sentence_transformers_loads(tmp_path):
    torch.manual_seed(0)
    plain, root = tmp_path / "plain", tmp_path / "root"
    openai_clip(plain)
    shutil.copytree(plain, root / "0_CLIPModel")
    module = {"idx": 0, "path": "0_CLIPModel", "type": "sentence_transformers.models.CLIPModel"}
    (root / "modules.json").write_text(json.dumps([module]))
    ours, theirs = (load_bundle(path).model.state_dict() for path in (root, plain))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_module_behind_clip_is_refused_by_name(tmp_path):
    (tmp_path / "0_CLIPModel").mkdir()
    kinds = ["CLIPModel", "Normalize", "Dense"]
    modules = [{"type": f"sentence_transformers.models.{kind}"} for kind in kinds]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(WeightsError, match="lists Dense behind CLIP"):
        load_bundle(tmp_path)


class OpenAi(torch.nn.Module):
    """OpenAI's own attributes around a model. What it computes is not read."""

    def __init__(self, model):
        super().__init__()
        for name, part in model.named_children():
            setattr(self, name, part)
        for name in ("positional_embedding", "text_projection", "logit_scale"):
            setattr(self, name, getattr(model, name))
        for name, value in (("input_resolution", 32), ("context_length", 12), ("vocab_size", 99)):
            self.register_buffer(name, torch.tensor(value))

    def forward(self, images):
        return images * self.logit_scale


def openai_model(kind: str):
    import open_clip

    text = dict(OPEN_CLIP_TEXT, width=64, heads=1)
    vision = dict(VIT, width=64, head_width=64)
    if kind == "resnet":
        vision = dict(image_size=64, layers=[2, 1, 1, 2], width=64, head_width=64)
    torch.manual_seed(0)
    model = open_clip.CLIP(embed_dim=16, quick_gelu=True, vision_cfg=vision, text_cfg=text)
    return randomise(model), vision["image_size"]


@pytest.mark.parametrize("kind", ["vit", "resnet"])
@pytest.mark.parametrize("form", ["archive", "tensors", "name"])
def test_a_file_as_openai_published_it_loads(kind, form, tmp_path):
    model, size = openai_model(kind)
    wrapper = OpenAi(model).eval()
    if form == "archive":
        warnings.simplefilter("ignore", DeprecationWarning)  # torch would have nobody trace
        traced = torch.jit.trace(wrapper, torch.randn(1, 3, size, size))
        torch.jit.save(traced, str(tmp_path / "anything.pt"))
    elif form == "tensors":
        torch.save(wrapper.state_dict(), tmp_path / "anything.pt")
    else:
        torch.save(model.state_dict(), tmp_path / "ViT-B-32.pt")
    write_tokenizer(tmp_path)
    same_vectors(tmp_path, model, size)
    loaded = load_bundle(tmp_path)
    assert loaded.tokenizer.config.clean == "open_clip_lower"
    assert loaded.transform.crop_rounding == "half_even"


def test_a_file_without_a_config_that_is_not_openais_says_what_is_missing(reference, folder):
    """Its activation cannot be told from its shapes."""
    for path in folder.glob("open_clip*"):
        path.unlink()
    torch.save({"state_dict": reference.model.state_dict()}, folder / "epoch_32.pt")
    with pytest.raises(WeightsError, match=r"expected open_clip_config\.json beside it"):
        load_bundle(folder)


@pytest.mark.parametrize("text_too", [False, True])
def test_positions_of_another_grid_are_interpolated_as_open_clip_does(
    reference, folder, text_too, caplog
):
    import open_clip

    text = dict(OPEN_CLIP_TEXT, **({"context_length": 20} if text_too else {}))
    config = dict(embed_dim=16, quick_gelu=True, vision_cfg=VIT | {"image_size": 48}, text_cfg=text)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    theirs = open_clip.CLIP(**config)
    tensors = load_file(folder / "open_clip_model.safetensors")
    open_clip.factory.resize_pos_embed(tensors, theirs)
    open_clip.factory.resize_text_pos_embed(tensors, theirs)
    theirs.load_state_dict(tensors)
    with caplog.at_level(logging.WARNING, "seesay.weights"):
        ours = load_bundle(folder).model
    expected = {"image.positions": theirs.visual.positional_embedding}
    expected["text.positions"] = theirs.positional_embedding
    for name, value in expected.items():
        torch.testing.assert_close(ours.state_dict()[name], value.data, rtol=0, atol=1e-6)
    assert "learnt on a grid of 4 x 4 and are interpolated to 6 x 6" in caplog.text
    assert ("learnt on 12 tokens and are interpolated to 20" in caplog.text) == text_too


def test_positions_that_fit_are_not_touched_and_nothing_is_logged(folder, caplog):
    tensors = load_file(folder / "open_clip_model.safetensors")
    ours = load_bundle(folder).model.state_dict()
    assert torch.equal(ours["image.positions"], tensors["visual.positional_embedding"])
    assert not caplog.records


def test_positions_of_a_resnet_are_not_interpolated(tmp_path):
    """Nor does open_clip."""
    torch.manual_seed(0)
    folder = open_clip_resnet(tmp_path / "resnet").folder
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["model_cfg"]["vision_cfg"]["image_size"] = 96
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match=r"image\.pool\.positions: published \(5, 256\)"):
        load_bundle(folder)
