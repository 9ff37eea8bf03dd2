import pytest
import torch
import torch.nn.functional as F

from seesay.errors import ConfigError
from seesay.objectives.matching import (
    MatchingConfig,
    Negatives,
    QueryContrastiveConfig,
    draw_negatives,
    matching_loss,
    query_contrastive_loss,
)
from seesay.objectives.positives import PairIds


def embeds(images, texts):
    generator = torch.Generator().manual_seed(0)
    sizes = (images, 3, 6), (texts, 6)
    rows = [torch.randn(*size, generator=generator, dtype=torch.float64) for size in sizes]
    return [F.normalize(row, dim=-1).requires_grad_() for row in rows]


SCALE = torch.tensor(2.0, dtype=torch.float64)


def cosines(images, texts):
    """The largest over the queries, one by one."""
    return torch.stack(
        [torch.stack([max(q @ text for q in queries) for text in texts]) for queries in images]
    )


def test_the_contrastive_loss_is_lavis_cross_entropy_with_smoothed_labels():
    images, texts = embeds(5, 5)
    logits, right = SCALE.exp() * cosines(images, texts), torch.arange(5)
    by_hand = [F.cross_entropy(one, right, label_smoothing=0.1) for one in (logits, logits.T)]
    loss = query_contrastive_loss(images, texts, SCALE)
    torch.testing.assert_close(loss, sum(by_hand) / 2)
    expected = torch.autograd.grad(sum(by_hand) / 2, [images, texts])
    torch.testing.assert_close(torch.autograd.grad(loss, [images, texts]), expected)


def test_several_texts_of_an_image_share_the_target():
    images, texts = embeds(3, 4)
    ids = PairIds(torch.tensor([7, 8, 9]), torch.tensor([7, 7, 8, 5]))  # 9 and 5 have no partner
    logits = SCALE.exp() * cosines(images, texts)
    of_images, of_texts = logits.log_softmax(1), logits.T.log_softmax(1)
    smooth = [0.2 * -logs.mean(1) for logs in (of_images, of_texts)]
    by_image = [
        -0.8 * (of_images[0, 0] + of_images[0, 1]) / 2 + smooth[0][0],
        -0.8 * of_images[1, 2] + smooth[0][1],
    ]
    by_text = [-0.8 * of_texts[t, i] + smooth[1][t] for t, i in ((0, 0), (1, 0), (2, 1))]
    expected = (sum(by_image) / 2 + sum(by_text) / 3) / 2
    torch.testing.assert_close(query_contrastive_loss(images, texts, SCALE, ids, 0.2), expected)


def test_a_single_pair_has_nothing_to_tell_apart():
    images, texts = embeds(1, 1)
    assert query_contrastive_loss(images, texts, SCALE) == 0


def test_negatives_are_drawn_by_similarity_and_never_among_those_that_match():
    draws = torch.rand(4000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    logits = torch.tensor([2.0, 9.0, 1.0, 0.0, -1.0, 9.0]).expand(4000, -1)
    allowed = torch.tensor([True, False, True, True, True, False]).expand(4000, -1)
    drawn = draw_negatives(logits, allowed, draws)
    shares = torch.bincount(drawn, minlength=6) / 4000
    expected = torch.zeros(6)
    expected[[0, 2, 3, 4]] = torch.tensor([2.0, 1.0, 0.0, -1.0]).softmax(0)
    torch.testing.assert_close(shares, expected, rtol=0, atol=0.03)
    ends = torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)
    assert draw_negatives(logits[:2], allowed[:2], ends).tolist() == [0, 4]


def test_where_all_match_nothing_is_drawn():
    nothing = draw_negatives(torch.ones(2, 1), torch.tensor([[False], [True]]), torch.zeros(2))
    assert nothing.tolist() == [-1, 0]


def test_the_matching_loss_is_the_mean_over_the_pairs_that_there_are():
    logits = torch.randn(3, 3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    logs = logits.log_softmax(-1)
    negatives = Negatives(torch.tensor([2, -1, 0]), torch.tensor([1, -1, -1]))
    there = [(0, 0, 1), (1, 0, 1), (2, 0, 1), (0, 1, 0), (2, 1, 0), (0, 2, 0)]
    expected = -sum(logs[place] for place in there) / len(there)
    torch.testing.assert_close(matching_loss(logits, negatives), expected)
    alone = Negatives(torch.tensor([-1]), torch.tensor([-1]))
    torch.testing.assert_close(matching_loss(logits[:1], alone), -logs[0, 0, 1])


@pytest.mark.parametrize("smoothing", [-0.1, 1.0])
def test_a_smoothing_that_leaves_no_target_is_refused(smoothing):
    with pytest.raises(ConfigError, match="leaves a target, expected at least 0"):
        QueryContrastiveConfig(source="squares", smoothing=smoothing)


def test_the_last_layer_is_trained_as_far_as_the_loss_depends_on_it():
    class Architecture:
        embed_dim = 8

        class qformer:
            depth = 3

    parts = MatchingConfig(source="squares").parts(Architecture)
    assert "qformer.blocks.1" in parts and "qformer.blocks.2.mlp" in parts
    assert not {"qformer", "qformer.blocks.2", "qformer.blocks.2.mlp_text"} & set(parts)
