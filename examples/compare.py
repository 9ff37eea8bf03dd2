"""Which of these pictures fits which of these texts best? Texts in Chinese and English together.

python examples/compare.py MODEL PICTURE... -- TEXT...
"""

import sys

import seesay


def main(model: str, pictures: list[str], texts: list[str]) -> None:
    embedder = seesay.load(model)
    images = embedder.embed_images(pictures)
    for failure in images.failures:
        print(failure.error, file=sys.stderr)
    cosines = images.vectors @ embedder.embed_texts(texts).vectors.T
    for row, picture in enumerate(images.rows):
        best = int(cosines[row].argmax())
        print(f"{pictures[picture]}: {texts[best]} ({cosines[row, best]:.3f})")


if __name__ == "__main__":
    middle = sys.argv.index("--")
    main(sys.argv[1], sys.argv[2:middle], sys.argv[middle + 1 :])
