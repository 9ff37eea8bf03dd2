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
