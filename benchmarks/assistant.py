"""What the built-in assistants see.

    python benchmarks/assistant.py [--model FOLDER] [--daquar held-out.csv] [--most 1000]

Captions of Flickr8k's dev photographs, greedy and by beam search (BLEU-4, ROUGE-L and CIDEr as
pycocoevalcap gives them; Chinese by characters and by words), the yes/no questions of POPE about
the 100 photographs of coco-tiny, built from their true labels, with and without contrastive
decoding, easy-VQA's last 300 pictures, and with `--daquar` what tools/daquar.py holds out of
DAQUAR, beside always giving the most frequent answer. Goals: CIDEr .50 in English; a yes-ratio of
.4 to .6; .75 of the random questions right; .95 of easy-VQA's.
"""

import argparse
import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import seesay
from seesay.data.questions.making import QuestionsConfig, make_questions
from seesay.data.questions.pope import Strategy
from seesay.data.sources import RecordsConfig
from seesay.evaluation.answers import Answers, normalized
from seesay.evaluation.captions import Captions
from seesay.evaluation.data_sets import iterate_records
from seesay.inference.assistant import LocalAssistant
from seesay.inference.generation import ContrastConfig

DATA = Path(__file__).parents[2] / "shared" / "data"
YES, NO = ("yes", "有"), ("no", "没有")
GOALS = {"en_cider": 0.50, "random accuracy": 0.75, "easy-VQA": 0.95}


def goal(name: str, value: float) -> str:
    if name not in GOALS:
        return ""
    return f"; goal {GOALS[name]:.2f} {'reached' if value >= GOALS[name] else 'missed'}"


def captions(assistant: LocalAssistant, most: int, beams: int) -> Iterator[tuple[str, float]]:
    path = str(DATA / "flickr8k-bilingual" / "dev-*.tar")
    yield from Captions(path=path, stop=most, max_tokens=40, beams=beams).measure(assistant)


def answered(
    assistant: LocalAssistant, records: RecordsConfig
) -> dict[str, list[tuple[str, str, str]]]:
    """By language, each question's picture, true answer and given answer: yes, no or its text."""
    found: dict[str, list[tuple[str, str, str]]] = {"en": [], "zh": []}
    for record in iterate_records(records):
        for language, asked in record.questions.items():
            given = assistant.ask_several(record.image, [q.question for q in asked], max_tokens=6)
            for one, answer in zip(asked, given, strict=True):
                found[language].append((record.key, one.answer, said(answer.text)))
    return {language: questions for language, questions in found.items() if questions}


def said(text: str) -> str:
    text = normalized(text)
    return next((one for one in (*YES, *NO) if text.startswith(one)), text)


def figures(answers: Sequence[tuple[str, str, str]], language: str) -> Mapping[str, float]:
    """POPE's figures."""
    at = ("en", "zh").index(language)
    yes, no = YES[at], NO[at]
    count = Counter((true, given) for _, true, given in answers)
    right, wrong, every = count[yes, yes], count[no, yes], len(answers)
    found = {"precision": right / max(right + wrong, 1)}
    found["recall"] = right / max(sum(n for (true, _), n in count.items() if true == yes), 1)
    found["F1"] = 2 * right / max(2 * right + wrong + (count[yes, no]), 1)
    accuracy = (right + count[no, no]) / every
    return {"accuracy": accuracy, **found, "yes": (right + wrong) / every, "questions": every}


def pope_questions(scratch: Path) -> Iterator[tuple[Strategy, RecordsConfig]]:
    """POPE's questions about coco-tiny, three present and three absent objects of a picture."""
    folder = DATA / "coco-tiny"
    table = RecordsConfig(
        path=str(folder / "annotations.jsonl"),
        format="table",
        columns={"image": "file_name"},
        images=str(folder / "images"),
    )
    for strategy in get_args(Strategy):
        out = scratch / f"{strategy}.jsonl"
        make_questions(table, QuestionsConfig(kind="pope", strategy=strategy, objects=3), out)
        yield strategy, replace(table, added=str(out))


def pope(assistant: LocalAssistant) -> None:
    contrasted = assistant.configured(replace(assistant.decoding, contrast=ContrastConfig()))
    print("POPE on coco-tiny          accuracy precision recall   F1   yes")
    with TemporaryDirectory() as scratch:
        for strategy, records in pope_questions(Path(scratch)):
            for name, one in (("", assistant), (" VCD", contrasted)):
                for language, answers in answered(one, records).items():
                    found = figures(answers, language)
                    shown = "  ".join(f"{found[k]:6.3f}" for k in [*found][:-1])
                    told = goal(f"{strategy} accuracy", found["accuracy"]) if not name else ""
                    print(f"  {strategy + name:<16} {language}  {shown}{told}", flush=True)


def daquar(assistant: LocalAssistant, held_out: Path, most: int) -> None:
    with held_out.with_name("train.csv").open(encoding="utf-8", newline="") as file:
        usual = Counter(row["answer"] for row in csv.DictReader(file)).most_common(1)[0][0]
    asked: Any = []
    records = RecordsConfig(path=str(held_out), format="table", languages=("en",), stop=most)
    for record in iterate_records(records):
        questions = record.questions["en"]
        given = assistant.ask_several(record.image, [q.question for q in questions], max_tokens=8)
        asked += [(one.answer, got.text) for one, got in zip(questions, given, strict=True)]
    right = sum(normalized(true) == normalized(got) for true, got in asked) / len(asked)
    base = sum(normalized(true) == normalized(usual) for true, _ in asked) / len(asked)
    print(f"DAQUAR: {right:.3f} of {len(asked):,} held-out questions; always {usual!r}: {base:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--model", default="seesay-assistant", help="another one, or a folder")
    parser.add_argument("--daquar", type=Path, help="held-out.csv, beside train.csv")
    parser.add_argument("--most", type=int, default=1000, help="photographs of each set")
    options = parser.parse_args()
    assistant = seesay.chat(options.model)
    print(f"{assistant.name}, at most {options.most:,} photographs of each set")
    shapes = Answers(
        path=str(DATA / "easy-vqa" / "train-*.tar"), languages=("en",), start=2700, questions=10
    )
    for _, value in shapes.measure(assistant):
        print(f"easy-VQA: {value:.3f}{goal('easy-VQA', value)}", flush=True)
    pope(assistant)
    if options.daquar:
        daquar(assistant, options.daquar, options.most)
    for beams in (1, 3, 5):
        for name, value in captions(assistant, options.most, beams):
            told = f"captions, beams {beams}: {name} {value:.3f}{goal(name, value)}"
            print(told, flush=True)


if __name__ == "__main__":
    main()
