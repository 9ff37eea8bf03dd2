"""Write tables of DAQUAR, questions about indoor photographs, as `recipes/seesay-assistant.toml`
reads them.

    python tools/daquar.py FOLDER OUT

FOLDER holds `all_qa_pairs.txt`, `train_images_list.txt`, `test_images_list.txt` and `images/`
(Malinowski and Fritz, NIPS 2014; photographs of NYU Depth V2). OUT gets `train.csv` and
`held-out.csv`, with a path, a question and its answer in each row, divided by photograph as the
authors did. Answers lose their underscores.
"""

import argparse
import csv
import re
from pathlib import Path

LISTS = {"train": "train_images_list.txt", "held-out": "test_images_list.txt"}
ASKED = re.compile(r"(?P<question>.+?)(?: in| of)?(?: the| this)? *(?P<image>image\d+) *\?")


def read(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """Returns questions and answers by the name of their photograph. A line of the file is a
    question, the next its answer."""
    lines = (folder / "all_qa_pairs.txt").read_text(encoding="utf-8").splitlines()
    found: dict[str, list[tuple[str, str]]] = {}
    for question, answer in zip(lines[::2], lines[1::2], strict=True):
        asked = ASKED.fullmatch(question.strip())
        if asked is None:
            raise SystemExit(f"{question!r} names no photograph, expected '... in the image7 ?'")
        pair = f"{asked['question'].strip()}?", answer.strip().replace("_", " ")
        found.setdefault(asked["image"], []).append(pair)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("folder", type=Path, help="with all_qa_pairs.txt and images/")
    parser.add_argument("out", type=Path, help="where the two tables go")
    options = parser.parse_args()
    questions = read(options.folder)
    options.out.mkdir(parents=True, exist_ok=True)
    for part, names in LISTS.items():
        images = (options.folder / names).read_text(encoding="utf-8").split()
        with (options.out / f"{part}.csv").open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["image", "question", "answer"])
            for image in images:
                path = (options.folder / "images" / f"{image}.png").resolve()
                rows.writerows([path, *pair] for pair in questions.get(image, []))
        asked = sum(len(questions.get(image, [])) for image in images)
        print(f"{part}.csv: {asked:,} questions about {len(images):,} photographs")


if __name__ == "__main__":
    main()
