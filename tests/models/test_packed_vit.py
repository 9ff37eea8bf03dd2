"""Images of any size in one sequence: each as if it had come alone, and without a mask."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from seesay.errors import ConfigError
from seesay.models.packed_vit import (
    PackedVit,
    PackedVitConfig,
    layout_of,
    learned,
    places_of,
    segments_of,
)

TINY = PackedVitConfig(patch_size=2, dim=16, depth=3, heads=2, hidden=32)
VARIANTS = {
    "frames": TINY,
    "windows": replace(TINY, norm="rms", gated=True, window=4, full_layers=(1,)),
    "positions": replace(TINY, patch_bias=True, position_grid=5, deepstack=(0, 1)),
}
GRIDS = torch.tensor([[1, 4, 6], [3, 4, 4], [1, 10, 14], [1, 4, 6], [1, 2, 2]])


@pytest.fixture(params=VARIANTS)
def vit(request) -> PackedVit:
    torch.manual_seed(0)
    vit = PackedVit(VARIANTS[request.param]).eval()
    with torch.no_grad():
        for parameter in vit.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return vit


def patches_of(grids: torch.Tensor) -> torch.Tensor:
    count = int(grids.prod(dim=1).sum())
    return torch.randn(count, TINY.patch_dim, generator=torch.Generator().manual_seed(1))


def close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_images_of_several_sizes_give_what_each_gives_alone(vit):
    patches, counts = patches_of(GRIDS), GRIDS.prod(dim=1).tolist()
    together = vit.features(patches, GRIDS)
    start = 0
    for grid, count in zip(GRIDS, counts, strict=True):
        own = slice(start, start + count)
        alone = vit.features(patches[own], grid[None])
        close(together.patches[own], alone.patches)
        for mine, all_of_them in zip(alone.deepstack, together.deepstack, strict=True):
            close(all_of_them[own], mine)
        start += count


@torch.no_grad()
def test_frames_of_a_video_do_not_see_each_other(vit):
    grid = torch.tensor([[3, 4, 4]])
    patches = patches_of(grid)
    whole = vit(patches, grid)
    frames = torch.tensor([[1, 4, 4]] * 3)
    close(vit(patches, frames), whole)
    changed = patches.clone()
    changed[16:32] += 1
    again = vit(changed, grid)
    close(again[:16], whole[:16])
    close(again[32:], whole[32:])
    assert not torch.allclose(again[16:32], whole[16:32], atol=0.01)


@torch.no_grad()
def test_attention_never_sees_more_than_a_frame_or_a_window(vit, monkeypatch):
    seen, attention = [], F.scaled_dot_product_attention

    def watched(q, k, v, attn_mask=None):
        assert attn_mask is None
        seen.append(tuple(q.shape[::2]))  # segments and their length
        return attention(q, k, v)

    monkeypatch.setattr(F, "scaled_dot_product_attention", watched)
    vit(patches_of(GRIDS), GRIDS)
    frames = [(1, 4), (3, 16), (2, 24), (1, 140)]
    windows = [(2, 4), (7, 8), (11, 16)]
    full = [number in vit.config.full_layers or not vit.config.window for number in range(3)]
    expected = [group for whole in full for group in (frames if whole else windows)]
    if vit.config.window:
        assert sum(count * length for count, length in windows) == GRIDS.prod(dim=1).sum()
        assert max(length for _, length in windows) == vit.config.window**2
    assert seen == expected


@torch.no_grad()
def test_windows_are_seen_only_by_themselves():
    config = replace(VARIANTS["windows"], full_layers=())
    vit, grid = PackedVit(config).eval(), torch.tensor([[1, 6, 10]])
    places = places_of(grid, 2)
    patches = patches_of(grid)
    changed = patches.clone()
    window = (places.row // 4 == 1) & (places.column // 4 == 2)  # 2 x 2 patches in the corner
    assert window.sum() == 4
    changed[window] += 1
    differs = (vit(changed, grid) - vit(patches, grid)).abs().amax(dim=1) > 1e-6
    assert torch.equal(differs, window)


def test_places_run_square_by_square():
    places = places_of(torch.tensor([[2, 2, 4], [1, 2, 2]]), 2)
    assert places.frame.tolist() == [0] * 8 + [1] * 8 + [2] * 4
    assert places.row.tolist() == [0, 0, 1, 1] * 5
    assert places.column.tolist() == ([0, 1, 0, 1, 2, 3, 2, 3]) * 2 + [0, 1, 0, 1]


def test_segments_of_one_length_come_together():
    segments = segments_of(torch.tensor([0, 0, 0, 1, 2, 2, 2, 3]))
    assert segments.groups == ((2, 1), (2, 3))
    assert segments.order.tolist() == [3, 7, 0, 1, 2, 4, 5, 6]
    assert segments.order[segments.back].tolist() == list(range(8))
    assert segments_of(torch.tensor([0, 1, 1, 2, 2])).order is None


def test_equal_images_without_windows_stay_where_they_are():
    layout = layout_of(places_of(torch.tensor([[1, 4, 4]] * 3), 2), None)
    assert layout.order is None
    assert layout.windows.groups == ((3, 16),)


@torch.no_grad()
def test_learned_positions_are_resized_corner_upon_corner():
    table = torch.randn(25, 8)
    grids = torch.tensor([[1, 6, 2], [1, 5, 5]])
    got = learned(table, places_of(grids, 1)).split([12, 25])
    for part, grid in zip(got, grids, strict=True):
        square = table.T.reshape(1, 8, 5, 5)
        size = tuple(grid[1:].tolist())
        whole = F.interpolate(square, size, mode="bilinear", align_corners=True)
        close(part, whole[0].flatten(1).T)


@pytest.mark.parametrize(
    ("grids", "message"),
    [
        ([[1, 4, 4], [1, 4, 4]], "grids cover 32 patches, but 16 patches"),
        ([[1, 1, 16]], "multiples of 2"),
        ([[-1, -4, 4]], "at least one frame"),
    ],
)
def test_grids_that_do_not_fit_are_refused(grids, message):
    with pytest.raises(ConfigError, match=message) as error:
        PackedVit(TINY)(patches_of(torch.tensor([[1, 4, 4]])), torch.tensor(grids))
    assert "网格" in error.value.text.zh


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window": 3}, "window=3 and merge=2"),
        ({"full_layers": (3,)}, "full_layers=3 .* 0 to 2"),
        ({"deepstack": (-1,)}, "deepstack=-1"),
        ({"heads": 8}, "dim=16 and heads=8"),
        ({"position_grid": 0}, "position_grid=0"),
        ({"merge": 0}, "merge=0"),
    ],
)
def test_configs_that_cannot_be_built_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        replace(TINY, **changes)


def test_gradients_reach_every_parameter(vit):
    features = vit.features(patches_of(GRIDS), GRIDS)
    sum(part.square().mean() for part in (features.patches, *features.deepstack)).backward()
    for name, parameter in vit.named_parameters():
        # A key's bias adds the same to every score, so that its gradient is zero but for rounding.
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
