"""Words of captions: how Chinese is cut into them, and which say nothing of a picture."""

import logging
import re
import warnings
from collections.abc import Callable, Iterable
from functools import cache

from seesay.errors import MissingExtraError

_EN = "a an and are as at be by for from in is it of on or that the this to was were with"
_ZH = "的 了 着 过 是 在 和 与 及 或 有 一 一个 一只 一张 这 那 这个 那个 上 里 中 也 都 就"
EMPTY_WORDS = frozenset(f"{_EN} {_ZH}".split())
"""Words of grammar, in both languages."""


@cache
def chinese_words() -> Callable[[str], Iterable[str]]:
    """Returns what cuts a text into words, without its punctuation. Raises MissingExtraError
    without jieba."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its use of pkg_resources and escapes
            import jieba
    except ModuleNotFoundError:
        raise MissingExtraError("jieba", "search") from None
    jieba.setLogLevel(logging.CRITICAL)  # it logs its loading to stderr
    return lambda text: re.findall(r"[^\W_]+", " ".join(jieba.cut(text)))


def as_sentence(text: str) -> str:
    """Writes a caption as a sentence: "a dog runs ." becomes "A dog runs.", and 一只狗 一只狗。"""
    text = re.sub(r"\s+([.,!?;:'])", r"\1", " ".join(text.split())).strip("\"' ")
    if text and text[-1] not in ".!?。！？":
        text = f"{text.rstrip(',;，；、')}{'.' if text.isascii() else '。'}"
    return text[:1].upper() + text[1:]


def singulars(word: str) -> tuple[str, ...]:
    """Returns the English words of which this one may be the plural: "boxes" of "boxe" and "box".
    None for a word that cannot be one."""
    if not word.endswith("s") or word.endswith("ss") or len(word) < 4:
        return ()
    forms = [word[:-1]]
    if word.endswith("es"):
        forms.append(word[:-2])
    if word.endswith("ies"):
        forms.append(f"{word[:-3]}y")
    return tuple(forms)
