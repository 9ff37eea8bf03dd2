"""What a frozen tower returned is found again by later runs, whatever became of earlier ones."""

import pytest
import torch
from torch import nn

from seesay.errors import DataError
from seesay.models.mobilenet import MobileNet, MobileNetConfig
from seesay.weights.feature_files import FeatureFiles, digest_of
from seesay.weights.step import reuse_features


def small_tower() -> MobileNet:
    torch.manual_seed(0)
    return MobileNet(MobileNetConfig(stages=((1, 8, 1, 2),), stem=8, dim=16)).requires_grad_(False)


def counted(tower: MobileNet) -> list[int]:
    """Notes how many images the tower itself computes at each call."""
    seen: list[int] = []
    compute = tower.features
    tower.features = lambda images: seen.append(len(images)) or compute(images)
    return seen


def test_a_later_run_computes_nothing_that_an_earlier_one_did(tmp_path):
    images = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    expected = small_tower().features(images)
    for computed in ([3, 2], []):
        tower = small_tower()
        seen = counted(tower)
        reuse_features(tower, tmp_path)
        tower.features(images[:3])
        torch.testing.assert_close(tower.features(images), expected, rtol=2e-3, atol=2e-3)
        assert seen == computed


@pytest.mark.parametrize("lost", [1, 7, 40, 200])
def test_a_record_that_was_cut_off_is_left_out(tmp_path, lost):
    kept = FeatureFiles(tmp_path, "tower")
    rows = {bytes([number]) * 16: torch.full((4, 5), float(number)) for number in range(6)}
    kept.update(rows)
    [file] = tmp_path.iterdir()
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size - lost)
    again = FeatureFiles(tmp_path, "tower")
    assert len(again) == 6 - -(-lost // (16 + 4 * 5 * 4))
    assert all(torch.equal(again[key], rows[key]) for key in again)
    again[b"x" * 16] = torch.ones(4, 5)  # in a file of its own
    third = FeatureFiles(tmp_path, "tower")
    assert set(third) == set(again)
    assert torch.equal(third[b"x" * 16], torch.ones(4, 5))


def test_a_file_without_its_first_line_is_left_out(tmp_path):
    (tmp_path / "tower-0.features").write_bytes(b'{"shape": [4')
    kept = FeatureFiles(tmp_path, "tower")
    assert not kept
    kept[b"k" * 16] = torch.zeros(3)
    assert len(FeatureFiles(tmp_path, "tower")) == 1


def test_towers_share_nothing(tmp_path):
    one, other = small_tower(), small_tower()
    assert digest_of(one) == digest_of(other)
    with torch.no_grad():
        other.head.weight[0, 0] += 1e-3
    assert digest_of(one) != digest_of(other)
    assert digest_of(nn.Linear(2, 2)) != digest_of(one)


def test_a_folder_that_cannot_be_used_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot hold features .* name another one"):
        FeatureFiles(tmp_path / "file", "tower")
