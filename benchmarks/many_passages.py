"""Asking a collection of very many text passages: processor time and memory of each step.

    python benchmarks/many_passages.py                        # 200,000 passages
    python benchmarks/many_passages.py --passages 1000000 --folder build/many --keep

The passages are made: documents of 200 passages, one in ten Chinese, of invented words whose
frequencies fall off as those of real ones do (Zipf), some common words, and one fact in each
document. Texts and keywords go the way of the product into the collection; vectors are drawn around
random centres, because embedding a million texts would take hours and tells nothing here. Every
step runs in a process of its own; `peak` is the most memory it held, mapped files included.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import seesay
from seesay.search.catalog.drafts import PassageDraft, Place
from seesay.search.catalog.files import FileDraft
from seesay.search.collection import Collection
from seesay.search.indexing.fill import keep_up
from seesay.search.model import draft_of

IN_DOCUMENT = 200
AT_ONCE = 20  # documents stored by one transaction
WORDS = {"en": 30, "zh": 20}  # in a passage
COMMON = {
    "en": ("the", "library", "opened", "year", "people", "was", "in", "of"),
    "zh": ("的", "图书馆", "开放", "年", "人", "是", "在", "了"),
}
SHARES = (0.9, 0.3, 0.1, 0.5, 0.3, 0.6, 0.9, 0.8)
"""Of the passages that hold each of these."""
SYLLABLES = {
    "en": [a + b for a in "bdfgklmnprstvz" for b in "aeiou"],
    "zh": list("山水火木金土日月云风雨雪江河湖海花草树石田竹林松梅兰桃柳鹤鹿马牛羊鱼鸟虎龙凤"),
}
FACTS = {
    "en": "The library of {} was opened in the year {}.",
    "zh": "{}的图书馆是在{}年开放的。",
}
QUESTIONS = {
    "en": "In which year was the library of {} opened?",
    "zh": "{}的图书馆是哪一年开放的？",
}


def main() -> None:
    options = parse_arguments()
    if options.step:
        facts = STEPS[options.step](options.folder, options.passages)
        facts["peak"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        print(json.dumps(facts))
        return
    with folder_of(options) as folder:
        print(f"{options.passages:,} passages")
        for step in STEPS:
            command = [sys.executable, __file__, "--step", step, "--folder", str(folder)]
            run = subprocess.run(
                [*command, "--passages", str(options.passages)], capture_output=True, text=True
            )
            if run.returncode:
                raise RuntimeError(f"{step} ended early:\n{run.stderr}")
            for name, value in json.loads(run.stdout.splitlines()[-1]).items():
                unit = "MB" if name == "peak" else "s"
                print(f"{step:8} {name:28} {value:10,.3f} {unit}", flush=True)
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        print(f"{'disk':8} {'':28} {size / 1e6:10,.0f} MB")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Asking a collection of very many passages.")
    parser.add_argument("--passages", type=int, default=200_000)
    parser.add_argument("--folder", type=Path, help="where the collection goes: 5 kB a passage")
    parser.add_argument("--keep", action="store_true", help="leave the collection in the folder")
    parser.add_argument("--step", choices=list(STEPS), help="run this step alone, in --folder")
    return parser.parse_args()


@contextmanager
def folder_of(options: argparse.Namespace) -> Iterator[Path]:
    """The folder that was named, or one that is removed afterwards."""
    if options.folder and options.keep:
        yield options.folder
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        yield Path(name)


def fill(folder: Path, passages: int) -> dict[str, float]:
    """Texts, keywords and vectors into the collection's file, then the index."""
    rng = np.random.default_rng(0)
    words = {language: invented(language, rng) for language in SYLLABLES}
    with opened(folder, create=True) as collection:
        store, main = collection.store, collection.model.for_queries()
        texts = collection.text_model.for_queries()
        centres = rng.standard_normal((max(10, passages // 200), texts.dim), np.float32)
        with store.writing("space"):
            store.spaces.add(draft_of(main))
            space = store.spaces.add(draft_of(texts), "text")
            store.spaces.activate(space.id)

        def put() -> None:
            for start in range(0, passages // IN_DOCUMENT, AT_ONCE):
                numbers = range(start, min(start + AT_ONCE, passages // IN_DOCUMENT))
                drafts = [document(number, words, rng) for number in numbers]
                with store.writing("index"):
                    stored = store.files.put(drafts)
                    units = [unit for one in stored for unit in one.passages]
                    store.vectors.put(space.id, units, around(centres, len(units), rng))

        seconds = {"texts, keywords and vectors": timed(put)}
        seconds["index"] = timed(lambda: keep_up(store, space))
    return seconds


def invented(language: str, rng: np.random.Generator) -> list[str]:
    """Words of two or three syllables, the most frequent first."""
    known = SYLLABLES[language]
    drawn = rng.integers(0, len(known), (60_000, 3))
    joined = ("".join(known[n] for n in some[: 2 + some[0] % 2]) for some in drawn.tolist())
    return list(dict.fromkeys(joined))


def document(number: int, words: dict[str, list[str]], rng: np.random.Generator) -> FileDraft:
    language = language_of(number)
    known, gap = words[language], "" if language == "zh" else " "
    drawn = np.minimum(rng.zipf(1.1, (IN_DOCUMENT, WORDS[language])), len(known)) - 1
    held = rng.random((IN_DOCUMENT, len(SHARES))) < SHARES
    passages = []
    for row, common in zip(drawn.tolist(), held.tolist(), strict=True):
        own = [word for word, has in zip(COMMON[language], common, strict=True) if has]
        passages.append(gap.join([*(known[n] for n in row), *own]))
    passages[IN_DOCUMENT // 2] += f"。{fact(number)}" if language == "zh" else f". {fact(number)}"
    return FileDraft(
        path=f"/documents/{number % 100}/{number}.txt",
        media_type="text",
        content_hash=f"{number:032x}",
        size=1000 + number,
        mtime_ns=number * 1_000_000_000,
        passages=tuple(
            PassageDraft(
                modality="text", text=text, place=Place(offsets=(n * 1000, n * 1000 + 999))
            )
            for n, text in enumerate(passages)
        ),
    )


def language_of(number: int) -> str:
    """The language of a document."""
    return "zh" if number % 10 == 1 else "en"


def fact(number: int) -> str:
    return FACTS[language_of(number)].format(name(number), year(number))


def name(number: int) -> str:
    """A name that one document alone holds."""
    known = SYLLABLES[language_of(number)]
    digits = [number // len(known) ** power % len(known) for power in range(3)]
    if language_of(number) == "zh":
        return "阿" + "".join(known[one] for one in digits) + "城"
    return "Q" + "".join(known[one] for one in digits) + "ville"


def year(number: int) -> int:
    return 1500 + number % 500


def around(centres: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Unit vectors near the centres."""
    vectors = centres[rng.integers(0, len(centres), count)]
    vectors = vectors + 0.7 * rng.standard_normal(vectors.shape, np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def search(folder: Path, passages: int) -> dict[str, float]:
    """Searches by words: the first opens everything."""
    with opened(folder) as collection:
        seconds = {"first search": timed(lambda: collection.search("the library of tomorrow"))}
        for words in ("a library opened in a year", "图书馆开放的年份", f"{name(0)} library"):
            seconds[words] = timed(lambda words=words: collection.search(words))
        for retriever in ("text", "keyword"):
            one = [retriever]
            seconds[f"{retriever} alone"] = timed(
                lambda one=one: collection.search("library opened year", retrievers=one)
            )
    return seconds


def ask(folder: Path, passages: int) -> dict[str, float]:
    """Questions whose answer one passage holds, over everything and in a folder, and one without
    an answer. Raises RuntimeError for a wrong answer."""
    seconds: dict[str, float] = {}
    with opened(folder) as collection:
        seesay.ask("What is a lighthouse?", collection)
        for number in (0, 1):
            language = language_of(number)
            for where in ((), "file.size>=1000", f"file.folder=/documents/{number}"):
                question = QUESTIONS[language].format(name(number))
                step = f"{language} {where or 'everywhere'}"
                start = time.process_time()
                answer = seesay.ask(question, collection, where=where)
                seconds[step] = time.process_time() - start
                if str(year(number)) not in answer.text:
                    raise RuntimeError(f"{question} was answered {answer.text!r}")
        start = time.process_time()
        if seesay.ask("When was the library of Nowhere closed?", collection).claims:
            raise RuntimeError("an answer that is not there was given")
        seconds["no answer"] = time.process_time() - start
    return seconds


def change(folder: Path, passages: int) -> dict[str, float]:
    """One document anew, and one removed, with what `seesay index` does afterwards."""
    rng = np.random.default_rng(1)
    words = {language: invented(language, rng) for language in SYLLABLES}
    with opened(folder) as collection:
        store = collection.store
        space = store.spaces.active("text")
        draft = document(2, words, rng)

        def again() -> None:
            with store.writing("index"):
                (stored,) = store.files.put([draft])
                vectors = around(rng.standard_normal((1, space.dim), np.float32), IN_DOCUMENT, rng)
                store.vectors.put(space.id, list(stored.passages), vectors)

        seconds = {
            "a document anew": timed(again),
            "a document removed": timed(lambda: collection.remove("/documents/4/4.txt")),
            "missing vectors": timed(lambda: store.vectors.count_missing(space.id, held="text")),
            "index up to date": timed(lambda: keep_up(store, space)),
            "statistics": timed(collection.stats),
        }
    return seconds


def opened(folder: Path, create: bool = False) -> Collection:
    """The collection, with a model that loads in a moment."""
    model, texts = ("seesay-mini", "seesay-text") if create else (None, None)
    return Collection.open(folder / "collection", create=create, model=model, text_model=texts)


def timed(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


STEPS = {"fill": fill, "search": search, "ask": ask, "change": change}


if __name__ == "__main__":
    main()
