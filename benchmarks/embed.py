"""Pictures to vectors, side by side: the usual tutorial loop, transformers, sentence-transformers
and seesay, on the same random weights and the same JPEG files.

    python benchmarks/embed.py                     # both models, about five minutes on two cores
    python benchmarks/embed.py --images 64 --repeats 5 --models ViT-B/32 --json figures.json

Every contender has a process of its own, so that its peak memory is its own; runs are interleaved,
so that a busy moment of the machine hits all alike; the median run counts.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent / "peers"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from clip_folder import SIDE, SIZES, save_model, save_photographs
from draft_effect import draft_effect
from processes import Contender

import torchvision_shim  # noqa: F401

SCRIPT = Path(__file__).parent / "peers" / "embed_contenders.py"
SMALL, LARGE = "500x375", "4000x3000"
CPU_CONTENDERS = (
    "tutorial loop",
    "transformers fp32",
    "transformers bf16",
    "sentence-transformers",
    "seesay",
    "seesay, encode only",
)
GPU_CONTENDERS = (
    "tutorial loop",
    "transformers bf16",
    "sentence-transformers",
    "seesay",
    "seesay, encode only",
)
PEERS = ("transformers fp32", "transformers bf16", "sentence-transformers")


def main() -> None:
    options = parse_arguments()
    figures: dict[str, Any] = {"threads": torch.get_num_threads(), "models": {}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = {
            SMALL: save_photographs(folder / "small", options.images, (500, 375)),
            LARGE: save_photographs(folder / "large", max(2, options.images // 2), (4000, 3000)),
        }
        for model in options.models:
            saved = save_model(model, folder)
            figures["models"][model] = compare(model, saved, files, options.repeats, "cpu")
            report(model, figures["models"][model])
        if torch.cuda.is_available():
            saved = save_model("ViT-L/14", folder)
            result = compare("ViT-L/14", saved, files, options.repeats, "cuda")
            figures["gpu"] = {"name": torch.cuda.get_device_name(), **result}
            report(f"ViT-L/14 on {figures['gpu']['name']}", result)
        else:
            figures["gpu"] = None
            print("\nGPU section (ViT-L/14, bf16): skipped, torch finds no CUDA device here.")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Pictures to vectors, side by side.")
    parser.add_argument("--images", type=int, default=16, help="small files; large ones are half")
    parser.add_argument("--repeats", type=int, default=3, help="runs of which the median counts")
    parser.add_argument("--models", nargs="+", choices=SIZES, default=["ViT-B/32", "ViT-B/16"])
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    return parser.parse_args()


def compare(
    model: str, saved: Path, files: dict[str, list[str]], repeats: int, device: str
) -> dict[str, Any]:
    """All figures of one model: a row per contender and file size, and what follows from them."""
    names = CPU_CONTENDERS if device == "cpu" else GPU_CONTENDERS
    peaks = {dtype: matmul_peak(dtype, device) for dtype in ("float32", "bfloat16")}
    contenders = [Contender(SCRIPT, name, str(saved), device) for name in names]
    for contender in contenders:
        contender.wait()
    # Where bfloat16 is emulated, a few pictures tell enough and all of them would take minutes.
    slow = peaks["bfloat16"] < peaks["float32"] / 2
    rows: dict[str, dict[str, Any]] = {name: {} for name in names}
    vectors = {
        (c.name, size): saved / f"{i}-{size}.npy"
        for i, c in enumerate(contenders)
        for size in files
    }
    for size, paths in files.items():
        for contender in contenders:
            share = paths[: max(2, len(paths) // 8)]
            few = slow and contender.name.endswith("bf16")
            contender.run(share)  # the first run sets caches up
            rows[contender.name][size] = {"files": share if few else paths, "runs": []}
    for _ in range(repeats):
        for size in files:
            for contender in contenders:
                row = rows[contender.name][size]
                row["runs"].append(contender.run(row["files"], vectors[contender.name, size]))
    for contender in contenders:
        contender.close()
    dtype = "float32" if device == "cpu" and slow else "bfloat16"
    return {
        "gigaflop_per_image": gigaflop_per_image(model),
        "matmul_peak_gigaflop_s": peaks,
        "rows": {name: summarise(row) for name, row in rows.items()},
        "seesay_dtype": dtype,
        "cosines_with_transformers": cosines(vectors, files, device),
        "bfloat16_cosines": bfloat16_cosines(saved, files, device) if dtype == "bfloat16" else None,
        "draft_effect": draft_effect(saved, files[LARGE], device),
    }


def summarise(row: dict[str, Any]) -> dict[str, Any]:
    """Per file size the median of the runs; peak memory is that of the process so far."""
    return {
        size: {
            "images_per_s": len(r["files"]) / statistics.median(x["seconds"] for x in r["runs"]),
            "cpu_ms_per_image": 1e3 * min(x["cpu_seconds"] for x in r["runs"]) / len(r["files"]),
            "peak_mb": r["runs"][0]["peak_mb"],
        }
        for size, r in row.items()
    }


def matmul_peak(dtype: str, device: str) -> float:
    """The fastest of several square products, in gigaflop a second: what the machine can do.

    Both layouts are tried, because for emulated bfloat16 torch is quick at one of them only.
    """
    side = 8192 if device == "cuda" else 2048
    a, b = (torch.randn(side, side, device=device).to(getattr(torch, dtype)) for _ in range(2))
    best = float("inf")
    for product in (lambda: torch.nn.functional.linear(a, b), lambda: a @ b):
        for _ in range(12):
            start = time.perf_counter()
            product()
            if device == "cuda":
                torch.cuda.synchronize()
            best = min(best, time.perf_counter() - start)
            if time.perf_counter() - start > 2:
                break
    return 2 * side**3 / best / 1e9


def gigaflop_per_image(model: str) -> float:
    """Multiplications and additions of the image tower: patches, layers, attention, projection."""
    patch, width, layers, _, embed = SIZES[model]
    patches = (SIDE // patch) ** 2
    tokens = patches + 1
    layer = 2 * tokens * 12 * width**2 + 4 * tokens**2 * width
    return (2 * patches * 3 * patch**2 * width + layers * layer + 2 * width * embed) / 1e9


def cosines(
    vectors: dict[tuple[str, str], Path], files: dict[str, list[str]], device: str
) -> dict[str, dict[str, float]]:
    """How close our vectors come to transformers', per file size."""
    reference = "transformers fp32" if device == "cpu" else "tutorial loop"
    found = {}
    for size in files:
        theirs, ours = (np.load(vectors[name, size]) for name in (reference, "seesay"))
        found[size] = {
            "lowest": float((theirs * ours).sum(axis=1).min()),
            "largest_difference": float(np.abs(theirs - ours).max()),
        }
    return found


