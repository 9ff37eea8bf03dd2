import torch
import torch.nn.functional as F

from seesay.objectives import distillation
from seesay.objectives.distillation import (
    embedding_distillation,
    relation_distillation,
    soft_label_distillation,
)


def units(rows, embed=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    draw = torch.randn(rows, embed, generator=generator, dtype=torch.float64)
    return F.normalize(draw, dim=-1).requires_grad_()


def kl(teacher, student):
    """By the definition, a mean over rows."""
    return (teacher * (teacher.log() - student.log())).sum(1).mean()


def test_embedding_distillation_measures_the_distance_to_the_teacher():
    student, teacher = units(5), units(5, seed=1)
    cosines = torch.stack([s @ t for s, t in zip(student, teacher, strict=True)])
    torch.testing.assert_close(embedding_distillation(student, teacher), 1 - cosines.mean())


def test_soft_labels_are_learned_by_their_divergence():
    images, classes, scale = units(4), units(10, seed=1), torch.tensor(2.0, requires_grad=True)
    teacher_logits = 3 * torch.randn(4, 10, dtype=torch.float64)
    student = (scale.exp() * images @ classes.T).softmax(1)
    expected = kl(teacher_logits.softmax(1), student)
    found = soft_label_distillation(images, classes, scale, teacher_logits)
    torch.testing.assert_close(found, expected)


def test_log_probabilities_serve_as_the_teachers_logits():
    images, classes, scale = units(4), units(10, seed=1), torch.tensor(2.0)
    logits = torch.randn(4, 10, dtype=torch.float64)
    torch.testing.assert_close(
        soft_label_distillation(images, classes, scale, logits.log_softmax(1)),
        soft_label_distillation(images, classes, scale, logits),
    )


def test_a_class_the_teacher_rules_out_does_no_harm():
    images, classes = units(2), units(3, seed=1)
    sure = torch.tensor([[0.0, -torch.inf, -torch.inf]] * 2)
    loss = soft_label_distillation(images, classes, torch.tensor(2.0), sure)
    loss.backward()
    assert loss.isfinite() and images.grad.isfinite().all()


def relation_inputs(images=5, texts=7):
    return (
        units(images),
        units(texts, seed=1),
        torch.tensor(2.0, dtype=torch.float64, requires_grad=True),
        units(images, 6, seed=2),
        units(texts, 6, seed=3),
        torch.tensor(3.0, dtype=torch.float64, requires_grad=True),
    )


def dense_relations(images, texts, scale, teacher_images, teacher_texts, teacher_scale):
    ours = scale.exp() * images @ texts.T
    theirs = (teacher_scale.exp() * teacher_images @ teacher_texts.T).detach()
    rows = kl(theirs.softmax(1), ours.softmax(1))
    return (rows + kl(theirs.T.softmax(1), ours.T.softmax(1))) / 2


def test_relations_are_learned_in_parts_as_on_the_full_matrix(monkeypatch):
    monkeypatch.setattr(distillation, "ROWS_AT_ONCE", 3)
    inputs = relation_inputs()
    found, expected = relation_distillation(*inputs), dense_relations(*inputs)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        torch.autograd.grad(found, inputs[:3]), torch.autograd.grad(expected, inputs[:3])
    )


def test_teachers_get_no_gradient():
    inputs = relation_inputs()
    relation_distillation(*inputs).backward()
    assert [tensor.grad is None for tensor in inputs] == [False] * 3 + [True] * 3
    student, teacher = units(5), units(5, seed=1)
    embedding_distillation(student, teacher).backward()
    assert teacher.grad is None


def test_relations_keep_memory_linear_in_the_batch():
    def kept_bytes(count):
        kept = {}
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: kept.setdefault(tensor.data_ptr(), tensor), lambda tensor: tensor
        ):
            relation_distillation(*relation_inputs(count, count))
        return sum(tensor.nbytes for tensor in kept.values())

    assert kept_bytes(2048) <= 2.1 * kept_bytes(1024)


def test_a_student_that_equals_its_teacher_has_nothing_to_learn():
    images, texts, scale = relation_inputs()[:3]
    loss = relation_distillation(images, texts, scale, images, texts, scale)
    slopes = torch.autograd.grad(loss, (images, texts, scale))
    torch.testing.assert_close(loss, torch.zeros_like(loss))
    torch.testing.assert_close(slopes, tuple(torch.zeros_like(slope) for slope in slopes))
