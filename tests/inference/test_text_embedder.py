"""The numpy text tower gives the torch model's vectors, and loads no torch."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import seesay
from seesay.data.tokenizer import Tokenizer
from seesay.errors import WeightsError
from seesay.inference.embedder import load
from seesay.inference.numpy_layers import ACTIVATIONS
from seesay.inference.text_embedder import load_texts
from seesay.models.bert import BertConfig
from seesay.models.dual_encoder import DualEncoder
from seesay.weights.bundle import load_bundle
from seesay.weights.saving import save_bundle
from tiny_checkpoint import write_checkpoint

TEXTS = ["a dog in the snow", "", "雪地里的狗", "the quick brown fox " * 20, "\u200ba", "🐕"]


def randomise(model: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 3)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("depth", [0, 2])
def test_vectors_equal_the_torch_models(tmp_path, activation, depth):
    mini = load_bundle(Path(seesay.__file__).parent / "weights" / "seesay-mini")
    text = replace(
        mini.model.config.text, dim=20, depth=depth, heads=5, hidden=24, activation=activation
    )
    model = DualEncoder(replace(mini.model.config, text=text, embed_dim=16)).eval()
    randomise(model)
    save_bundle(tmp_path / "m", replace(mini, model=model))
    ours, expected = load_texts(str(tmp_path / "m")), load(tmp_path / "m", dtype="float32")
    found, wanted = ours.embed_texts(TEXTS), expected.embed_texts(TEXTS)
    np.testing.assert_allclose(found.vectors, wanted.vectors, rtol=0, atol=1e-5)
    assert (found.windows, found.rows) == (wanted.windows, wanted.rows)
    assert (ours.name, ours.dim) == (str(tmp_path / "m"), expected.dim)
    assert ours.transform_config == expected.transform_config
    assert ours.fingerprint() == expected.fingerprint()
    assert ours.fingerprint() == load(tmp_path / "m", dtype="bfloat16").fingerprint()
    picture = np.zeros((9, 9, 3), np.uint8)
    np.testing.assert_array_equal(
        ours.embed_images([picture]), load(tmp_path / "m").embed_images([picture])
    )


@pytest.mark.parametrize("projected", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.int8])
def test_vectors_of_bert_equal_the_torch_models(tmp_path, projected, dtype):
    mini = load_bundle(Path(seesay.__file__).parent / "weights" / "seesay-mini")
    text = BertConfig(
        vocab_size=mini.config.text.vocab_size,
        context=30,
        dim=32,
        depth=3,
        heads=4,
        hidden=64,
        pool="mean",
        first_position=2,
        pad_id=mini.config.text.pad_id,
    )
    image = mini.config.image if projected else None
    config = replace(
        mini.config, image=image, text=text, embed_dim=32, project_text=projected, text_bias=True
    )
    model = DualEncoder(config).eval()
    randomise(model)
    prefixes = {"query_prefix": "query:", "passage_prefix": "a long prefix:"}
    tokenizer = Tokenizer(
        mini.tokenizer._backend, replace(mini.tokenizer.config, context=30, **prefixes)
    )
    save_bundle(tmp_path / "m", replace(mini, model=model, tokenizer=tokenizer), dtype)
    ours, expected = load_texts(str(tmp_path / "m")), load(tmp_path / "m", dtype="float32")
    assert ours.has_images == expected.has_images == projected
    for role in ("query", "passage"):
        found, wanted = (one.embed_texts(TEXTS, role=role) for one in (ours, expected))
        np.testing.assert_allclose(found.vectors, wanted.vectors, rtol=0, atol=1e-5)
        assert found.windows == wanted.windows
    assert ours.fingerprint() == expected.fingerprint()


def test_any_thread_may_ask():
    ours = load_texts("seesay-mini")
    wanted = ours.embed_texts(TEXTS).vectors
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: ours.embed_texts(TEXTS).vectors, range(16)):
            np.testing.assert_array_equal(found, wanted)


def test_the_built_in_model_gives_the_same_vectors_to_1e_5():
    wanted = load("seesay-mini", dtype="float32").embed_texts(TEXTS).vectors
    np.testing.assert_allclose(
        load_texts("seesay-mini").embed_texts(TEXTS).vectors, wanted, rtol=0, atol=1e-5
    )


def test_a_model_with_another_text_tower_is_left_to_torch(tmp_path):
    assert load_texts(str(write_checkpoint(tmp_path))) is None


@pytest.mark.parametrize("damage", ["{}", '{"format": 1, "model": []}', "[1]", "?", "weights"])
def test_what_is_not_whole_is_left_to_load_which_explains_it(tmp_path, damage):
    built_in = Path(seesay.__file__).parent / "weights" / "seesay-mini"
    for name in ("seesay.json", "tokenizer.json", "model.safetensors"):
        shutil.copy(built_in / name, tmp_path)
    broken = "model.safetensors" if damage == "weights" else "seesay.json"
    (tmp_path / broken).write_text(damage)
    assert load_texts(str(tmp_path)) is None
    with pytest.raises(WeightsError):
        load(tmp_path)


def test_a_model_saved_anew_in_its_place_does_not_mix_with_the_loaded_one(tmp_path):
    mini = load_bundle(Path(seesay.__file__).parent / "weights" / "seesay-mini")
    for name in ("used", "other"):
        save_bundle(tmp_path / name, mini, torch.int8)
        randomise(mini.model)
    embedder = load_texts(str(tmp_path / "used"))
    before = embedder.embed_texts(["a dog"]).vectors
    os.replace(tmp_path / "other" / "model.safetensors", tmp_path / "used" / "model.safetensors")
    np.testing.assert_array_equal(embedder.embed_texts(["a dog"]).vectors, before)
    assert not np.allclose(
        load_texts(str(tmp_path / "used")).embed_texts(["a dog"]).vectors, before
    )


def test_a_file_cut_while_in_use_is_told(tmp_path):
    mini = load_bundle(Path(seesay.__file__).parent / "weights" / "seesay-mini")
    save_bundle(tmp_path / "m", mini, torch.int8)
    embedder = load_texts(str(tmp_path / "m"))
    os.truncate(tmp_path / "m" / "model.safetensors", 100_000)
    with pytest.raises(WeightsError, match="cut while it was in use"):
        embedder.embed_texts(["a dog"])


def test_one_text_in_place_of_several_is_one():
    assert load_texts("seesay-mini").embed_texts("a dog").vectors.shape == (1, 384)
    assert load_texts("seesay-mini").embed_texts([]).vectors.shape == (0, 384)


def test_torch_is_never_loaded():
    code = (
        "import sys; from seesay.inference.text_embedder import load_texts; "
        "load_texts('seesay-mini').embed_texts(['a dog']); sys.exit('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], env={**os.environ}, check=False)
    assert run.returncode == 0
