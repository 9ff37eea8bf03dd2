import subprocess
import sys

import numpy as np
import pytest
import torch

import references
import seesay
from seesay.errors import ConfigError, UnknownModelError
from seesay.inference.embedder import Embedder, load
from tiny_checkpoint import write_checkpoint


def test_importing_the_package_does_not_import_torch_but_load_is_there():
    code = (
        "import sys, seesay; assert 'load' in seesay.__all__; assert 'torch' not in sys.modules; "
        "seesay.load; assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": "src"}).returncode == 0


def test_loading_does_not_import_the_compiler_which_takes_longer_than_reading_a_small_model(
    tmp_path,
):
    folder = write_checkpoint(tmp_path)
    code = (
        f"import sys, seesay; seesay.load({str(folder)!r}); "
        "sys.exit(' '.join({'torch._dynamo', 'sympy'} & set(sys.modules)) or 0)"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert child.returncode == 0, child.stderr


def test_the_package_has_nothing_else_by_accident():
    with pytest.raises(AttributeError, match="laod"):
        seesay.laod  # noqa: B018


@pytest.mark.parametrize("family", ["openai clip", "siglip", "chinese-clip", "open_clip vit"])
@torch.inference_mode()
def test_a_folder_becomes_an_embedder_with_the_published_vectors(family, tmp_path):
    torch.manual_seed(0)
    reference = references.FAMILIES[family](tmp_path)
    embedder = seesay.load(str(tmp_path), device="cpu", dtype="float32")
    assert isinstance(embedder, Embedder)
    assert embedder.name == str(tmp_path)
    side = embedder.transform.config.size
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    pixels = (torch.from_numpy(image) / 255).permute(2, 0, 1)
    mean, std = (
        torch.tensor(embedder.transform.config.mean),
        torch.tensor(embedder.transform.config.std),
    )
    normalised = (pixels - mean[:, None, None]) / std[:, None, None]
    expected = torch.nn.functional.normalize(reference.embed_images(normalised[None])[0], dim=0)
    np.testing.assert_allclose(
        embedder.embed_images([image]).vectors[0], expected.numpy(), rtol=0, atol=1e-5
    )


def test_wrong_settings_are_told_before_the_model_is_looked_for():
    with pytest.raises(ConfigError, match="device='gpu'"):
        load("nobody/nothing", device="gpu")
    with pytest.raises(ConfigError, match="dtype='int4'"):
        load("nobody/nothing", device="cpu", dtype="int4")


def test_an_unknown_name_is_refused_with_the_nearest_one():
    with pytest.raises(UnknownModelError, match="Did you mean"):
        load("chinese-clip-b61")
