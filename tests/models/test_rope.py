import torch
from hypothesis import given
from hypothesis import strategies as st

from seesay.models.layers import grid_rope, rotate

CPU = torch.device("cpu")


@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 2), st.integers(0, 2))
def test_attention_sees_only_the_distance_between_two_patches(row, column, down, right):
    """Moving both patches by the same step leaves the product of query and key as it was."""
    table = grid_rope(8, 16, reference=8, skip=0, device=CPU)
    query, key = torch.randn(2, 1, 1, 1, 16, generator=torch.Generator().manual_seed(1))

    def product(moved_down: int, moved_right: int) -> torch.Tensor:
        at = (row + moved_down) * 8 + column + moved_right
        q = rotate(query.expand(1, 1, 64, 16), table)[0, 0, at]
        k = rotate(key.expand(1, 1, 64, 16), table)[0, 0, (moved_down) * 8 + moved_right]
        return q @ k

    torch.testing.assert_close(product(down, right), product(0, 0), atol=1e-4, rtol=0)


def test_the_class_token_is_not_turned():
    table = grid_rope(2, 8, reference=2, skip=1, device=CPU)
    x = torch.randn(1, 1, 5, 8)
    turned = rotate(x, table)
    torch.testing.assert_close(turned[:, :, 0], x[:, :, 0])
    torch.testing.assert_close(turned[:, :, 1], x[:, :, 1])  # row 0, column 0: angle 0
    assert not torch.allclose(turned[:, :, 2:], x[:, :, 2:])


def test_a_table_made_under_inference_mode_serves_training():
    with torch.inference_mode():
        grid_rope(3, 8, reference=3, skip=0, device=CPU)
    x = torch.randn(1, 1, 9, 8, requires_grad=True)
    rotate(x, grid_rope(3, 8, reference=3, skip=0, device=CPU)).sum().backward()
    assert x.grad is not None
