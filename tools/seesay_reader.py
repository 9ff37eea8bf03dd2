"""Train the reader that finds the sentences of an answer, from seesay-text.

    python tools/seesay_reader.py FOLDER --squad cmrc2018_dev.json DRCD_dev.json xquad.en.json ...

First it learns from questions in the format of SQuAD, whose passages are cut to the size of a
collection's. Other parts of a passage, and questions marked impossible, count as unanswered. Then
it learns from the sets of benchmarks/reading, with the passages that a collection finds for each
question, except those used for testing or for choosing the threshold and the rules. The table of
tokens stays as it is, so that only the layers are stored.

Takes two and a half hours on two cores that compute in bfloat16; `--first FILE` skips the first
part, whose weights were kept in FOLDER.first.pt. The weights that come with seesay were made with
another random draw of the first part, stopped after 1,100 steps.
"""

import argparse
import csv
import json
import random
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from quoting import FITTED, SETS, TEST, Asked, indexed, read_set

from seesay.data.spelling import simplified, visible
from seesay.inference.embedder import load
from seesay.rag.evidence import Evidence, gather
from seesay.rag.questions import Question
from seesay.rag.reading import sentences_of
from seesay.text import HAN
from seesay.weights.catalog import BUILT_IN_TEXTS, find
from seesay.weights.quantization import SCALE, is_stored_in_8_bits, quantize

QUESTION, ROW = 64, 448
"""Most tokens of a question and of a row, as in inference/reader.py."""
TOKENS = 4096  # of a batch, padding included
FIRST = ((1.5e-4, 13_000), (8e-5, 11_000))
"""Learning rate and examples of each pass of the first part."""
SECOND = (1e-4, 2)
"""Learning rate of the second part, and how often it draws passages for each question."""
JOINED = 0.2
"""Share of questions that are also asked of a page on which other texts stand around the answer."""
WARM_UP = 0.06
END = re.compile(r"(?<=[。！？；])|(?<=[.!?])\s|\n")


@dataclass(frozen=True, kw_only=True)
class Example:
    """A question and the sentences of a passage."""

    question: str
    title: str
    sentences: tuple[str, ...]
    answer: tuple[int, int, int] | None = None
    """Number of the sentence that answers, and where the answer begins and ends in it."""


@dataclass(frozen=True, kw_only=True)
class Encoded:
    ids: list[int]
    start: int = 0
    """Token at which the answer begins; 0 without one."""
    end: int = 0


def from_squad(file: Path, rng: random.Random) -> Iterator[Example]:
    """Yields examples of a file; Chinese is simplified, character by character."""
    for article in json.loads(file.read_text(encoding="utf-8"))["data"]:
        title = (article.get("title") or "").replace("_", " ").translate(simplified())
        passages = [one["context"].translate(simplified()) for one in article["paragraphs"]]
        for at, paragraph in enumerate(article["paragraphs"]):
            for one in paragraph["qas"]:
                given = title if rng.random() < 0.6 else ""
                question = one["question"].translate(simplified()).strip()
                yield from _examples(question, given, one, passages, at, rng)


def _examples(
    question: str,
    title: str,
    one: dict,
    passages: Sequence[str],
    at: int,
    rng: random.Random,
) -> Iterator[Example]:
    context = passages[at]
    size = rng.uniform(100, 320) if HAN.search(question) else rng.uniform(200, 650)
    answers = [] if one.get("is_impossible") else one["answers"]
    if not answers:
        for plausible in (one.get("plausible_answers") or [])[:1]:
            where = plausible["answer_start"], plausible["answer_start"] + len(plausible["text"])
            first, last = cut(context, *where, size, rng)
            yield example(question, title, context[first:last])
        return
    text = answers[0]["text"].translate(simplified())
    start = answers[0]["answer_start"]
    if context[start : start + len(text)] != text and (start := context.find(text)) < 0:
        return
    first, last = cut(context, start, start + len(text), size, rng)
    where = start - first, start - first + len(text)
    yield example(question, title, context[first:last], where)
    others = [part for part in (context[:first], context[last:]) if len(part) > 60]
    others += [*passages[:at], *passages[at + 1 :]]
    others = [part for part in others if text not in part]
    if others and rng.random() < 0.5:
        other = rng.choice(others)
        middle = rng.randrange(len(other))
        first, last = cut(other, middle, middle + 1, size, rng)
        yield example(question, title, other[first:last])


def example(
    question: str,
    title: str,
    text: str,
    answer: tuple[int, int] | None = None,
    *,
    is_table: bool = False,
) -> Example:
    """Returns a passage as the reader sees it; `answer` is where the answer stands in the text."""
    stated = sentences_of(text, is_table=is_table)
    place = None
    for number, ((first, last), said) in enumerate(stated):
        if answer and place is None and answer[0] < last and answer[1] > first:
            expected = " ".join(text[answer[0] : min(answer[1], last)].split())
            at = said.find(expected)
            place = (number, at, at + len(expected)) if at >= 0 else (number, 0, len(said))
    return Example(
        question=question, title=title, sentences=tuple(said for _, said in stated), answer=place
    )


