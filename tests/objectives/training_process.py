"""Processes that each take their share of every case, train one step, and save the gradients.

Run as: training_process.py WORLD FOLDER, with the cases in FOLDER/cases.pt. The processes are
forked from this one, so that torch is imported once.
"""

import os
import sys
import traceback
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel

from objectives.contrastive_reference import Towers, fixed
from seesay.data.batches import Batch, SourceBatch
from seesay.objectives.captioning import caption_loss, caption_losses
from seesay.objectives.contrastive import sigmoid_loss, softmax_loss
from seesay.objectives.distillation import (
    embedding_distillation,
    relation_distillation,
    soft_label_distillation,
)
from seesay.objectives.grad_cache import cached_backward
from seesay.objectives.matching import Matching, MatchingConfig, query_contrastive_loss
from seesay.objectives.objective import View
from seesay.objectives.positives import PairIds
from seesay.training.caption_words import words_loss

CONTRASTIVE = {"softmax": softmax_loss, "sigmoid": sigmoid_loss}


def caption(images, texts, embeds, log_scale):
    logits = embeds[0][:, None] * log_scale * torch.arange(1, 6)[:, None]
    following = (texts[:, :5] * 5).long().clamp(0, 15)[:, 1:]
    losses = caption_losses(logits[:, :-1], following, pad_id=0)
    return caption_loss(losses, int((following != 0).sum()))


def embedding(images, texts, embeds, log_scale):
    return embedding_distillation(embeds[0], images @ fixed(images.shape[1], 16)) * log_scale


def soft_label(images, texts, embeds, log_scale):
    return soft_label_distillation(embeds[0], fixed(7, 16), log_scale, images[:, :7])


def relation(images, texts, embeds, log_scale):
    return relation_distillation(*embeds, log_scale, images / 3, texts / 3, torch.tensor(1.0))


def words(images, texts, embeds, log_scale):
    return words_loss(embeds[0], fixed(7, 16), log_scale, images[:, :7] > 0.7)


def several(embeds):
    """Each image's vector as two of half the width, beside texts of that width."""
    images, texts = embeds
    return F.normalize(images.unflatten(1, (2, -1)), dim=-1), F.normalize(texts[:, :8], dim=-1)


def queries(images, texts, embeds, log_scale):
    return query_contrastive_loss(*several(embeds), log_scale)


def numbers(rows):
    return (rows[:, 0] * 1e6).long()


def matching(images, texts, embeds, log_scale):
    """Pairs drawn from all processes; every third image has the same text as another."""
    own = SourceBatch(
        images=images[:, :, None, None],
        ids=texts,
        owners=torch.arange(len(texts)),
        groups=numbers(images),
        labels=torch.zeros(len(images)),
        text_numbers=numbers(texts) % 3 + numbers(texts) * (numbers(texts) % 3 > 0),
        texts=[],
        requests=[],
        rejected=[],
        languages=["en" if number % 2 else "zh" for number in numbers(texts).tolist()],
        keys=[],
        damaged=[],
    )
    objective = Matching(MatchingConfig(source="s"), seed=0)
    outputs = dict(zip((View("images", "s"), View("texts", "s")), several(embeds), strict=True))
    outputs = {view: rows.detach() for view, rows in outputs.items()}
    batch = Batch(step=3, sources={"s": own})
    rows = objective.draw(outputs, batch, log_scale.detach(), None)
    pictures, pairs = rows[View("pictures", "s")].flatten(2), rows[View("pairs", "s")]
    of_pairs = [pictures[:, 0] * pairs[:, 0], pictures[:, 1] * pairs[:, 0]]
    of_pairs.append(pictures[:, 0] * pairs[:, 1])
    seen = torch.stack(of_pairs, dim=1)[..., :2] * embeds[0][:, None, :2] * log_scale
    return objective.loss({View("pairs", "s"): seen}, batch, log_scale, None)


OTHERS = {
    "queries": queries,
    "matching": matching,
    "caption": caption,
    "embedding": embedding,
    "soft": soft_label,
    "relation": relation,
    "words": words,
}


def share_of(case, rank):
    """This process's images, texts and ids."""
    images = case["images"].split(case["image_shares"])[rank]
    texts = case["texts"].split(case["text_shares"])[rank]
    if case["ids"] is None:
        return images, texts, None
    image_ids, text_ids = case["ids"]
    ids = PairIds(
        image_ids.split(case["image_shares"])[rank], text_ids.split(case["text_shares"])[rank]
    )
    return images, texts, ids


def one_step(case, rank):
    """The loss, and the gradients after DDP has averaged them where there are processes."""
    images, texts, ids = share_of(case, rank)
    towers = Towers(images.shape[1], 16).to(images.dtype)
    towers.load_state_dict(case["state"])
    model = DistributedDataParallel(towers) if dist.is_initialized() else towers

    def loss(image_embeds, text_embeds, log_scale, bias):
        if case["loss"] in OTHERS:
            value = OTHERS[case["loss"]](images, texts, (image_embeds, text_embeds), log_scale)
            return value + 0 * (bias + text_embeds.sum())  # DDP expects all parameters to be used
        contrastive = CONTRASTIVE[case["loss"]]
        return contrastive(image_embeds, text_embeds, log_scale, bias, ids, case["route"])

    parameters = (towers.log_scale, towers.bias)
    if case["chunks"] > 1:
        chunks = list(zip(images.chunk(case["chunks"]), texts.chunk(case["chunks"]), strict=True))
        value = cached_backward(model, lambda chunk: model(*chunk), chunks, loss, parameters)
    else:
        value = loss(*model(images, texts), *parameters)
        value.backward()
    return value.detach(), {name: p.grad for name, p in towers.named_parameters()}


def train(rank, world, folder):
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=world)
    cases = torch.load(folder / "cases.pt")
    torch.save([one_step(case, rank) for case in cases], folder / f"result{rank}.pt")
    dist.destroy_process_group()


def begin(rank, world, folder):
    """The number of a process that trains."""
    if child := os.fork():
        return child
    try:
        train(rank, world, folder)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def main(world, folder):
    torch.set_num_threads(1)
    children = [begin(rank, world, folder) for rank in range(world)]
    sys.exit(max(os.waitpid(child, 0)[1] for child in children) > 0)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
