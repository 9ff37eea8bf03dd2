"""What a contrastive loss costs: seesay's tiles and open_clip's full matrix, in one process.

    python benchmarks/contrastive_loss.py                     # 1,024 to 32,768 pairs
    python benchmarks/contrastive_loss.py --quick --json figures.json

Forward and backward of the loss alone, in turn, on unit embeddings of 512 numbers in float32.
`kept` is what autograd keeps for the backward pass, and how much of it is not the embeddings
themselves (seesay also holds 45 bytes a pair on what belongs together, which only the next figure
sees); `peak` is how far the process grows during a step. open_clip 3.3.0 has no chunked mode, so
`plain chunks` is that way to the sigmoid loss, in peers/chunked_sigmoid.py; with the loss.py of a
newer open_clip (src/open_clip/loss.py), --open-clip-loss measures its own too.
"""

import argparse
import importlib.util
import inspect
import json
import math
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent / "peers"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from chunked_sigmoid import chunked_sigmoid_loss
from largest_batch import largest_batch
from memory import free_bytes, growth, kept_for_backward

import torchvision_shim  # noqa: F401
from seesay.models.dual_encoder import DualEncoderConfig
from seesay.objectives.contrastive import sigmoid_loss, softmax_loss

EMBED = 512
BATCHES = (1024, 2048, 4096, 8192, 16384, 32768)
GOAL_BATCH, MEMORY_GOAL, TIME_GOAL = 16384, 50, 1.2
MEBIBYTE = 2**20

Loss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]  # images, texts, log-scale, bias


@dataclass
class Figures:
    kept: int
    beyond_inputs: int
    peak: int
    seconds: list[float] = field(default_factory=list)


Table = dict[int, dict[str, Figures]]  # by batch and contender


def main() -> None:
    options = parse_arguments()
    if options.threads:
        torch.set_num_threads(options.threads)
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, {EMBED} numbers each, "
        f"{'processor' if options.cpu_time else 'wall'} time"
    )
    tables = {}
    for kind, losses in contenders(load_open_clip(options.open_clip_loss)).items():
        clock = time.process_time if options.cpu_time else time.perf_counter
        print(f"\n{kind:>7}  {'':18} kept MiB (not inputs)  peak MiB  seconds")
        tables[kind] = compare(losses, options.batches, options.rounds, clock)
        conclude(tables[kind])
    if torch.cuda.is_available():
        beside_a_vit(contenders(load_open_clip(options.open_clip_loss)))
    else:
        print("\nbeside a ViT-B/16: not run, there is no GPU")
    if options.json:
        figures = {
            kind: {batch: {name: asdict(f) for name, f in row.items()} for batch, row in t.items()}
            for kind, t in tables.items()
        }
        options.json.write_text(json.dumps(figures, indent=1))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small batches, two rounds")
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    parser.add_argument("--rounds", type=int, default=3, help="timed steps of each contender")
    parser.add_argument(
        "--cpu-time", action="store_true", help="count processor time: on a machine others use too"
    )
    parser.add_argument("--threads", type=int, help="default: what torch takes")
    parser.add_argument("--open-clip-loss", type=Path, help="loss.py of a newer open_clip")
    parser.add_argument("--json", type=Path, help="where to write all figures")
    options = parser.parse_args()
    if options.quick:
        options.batches, options.rounds = (512, 1024, 2048), 2
    return options


def load_open_clip(newer: Path | None) -> ModuleType:
    """The losses of the installed open_clip, or of a newer one's file."""
    if newer is None:
        from open_clip import loss

        return loss
    spec = importlib.util.spec_from_file_location("open_clip_loss", newer)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def contenders(open_clip: ModuleType) -> dict[str, dict[str, Loss]]:
    """By loss: ours, then the other ways to the same value."""
    clip, siglip = open_clip.ClipLoss(), open_clip.SigLipLoss()
    softmax = {
        "seesay": lambda images, texts, scale, bias: softmax_loss(images, texts, scale),
        "open_clip": lambda images, texts, scale, bias: clip(images, texts, scale.exp()),
    }
    sigmoid = {
        "seesay": sigmoid_loss,
        "open_clip": lambda images, texts, scale, bias: siglip(images, texts, scale.exp(), bias),
        "plain chunks": chunked_sigmoid_loss,
    }
    if "chunk_size" in inspect.signature(open_clip.SigLipLoss).parameters:
        chunked = open_clip.SigLipLoss(chunk_size=512)
        sigmoid["open_clip chunked"] = lambda images, texts, scale, bias: chunked(
            images, texts, scale.exp(), bias
        )
    return {"softmax": softmax, "sigmoid": sigmoid}


