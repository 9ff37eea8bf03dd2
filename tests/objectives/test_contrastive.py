from math import exp, log

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from objectives.contrastive_reference import DENSE, positive_pairs, relative_error
from seesay.errors import ConfigError
from seesay.objectives import tiled
from seesay.objectives.contrastive import (
    clamp_scale,
    sigmoid_bias,
    sigmoid_loss,
    softmax_loss,
)
from seesay.objectives.positives import PairIds

LOSSES = {"softmax": softmax_loss, "sigmoid": sigmoid_loss}
both_losses = pytest.mark.parametrize("loss", LOSSES)
sizes = st.integers(1, 9)
seeds = st.integers(0, 2**31)
few = settings(max_examples=25)


@pytest.fixture
def small_tiles(monkeypatch):
    """Tiles that do not divide the batch, so that every edge is met."""
    monkeypatch.setattr(tiled, "CPU_TILE", (4, 3))


def make_inputs(images, texts, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    rows = [
        F.normalize(torch.randn(count, 8, generator=generator, dtype=torch.float64), dim=-1)
        for count in (images, texts)
    ]
    inputs = [*rows, torch.tensor(2.5), torch.tensor(-1.5)]
    return [tensor.to(dtype).requires_grad_() for tensor in inputs]


def make_ids(images, texts, things, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return PairIds(
        torch.randint(0, things, (images,), generator=generator),
        torch.randint(0, things, (texts,), generator=generator),
    )


def gradients(loss, inputs, *arguments):
    value = loss(*inputs, *arguments)
    return value, torch.autograd.grad(value, inputs, allow_unused=True, materialize_grads=True)


@few
@given(st.sampled_from(list(LOSSES)), sizes, sizes, st.integers(1, 6), seeds)
def test_loss_and_gradient_match_the_full_matrix(loss, images, texts, things, seed):
    inputs, ids = make_inputs(images, texts, seed), make_ids(images, texts, things, seed)
    positive = positive_pairs(ids, images)
    value, found = gradients(LOSSES[loss], inputs, ids)
    expected_value, expected = gradients(DENSE[loss], inputs, positive)
    torch.testing.assert_close(value, expected_value)
    torch.testing.assert_close(found, expected)


@both_losses
def test_tiles_that_do_not_divide_the_batch_change_nothing(loss, small_tiles):
    for ids in (None, make_ids(11, 11, 4)):
        inputs = make_inputs(11, 11)
        value, found = gradients(LOSSES[loss], inputs, ids)
        expected_value, expected = gradients(DENSE[loss], inputs, positive_pairs(ids, 11))
        torch.testing.assert_close(value, expected_value)
        torch.testing.assert_close(found, expected)


@both_losses
def test_the_gradient_is_the_slope_of_the_loss(loss, small_tiles):
    ids = make_ids(5, 7, 3)

    def of_inputs(*inputs):
        return LOSSES[loss](*inputs, ids)

    torch.autograd.gradcheck(of_inputs, make_inputs(5, 7))


@both_losses
def test_the_gradient_follows_a_loss_that_is_scaled(loss):
    inputs = make_inputs(6, 6)
    plain = gradients(LOSSES[loss], inputs)[1]
    scaled = gradients(lambda *given: 3 * LOSSES[loss](*given), inputs)[1]
    torch.testing.assert_close(scaled, tuple(3 * gradient for gradient in plain))


@few
@given(sizes, seeds)
def test_order_of_the_pairs_does_not_matter(count, seed):
    images, texts, scale, bias = make_inputs(count, count, seed)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    for loss in LOSSES.values():
        shuffled = loss(images[order], texts[order], scale, bias)
        torch.testing.assert_close(shuffled, loss(images, texts, scale, bias))


@few
@given(sizes, sizes, seeds)
def test_swapping_images_and_texts_does_not_matter(image_count, text_count, seed):
    images, texts, scale, bias = make_inputs(image_count, text_count, seed)
    ids = make_ids(image_count, text_count, 3, seed)
    for loss in LOSSES.values():
        swapped = loss(texts, images, scale, bias, PairIds(ids.texts, ids.images))
        torch.testing.assert_close(swapped, loss(images, texts, scale, bias, ids))


@both_losses
def test_ids_of_their_own_are_the_same_as_no_ids(loss):
    inputs, ids = make_inputs(6, 6), torch.tensor([7, 3, 100, -5, 0, 2])
    torch.testing.assert_close(LOSSES[loss](*inputs, PairIds(ids, ids)), LOSSES[loss](*inputs))


@both_losses
def test_another_caption_of_the_same_photograph_is_pulled_and_not_pushed(loss):
    first, second, third = torch.eye(8, dtype=torch.float64)[:3]
    images, ids = (
        torch.stack([first, second]),
        PairIds(torch.zeros(2).long(), torch.zeros(2).long()),
    )
    texts = torch.stack([first, third]).requires_grad_()
    scale, bias = torch.tensor(1.0), torch.tensor(0.0)

    def slope_towards_the_first_image(ids):
        value = LOSSES[loss](images, texts, scale, bias, ids)
        return torch.autograd.grad(value, texts)[0][1] @ first

    assert slope_towards_the_first_image(None) > 0.1
    assert slope_towards_the_first_image(ids) < -0.1


def test_the_softmax_wants_all_five_captions_and_not_one():
    """The summed probability would be content with one caption; the mean of logarithms is not."""
    image = torch.tensor([[1.0, 0.0]])
    ids = PairIds(torch.tensor([0]), torch.zeros(5, dtype=torch.long))
    one_found = torch.tensor([[1.0, 0.0]] + [[0.0, 1.0]] * 4)
    scale = torch.tensor(log(20))
    all_alike = softmax_loss(image, image.expand(5, -1), scale, None, ids)
    assert softmax_loss(image, one_found, scale, None, ids) > all_alike + 1


def test_sigmoid_loss_against_the_definition():
    images, texts, scale, bias = make_inputs(2, 2)
    logits = scale.exp() * images @ texts.T + bias
    by_hand = 0.0
    for i in range(2):
        for j in range(2):
            z = 1 if i == j else -1
            by_hand -= log(1 / (1 + exp(-z * logits[i, j].item())))
    assert sigmoid_loss(images, texts, scale, bias).item() == pytest.approx(by_hand / 2)


@both_losses
@pytest.mark.parametrize(("images", "texts"), [(0, 0), (0, 3), (3, 0)])
def test_the_loss_of_an_empty_batch_is_zero_and_so_are_its_gradients(loss, images, texts):
    inputs = make_inputs(images, texts)
    ids = PairIds(torch.arange(images), torch.arange(texts))
    value, found = gradients(LOSSES[loss], inputs, ids)
    assert value == 0
    assert all(torch.equal(gradient, torch.zeros_like(gradient)) for gradient in found)


@both_losses
def test_a_batch_without_any_match_gives_a_finite_loss(loss):
    ids = PairIds(torch.arange(3), torch.arange(10, 14))
    value, found = gradients(LOSSES[loss], make_inputs(3, 4), ids)
    assert value.isfinite() and all(gradient.isfinite().all() for gradient in found)


@both_losses
@pytest.mark.parametrize("closeness", [0.0, 0.5, 0.99])
def test_float32_stays_exact_when_a_model_is_sure_of_its_answers(loss, closeness):
    """At scale 100, with logits from -100 to 100 and probabilities within 1e-40 of 0 or 1."""
    images, texts, _, _ = make_inputs(64, 64)
    images, texts = images.detach(), texts.detach()
    texts = F.normalize(closeness * images + (1 - closeness) * texts, dim=-1)
    exact = [images, texts, torch.tensor(log(100)).double(), torch.tensor(-10.0).double()]
    exact = [tensor.float().double().requires_grad_() for tensor in exact]
    rounded = [tensor.detach().float().requires_grad_() for tensor in exact]
    positive = positive_pairs(None, 64)
    expected_value, expected = gradients(DENSE[loss], exact, positive)
    value, found = gradients(LOSSES[loss], rounded)
    _, dense = gradients(DENSE[loss], rounded, positive)
    assert abs(value.item() - expected_value.item()) <= 1e-5 * max(expected_value.item(), 1)
    for ours, theirs, reference in zip(found, dense, expected, strict=True):
        # float32 cannot do better than its own rounding of the logits, which the matrix shows
        assert relative_error(ours, reference) <= 2 * relative_error(theirs, reference) + 1e-5


@both_losses
def test_memory_kept_for_the_backward_pass_is_linear(loss):
    def kept_bytes(count):
        total = {}
        inputs = make_inputs(count, count)
        own = {tensor.data_ptr() for tensor in inputs}

        def keep(tensor):
            if tensor.data_ptr() not in own:
                total[tensor.data_ptr()] = tensor.nbytes
            return tensor

        with saved_tensors_hooks(keep, lambda tensor: tensor):
            LOSSES[loss](*inputs)
        return sum(total.values())

    assert kept_bytes(2000) <= 2 * kept_bytes(1000) <= 1000 * 4 * 8 * 2


class LargestTensor(TorchDispatchMode):
    """Watches every operation, in the forward and the backward pass."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


@both_losses
def test_no_matrix_of_all_pairs_is_ever_made(loss, monkeypatch):
    monkeypatch.setattr(tiled, "CPU_TILE", (40, 50))
    inputs, ids = make_inputs(500, 500), make_ids(500, 500, 40)
    with LargestTensor() as seen:
        LOSSES[loss](*inputs, ids).backward()
    assert seen.elements <= 500 * 8  # the embeddings themselves; all pairs would be 250,000


@both_losses
def test_autocast_does_not_round_the_logits(loss):
    inputs = make_inputs(16, 16, dtype=torch.float32)
    expected = gradients(LOSSES[loss], inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = gradients(LOSSES[loss], inputs)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@both_losses
def test_half_precision_embeddings_are_computed_in_float32(loss):
    halves = [tensor.detach().bfloat16().requires_grad_() for tensor in make_inputs(16, 16)[:2]]
    scale, bias = make_inputs(1, 1, dtype=torch.float32)[2:]
    value, found = gradients(LOSSES[loss], [*halves, scale, bias])
    widened = [tensor.detach().float().requires_grad_() for tensor in halves]
    expected_value, expected = gradients(LOSSES[loss], [*widened, scale, bias])
    assert value == expected_value and value.dtype == torch.float32
    assert [gradient.dtype for gradient in found] == [torch.bfloat16] * 2 + [torch.float32] * 2
    torch.testing.assert_close(found[0], expected[0].bfloat16())


@both_losses
def test_the_loss_needs_no_gradients(loss):
    with torch.no_grad():
        value = LOSSES[loss](*make_inputs(4, 4))
    assert not value.requires_grad


def test_the_bias_that_softmax_ignores_gets_a_zero_gradient():
    inputs = make_inputs(4, 4)
    softmax_loss(*inputs).backward()
    assert inputs[3].grad == 0


def test_numbers_of_rows_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match=r"3 images and 4 texts.*pass ids"):
        softmax_loss(*make_inputs(3, 4))
    with pytest.raises(ConfigError, match=r"ids for 2 images and 4 texts.*one id to each row"):
        softmax_loss(*make_inputs(3, 4), make_ids(2, 4, 2))


def test_the_scale_is_clamped():
    log_scale = torch.nn.Parameter(torch.tensor(7.0))
    clamp_scale(log_scale)
    assert log_scale.exp().item() == pytest.approx(100)
    log_scale.data.fill_(-1)
    clamp_scale(log_scale)
    assert log_scale.exp().item() == pytest.approx(1)


@pytest.mark.parametrize("batch", [2, 512, 32768])
def test_the_sigmoid_bias_expects_one_match_in_the_batch(batch):
    assert torch.tensor(sigmoid_bias(batch)).sigmoid().item() * batch == pytest.approx(1, rel=1e-3)


def test_the_sigmoid_bias_of_a_single_pair_is_finite():
    assert sigmoid_bias(1) == 0


@pytest.mark.gpu
@both_losses
def test_a_gpu_gives_the_same_loss_and_gradient(loss, monkeypatch):
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    monkeypatch.setattr(tiled, "GPU_TILE", (16, 24))
    inputs, ids = make_inputs(50, 70), make_ids(50, 70, 9)
    expected = gradients(LOSSES[loss], inputs, ids)
    there = [tensor.detach().float().cuda().requires_grad_() for tensor in inputs]
    found = gradients(LOSSES[loss], there, PairIds(ids.images.cuda(), ids.texts.cuda()))
    torch.testing.assert_close(
        found, expected, rtol=1e-4, atol=1e-6, check_device=False, check_dtype=False
    )
