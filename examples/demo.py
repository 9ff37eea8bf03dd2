"""What `make demo` runs: real photographs and words in both languages, compared by one model.

The model's weights are random, so the road is real and the similarities mean nothing.
"""

import tempfile
from pathlib import Path

import numpy as np

import seesay
from photographs import PHOTOGRAPHS, photographs
from random_model import write_random_model


def show(title: str, columns: list[str], rows: list[str], values: np.ndarray) -> None:
    width = max(map(len, rows)) + 2
    print(f"\n{title}\n{'':{width}}" + "".join(f"{name:>11}" for name in columns))
    for name, numbers in zip(rows, values, strict=True):
        print(f"{name:{width}}" + "".join(f"{number:>11.2f}" for number in numbers))


def main() -> None:
    print("The model is a tiny one with RANDOM weights. It has learnt nothing: pictures and words")
    print("go the whole way, but how similar they come out says nothing about them.")
    with tempfile.TemporaryDirectory() as folder:
        model = write_random_model(Path(folder) / "random")
        embedder = seesay.load(str(model), dtype="float32")  # the same digits on every machine
    files = photographs()
    images = embedder.embed_images(files)
    said = list(PHOTOGRAPHS.values())
    english = embedder.embed_texts([text for text, _ in said])
    chinese = embedder.embed_texts([text for _, text in said])

    print(f"\n{len(images)} photographs -> {len(images)} unit vectors of {embedder.dim} numbers")
    names = [file.stem for file in files]
    show("Picture against picture", names, names, images.vectors @ images.vectors.T)
    pairs = [(images.vectors * texts.vectors).sum(axis=1) for texts in (english, chinese)]
    rows = [f"{name}: {text}" for name, (text, _) in zip(names, said, strict=True)]
    show("Picture against what it shows, said in", ["English", "Chinese"], rows, np.stack(pairs, 1))


if __name__ == "__main__":
    main()