def bfloat16_cosines(
    saved: Path, files: dict[str, list[str]], device: str
) -> dict[str, dict[str, float]]:
    """Where bfloat16 is chosen: how close its vectors come to those of float32, per file size."""
    import seesay

    embedder = seesay.load(str(saved), device=device, dtype="float32")
    found = {size: embedder.bfloat16_cosines(paths) for size, paths in files.items()}
    return {
        size: {"mean": float(each.mean()), "lowest": float(each.min())}
        for size, each in found.items()
    }


def report(model: str, result: dict[str, Any]) -> None:
    rows, dtype = result["rows"], result["seesay_dtype"]
    peaks = result["matmul_peak_gigaflop_s"]
    print(
        f"\n{model}: {result['gigaflop_per_image']:.1f} gigaflop an image; matmul peak "
        + ", ".join(f"{name} {peak:,.0f} gigaflop/s" for name, peak in peaks.items())
    )
    head = ("contender", "files", "images/s", "to tutorial", "of peak", "CPU ms/image", "peak MB")
    print(f"{head[0]:22}{head[1]:>10}" + "".join(f"{cell:>13}" for cell in head[2:]))
    for name, sizes in rows.items():
        used = "bfloat16" if name.endswith("bf16") else dtype if "seesay" in name else "float32"
        for size, row in sizes.items():
            rate = row["images_per_s"]
            print(
                f"{name:22}{size:>10}{rate:13.2f}"
                f"{rate / rows['tutorial loop'][size]['images_per_s']:12.2f}x"
                f"{rate * result['gigaflop_per_image'] / peaks[used]:13.0%}"
                f"{row['cpu_ms_per_image']:13.0f}{row['peak_mb']:13,.0f}"
            )
    for line in (*judge(rows), *describe_vectors(result)):
        print(line)


def judge(rows: dict[str, dict[str, Any]]) -> list[str]:
    """The goals, each with its figure."""

    def rate(name: str, size: str) -> float:
        return rows[name][size]["images_per_s"]

    def fastest_peer(size: str) -> float:
        return max(rate(name, size) for name in PEERS if name in rows)

    goals: Sequence[tuple[str, float, float]] = (
        (
            "small files, to the tutorial loop",
            rate("seesay", SMALL) / rate("tutorial loop", SMALL),
            2.0,
        ),
        ("small files, to the fastest peer", rate("seesay", SMALL) / fastest_peer(SMALL), 1.0),
        (
            "12-megapixel files, to the fastest peer",
            rate("seesay", LARGE) / fastest_peer(LARGE),
            3.0,
        ),
        (
            "small files, end to end to encode only",
            rate("seesay", SMALL) / rate("seesay, encode only", SMALL),
            0.85,
        ),
    )
    return [
        f"{'reached' if value >= goal else 'MISSED ':8} {what}: {value:.2f}x (goal {goal:.2f}x)"
        for what, value, goal in goals
    ]


def describe_vectors(result: dict[str, Any]) -> list[str]:
    lines = [
        f"seesay and transformers, {size}: lowest cosine {found['lowest']:.6f}, "
        f"largest difference {found['largest_difference']:.1e}"
        for size, found in result["cosines_with_transformers"].items()
    ]
    if (rounded := result["bfloat16_cosines"]) is None:
        lines.append("bfloat16 against float32: not compared, float32 is chosen on this machine")
    for size, found in (rounded or {}).items():
        lines.append(
            f"bfloat16 against float32, {size}: cosine {found['mean']:.6f} mean, "
            f"{found['lowest']:.6f} lowest"
        )
    for network, found in result["draft_effect"].items():
        lines.append(
            f"reduced against full decoding, {network}: cosine {found['mean']:.5f} mean, "
            f"{found['lowest']:.5f} lowest (different photographs: {found['others']:.3f} mean)"
        )
    return lines


if __name__ == "__main__":
    main()
