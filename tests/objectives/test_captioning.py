import pytest
import torch

from seesay.objectives.captioning import caption_loss

PAD = 0


def make_batch():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 6, 9, generator=generator, dtype=torch.float64).requires_grad_()
    ids = torch.randint(1, 9, (3, 6), generator=generator)
    ids[0, 4:], ids[2, 2:] = PAD, PAD
    return logits, ids


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_each_position_is_asked_for_the_next_real_token(smoothing):
    logits, ids = make_batch()
    losses = []
    for row in range(3):
        for position in range(5):
            token = ids[row, position + 1]
            if token != PAD:
                logs = logits[row, position].log_softmax(0)
                losses.append(-(1 - smoothing) * logs[token] - smoothing * logs.mean())
    torch.testing.assert_close(
        caption_loss(logits, ids, PAD, smoothing), torch.stack(losses).mean()
    )


def test_padding_and_the_last_position_get_no_gradient():
    logits, ids = make_batch()
    caption_loss(logits, ids, PAD).backward()
    touched = logits.grad.abs().sum(2) > 0
    asked = torch.zeros(3, 6, dtype=torch.bool)
    asked[:, :5] = ids[:, 1:] != PAD
    assert touched.equal(asked)


def test_a_batch_of_nothing_but_padding_gives_zero():
    logits, _ = make_batch()
    loss = caption_loss(logits, torch.full((3, 6), PAD), PAD)
    loss.backward()
    assert loss == 0 and logits.grad.abs().sum() == 0


def test_bfloat16_logits_are_summed_in_float32():
    logits, ids = make_batch()
    rounded = logits.detach().bfloat16()
    torch.testing.assert_close(
        caption_loss(rounded, ids, PAD), caption_loss(rounded.float(), ids, PAD)
    )
