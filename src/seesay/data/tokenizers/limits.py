"""What a tokenizer file may ask of the tokenizers library, which trusts it.

Measured with tokenizers 0.22: a broken charsmap or merge prefix ends the process, ten replacements
in a row take all memory, and many smaller faults are panics, which no `except Exception` sees.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from seesay.errors import SeesayError, WeightsError
from seesay.text import Text

MOST_TOKENS = 1_000_000
MOST_GROWTH = 16
"""How many times longer a text may become on its way through all replacements."""
MOST_WORD = 1000
"""Characters of a word that word pieces are looked for in; BERT says 100."""


@contextmanager
def library_errors(source: str) -> Iterator[None]:
    """The library's errors and panics as WeightsError."""
    try:
        yield
    except SeesayError:
        raise
    except BaseException as error:
        # The library raises bare Exception; a panic of its Rust half is not even that.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise WeightsError(
            Text(
                f"{source} cannot be read as a vocabulary ({error or type(error).__name__}); "
                "expected the file as it was published. Download it again, or copy it from the "
                "checkpoint's source.",
                f"{source} 不能作为词表读取（{error or type(error).__name__}）；应为发布时的原文"
                "件；请重新下载，或从检查点的来源复制",
            )
        ) from None


def check_description(described: Mapping[str, Any]) -> None:
    """Raises ValueError where the content of a tokenizer.json is more than a vocabulary needs."""
    check_vocabulary(described.get("model"))
    for added in described.get("added_tokens") or ():
        _check_id(added["id"])
    growth = 1.0
    for part in ("normalizer", "pre_tokenizer", "post_processor", "decoder"):
        for step in _steps(described.get(part)):
            growth *= _growth(step)
    if growth > MOST_GROWTH:
        raise ValueError(f"it makes texts more than {MOST_GROWTH} times longer")


def check_vocabulary(model: Any) -> None:
    """Raises ValueError for sizes, ids and settings that no published vocabulary has."""
    if not isinstance(model, dict) or not isinstance(model.get("type"), str):
        raise ValueError("its model has no type")
    vocab = model.get("vocab")
    if not isinstance(vocab, dict | list) or len(vocab) > MOST_TOKENS:
        raise ValueError(f"its vocabulary is not one of at most {MOST_TOKENS:,} tokens")
    if isinstance(vocab, dict):
        for number in vocab.values():
            _check_id(number)
        if len(set(vocab.values())) < len(vocab):
            raise ValueError("two tokens have the same id")
    if model["type"] == "BPE" and (model.get("continuing_subword_prefix") or model.get("dropout")):
        raise ValueError("its pairs have a prefix or a dropout")
    if (model.get("max_input_chars_per_word") or 0) > MOST_WORD:
        raise ValueError(f"its words may be longer than {MOST_WORD} characters")


def check_charsmap(charsmap: bytes) -> None:
    """Raises ValueError where a SentencePiece charsmap, a table behind its size, is cut short."""
    size = int.from_bytes(charsmap[:4], "little")
    if len(charsmap) < 4 or size % 4 or size > len(charsmap) - 4:
        raise ValueError("its charsmap is not whole")


def _check_id(number: object) -> None:
    if not isinstance(number, int) or not 0 <= number < MOST_TOKENS:
        raise ValueError(f"{number!r:.20} is no id of a token")


def _steps(part: Any) -> Iterator[dict[str, Any]]:
    """The steps that a part consists of, whatever the nesting."""
    if isinstance(part, dict):
        yield part
        for name in ("normalizers", "pretokenizers", "processors", "decoders"):
            for inner in part.get(name) or ():
                yield from _steps(inner)


def _growth(step: Mapping[str, Any]) -> float:
    match step.get("type"):
        case "Precompiled":
            try:
                check_charsmap(base64.b64decode(step["precompiled_charsmap"], validate=True))
            except binascii.Error:
                raise ValueError("its charsmap is not base64") from None
        case "Replace":
            found = step["pattern"].get("String") or " "  # a regex may match one character
            return max(1.0, len(step["content"]) / len(found))
        case "Prepend":
            return max(1.0, float(len(step["prepend"])))
        case "TemplateProcessing":
            if sum("Sequence" in piece for piece in step["single"]) != 1:
                raise ValueError("its frame does not hold the text once")
    return 1.0
