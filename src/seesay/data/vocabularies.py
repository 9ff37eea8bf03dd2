"""Every kind of vocabulary file in checkpoints, read as a `tokenizers.Tokenizer` with the
normalizer, the word splitter and the special tokens of that vocabulary; and checks of such files,
which the tokenizers library trusts.

Measured with tokenizers 0.22: a broken charsmap or merge prefix ends the process, ten replacements
in a row take all memory, and many smaller faults are panics, which no `except Exception` sees.
"""

import base64
import binascii
import gzip
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    normalizers,
    pre_tokenizers,
    processors,
)
from tokenizers.models import BPE, WordPiece

from seesay.data.model_files import MIB, parse_json, read_bytes, read_json, read_text
from seesay.data.sentencepiece import MOST_TOKENS, bpe, check_charsmap, merges_of, unigram
from seesay.errors import SeesayError, WeightsError
from seesay.text import Text

MOST_GROWTH = 16
"""How many times longer all replacements together may make a text."""
MOST_WORD = 1000
"""Longest word, in characters, that is split into word pieces; BERT has 100."""
# Gemma's tokenizer.json, the largest of a dual encoder, has 34 MB.
MOST_JSON, _MOST_LIST = 64 * MIB, 16 * MIB

Words = Literal["gpt-2", "qwen", "smollm"]
"""How byte-level vocabularies divide a text into words."""
# The pattern of Qwen, Qwen2 and later.
_QWEN_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# What follows the first Qwen's list of tokens: marks of turns, unused ones, and Qwen-VL's, of which
# names and boxes are a part of answers.
_QWEN_TURNS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_QWEN_EXTRAS = 205
_QWEN_BOXES = ("<ref>", "</ref>", "<box>", "</box>", "<quad>", "</quad>")
_QWEN_IMAGES = ("<img>", "</img>", "<imgpad>")

# OpenAI's list has more merges than the model has ids: 49,408 - 512 bytes - 2 special tokens.
_CLIP_MERGES = 48_894
_CLIP_WORDS = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)


def read_vocabulary(folder: Path) -> Tokenizer:
    """Reads the vocabulary of a checkpoint folder from the first kind of file found."""
    readers: dict[tuple[str, ...], Callable[..., Tokenizer]] = {
        ("tokenizer.json",): _from_json,
        ("vocab.json", "merges.txt"): _from_vocab,
        ("vocab.txt",): _bert,
        ("bpe_simple_vocab_16e6.txt.gz",): _clip_from_merges,
        ("spiece.model",): unigram,
        ("tokenizer.model",): _llama,
        ("qwen.tiktoken",): _qwen,
    }
    for names, read in readers.items():
        paths = [folder / name for name in names]
        if all(map(os.path.lexists, paths)):
            with library_errors(" and ".join(map(str, paths))):
                return read(*paths)
    kinds = Text(
        ", ".join(" with ".join(names) for names in readers),
        "、".join(" 加 ".join(names) for names in readers),
    )
    raise WeightsError(
        Text(
            f"{folder} holds no tokenizer; expected one of: {kinds.en}. Copy the tokenizer files "
            "that belong to the checkpoint into this folder.",
            f"{folder} 里没有分词器；应有以下之一：{kinds.zh}；请把该检查点的分词器文件"
            "复制到这个文件夹",
        )
    )


def special_ids(backend: Tokenizer) -> tuple[list[int], list[int]]:
    """Returns the ids before and after every text, found by encoding a text with and without
    them."""
    plain = backend.encode("a", add_special_tokens=False).ids
    whole = backend.encode("a").ids
    for at in range(len(whole) - len(plain) + 1):
        if plain and whole[at : at + len(plain)] == plain:
            return whole[:at], whole[at + len(plain) :]
    raise ValueError(f"the text 'a' becomes {plain[:5]} by itself and {whole[:5]} in its frame")


def _from_json(path: Path) -> Tokenizer:
    text = read_text(path, MOST_JSON)
    check_description(parse_json(text, path))
    return Tokenizer.from_str(text)


