"""What models are weak at, and what helps: binding, space, count, negation, detail and long texts.

    python benchmarks/limits.py seesay-mini seesay-base [runs/foils-flickr8k/model ...]
        [--assistant] [--language zh] [--category long] [--retrieval 400] [--json figures.json]

The contrasts are those of `seesay evaluate limits`. Printed are, in both languages,
- the accuracy of each model by category, with the 95 % interval over pictures, beside what texts
  alone give; a model that recipes/foils-flickr8k.toml has trained stands beside the one it started
  from, and with `--assistant` the built-in assistant is asked yes or no about each pair;
- long texts by their first window, by the mean of their windows and by the best window;
- of the texts "without": how often the picture without the thing is ranked above the other one, by
  the text as it stands, and by its parts as the search reads them (`read_clauses`);
- with `--retrieval`, recall among so many photographs of Flickr8k's dev split.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from seesay.data.formats.records import LANGUAGES
from seesay.data.questions.contrasts import CATEGORIES, Contrast
from seesay.evaluation.bootstrap import interval
from seesay.evaluation.composition import (
    Composition,
    right_texts,
    scores_by_windows,
    scores_of,
    values_of,
)
from seesay.evaluation.measure import evaluate
from seesay.evaluation.retrieval import Retrieval
from seesay.evaluation.suites import read_suite
from seesay.inference.assistant import chat
from seesay.inference.embedder import Embedder
from seesay.inference.matcher import load_comparing
from seesay.search.asking.words import read_clauses
from seesay.weights.catalog import default_assistant

DATA = Path(__file__).parents[1].parent / "shared" / "data"
WINDOWS = ("first", "mean", "max")
ASKED = ("attribute", "space", "count", "small", "sibling")
"""Categories whose captions fit into "Is there ... in the picture?"."""
Figures = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="*")
    parser.add_argument("--assistant", action="store_true")
    parser.add_argument("--language", choices=LANGUAGES)
    parser.add_argument("--category", action="append", choices=CATEGORIES)
    parser.add_argument("--retrieval", type=int, default=0)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()

    languages = (asked.language,) if asked.language else LANGUAGES
    # An assistant takes a quarter of a second for each pair.
    categories = asked.category or (CATEGORIES if asked.models else ASKED)
    contrasts = [one for measure in measures(languages, categories) for one in measure.contrasts]
    found: Figures = {}
    for name in asked.models:
        model = load_comparing(name)
        found[name] = figures(model, contrasts)
        if asked.retrieval and isinstance(model, Embedder):
            path = str(DATA / "flickr8k-bilingual" / "dev-*.tar")
            found[name]["retrieval"] = evaluate(model, [Retrieval(path=path, stop=asked.retrieval)])
        print(f"measured {name}", file=sys.stderr)
    if asked.assistant:
        some = [one for one in contrasts if one.category in ASKED]
        name = default_assistant()
        found[name] = {"values": dict(values_of(some, scores_of(chat(name), some), kinds_of(some)))}
    show(found, contrasts)
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=2), encoding="utf-8")


def measures(languages: Sequence[Any], categories: Sequence[str]) -> Iterator[Composition]:
    """Those of the built-in suite, of some categories."""
    for one in read_suite("limits", data=DATA).measures.values():
        if isinstance(one, Composition):
            some = tuple(name for name in one.categories if name in categories)
            if some:
                yield replace(one, categories=some, languages=languages)


def kinds_of(contrasts: Sequence[Contrast]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((one.language, one.category) for one in contrasts))


def figures(model: Any, contrasts: Sequence[Contrast]) -> Figures:
    """The values of all contrasts, and of a dual encoder those of each remedy."""
    kinds = kinds_of(contrasts)
    if not isinstance(model, Embedder):
        return {"values": dict(values_of(contrasts, scores_of(model, contrasts), kinds))}
    by_windows = scores_by_windows(model, contrasts, WINDOWS)
    plain = dict(values_of(contrasts, by_windows[0], kinds))
    windows = {}
    for language in dict.fromkeys(one.language for one in contrasts):
        long = [
            at
            for at, one in enumerate(contrasts)
            if (one.language, one.category) == (language, "long")
        ]
        if not long:
            continue
        keys = [contrasts[at].keys[0] for at in long]
        for name, scores in zip(WINDOWS, by_windows, strict=True):
            windows[f"{language} {name}"] = share([right_texts(scores[at])[0] for at in long], keys)
    return {"values": plain, "windows": windows, "negation": negation(model, contrasts)}


def negation(embedder: Embedder, contrasts: Sequence[Contrast]) -> Figures:
    """How often the picture without the thing has the higher score for the text that says so."""
    some = [one for one in contrasts if one.category == "negation"]
    if not some:
        return {}
    images = {key: image for one in some for key, image in zip(one.keys, one.images, strict=True)}
    vectors = embedder.embed_images(list(images.values())).vectors
    of_key = dict(zip(images, vectors, strict=True))
    found = {}
    for language in dict.fromkeys(one.language for one in some):
        chosen = [one for one in some if one.language == language]
        drawn = [one.keys[1] for one in chosen]
        for way, parts in (("whole", lambda text: [(text, 1.0)]), ("parsed", clauses)):
            hits = []
            for one in chosen:
                direction = combined(embedder, parts(one.captions[1]), vectors)
                having, without = (of_key[key] @ direction for key in one.keys)
                hits.append(without > having)
            found[f"{language} {way}"] = share(hits, drawn)
    return found


def clauses(text: str) -> list[tuple[str, float]]:
    return [(one.text, one.weight) for one in read_clauses(text)]


def combined(embedder: Embedder, parts: list[tuple[str, float]], images: Any) -> Any:
    """The direction of a query: each part by its weight, over the spread of its scores, as in the
    search."""
    vectors = embedder.embed_texts([text for text, _ in parts]).vectors
    return sum(
        weight * vector / (images @ vector).std()
        for (_, weight), vector in zip(parts, vectors, strict=True)
    )


def share(hits: Sequence[Any], keys: Sequence[str]) -> Figures:
    low, high = interval(np.array(hits, dtype=bool), keys)
    return {"accuracy": float(np.mean(hits)), "low": low, "high": high}


def show(found: Figures, contrasts: Sequence[Contrast]) -> None:
    for language, category in kinds_of(contrasts):
        some = [one for one in contrasts if (one.language, one.category) == (language, category)]
        show_category(f"{language}_{category}", some, found)
    for part in ("windows", "negation"):
        print(part)
        for model, figures in found.items():
            for name, one in figures.get(part, {}).items():
                print(f"    {short(model):20} {name:12} {within(one, '')}")
    print("retrieval")
    for model, figures in found.items():
        for name, value in figures.get("retrieval", {}).items():
            print(f"    {short(model):20} {name:22} {value:.3f}")


def show_category(kind: str, contrasts: Sequence[Contrast], found: Figures) -> None:
    values = next(iter(found.values()))["values"]
    pictures = len({key for one in contrasts for key in one.keys})
    print(
        f"{kind:14} {len(contrasts):4} contrasts {pictures:4} pictures  "
        f"chance {values[f'{kind}_chance']:.2f}  usual text {values[f'{kind}_blind']:.2f}  "
        f"longer text {values[f'{kind}_longer']:.2f}"
    )
    for model, figures in found.items():
        if f"{kind}_accuracy" in figures["values"]:
            group = figures["values"].get(f"{kind}_group")
            rest = "" if group is None else f"  group {group:.2f}"
            print(f"    {short(model):20} {within(figures['values'], f'{kind}_')}{rest}")


def within(values: Figures, kind: str) -> str:
    accuracy, low, high = (values[f"{kind}{name}"] for name in ("accuracy", "low", "high"))
    return f"{accuracy:.2f} [{low:.2f}, {high:.2f}]"


def short(model: str) -> str:
    """The run of a trained model."""
    path = Path(model)
    return path.parent.name if path.name == "model" else model


if __name__ == "__main__":
    main()
