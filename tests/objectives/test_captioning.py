import torch

from seesay.objectives.captioning import caption_loss, caption_losses

PAD = 0


def make_batch():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 5, 9, generator=generator, dtype=torch.float64).requires_grad_()
    following = torch.randint(1, 9, (3, 5), generator=generator)
    following[0, 3:], following[2, 1:] = PAD, PAD
    return logits, following


def test_each_position_is_asked_for_the_next_real_token():
    logits, following = make_batch()
    losses = [
        [-logits[row, place].log_softmax(0)[token] for place, token in enumerate(ids) if token]
        for row, ids in enumerate(following)
    ]
    of_texts = caption_losses(logits, following, PAD)
    torch.testing.assert_close(of_texts, torch.stack([torch.stack(row).sum() for row in losses]))
    torch.testing.assert_close(
        caption_loss(of_texts, 9), torch.stack([loss for row in losses for loss in row]).mean()
    )


def test_padding_gets_no_gradient():
    logits, following = make_batch()
    caption_losses(logits, following, PAD).sum().backward()
    assert (logits.grad.abs().sum(2) > 0).equal(following != PAD)


def test_a_batch_of_nothing_but_padding_gives_zero():
    logits, following = make_batch()
    loss = caption_loss(caption_losses(logits, torch.full_like(following, PAD), PAD), 0)
    loss.backward()
    assert loss == 0 and logits.grad.abs().sum() == 0


def test_bfloat16_logits_are_summed_in_float32():
    logits, following = make_batch()
    rounded = logits.detach().bfloat16()
    torch.testing.assert_close(
        caption_losses(rounded, following, PAD), caption_losses(rounded.float(), following, PAD)
    )
