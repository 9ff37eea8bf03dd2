"""Sort the pictures of a folder by what they show; what fits no class stays apart.

python examples/classify_folder.py MODEL FOLDER CLASS...
"""

import sys
from collections import defaultdict
from pathlib import Path

import seesay


def main(model: str, folder: str, classes: list[str]) -> None:
    files = seesay.list_images(Path(folder))
    result = seesay.Classifier(seesay.load(model), classes).classify(files)
    sorted_files = defaultdict(list)
    for row, prediction in zip(result.rows, result.predictions, strict=True):
        sorted_files[prediction.label or "none of these"].append(files[row].name)
    for failure in result.failures:
        print(failure.error, file=sys.stderr)
    for label, names in sorted_files.items():
        print(f"{label}: {', '.join(names)}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
