"""Which pictures of a folder look most like this one?

python examples/find_similar.py MODEL FOLDER PICTURE
"""

import sys
from pathlib import Path

import numpy as np

import seesay


def main(model: str, folder: str, picture: str) -> None:
    embedder = seesay.load(model)
    files = seesay.list_images(Path(folder))
    images = embedder.embed_images(files)
    query = embedder.embed_images([picture]).vectors[0]
    cosines = images.vectors @ query
    for row in np.argsort(-cosines)[:5]:
        print(f"{cosines[row]:.3f} {files[images.rows[row]].name}")


if __name__ == "__main__":
    main(*sys.argv[1:])
