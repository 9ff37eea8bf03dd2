"""The built-in reader: finds the sentences that answer a question, using numpy alone.

    page = Page(title="Flat", sentences=("It is Ann's.", "Ben looks after it."))
    load_reader().scores("Who looks after the flat?", [page])

The built-in reader sees a question and a page together. For each token it says how likely the
answer begins and how likely it ends there; the first token of the row stands for no answer (BERT's
head for SQuAD 2.0: Devlin et al., arXiv 1810.04805, section 4.3). Its layers are those of
seesay-text, trained further; table and vocabulary are read from there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from seesay.data.model_files import read_json
from seesay.data.query_tokenizer import load_query_tokenizer
from seesay.data.spelling import visible
from seesay.data.tokenizer import TokenizerConfig
from seesay.errors import WeightsError
from seesay.inference.cancelling import check_cancelled
from seesay.inference.numpy_layers import LAYOUT, NOT_WHOLE, BorrowedWeights, StoredWeights
from seesay.inference.text_embedder import BertTower
from seesay.text import Text

WEIGHTS = "model.safetensors"
_FOLDERS = Path(__file__).parents[1] / "weights"
_QUESTION = 64  # most tokens of a question
_ROW = 448  # most tokens of a row; it was trained on rows up to this length
_AT_ONCE = 8  # rows


@dataclass(frozen=True, kw_only=True)
class Page:
    """A text to look for the answer in."""

    title: str
    """The topic of the text, such as its file name."""
    sentences: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class _Row:
    """Tokens of a question and of some sentences of a page."""

    page: int
    ids: list[int]
    places: list[tuple[int, int, int]]
    """Number of each sentence, and where its tokens begin and end."""


class Reader:
    """Scores each sentence of some pages by how likely it answers a question. Safe to use from
    several threads."""

    def __init__(self, folder: Path, base: Path) -> None:
        """`base` is the folder of the text embedder whose table and vocabulary it uses. Raises
        WeightsError for damaged files."""
        try:
            described: dict[str, Any] = read_json(folder / LAYOUT)
            config = TokenizerConfig(**described["tokenizer"])
            self._tokenizer = load_query_tokenizer(base, config)
            own = StoredWeights(folder / WEIGHTS)
            self._weights = BorrowedWeights(own, StoredWeights(base / WEIGHTS))
            self._tower = BertTower(weights=self._weights, config=described["model"]["text"])
            shape = 2, described["model"]["text"]["dim"]
            if not own.fits("spans.weight", shape) or not own.fits("spans.bias", shape[:1]):
                raise LookupError("spans.weight")
        except NOT_WHOLE as error:
            raise WeightsError(
                Text(
                    f"the reader in {folder} cannot be read ({error}); expected the files "
                    "that come with seesay; install seesay again",
                    f"{folder} 中的 reader 无法读取（{error}）；应为随 seesay 安装的文件；"
                    "请重新安装 seesay",
                )
            ) from error
        self._pad = config.pad_id

    def scores(self, question: str, pages: Sequence[Page]) -> list[Float[np.ndarray, " sentences"]]:
        """Returns for each sentence of each page the log-odds that it holds the answer against
        there being none on the page; -inf for a sentence without words."""
        found = [np.full(len(page.sentences), -np.inf, np.float32) for page in pages]
        rows = sorted(self._rows(question, pages), key=lambda row: len(row.ids))
        for start in range(0, len(rows), _AT_ONCE):
            check_cancelled()
            some = rows[start : start + _AT_ONCE]
            ids = np.full((len(some), max(len(row.ids) for row in some)), self._pad, np.int64)
            for line, row in zip(ids, some, strict=True):
                line[: len(row.ids)] = row.ids
            for row, logits in zip(some, self._logits(ids), strict=True):
                scores = found[row.page]
                for number, begin, end in row.places:
                    scores[number] = max(scores[number], _best(logits, begin, end))
        return found

    def _logits(self, ids: Int[np.ndarray, "rows tokens"]) -> Float[np.ndarray, "rows tokens 2"]:
        """Returns of each token how likely the answer begins and ends there."""
        states, _ = self._tower.features(ids)
        return states @ self._weights["spans.weight"].T + self._weights["spans.bias"]

    def _rows(self, question: str, pages: Sequence[Page]) -> Iterator[_Row]:
        """Yields the rows of all pages. A long page is split between sentences into several."""
        tokenizer = self._tokenizer
        asked = tokenizer.ids(f"{tokenizer.config.query_prefix} {visible(question)}")[:_QUESTION]
        before = [*tokenizer.prefix, *asked, *tokenizer.suffix, *tokenizer.suffix]
        for at, page in enumerate(pages):
            title = tokenizer.ids(f"{tokenizer.config.passage_prefix} {visible(page.title)}")
            head = [*before, *title[:_QUESTION]]
            ids, places = [*head], list[tuple[int, int, int]]()
            for number, sentence in enumerate(page.sentences):
                tokens = tokenizer.ids(visible(sentence))[: _ROW - len(head) - 1]
                if places and len(ids) + len(tokens) >= _ROW:
                    yield _Row(page=at, ids=[*ids, *tokenizer.suffix], places=places)
                    ids, places = [*head], []
                if tokens:
                    places.append((number, len(ids), len(ids) + len(tokens)))
                    ids += tokens
            if places:
                yield _Row(page=at, ids=[*ids, *tokenizer.suffix], places=places)


def _best(logits: Float[np.ndarray, "tokens 2"], begin: int, end: int) -> float:
    """Returns the log-odds of the best span within a sentence against no answer."""
    ends = np.maximum.accumulate(logits[begin:end, 1][::-1])[::-1]
    return float((logits[begin:end, 0] + ends).max() - logits[0].sum())


@lru_cache(maxsize=1)
def load_reader() -> Reader:
    """Returns the built-in reader, which is loaded once. Raises WeightsError for damaged files."""
    return Reader(_FOLDERS / "seesay-reader", _FOLDERS / "seesay-text")