def _settings(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer_config.json"
    return read_json(path) if os.path.lexists(path) else {}


def _from_vocab(vocab_file: Path, merges_file: Path) -> Tokenizer:
    """CLIP's byte-level pairs, or those of a language model, whose words have no end mark."""
    vocab = read_json(vocab_file)
    lines = _lines(read_text(merges_file, _MOST_LIST))
    merges = [_pair(line) for line in lines if line and not line.startswith("#version")]
    if any(token.endswith("</w>") for token in vocab):
        return _clip(vocab, merges)
    settings = _settings(vocab_file.parent)
    qwen = str(settings.get("tokenizer_class", "")).startswith("Qwen2")
    backend = byte_pairs(vocab, merges, "qwen" if qwen else "gpt-2")
    return _with_added(backend, vocab_file.parent, bos=not qwen and "add_bos_token" in settings)


def byte_pairs(vocab: dict[str, int], merges: list[tuple[str, str]], words: Words) -> Tokenizer:
    """Pairs of bytes within words: those of Qwen's pattern, which come in composed characters, or
    GPT-2's (OPT), for SmolLM with each digit by itself."""
    check_vocabulary({"type": "BPE", "vocab": vocab})
    backend = Tokenizer(BPE(vocab=vocab, merges=merges))
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=words != "qwen")
    backend.pre_tokenizer = level
    if words == "qwen":
        backend.normalizer = normalizers.NFC()
        split = pre_tokenizers.Split(Regex(_QWEN_WORDS), behavior="isolated")
        backend.pre_tokenizer = pre_tokenizers.Sequence([split, level])
    if words == "smollm":
        digits = pre_tokenizers.Digits(individual_digits=True)
        backend.pre_tokenizer = pre_tokenizers.Sequence([digits, level])
    backend.decoder = decoders.ByteLevel()
    return backend


def _llama(path: Path) -> Tokenizer:
    """The SentencePiece pairs of Llama, Vicuna and InternLM2."""
    bos = _settings(path.parent).get("add_bos_token", True)
    renamed = {number: token["content"] for number, token in _added_tokens(path.parent).items()}
    return _with_added(bpe(path, renamed), path.parent, bos=bool(bos))


def _qwen(path: Path) -> Tokenizer:
    """The first Qwen's list of tokens, each in base64 before its rank, and Qwen-VL's marks."""
    letters = _byte_letters()
    vocab: dict[str, int] = {}
    for line in _lines(read_text(path, _MOST_LIST)):
        if line:
            token, rank = line.split()
            vocab["".join(letters[byte] for byte in base64.b64decode(token))] = int(rank)
    ranked = sorted(vocab, key=vocab.__getitem__)
    backend = byte_pairs(vocab, merges_of(ranked, vocab), "qwen")
    extras = [f"<|extra_{number}|>" for number in range(_QWEN_EXTRAS)]
    for texts, special in (
        ([*_QWEN_TURNS, *extras], True),
        (_QWEN_BOXES, False),
        (_QWEN_IMAGES, True),
    ):
        tokens = [AddedToken(text, normalized=False, special=special) for text in texts]
        backend.add_special_tokens(tokens) if special else backend.add_tokens(tokens)
    return backend


def _byte_letters() -> dict[int, str]:
    """The letter that stands for each byte (GPT-2's bytes_to_unicode): printable ones stand for
    themselves, and the others take the letters from 256 on."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {
        byte: chr(256 + at) for at, byte in enumerate(others)
    }


def _added_tokens(folder: Path) -> dict[int, Mapping[str, Any]]:
    """The tokens that stand beside a vocabulary, by their numbers."""
    described = _settings(folder).get("added_tokens_decoder") or {}
    beside = folder / "added_tokens.json"
    if not described and os.path.lexists(beside):
        return {number: {"content": text} for text, number in read_json(beside).items()}
    return {int(number): token for number, token in described.items()}


def _with_added(backend: Tokenizer, folder: Path, *, bos: bool) -> Tokenizer:
    """The tokenizer with the tokens that stand beside its vocabulary, and perhaps with the one that
    begins a text."""
    settings = _settings(folder)
    for place, token in sorted(_added_tokens(folder).items()):
        text, special = token["content"], token.get("special", True)
        new = AddedToken(text, normalized=False, special=special)
        backend.add_special_tokens([new]) if special else backend.add_tokens([new])
        if backend.token_to_id(text) != place:
            raise ValueError(f"{text} is {place} beside the vocabulary and not the next token")
    first = settings.get("bos_token") or "<s>"
    first = first["content"] if isinstance(first, dict) else first
    if bos and (number := backend.token_to_id(first)) is not None:
        backend.post_processor = processors.TemplateProcessing(
            single=f"{first} $A", pair=None, special_tokens=[(first, number)]
        )
    return backend


def _clip_from_merges(path: Path) -> Tokenizer:
    """OpenAI's list of merges alone: the vocabulary follows from it."""
    packed = io.BytesIO(read_bytes(path, _MOST_LIST))
    with gzip.open(packed) as stream:
        content = stream.read(_MOST_LIST + 1)
    if len(content) > _MOST_LIST:
        raise ValueError(f"it unpacks to more than {_MOST_LIST:,} bytes")
    lines = _lines(content.decode("utf-8"))
    merges = [_pair(line) for line in lines[1 : _CLIP_MERGES + 1] if line]
    # In the order of their code points these 256 stand-ins for bytes are in OpenAI's order.
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = letters + [f"{letter}</w>" for letter in letters] + ["".join(m) for m in merges]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return _clip({token: index for index, token in enumerate(tokens)}, merges)