def compare(
    losses: dict[str, Loss], batches: list[int], rounds: int, clock: Callable[[], float]
) -> Table:
    table: Table = {}
    for batch in batches:
        half = table.get(batch // 2, {})
        inputs, row = make_inputs(batch), {}
        for name, loss in losses.items():
            expected = 4 * half[name].peak if name in half else 0
            if half and name not in half:
                continue
            if expected > 0.8 * free_bytes():
                print(
                    f"{name} with {batch} pairs: not run, it would take about "
                    f"{expected / 2**30:.0f} GiB and {free_bytes() / 2**30:.0f} GiB are free"
                )
                continue
            row[name] = measure(loss, inputs)
        # In turn, so that a busy moment of the machine hits all alike. Beyond the batch of the goal
        # a step takes most of a minute, and one timing has to do.
        for _ in range(rounds if batch <= GOAL_BATCH else 1):
            for name, figures in row.items():
                start = clock()
                step(losses[name], inputs)
                figures.seconds.append(clock() - start)
        table[batch] = row
        print_row(batch, row)
    return table


def make_inputs(batch: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    embeds = [F.normalize(torch.randn(batch, EMBED, generator=generator), dim=-1) for _ in range(2)]
    learned = [torch.tensor(math.log(1 / 0.07)), torch.tensor(-math.log(batch))]
    return [tensor.requires_grad_() for tensor in embeds + learned]


def step(loss: Loss, inputs: list[Tensor]) -> None:
    for tensor in inputs:
        tensor.grad = None
    loss(*inputs).backward()


def measure(loss: Loss, inputs: list[Tensor]) -> Figures:
    for tensor in inputs:
        tensor.grad = None
    kept, beyond = kept_for_backward(lambda: loss(*inputs), inputs)
    return Figures(kept, beyond, growth(lambda: step(loss, inputs)))


def print_row(batch: int, row: dict[str, Figures]) -> None:
    for name, figures in row.items():
        kept = f"{figures.kept / MEBIBYTE:.1f} ({figures.beyond_inputs / MEBIBYTE:.2f})"
        peak, seconds = figures.peak / MEBIBYTE, statistics.median(figures.seconds)
        print(f"{batch:>7}  {name:18} {kept:>21}  {peak:>8.0f} {seconds:8.3f}", flush=True)


def conclude(table: Table) -> None:
    """The exponents and the ratios."""
    for name in next(iter(table.values())):
        kept = {batch: row[name].kept for batch, row in table.items() if name in row}
        peak = {batch: row[name].peak for batch, row in table.items() if name in row}
        print(f"{name}: kept ~ batch^{slope(kept):.2f}, peak ~ batch^{slope(peak):.2f}")
    for batch, row in table.items():
        for name, figures in row.items():
            if name != "seesay":
                print_ratios(batch, row["seesay"], name, figures)


def slope(sizes: dict[int, int]) -> float:
    """The exponent with which sizes grow, fitted to the larger half of the batches."""
    larger = sorted(sizes)[len(sizes) // 2 - 1 :]
    logs = [[math.log(x) for x in numbers] for numbers in (larger, [sizes[b] for b in larger])]
    return statistics.linear_regression(*logs).slope


def print_ratios(batch: int, ours: Figures, name: str, theirs: Figures) -> None:
    pairs = zip(ours.seconds, theirs.seconds, strict=True)
    slower = statistics.median(mine / other for mine, other in pairs)
    less = theirs.peak / max(ours.peak, 1)
    line = f"{batch:>7}  seesay against {name}: 1/{less:.0f} of the peak, {slower:.2f} of the time"
    if ours.beyond_inputs:
        line += f", 1/{theirs.beyond_inputs / ours.beyond_inputs:.0f} kept beyond the inputs"
    if batch == GOAL_BATCH:
        met = less >= MEMORY_GOAL and slower <= TIME_GOAL
        line += f"; goal 1/{MEMORY_GOAL} and {TIME_GOAL}: {'met' if met else 'missed'}"
    print(line)


def beside_a_vit(losses: dict[str, dict[str, Loss]]) -> None:
    print(f"\nbeside a ViT-B/16 on {torch.cuda.get_device_name()}, in bf16, chunks of 256")
    for kind, by_name in losses.items():
        for name, loss in by_name.items():
            fitted = largest_batch(loss, DualEncoderConfig(), "cuda", most=2**18)
            for batch, seconds in fitted:
                print(f"{kind:>7}  {name:18} {batch:>7} pairs: {seconds:.2f} s per step")


if __name__ == "__main__":
    main()
