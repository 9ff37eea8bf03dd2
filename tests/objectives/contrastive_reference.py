"""The contrastive losses as their definitions read, on a full matrix, and a tiny model to train."""

import torch
import torch.nn.functional as F
from torch import nn


def dense_softmax(images, texts, log_scale, bias, positive):
    logits = log_scale.exp() * images @ texts.T

    def one_way(log_probabilities, positive):
        asked = positive.any(1)
        return (-(log_probabilities * positive).sum(1)[asked] / positive.sum(1)[asked]).sum() / max(
            asked.sum().item(), 1
        )

    rows = one_way(logits.log_softmax(1), positive)
    columns = one_way(logits.T.log_softmax(1), positive.T)
    return (rows + columns) / 2


def dense_sigmoid(images, texts, log_scale, bias, positive):
    logits = log_scale.exp() * images @ texts.T + (0 if bias is None else bias)
    sign = positive.to(logits.dtype) * 2 - 1
    return -F.logsigmoid(sign * logits).sum() / ((len(images) + len(texts)) / 2)


DENSE = {"softmax": dense_softmax, "sigmoid": dense_sigmoid}


# The other objectives, asked of the same towers: images and texts stand in for what a teacher says.


def fixed(rows, columns):
    """Numbers that every process makes alike."""
    return torch.arange(rows * columns).reshape(rows, columns).double().cos()


def divergence(teacher_logits, student_logits):
    """KL(teacher, student) by its definition, a mean over rows."""
    teacher, student = teacher_logits.softmax(1), student_logits.softmax(1)
    return (teacher * (teacher.log() - student.log())).sum(1).mean()


def dense_caption(images, texts, embeds, log_scale):
    logits = torch.stack([embeds[0] * log_scale * position for position in range(1, 6)], dim=1)
    ids = (texts[:, :5] * 5).long().clamp(0, 15)
    losses = [
        -logits[row, place].log_softmax(0)[ids[row, place + 1]]
        for row in range(len(ids))
        for place in range(4)
        if ids[row, place + 1] != 0
    ]
    return torch.stack(losses).mean()


def dense_embedding(images, texts, embeds, log_scale):
    teacher = images @ fixed(images.shape[1], 16)
    cosines = (embeds[0] * teacher).sum(1) / (embeds[0].norm(dim=1) * teacher.norm(dim=1))
    return (1 - cosines).mean() * log_scale


def dense_soft(images, texts, embeds, log_scale):
    student = log_scale.exp() * embeds[0] @ fixed(7, 16).T
    return divergence(images[:, :7], student)


def dense_relation(images, texts, embeds, log_scale):
    ours = log_scale.exp() * embeds[0] @ embeds[1].T
    theirs = torch.e * (images / 3) @ (texts / 3).T
    return (divergence(theirs, ours) + divergence(theirs.T, ours.T)) / 2


def dense_words(images, texts, embeds, log_scale):
    """The mean over words of -log of their images' likelihoods, and over images of their words'."""
    logits, said = log_scale.exp() * embeds[0] @ fixed(7, 16).T, images[:, :7] > 0.7
    of_words = [
        -logits[:, word].log_softmax(0)[said[:, word]].mean()
        for word in range(7)
        if said[:, word].any()
    ]
    of_images = [
        -row.log_softmax(0)[its].mean() for row, its in zip(logits, said, strict=True) if its.any()
    ]
    return (torch.stack(of_words).mean() + torch.stack(of_images).mean()) / 2


DENSE_OTHERS = {
    "caption": dense_caption,
    "embedding": dense_embedding,
    "soft": dense_soft,
    "relation": dense_relation,
    "words": dense_words,
}


def positive_pairs(ids, count):
    if ids is None:
        return torch.eye(count, dtype=torch.bool)
    return ids[0][:, None] == ids[1]


class Towers(nn.Module):
    """Two towers of one layer each, a scale and a bias: every gradient a real model has."""

    def __init__(self, features, embed):
        super().__init__()
        self.image, self.text = nn.Linear(features, embed), nn.Linear(features, embed)
        self.log_scale = nn.Parameter(torch.tensor(2.659))
        self.bias = nn.Parameter(torch.tensor(-3.0))

    def forward(self, images, texts):
        return F.normalize(self.image(images), dim=-1), F.normalize(self.text(texts), dim=-1)


def relative_error(ours, reference):
    """The norm of the difference over the norm of the reference, where that is not zero."""
    ours, reference = ours.double(), reference.double()
    return ((ours - reference).norm() / reference.norm().clamp(min=1e-9)).item()