def _lines(text: str) -> list[str]:
    if text.count("\n") > MOST_TOKENS:
        raise ValueError(f"it has more than {MOST_TOKENS:,} lines")
    return text.split("\n")


def _pair(line: str) -> tuple[str, str]:
    first, second = line.split()
    return first, second


def _clip(vocab: dict[str, int], merges: list[tuple[str, str]]) -> Tokenizer:
    """CLIP's byte-level pairs, with transformers' cleaning (see TokenizerConfig.clean)."""
    check_vocabulary({"type": "BPE", "vocab": vocab})
    backend = Tokenizer(
        BPE(
            vocab=vocab,
            merges=merges,
            end_of_word_suffix="</w>",
            unk_token="<|endoftext|>",
        )
    )
    backend.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_CLIP_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    _frame(backend, "<|startoftext|>", "<|endoftext|>")
    return backend


def _bert(path: Path) -> Tokenizer:
    """BERT's word pieces. A line of the file is one piece, whatever it holds: the Chinese list has
    U+2028 as a piece, which str.splitlines would take for the end of a line."""
    settings = _settings(path.parent)
    if not settings.get("do_basic_tokenize", True):
        raise WeightsError(
            Text(
                f"{path.parent / 'tokenizer_config.json'} sets do_basic_tokenize to false; "
                "expected true, since texts are cut at spaces and signs here; choose another "
                "model: seesay models list",
                f"{path.parent / 'tokenizer_config.json'} 把 do_basic_tokenize 设为 false；应为 "
                "true，因为这里按空格和标点切分文本；请换一个模型：seesay models list",
            )
        )
    lines = _lines(read_text(path, _MOST_LIST).removesuffix("\n"))
    vocab = {line: index for index, line in enumerate(lines)}
    backend = Tokenizer(WordPiece(vocab, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(
        lowercase=settings.get("do_lower_case", True),
        strip_accents=settings.get("strip_accents"),
        handle_chinese_chars=settings.get("tokenize_chinese_chars", True),
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    _frame(backend, "[CLS]", "[SEP]")
    return backend


def _frame(backend: Tokenizer, first: str, last: str) -> None:
    """Put one special token before and one after every text."""
    if missing := [name for name in (first, last) if backend.token_to_id(name) is None]:
        raise WeightsError(
            Text(
                f"the vocabulary has no {' and no '.join(missing)}; expected both {first} and "
                f"{last}. It belongs to another kind of model: use the files that the checkpoint "
                "came with.",
                f"词表里没有 {'、'.join(missing)}；应同时有 {first} 和 {last}；它属于另一种模型，"
                "请使用检查点自带的文件",
            )
        )
    backend.add_special_tokens([AddedToken(name, normalized=False) for name in (first, last)])
    backend.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}",
        pair=None,
        special_tokens=[(name, backend.token_to_id(name)) for name in (first, last)],
    )


# Limits of what a file may ask of the library


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
    """Raises ValueError if a tokenizer.json contains more than a vocabulary needs."""
    added = described.get("added_tokens") or ()
    check_vocabulary(described.get("model"), [token["id"] for token in added])
    growth = 1.0
    for part in ("normalizer", "pre_tokenizer", "post_processor", "decoder"):
        for step in _steps(described.get(part)):
            growth *= _growth(step)
    if growth > MOST_GROWTH:
        raise ValueError(f"it makes texts more than {MOST_GROWTH} times longer")


def check_vocabulary(model: Any, added: Sequence[object] = ()) -> None:
    """Raises ValueError for sizes, ids and settings that no published vocabulary has. `added` are
    the ids of tokens beside it."""
    if not isinstance(model, dict) or not isinstance(model.get("type"), str):
        raise ValueError("its model has no type")
    vocab = model.get("vocab")
    if not isinstance(vocab, dict | list) or len(vocab) > MOST_TOKENS:
        raise ValueError(f"its vocabulary is not one of at most {MOST_TOKENS:,} tokens")
    numbers = list(vocab.values()) if isinstance(vocab, dict) else []
    for number in (*numbers, *added):
        if not isinstance(number, int) or not 0 <= number < MOST_TOKENS:
            raise ValueError(f"{number!r:.20} is no id of a token")
    if len(set(numbers)) < len(numbers):
        raise ValueError("two tokens have the same id")
    if model["type"] == "BPE" and (model.get("continuing_subword_prefix") or model.get("dropout")):
        raise ValueError("its pairs have a prefix or a dropout")
    if (model.get("max_input_chars_per_word") or 0) > MOST_WORD:
        raise ValueError(f"its words may be longer than {MOST_WORD} characters")


def _steps(part: Any) -> Iterator[dict[str, Any]]:
    """Yields the steps of a part, however nested."""
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
