"""Files to committed vectors, side by side: the embedder alone, `seesay index`, and a plain loop
that writes to Chroma, on the same weights and the same JPEG files.

    python benchmarks/index.py                       # about five minutes on two cores
    python benchmarks/index.py --images 64 --model ViT-B/32 --json figures.json

Every contender has a process of its own; runs are interleaved, so that a busy moment of the machine
hits all alike; the median run counts. The weights are random: speed does not depend on them.
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent / "peers"))
sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from clip_folder import save_photographs
from index_contenders import CONTENDERS
from processes import Contender

from random_model import END, PAD, byte_tokenizer
from seesay.data.squares import ImageTransformConfig
from seesay.data.tokenizer import TokenizerConfig, load_tokenizer
from seesay.models.dual_encoder import DualEncoder, DualEncoderConfig
from seesay.models.mobilenet import MobileNetConfig
from seesay.models.text_encoder import TextConfig
from seesay.models.vit import VitConfig
from seesay.weights.bundle import Bundle
from seesay.weights.saving import save_bundle

SCRIPT = Path(__file__).parent / "peers" / "index_contenders.py"
SMALL, LARGE = "500x375", "4000x3000"
TOWERS = {
    "seesay-mini": (MobileNetConfig(), 384),
    "ViT-B/32": (
        VitConfig(image_size=224, patch_size=32, dim=768, depth=12, heads=12, hidden=3072),
        512,
    ),
}
GOAL = 0.85  # of the embedder alone


def main() -> None:
    options = parse_arguments()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = {
            SMALL: save_photographs(folder / "small", options.images, (500, 375)),
            LARGE: save_photographs(folder / "large", max(2, options.images // 4), (4000, 3000)),
        }
        saved = save_model(options.model, folder / "model")
        rows = compare(saved, files, options.repeats)
    report(options.model, files, rows)
    if options.json:
        options.json.write_text(json.dumps({"model": options.model, "rows": rows}, indent=2) + "\n")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Files to committed vectors, side by side.")
    parser.add_argument("--images", type=int, default=800, help="small files; large ones a quarter")
    parser.add_argument("--repeats", type=int, default=3, help="runs of which the median counts")
    parser.add_argument("--model", choices=TOWERS, default="seesay-mini", help="image tower")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    return parser.parse_args()


def save_model(name: str, folder: Path) -> Path:
    """A model with random weights in our own layout."""
    tower, embed_dim = TOWERS[name]
    text = TextConfig(vocab_size=END + 1, context=64, dim=64, depth=1, heads=2, eos_id=END)
    torch.manual_seed(0)
    model = DualEncoder(DualEncoderConfig(image=tower, text=text, embed_dim=embed_dim)).eval()
    folder.mkdir()
    byte_tokenizer().save(str(folder / "tokenizer.json"))
    tokenizer = load_tokenizer(folder, TokenizerConfig(context=64, pad_id=PAD))
    save_bundle(
        folder / "saved",
        Bundle(model=model, transform=ImageTransformConfig(), tokenizer=tokenizer, name=name),
    )
    return folder / "saved"


def compare(saved: Path, files: dict[str, list[str]], repeats: int) -> dict[str, Any]:
    """Images a second and peak memory, by contender and size of the files."""
    contenders = [Contender(SCRIPT, name, str(saved)) for name in CONTENDERS]
    for contender in contenders:
        contender.wait()
    runs: dict[str, dict[str, list[dict[str, float]]]] = {
        name: {size: [] for size in files} for name in CONTENDERS
    }
    for size, paths in files.items():
        for contender in contenders:
            contender.run(paths)  # the first run sets caches up
        for _ in range(repeats):
            for contender in contenders:
                runs[contender.name][size].append(contender.run(paths))
    for contender in contenders:
        contender.close()
    return {
        name: {
            size: {
                "images_per_s": len(files[size]) / statistics.median(r["seconds"] for r in some),
                "peak_mb": max(r["peak_mb"] for r in some),
            }
            for size, some in sizes.items()
        }
        for name, sizes in runs.items()
    }


def report(model: str, files: dict[str, list[str]], rows: dict[str, Any]) -> None:
    print(f"{model}, random weights; {torch.get_num_threads()} threads")
    print(f"{'contender':20}{'files':>18}{'images/s':>11}{'to embedder':>13}{'peak MB':>9}")
    alone = rows["the embedder alone"]
    for name, sizes in rows.items():
        for size, row in sizes.items():
            rate = row["images_per_s"]
            share = rate / alone[size]["images_per_s"]
            what = f"{len(files[size])} of {size}"
            print(f"{name:20}{what:>18}{rate:11.1f}{share:13.2f}{row['peak_mb']:9,.0f}")
    for size in files:
        share = rows["seesay index"][size]["images_per_s"] / alone[size]["images_per_s"]
        verdict = "reached" if share >= GOAL else "MISSED "
        print(f"{verdict} {size}: {share:.2f} of the embedder alone (goal {GOAL:.2f})")


if __name__ == "__main__":
    main()
