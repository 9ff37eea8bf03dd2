import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from seesay.objectives.contrastive import sigmoid_loss, softmax_loss

sizes = st.integers(1, 12)
seeds = st.integers(0, 2**31)


def embeds(n, seed):
    generator = torch.Generator().manual_seed(seed)
    return [F.normalize(torch.randn(n, 8, generator=generator), dim=-1) for _ in range(2)]


@given(sizes, seeds)
def test_order_of_the_pairs_does_not_matter(n, seed):
    images, texts = embeds(n, seed)
    order, scale = torch.randperm(n), torch.tensor(2.0)
    for loss in (softmax_loss, sigmoid_loss):
        torch.testing.assert_close(
            loss(images[order], texts[order], scale), loss(images, texts, scale)
        )


@given(sizes, seeds)
def test_swapping_images_and_texts_does_not_matter(n, seed):
    images, texts = embeds(n, seed)
    for loss in (softmax_loss, sigmoid_loss):
        scale = torch.tensor(2.0)
        torch.testing.assert_close(loss(texts, images, scale), loss(images, texts, scale))
