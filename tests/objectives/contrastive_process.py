"""One process of many: take this rank's share of each case, train one step, save the gradients.

Run as: contrastive_process.py RANK WORLD FOLDER, with the cases in FOLDER/cases.pt.
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from objectives.contrastive_reference import Towers
from seesay.objectives.contrastive import sigmoid_loss, softmax_loss
from seesay.objectives.grad_cache import cached_backward
from seesay.objectives.positives import PairIds

LOSSES = {"softmax": softmax_loss, "sigmoid": sigmoid_loss}


def one_step(case, rank):
    images = case["images"].split(case["image_shares"])[rank]
    texts = case["texts"].split(case["text_shares"])[rank]
    ids = None
    if case["ids"] is not None:
        ids = PairIds(
            case["ids"][0].split(case["image_shares"])[rank],
            case["ids"][1].split(case["text_shares"])[rank],
        )
    towers = Towers(images.shape[1], 16).to(images.dtype)
    towers.load_state_dict(case["state"])
    model = DistributedDataParallel(towers) if dist.is_initialized() else towers

    def loss(image_embeds, text_embeds, log_scale, bias):
        return LOSSES[case["loss"]](image_embeds, text_embeds, log_scale, bias, ids, case["route"])

    parameters = (towers.log_scale, towers.bias)
    if case["chunks"] > 1:
        chunks = list(zip(images.chunk(case["chunks"]), texts.chunk(case["chunks"]), strict=True))
        value = cached_backward(model, lambda chunk: model(*chunk), chunks, loss, parameters)
    else:
        value = loss(*model(images, texts), *parameters)
        value.backward()
    return value.detach(), {name: p.grad for name, p in towers.named_parameters()}


def main(rank, world, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=world)
    cases = torch.load(folder / "cases.pt")
    torch.save([one_step(case, rank) for case in cases], folder / f"result{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
