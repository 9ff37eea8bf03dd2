"""Losses that match a teacher: its embeddings, its class probabilities, or its similarities within
a batch.

Every loss is a mean over the rows of all processes, and its gradient averaged over processes is
exact. Teachers get no gradient. A teacher of another width needs a projection of the student.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from seesay.objectives.exchange import connect, mean_over_processes
from seesay.objectives.tiled import at_least_float32

ROWS_AT_ONCE = 1024  # rows of a relation: keeps memory linear in the batch

Sides = tuple[Tensor, Tensor]  # the student's, the teacher's


def embedding_distillation(
    embeds: Float[Tensor, "batch embed"], teacher_embeds: Float[Tensor, "batch embed"]
) -> Float[Tensor, ""]:
    """1 - cosine to the teacher's embedding: half the squared distance between unit vectors.

    CLIP-KD (Yang et al. 2024, arXiv 2307.12732) found it the best single signal of a CLIP teacher.
    """
    embeds, teacher = at_least_float32(embeds), at_least_float32(teacher_embeds.detach())
    total = (1 - F.cosine_similarity(embeds, teacher, dim=-1)).sum()
    return mean_over_processes(total, len(embeds))


def soft_label_distillation(
    image_embeds: Float[Tensor, "images embed"],
    class_embeds: Float[Tensor, "classes embed"],
    log_scale: Float[Tensor, ""],
    teacher_logits: Float[Tensor, "images classes"],
) -> Float[Tensor, ""]:
    """KL(teacher, student) between the softmax over classes of a classifier and of the student.

    The student's logits are its scaled products of images and class texts. Log-probabilities serve
    as `teacher_logits` (soft labels, Hinton et al. 2015, arXiv 1503.02531).
    """
    with torch.autocast(image_embeds.device.type, enabled=False):
        images, classes = at_least_float32(image_embeds), at_least_float32(class_embeds)
        student = (log_scale.exp() * images @ classes.T).log_softmax(-1)
    teacher = at_least_float32(teacher_logits.detach()).softmax(-1)
    return mean_over_processes(F.kl_div(student, teacher, reduction="sum"), len(image_embeds))


def relation_distillation(
    image_embeds: Float[Tensor, "images embed"],
    text_embeds: Float[Tensor, "texts embed"],
    log_scale: Float[Tensor, ""],
    teacher_image_embeds: Float[Tensor, "images teacher_embed"],
    teacher_text_embeds: Float[Tensor, "texts teacher_embed"],
    teacher_log_scale: Float[Tensor, ""],
) -> Float[Tensor, ""]:
    """KL(teacher, student) between the probabilities over the batch, in both directions.

    The mean over images of KL(teacher, student) over all texts, and the other way round, averaged:
    CLIP-KD's contrastive relational distillation (arXiv 2307.12732, section 3.2). Its interactive
    contrastive learning is `softmax_loss` of the student's images and the teacher's texts.
    """
    exchange = connect("gather", image_embeds, text_embeds)
    scales = log_scale.exp(), teacher_log_scale.detach().exp()
    images = at_least_float32(image_embeds), at_least_float32(teacher_image_embeds.detach())
    texts = at_least_float32(text_embeds), at_least_float32(teacher_text_embeds.detach())
    all_images = exchange.every_image(images[0]), exchange.every_image(images[1])
    all_texts = exchange.every_text(texts[0]), exchange.every_text(texts[1])
    from_images = mean_over_processes(_relations(images, all_texts, scales), len(image_embeds))
    from_texts = mean_over_processes(_relations(texts, all_images, scales), len(text_embeds))
    return (from_images + from_texts) / 2


def _relations(queries: Sides, keys: Sides, scales: Sides) -> Float[Tensor, ""]:
    """The sum over queries of KL(teacher, student); each pair is a student's and a teacher's."""

    def part(student: Tensor, teacher: Tensor) -> Tensor:
        with torch.autocast(student.device.type, enabled=False):
            ours = (scales[0] * student @ keys[0].T).log_softmax(1)
            theirs = (scales[1] * teacher @ keys[1].T).log_softmax(1)
            return F.kl_div(ours, theirs, reduction="sum", log_target=True)

    parts = [
        checkpoint(part, *rows, use_reentrant=False, preserve_rng_state=False)
        for rows in zip(*(side.split(ROWS_AT_ONCE) for side in queries), strict=True)
    ]
    return torch.stack(parts).sum()
