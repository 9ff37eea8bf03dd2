"""The contenders of benchmarks/embed.py: each loads a model folder and turns files into vectors.

Run as a script, one contender serves requests on stdin, so that it has a process of its own and
its peak memory is its own.
"""

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
import torchvision_shim  # noqa: F401  # before transformers

Run = Callable[[Sequence[str]], np.ndarray]
BATCH = 32


def tutorial(folder: str, device: str) -> Run:
    """What most tutorials show: open, process, encode and normalise one picture after another."""
    import torch
    from PIL import Image

    model, processor = _transformers(folder, device, torch.float32)

    def run(files: Sequence[str]) -> np.ndarray:
        vectors = []
        for file in files:
            image = Image.open(file)
            inputs = processor(images=image, return_tensors="pt").to(device)
            with torch.no_grad():
                features = model.get_image_features(**inputs).pooler_output
            features = features / features.norm(dim=-1, keepdim=True)
            vectors.append(features.cpu().numpy())
        return np.concatenate(vectors)

    return run


def transformers_fp32(folder: str, device: str) -> Run:
    import torch

    return _batched(folder, device, torch.float32)


def transformers_bf16(folder: str, device: str) -> Run:
    import torch

    return _batched(folder, device, torch.bfloat16)


def sentence_transformers(folder: str, device: str) -> Run:
    from PIL import Image
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(folder, device=device)
    options = dict(batch_size=BATCH, normalize_embeddings=True, show_progress_bar=False)

    def run(files: Sequence[str]) -> np.ndarray:
        parts = _in_batches(files)
        return np.concatenate([model.encode([Image.open(f) for f in p], **options) for p in parts])

    return run


def seesay(folder: str, device: str) -> Run:
    embedder = _seesay(folder, device)
    return lambda files: embedder.embed_images(files).vectors


def seesay_encode_only(folder: str, device: str) -> Run:
    """Our encoder and its threads alone: pictures are decoded once, before the first timing."""
    import torch

    from seesay.data.images import open_image
    from seesay.inference.devices import images_per_batch, map_in_order, worker_count

    embedder = _seesay(folder, device)
    squares: dict[str, torch.Tensor] = {}

    def run(files: Sequence[str]) -> np.ndarray:
        for file in files:
            if file not in squares:
                side = embedder.transform.config.size
                squares[file] = embedder.transform.pixels(open_image(file, target=side))
        workers = worker_count(embedder.device)
        most = images_per_batch(embedder.model.config, embedder.device, embedder.dtype)
        rounds = -(-len(files) // (workers * most))
        size = -(-len(files) // (workers * rounds))
        pixels = [block.numpy() for block in torch.stack([squares[f] for f in files]).split(size)]
        return np.concatenate(list(map_in_order(embedder.encoder.images, pixels, workers=workers)))

    return run


CONTENDERS = {
    "tutorial loop": tutorial,
    "transformers fp32": transformers_fp32,
    "transformers bf16": transformers_bf16,
    "sentence-transformers": sentence_transformers,
    "seesay": seesay,
    "seesay, encode only": seesay_encode_only,
}


def _transformers(folder: str, device: str, dtype):
    from transformers import CLIPModel, CLIPProcessor

    model = CLIPModel.from_pretrained(folder, dtype=dtype).to(device).eval()
    return model, CLIPProcessor.from_pretrained(folder)


def _batched(folder: str, device: str, dtype) -> Run:
    import torch
    from PIL import Image

    model, processor = _transformers(folder, device, dtype)

    def run(files: Sequence[str]) -> np.ndarray:
        vectors = []
        with torch.inference_mode():
            for part in _in_batches(files):
                images = [Image.open(file) for file in part]
                pixels = processor(images=images, return_tensors="pt")["pixel_values"]
                pixels = pixels.to(device, dtype)
                features = model.get_image_features(pixel_values=pixels).pooler_output.float()
                vectors.append(torch.nn.functional.normalize(features, dim=-1).cpu().numpy())
        return np.concatenate(vectors)

    return run


def _seesay(folder: str, device: str):
    import seesay

    return seesay.load(folder, device=device)


def _in_batches(files: Sequence[str]) -> list[Sequence[str]]:
    return [files[start : start + BATCH] for start in range(0, len(files), BATCH)]


def serve(name: str, folder: str, device: str) -> None:
    """Answer each line {"files": [...], "vectors": path} with seconds and peak memory."""
    answers = os.fdopen(os.dup(1), "w")  # libraries print their progress on stdout
    os.dup2(2, 1)
    run = CONTENDERS[name](folder, device)
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        start, start_cpu = time.perf_counter(), time.process_time()
        vectors = run(request["files"])
        answer = {
            "seconds": time.perf_counter() - start,
            "cpu_seconds": time.process_time() - start_cpu,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        if request.get("vectors"):
            np.save(request["vectors"], vectors)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=CONTENDERS)
    parser.add_argument("folder")
    parser.add_argument("device")
    options = parser.parse_args()
    serve(options.name, options.folder, options.device)
