"""Over processes, the gradient that DDP averages is the whole batch's."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from objectives.contrastive_reference import (
    DENSE,
    DENSE_OTHERS,
    Towers,
    positive_pairs,
    relative_error,
)
from objectives.training_process import OTHERS, one_step

TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-4}
FEATURES, EMBED = 12, 16
LARGE = 1024  # pairs over all processes


@dataclass
class Shares:
    """How many images and texts each process has; `things` is how many different ones there are."""

    images: list[int]
    texts: list[int] | None = None
    things: int | None = None
    chunks: int = 1

    def case(self, loss, route, dtype):
        images, texts = self.images, self.texts or self.images
        generator = torch.Generator().manual_seed(sum(images))
        ids = None
        if self.things is not None:  # image 0 may have no text, and the last text no image
            ids = (
                torch.randint(0, self.things, (sum(images),), generator=generator),
                torch.randint(1, self.things + 1, (sum(texts),), generator=generator),
            )
        torch.manual_seed(0)
        return {
            "shares": self,
            "loss": loss,
            "route": route,
            "images": torch.randn(sum(images), FEATURES, generator=generator).to(dtype),
            "texts": torch.randn(sum(texts), FEATURES, generator=generator).to(dtype),
            "image_shares": images,
            "text_shares": texts,
            "ids": ids,
            "state": Towers(FEATURES, EMBED).to(dtype).state_dict(),
            "chunks": self.chunks,
        }


def cases_for(world):
    """Even, uneven, empty and large shares, repeated captions, and gradient caching.

    Two processes see every number format, and of the large shares every loss.
    """
    uneven = [3 + 2 * rank for rank in range(world)]
    small = [
        Shares([1] * world),
        Shares(uneven),
        Shares(uneven, chunks=3),
        Shares(uneven, uneven[::-1], things=5),
        Shares(uneven, [5] * world, things=5, chunks=2),
        Shares([4, 0, 2, 1][:world]),
    ]
    cases = [
        shares.case(loss, route, dtype)
        for shares in small
        for loss in DENSE
        for route in ("ring", "gather")[:world]
        for dtype in (TOLERANCE if world < 4 else (torch.float64,))
    ]
    cases += [Shares(uneven).case(loss, "ring", torch.float64) for loss in OTHERS]
    counts = [LARGE // world] * (world - 1) + [LARGE // world - 7]
    large = Shares(counts)
    if world == 2:
        return [
            *cases,
            *(large.case(loss, "ring", dtype) for loss in DENSE for dtype in TOLERANCE),
            Shares(counts, chunks=4).case("softmax", "gather", torch.float64),
            Shares(counts, things=225).case("sigmoid", "ring", torch.float32),
        ]
    return [
        *cases,
        large.case("softmax", "ring", torch.float32),
        large.case("sigmoid", "gather", torch.float64),
    ]


def run_processes(world, cases, folder: Path):
    torch.save([{**case, "shares": None} for case in cases], folder / "cases.pt")
    script = Path(__file__).with_name("training_process.py")
    environment = {**os.environ, "PYTHONPATH": "src:tests"}
    command = [sys.executable, script, str(world), folder]
    subprocess.run(command, env=environment, timeout=200, check=True)
    return [torch.load(folder / f"result{rank}.pt") for rank in range(world)]


def whole_step(case):
    """The whole batch in one process, in float64, as the loss is defined: on the full matrix."""
    towers = Towers(FEATURES, EMBED).double()
    towers.load_state_dict(case["state"])
    images, texts = case["images"].double(), case["texts"].double()
    embeds = towers(images, texts)
    if case["loss"] in OTHERS:  # some have no other definition than that of one process
        loss = DENSE_OTHERS.get(case["loss"], OTHERS[case["loss"]])(
            images, texts, embeds, towers.log_scale
        )
    else:
        positive = positive_pairs(case["ids"], len(embeds[0]))
        loss = DENSE[case["loss"]](*embeds, towers.log_scale, towers.bias, positive)
    loss.backward()
    return loss.detach(), {name: p.grad for name, p in towers.named_parameters()}


def check(case, value, gradients, expected_value, expected):
    tolerance = TOLERANCE[case["images"].dtype]
    assert relative_error(value, expected_value) <= tolerance
    for name, gradient in gradients.items():
        reference = expected[name]
        if reference is None:  # not every loss sees the bias or the texts
            reference = torch.zeros_like(gradient)
        assert relative_error(gradient, reference) <= tolerance, name


@pytest.mark.parametrize("world", [1, 2, 4])
def test_every_process_gets_the_loss_and_the_gradient_of_the_whole_batch(world, tmp_path):
    cases = cases_for(world)
    if world == 1:  # without torch.distributed having been started
        results = [[one_step(case, 0) for case in cases]]
    else:
        results = run_processes(world, cases, tmp_path)
    references = {}
    for case, *of_ranks in zip(cases, *results, strict=True):
        shares = case["shares"]  # in how many chunks the towers see them, no loss depends on
        key = (str(shares.images), str(shares.texts), shares.things, case["loss"])
        if key not in references:
            references[key] = whole_step(case)
        for value, gradients in of_ranks:
            check(case, value, gradients, *references[key])
