"""Whether training on preferences keeps an assistant from seeing what is not there.

    python benchmarks/preference.py [runs/dpo-seeds/*/model] [--before NAME] [--most 200]

The models are one recipe with several seeds. Asked are POPE's yes/no questions about the 100
photographs of coco-tiny, and questions of the trained kind about the first `--most` photographs of
Flickr8k's dev split, none of which was trained on: accuracy, F1 and the share of "yes" before,
after (mean and standard deviation over the seeds), and the difference, with the interval in which
95 % of the differences lie when the photographs are drawn anew. CIDEr of these dev photographs
shows what captions lose.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from assistant import DATA, answered, captions, figures, pope_questions

import seesay
from seesay.data.questions.making import QuestionsConfig, make_questions
from seesay.data.sources import RecordsConfig

Answer = tuple[str, str, str]
Given = Mapping[tuple[str, str], Sequence[Answer]]
"""By set of questions and language, what a model answers."""
SHOWN = ("accuracy", "F1", "yes")
RESAMPLES = 500


def asked(scratch: Path, most: int) -> Iterator[tuple[str, RecordsConfig]]:
    """The questions by name: POPE's, and those about dev photographs."""
    yield from pope_questions(scratch)
    records = RecordsConfig(path=str(DATA / "flickr8k-bilingual" / "dev-*.tar"), stop=most)
    out = scratch / "dev.jsonl"
    make_questions(records, QuestionsConfig(kind="preferences", objects=3), out)
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        row["qa"] = [one for one in row["qa"] if one["kind"] == "presence"]
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows if row["qa"]]
    out.write_text("".join(lines), encoding="utf-8")
    yield "Flickr8k dev", replace(records, added=str(out))


def ask(model: str, most: int) -> tuple[Given, Mapping[str, float]]:
    """A model's answers to POPE's questions, and the measures of its captions."""
    assistant = seesay.chat(model)
    with TemporaryDirectory() as scratch:
        given = {
            (strategy, language): answers
            for strategy, records in asked(Path(scratch), most)
            for language, answers in answered(assistant, records).items()
        }
    return given, dict(captions(assistant, most, 1))


def difference(
    before: Sequence[Answer], after: Sequence[Sequence[Answer]], value: Callable[..., float]
) -> tuple[float, float, float]:
    """The mean difference over the seeds, and the middle 95 % of it over drawn photographs."""
    rows: dict[str, list[int]] = {}
    for at, (picture, _, _) in enumerate(before):
        rows.setdefault(picture, []).append(at)
    groups = list(rows.values())

    def mean(chosen: Sequence[int]) -> float:
        at = [row for one in chosen for row in groups[one]]
        reference = value([before[row] for row in at])
        return float(np.mean([value([one[row] for row in at]) - reference for one in after]))

    random, count = np.random.default_rng(0), len(groups)
    drawn = [mean(random.integers(count, size=count).tolist()) for _ in range(RESAMPLES)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return mean(range(count)), float(low), float(high)


def over_seeds(values: Sequence[float]) -> str:
    spread = np.std(values, ddof=1) if len(values) > 1 else 0.0
    return f"{np.mean(values):5.3f} ± {spread:5.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("models", nargs="*", help="trained models, one for each seed")
    parser.add_argument("--before", default="seesay-assistant", help="the model they began as")
    parser.add_argument("--most", type=int, default=200, help="photographs with captions")
    parser.add_argument("--processes", type=int, default=2, help="models asked at a time")
    options = parser.parse_args()
    models = options.models or sorted(map(str, Path("runs/dpo-seeds").glob("*/model")))
    if not models:
        parser.exit(message="no trained models: run seesay sweep recipes/dpo-seeds.toml first\n")
    with ProcessPoolExecutor(options.processes, get_context("spawn")) as pool:
        found = [*pool.map(partial(ask, most=options.most), [options.before, *models])]
    (before, captions_before), *trained_ones = found
    after, captions_after = zip(*trained_ones, strict=True)
    print(f"{options.before}, and {len(after)} trained from it")
    print(f"{'':15}{'':4}{'':10}before    after           difference")
    for key, answers in before.items():
        trained = [one[key] for one in after]
        for name in SHOWN:

            def value(some: Sequence[Answer], name: str = name, language: str = key[1]) -> float:
                return figures(some, language)[name]

            each = [value(one) for one in trained]
            mean, low, high = difference(answers, trained, value)
            print(
                f"{key[0]:<15}{key[1]:<4}{name:<10}{value(answers):5.3f}   "
                f"{over_seeds(each)}   "
                f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"
            )
    for name, value_before in captions_before.items():
        each = [one[name] for one in captions_after]
        print(f"captions {name:<20}{value_before:5.3f}   {over_seeds(each)}")


if __name__ == "__main__":
    main()
