"""The tokens of a query, without the library's own copy of the vocabulary.

The tokenizers library takes 60 MB, and most of the time of a first search, for a unigram vocabulary
of 57,000 pieces. Here it only cleans a text and splits it into words, with a vocabulary that is cut
to its special tokens; `Unigram` divides the words. Long texts are left to the whole `Tokenizer`.
"""

import json
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Backend

from seesay.data.model_files import parse_json, read_bytes
from seesay.data.tokenizer import Role, Tokenizer, TokenizerConfig, Tokens, framed, load_tokenizer
from seesay.data.vocabularies import MOST_JSON, check_description, library_errors

MOST_CHARACTERS = 2000
"""The library is faster for longer texts."""

# The layout that the library writes. Two lines of each piece are indented as deeply: its name with
# quotes and a comma, and its score. They stay as they are, since a query needs few of them: reading
# them as JSON takes twice as long.
_START, _END = b'"vocab": [', b"\n    ]"
_LINE = re.compile(rb'\n        (".*",|-?[0-9].*)')
_AROUND = len(b"\n      [\n        \n        \n      ],")
_UNKNOWN = 10.0  # an unknown character scores this much less than the least likely piece


class Unigram:
    """A unigram vocabulary from the lines of its file."""

    def __init__(self, lines: Sequence[bytes], unknown: int) -> None:
        pieces, self._scores, self._unknown = lines[::2], lines[1::2], unknown
        self._ids = dict(zip(pieces, range(len(pieces)), strict=True))
        self._longest = max(map(len, pieces))

    def __len__(self) -> int:
        return len(self._scores)

    def encode(self, word: str) -> list[int]:
        """Divides a word so that the sum of the scores is highest (Viterbi; Kudo, arXiv
        1804.10959). As in the library, a longer piece wins a tie, and neighbouring unknown
        characters are one token."""
        letters = [json.dumps(letter, ensure_ascii=False)[1:-1].encode() for letter in word]
        scores = [0.0, *[-float("inf")] * len(letters)]
        last = [(0, self._unknown)] * len(scores)  # start and id of the last piece, by its end
        for start in range(len(letters)):
            reached = scores[start]
            piece, alone = b"", False
            for end, letter in enumerate(letters[start:], start + 1):
                piece += letter
                if len(piece) > self._longest:
                    break
                if (number := self._ids.get(b'"%b",' % piece)) is not None:
                    alone |= end == start + 1
                    if (score := reached + float(self._scores[number])) > scores[end]:
                        scores[end], last[end] = score, (start, number)
            if not alone and (score := reached + self._unknown_score) > scores[start + 1]:
                scores[start + 1], last[start + 1] = score, (start, self._unknown)
        return self._path(letters, last)

    @cached_property
    def _unknown_score(self) -> float:
        return min(map(float, self._scores)) - _UNKNOWN

    def _path(self, letters: Sequence[bytes], last: Sequence[tuple[int, int]]) -> list[int]:
        ids: list[int] = []
        end = unknown_end = len(letters)
        while end:
            start, number = last[end]
            if number != self._unknown:
                ids.append(number)
                unknown_end = start
            elif not start or last[start][1] != self._unknown:
                piece = b"".join(letters[start:unknown_end])
                ids.append(self._ids.get(b'"%b",' % piece, self._unknown))
                unknown_end = start
            end = start
        return ids[::-1]


class QueryTokenizer:
    """Encodes as the `Tokenizer` of the same folder."""

    def __init__(
        self, folder: Path, config: TokenizerConfig, special: dict[str, Any], unigram: Unigram
    ) -> None:
        """`special` is tokenizer.json with special tokens alone."""
        self.config, self._folder, self._unigram = config, folder, unigram
        self.vocab_size = len(unigram)
        self._frame = Tokenizer(Backend.from_str(json.dumps(special)), config)
        self.prefix, self.suffix = self._frame.prefix, self._frame.suffix
        prefixes: dict[Role, str] = {"query": config.query_prefix, "passage": config.passage_prefix}
        self._before = {role: [*self.prefix, *self.ids(text)] for role, text in prefixes.items()}

    def encode(self, texts: Sequence[str], role: Role = "query") -> Tokens:
        """As `Tokenizer.encode`."""
        if isinstance(texts, str) or any(len(text) > MOST_CHARACTERS for text in texts):
            return self._whole.encode(texts, role)
        longest = max(map(len, self._before.values()))
        capacity = self.config.context - longest - len(self.suffix)
        with library_errors("the tokenizer"):
            rows = [self.ids(text) for text in texts]
        if max(map(len, rows), default=0) > capacity:
            return self._whole.encode(texts, role)
        contents = [[row] for row in rows]
        return framed(contents, self._before[role], self.suffix, self.config)

    def ids(self, text: str) -> list[int]:
        """As `Tokenizer.ids`."""
        return [number for word in self._frame.words(text) for number in self._unigram.encode(word)]

    @cached_property
    def _whole(self) -> Tokenizer:
        return load_tokenizer(self._folder, self.config)


def load_query_tokenizer(folder: Path, config: TokenizerConfig) -> Tokenizer | QueryTokenizer:
    """Loads the tokenizer of a checkpoint folder for single queries. Raises WeightsError for
    damaged files."""
    path = folder / "tokenizer.json"
    if path.is_file():
        with library_errors(str(path)):
            if (parts := _read(path)) is not None:
                return QueryTokenizer(folder, config, *parts)
    return load_tokenizer(folder, config)


def _read(path: Path) -> tuple[dict[str, Any], Unigram] | None:
    """Returns the file's description with special tokens alone, and its vocabulary; None if that is
    of another kind, or the file has another layout."""
    text = read_bytes(path, MOST_JSON)
    start = text.find(_START) + len(_START)
    end = text.find(_END, start)
    if b'"type": "Unigram"' not in text or start < len(_START) or end < 0:
        return None
    lines = _LINE.findall(text, start, end)
    if sum(map(len, lines)) + len(lines) // 2 * _AROUND - 1 != end - start:
        return None  # something else stands between them
    special = parse_json((text[:start] + text[end:]).decode("utf-8"), path)
    model, added = special["model"], [token["id"] for token in special["added_tokens"]]
    count = max([model["unk_id"], *added]) + 1
    if model["vocab"] or model["byte_fallback"]:
        return None
    first = zip(lines[: 2 * count : 2], lines[1 : 2 * count : 2], strict=True)
    model["vocab"] = [json.loads(b"[%b%b]" % piece) for piece in first]
    check_description(special)
    return special, Unigram(lines, model["unk_id"])