def cut(text: str, start: int, end: int, size: float, rng: random.Random) -> tuple[int, int]:
    """Returns where about `size` characters of whole sentences around a span begin and end."""
    ends = sorted({0, *(match.end() for match in END.finditer(text)), len(text)})
    low = max(n for n, at in enumerate(ends) if at <= start)
    high = min((n for n, at in enumerate(ends) if at >= end), default=len(ends) - 1)
    while ends[high] - ends[low] < size and (low > 0 or high < len(ends) - 1):
        if low > 0 and (high == len(ends) - 1 or rng.random() < 0.5):
            low -= 1
        else:
            high += 1
    return ends[low], ends[high]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a collection finds for a question: passages with the answer, and others, best first."""

    with_answer: tuple[Example, ...]
    others: tuple[Example, ...]
    is_answerable: bool


def from_set(name: str) -> Iterator[Found]:
    """Yields the passages for each question of a set. If none of them has the answer, its sentence
    is searched for."""
    documents, questions = read_set(name)
    with (
        TemporaryDirectory() as folder,
        closing(indexed(documents, Path(folder), words_first=True)) as collection,
    ):
        for asked in questions:
            some = [_found(asked, one) for one in gather(collection, Question.of(asked.question))]
            if asked.sentence and all(one.answer is None for one in some):
                more = gather(collection, Question.of(asked.sentence))
                some += [one for one in (_found(asked, one) for one in more) if one.answer][:1]
            yield Found(
                with_answer=tuple(one for one in some if one.answer),
                others=tuple(one for one in some if one.answer is None),
                is_answerable=bool(asked.expected),
            )


def _found(asked: Asked, found: Evidence) -> Example:
    where, is_table = None, found.kind == "table"
    if asked.file == Path(found.path).name and asked.sentence:
        cells = " | ".join(next(csv.reader([asked.sentence]))) if is_table else asked.sentence
        where = place(found.text, cells, asked.expected)
    title = visible(Path(found.path).stem)
    return example(asked.question, title, found.text, where, is_table=is_table)


def drawn(sets: Sequence[Sequence[Found]], rng: random.Random) -> Iterator[Example]:
    """Yields passages with the answer and one without; of a question without an answer the best
    one, which deceives most, and another."""
    every = [one for some in sets for found in some for one in found.others[:2]]
    for found in (one for some in sets for one in some):
        near = found.others[:6]
        if found.with_answer:
            yield from (*found.with_answer[:2], *rng.sample(near, min(len(near), 1)))
            if rng.random() < JOINED:
                yield joined(found.with_answer[0], rng.choice(every), rng)
        elif near and not found.is_answerable:
            yield from (near[0], *rng.sample(near[1:], min(len(near) - 1, 1)))


def joined(one: Example, other: Example, rng: random.Random) -> Example:
    """Returns a page that holds another text before or after the one with the answer."""
    assert one.answer is not None
    title = rng.choice([one.title, other.title])
    if rng.random() < 0.5:
        return replace(one, title=title, sentences=(*one.sentences, *other.sentences))
    number, start, end = one.answer
    return replace(
        one,
        title=title,
        sentences=(*other.sentences, *one.sentences),
        answer=(number + len(other.sentences), start, end),
    )


def place(text: str, sentence: str, expected: Sequence[str]) -> tuple[int, int] | None:
    """Returns where the expected words stand in a sentence of a text, or else the sentence."""
    found = re.search(r"\s+".join(map(re.escape, sentence.split())), text)
    if found is None:
        return None
    for one in expected:
        if (at := text.find(one, *found.span())) >= 0:
            return at, at + len(one)
    return found.span()


class Encoder:
    """Examples -> tokens, sentence by sentence as the reader gets them."""

    def __init__(self, folder: Path) -> None:
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        first, last, pad = map(self._tokenizer.token_to_id, ("<s>", "</s>", "<pad>"))
        self.first, self.last, self.pad = first, last, pad

    def __call__(self, one: Example) -> Iterator[Encoded]:
        """Yields the row with the answer, or the first one if there is none; nothing if the answer
        lies beyond the longest row."""
        rows = [*self._rows(one)]
        yield from [row for row in rows if row.start] if one.answer else rows[:1]

    def _rows(self, one: Example) -> Iterator[Encoded]:
        """Yields rows of whole sentences, as the reader gets them."""
        question = self._ids(f"query: {one.question}").ids[:QUESTION]
        head = [self.first, *question, self.last, self.last]
        head += self._ids(f"passage: {one.title}").ids[:QUESTION]
        ids, start, end = [*head], 0, 0
        for number, sentence in enumerate(one.sentences):
            tokens = self._ids(sentence)
            kept = tokens.ids[: ROW - len(head) - 1]
            if len(ids) > len(head) and len(ids) + len(kept) >= ROW:
                yield Encoded(ids=[*ids, self.last], start=start, end=end)
                ids, start, end = [*head], 0, 0
            if one.answer and one.answer[0] == number:
                _, low, high = one.answer
                places = enumerate(tokens.offsets[: len(kept)], start=len(ids))
                hit = [at for at, (x, y) in places if low < y and x < high and x < y]
                start, end = (hit[0], hit[-1]) if hit else (0, 0)
            ids += kept
        if len(ids) > len(head):
            yield Encoded(ids=[*ids, self.last], start=start, end=end)

    def _ids(self, text: str):
        return self._tokenizer.encode(text, add_special_tokens=False)


class Reader(nn.Module):
    """Token ids -> how likely the answer begins and ends at each token."""

    def __init__(self, pad: int) -> None:
        super().__init__()
        self.pad = pad
        self.text = load(BUILT_IN_TEXTS, device="cpu", dtype="float32").model.text
        self.spans = nn.Linear(self.text.config.dim, 2)
        for kept in (self.text.token_embed.weight, self.text.positions, self.text.types):
            kept.requires_grad_(False)

    def forward(self, ids: Tensor) -> Tensor:
        logits = self.spans(self.text.features(ids)).float()
        return logits.masked_fill((ids == self.pad)[..., None], -1e4)


def batches(encoded: Sequence[Encoded], rng: random.Random) -> list[list[Encoded]]:
    """Returns batches of rows of about the same length, in random order."""
    some: list[list[Encoded]] = [[]]
    for one in sorted(encoded, key=lambda one: len(one.ids) + 20 * rng.random()):
        longest = max(len(other.ids) for other in (one, *some[-1]))
        if longest * (len(some[-1]) + 1) > TOKENS:
            some.append([])
        some[-1].append(one)
    rng.shuffle(some)
    return some


def train(
    model: Reader, passes: Sequence[Sequence[Encoded]], rate: float, rng: random.Random
) -> None:
    todo = [batch for encoded in passes for batch in batches(encoded, rng)]
    learnt = [one for one in model.parameters() if one.requires_grad]
    groups = [
        {"params": [one for one in learnt if one.ndim > 1], "weight_decay": 0.01},
        {"params": [one for one in learnt if one.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=rate)
    began, mean = time.monotonic(), 0.0
    model.train()
    for step, batch in enumerate(todo):
        share = min(1, (step + 1) / (WARM_UP * len(todo) + 1)) * (1 - step / len(todo))
        for group in optimizer.param_groups:
            group["lr"] = rate * share
        rows = [torch.tensor(one.ids) for one in batch]
        ids = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=model.pad)
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(ids)
        starts, ends = (torch.tensor([getattr(one, k) for one in batch]) for k in ("start", "end"))
        loss = (cross_entropy(logits[..., 0], starts) + cross_entropy(logits[..., 1], ends)) / 2
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(learnt, 1.0)
        optimizer.step()
        mean = loss.item() if not step else 0.98 * mean + 0.02 * loss.item()
        if step % 25 == 0:
            took = time.monotonic() - began
            print(f"{step}/{len(todo)}  loss {mean:.3f}  {took:.0f} s", flush=True)


def save(model: Reader, folder: Path, base: Path) -> None:
    """Writes what was trained, large weights in 8 bits."""
    tensors: dict[str, Tensor] = {}
    for name, value in trained(model).items():
        if is_stored_in_8_bits(name, tuple(value.shape)) and name.startswith("text."):
            numbers, scales = quantize(value.numpy())
            tensors[name], tensors[name + SCALE] = map(torch.from_numpy, (numbers, scales))
        else:
            tensors[name] = value.contiguous()
    described = json.loads((base / "seesay.json").read_text(encoding="utf-8"))
    text = {"tower": "bert", **asdict(model.text.config)}
    kept = {"format": 1, "family": "reader", "base": base.name, "model": {"text": text}}
    kept["tokenizer"] = described["tokenizer"]
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors")
    (folder / "seesay.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def trained(model: Reader) -> dict[str, Tensor]:
    learnt = {name for name, one in model.named_parameters() if one.requires_grad}
    return {name: one.detach() for name, one in model.state_dict().items() if name in learnt}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--squad", type=Path, nargs="+", default=[])
    parser.add_argument("--first", type=Path, help="weights after the first part")
    args = parser.parse_args()
    torch.manual_seed(0)
    rng = random.Random(1)
    base = find(BUILT_IN_TEXTS).built_in
    encoder = Encoder(base)
    model = Reader(encoder.pad)
    kept = args.folder.with_name(f"{args.folder.name}.first.pt")
    if args.first:
        model.load_state_dict(model.state_dict() | torch.load(args.first))
    else:
        for rate, count in FIRST:
            some = [one for file in args.squad for one in from_squad(file, rng)]
            rows = (row for one in rng.sample(some, min(count, len(some))) for row in encoder(one))
            train(model, [[*rows]], rate, rng)
        torch.save(trained(model), kept)
    names = sorted(one.stem for one in SETS.glob("*.json") if one.stem not in (*TEST, *FITTED))
    sets = [[*from_set(name)] for name in names]
    rate, epochs = SECOND
    passes = [[row for one in drawn(sets, rng) for row in encoder(one)] for _ in range(epochs)]
    train(model, passes, rate, rng)
    save(model, args.folder, base)


if __name__ == "__main__":
    main()
