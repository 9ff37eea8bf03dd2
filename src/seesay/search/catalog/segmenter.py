"""jieba's segmentation without its half second of loading: a query looks up only its own words.

jieba reads its dictionary of 349,000 words, 5 MB, into a table of 120 MB before it cuts the first
sentence. It then asks that table for nothing but pieces of the sentence, each of which begins with
a character of the sentence. So the words of a character are read when it first occurs, from the
text of the dictionary, which is sorted by the first character. The algorithms are jieba's own and
so are the results.

jieba comes with the extra `search`: importing this module raises ModuleNotFoundError without it.
"""

import io
import logging
import warnings
import zlib
from bisect import bisect_left
from collections.abc import Iterator

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its use of pkg_resources and escapes
    import jieba

_SORTED_FROM = "\n一".encode()  # the first Han character; some 60 lines before it are not in order

# The dictionary of jieba 0.42, the sum of its frequencies, which its probabilities need, and the
# checksum that both hold for.
_CHECKSUM, _TOTAL = 0x1394096D, 60_101_967


class Segmenter:
    """Cuts Chinese as a `jieba.Tokenizer` does. Safe to use from several threads."""

    def __init__(self) -> None:
        jieba.setLogLevel(logging.CRITICAL)  # it reports its loading on the error stream
        self._tokenizer = jieba.Tokenizer()
        with self._tokenizer.get_dict_file() as file:
            self._dictionary: bytes = file.read()
        known = zlib.crc32(self._dictionary) == _CHECKSUM
        self._sorted = range(
            self._dictionary.find(_SORTED_FROM) + 1 if known else len(self._dictionary),
            len(self._dictionary),
        )
        self._read: set[str] = set()  # characters whose words are in the tokenizer's table
        self._tokenizer.FREQ, total = self._table(0, self._sorted.start)
        self._tokenizer.total = _TOTAL if known else total
        self._tokenizer.initialized = True  # else it would read the whole dictionary

    def cut(self, text: str) -> Iterator[str]:
        """The words of a text, one after the other."""
        self._learn(text)
        return self._tokenizer.cut(text)

    def cut_for_search(self, text: str) -> Iterator[str]:
        """Like `cut`, but also yields the shorter words inside long ones."""
        self._learn(text)
        return self._tokenizer.cut_for_search(text)

    def _learn(self, text: str) -> None:
        """Read the words that begin with a character of the text. Two threads may do so at once."""
        for character in set(text) - self._read:
            first = character.encode("utf-8", "surrogatepass")
            words, _ = self._table(self._line(first), self._line(first + b"\xff"))
            self._tokenizer.FREQ.update(words)
            self._read.add(character)

    def _line(self, first: bytes) -> int:
        """Where the first line begins that does not come before these bytes."""

        def beginning(at: int) -> bytes:
            start = self._next_line(at)
            return self._dictionary[start : start + 4] or b"\xff"

        at = bisect_left(self._sorted, first, key=beginning)
        return self._next_line(self._sorted.start + at)

    def _next_line(self, at: int) -> int:
        """Where the first line begins that does not begin before this byte."""
        return self._dictionary.find(b"\n", at - 1) + 1

    def _table(self, start: int, end: int) -> tuple[dict[str, int], int]:
        """Words and beginnings of words with their frequencies, and the sum of these."""
        return self._tokenizer.gen_pfdict(io.BytesIO(self._dictionary[start:end]))
