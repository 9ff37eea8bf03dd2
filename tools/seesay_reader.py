"""Train the reader that finds the sentences of an answer, from seesay-text.

    python tools/seesay_reader.py FOLDER --squad cmrc2018_dev.json DRCD_dev.json xquad.en.json ...

First it learns from questions in the format of SQuAD, whose passages are cut to the size that a
collection has; without an answer are a passage's other parts and those questions that say so. Then
it learns from the sets of benchmarks/reading, with the passages that a collection finds for each
question, but "mixed", which tests it, and "knowledge", which the weights of rag/quoting.py are
fitted to. The table of tokens stays as it is, so that only the layers are stored.

Takes an hour and a half on two cores that compute in bfloat16; `--first FILE` begins with the
second part, from what the first left in FOLDER.first.pt. The weights that come with seesay were
made with 600 of the 949 steps of the first part.
"""

import argparse
import json
import random
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from quoting import FITTED, SETS, TEST, indexed, read_set

from seesay.data.spelling import simplified
from seesay.inference.embedder import load
from seesay.rag.evidence import gather
from seesay.rag.questions import Question
from seesay.rag.sentences import stating_sentences
from seesay.text import HAN
from seesay.weights.catalog import BUILT_IN_TEXTS, find
from seesay.weights.quantization import SCALE, is_stored_in_8_bits, quantize

QUESTION, ROW = 64, 448
"""Most tokens of a question and of a row, as in inference/reader.py."""
TOKENS = 4096  # of a batch, padding included
FIRST_PART = 21_000  # examples
NEGATIVES = 2  # other passages for each question of the second part
FIRST = (1.5e-4, 1)
"""Learning rate and epochs of the first part."""
SECOND = ((8e-5, 2), (6e-5, 1))
"""Those of the second part, which draws other passages each time."""
WARM_UP = 0.06
_END = re.compile(r"(?<=[。！？；])|(?<=[.!?])\s|\n")


@dataclass(frozen=True, kw_only=True)
class Example:
    """A question and a passage, with where the answer stands in it, if it does."""

    question: str
    title: str
    passage: str
    answer: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class Encoded:
    ids: list[int]
    start: int = 0
    """Token at which the answer begins; 0 without one."""
    end: int = 0


def from_squad(file: Path, rng: random.Random) -> Iterator[Example]:
    """Yields examples of a file; Chinese is simplified, a character for a character."""
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
            yield Example(question=question, title=title, passage=context[first:last])
        return
    text = answers[0]["text"].translate(simplified())
    start = answers[0]["answer_start"]
    if context[start : start + len(text)] != text and (start := context.find(text)) < 0:
        return
    first, last = cut(context, start, start + len(text), size, rng)
    where = start - first, start - first + len(text)
    yield Example(question=question, title=title, passage=context[first:last], answer=where)
    others = [part for part in (context[:first], context[last:]) if len(part) > 60]
    others += [*passages[:at], *passages[at + 1 :]]
    others = [part for part in others if text not in part]
    if others and rng.random() < 0.5:
        other = rng.choice(others)
        middle = rng.randrange(len(other))
        first, last = cut(other, middle, middle + 1, size, rng)
        yield Example(question=question, title=title, passage=other[first:last])


def cut(text: str, start: int, end: int, size: float, rng: random.Random) -> tuple[int, int]:
    """Returns where about `size` characters of whole sentences around a span begin and end."""
    ends = sorted({0, *(match.end() for match in _END.finditer(text)), len(text)})
    low = max(n for n, at in enumerate(ends) if at <= start)
    high = min((n for n, at in enumerate(ends) if at >= end), default=len(ends) - 1)
    while ends[high] - ends[low] < size and (low > 0 or high < len(ends) - 1):
        if low > 0 and (high == len(ends) - 1 or rng.random() < 0.5):
            low -= 1
        else:
            high += 1
    return ends[low], ends[high]


def from_set(name: str, rng: random.Random) -> Iterator[Example]:
    """Yields the passages that a collection finds for each question: those with the answer, and
    some of the others."""
    documents, questions = read_set(name)
    with TemporaryDirectory() as folder, closing(indexed(documents, Path(folder))) as collection:
        for asked in questions:
            with_answer, others = [], []
            for found in gather(collection, Question.of(asked.question)):
                where = None
                if asked.file == Path(found.path).name:
                    where = place(found.text, asked.sentence, asked.expected)
                one = Example(
                    question=asked.question,
                    title=Path(found.path).stem,
                    passage=found.text,
                    answer=where,
                )
                (others if where is None else with_answer).append(one)
            if asked.expected:
                count = min(len(others[:6]), NEGATIVES if with_answer else 0)
                yield from [*with_answer, *rng.sample(others[:6], count)]
            elif others:  # the best passage deceives most
                yield from [others[0], *rng.sample(others[1:6], min(len(others[1:6]), NEGATIVES))]


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

    def __call__(self, one: Example) -> Encoded | None:
        """Returns None if the answer lies beyond the end of the row."""
        question = self._ids(f"query: {one.question}").ids[:QUESTION]
        ids = [self.first, *question, self.last, self.last]
        ids += self._ids(f"passage: {one.title}").ids[:QUESTION]
        start = end = 0
        for a, b in stating_sentences(one.passage):
            tokens = self._ids(one.passage[a:b])
            if len(ids) + len(tokens.ids) + 1 > ROW:
                break
            if one.answer is not None and not start and one.answer[0] < b and one.answer[1] > a:
                low, high = one.answer[0] - a, one.answer[1] - a
                hit = [
                    n for n, (x, y) in enumerate(tokens.offsets) if low < y and x < high and x < y
                ]
                if hit:
                    start, end = len(ids) + hit[0], len(ids) + hit[-1]
            ids += tokens.ids
        if one.answer is not None and not start:
            return None
        return Encoded(ids=[*ids, self.last], start=start, end=end)

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
    model: Reader, encoded: Sequence[Encoded], rate: float, epochs: int, rng: random.Random
) -> None:
    todo = [batch for _ in range(epochs) for batch in batches(encoded, rng)]
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
    """Writes what was trained, in 8 bits."""
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
    kept = args.folder.with_suffix(".first.pt")
    if args.first:
        model.load_state_dict(model.state_dict() | torch.load(args.first))
    else:
        some = [one for file in args.squad for one in from_squad(file, rng)]
        rng.shuffle(some)
        train(model, [*filter(None, map(encoder, some[:FIRST_PART]))], *FIRST, rng)
        torch.save(trained(model), kept)
    names = sorted(one.stem for one in SETS.glob("*.json") if one.stem not in (TEST, FITTED))
    for rate, epochs in SECOND:
        some = [one for name in names for one in from_set(name, rng)]
        train(model, [*filter(None, map(encoder, some))], rate, epochs, rng)
    save(model, args.folder, base)


if __name__ == "__main__":
    main()
