"""What `make demo` runs: real photographs and words in both languages, compared by one model.

The model's weights are random, so the road is real and the similarities mean nothing.
"""

import tempfile
import time
from pathlib import Path

import numpy as np

import seesay
from photographs import PHOTOGRAPHS, photographs
from random_model import write_random_model


def show(title: str, rows: list[str], columns: list[str], values: np.ndarray) -> None:
    print(f"\n{title}")
    print(" " * 11 + "".join(f"{name:>11}" for name in columns))
    for name, row in zip(rows, values, strict=True):
        print(f"{name:<11}" + "".join(f"{value:>11.2f}" for value in row))


def main() -> None:
    files = photographs()
    names = [file.stem for file in files]
    print("The model: a tiny one with RANDOM weights. It has learnt nothing: the pictures and")
    print("words go the whole way, but how similar they come out says nothing about them.")
    with tempfile.TemporaryDirectory() as folder:
        embedder = seesay.load(write_random_model(Path(folder) / "random"))

    began = time.perf_counter()
    images = embedder.embed_images(files)
    seconds = time.perf_counter() - began
    texts = embedder.embed_texts([text for pair in PHOTOGRAPHS.values() for text in pair])

    print(
        f"\n{len(images)} photographs -> {len(images)} unit vectors of {embedder.dim} numbers",
        end="",
    )
    print(f" in {seconds:.2f} s")
    show("Picture against picture", names, names, images.vectors @ images.vectors.T)
    sentences = ["en", "zh"] * len(names)
    numbers = images.vectors @ texts.vectors.T
    own = np.stack([numbers[row, 2 * row : 2 * row + 2] for row in range(len(names))])
    show("Picture against what it shows, in English and in Chinese", names, sentences[:2], own)


if __name__ == "__main__":
    main()
