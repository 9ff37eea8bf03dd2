"""SentencePiece model files without the sentencepiece package.

A model file is a protocol buffer (sentencepiece_model.proto); the few fields that unigram and BPE
vocabularies need are read here directly:

    1 pieces (repeated): 1 piece, 2 score, 3 type
    2 trainer_spec:      3 model_type, 35 byte_fallback, 40 unk_id
    3 normalizer_spec:   2 precompiled_charsmap, 3 add_dummy_prefix, 4 remove_extra_whitespaces
"""

import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    normalizers,
    pre_tokenizers,
    processors,
)
from tokenizers.models import BPE, Unigram

from seesay.data.model_files import MIB, read_bytes
from seesay.errors import WeightsError
from seesay.text import Text

MOST_TOKENS = 1_000_000
_MOST_BYTES = 16 * MIB  # multilingual T5's 250,000 pieces take 4 MB
_UNIGRAM, _BPE = 1, 2  # trainer_spec.model_type
_NORMAL, _CONTROL, _USER_DEFINED = 1, 3, 4  # pieces.type
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

Field = int | bytes
Fields = dict[int, list[Field]]


def unigram(path: Path) -> Tokenizer:
    """A unigram model (SigLIP 1, T5) with "</s>" after every text."""
    pieces, trainer, normalizer = _model(path, _UNIGRAM)
    vocab = [(piece, score) for piece, score, _ in pieces]
    backend = Tokenizer(
        Unigram(vocab, unk_id=_number(trainer, 40, 0), byte_fallback=bool(_number(trainer, 35, 0)))
    )
    backend.normalizer = _normalizer(normalizer)
    # Metaspace adds no prefix to a text that begins with a space, as SentencePiece does: if such
    # texts get this far, the normalizer has added it.
    always = _number(normalizer, 3, 1) and _number(normalizer, 4, 1)
    backend.pre_tokenizer = pre_tokenizers.Metaspace(
        replacement="▁", prepend_scheme="always" if always else "never"
    )
    backend.add_special_tokens(
        [AddedToken(piece, normalized=False) for piece, _, kind in pieces if kind == _CONTROL]
    )
    backend.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair=None, special_tokens=[("</s>", backend.token_to_id("</s>"))]
    )
    return backend


def bpe(path: Path, renamed: Mapping[int, str]) -> Tokenizer:
    """A BPE model (Llama, Vicuna, InternLM2), without tokens before or after a text. `renamed` are
    tokens that take the places of pieces, as InternLM2's marks do those of unused ones."""
    pieces, trainer, normalizer = _model(path, _BPE)
    for number, text in renamed.items():
        if number < len(pieces) and pieces[number][0] != text:
            pieces[number] = (text, 0.0, _CONTROL)
    vocab = {piece: index for index, (piece, _, _) in enumerate(pieces)}
    normal = [(piece, score) for piece, score, kind in pieces if kind == _NORMAL]
    ranked = [piece for piece, _ in sorted(normal, key=lambda one: -one[1])]
    backend = Tokenizer(
        BPE(
            vocab,
            merges_of(ranked, vocab),
            unk_token=pieces[_number(trainer, 40, 0)][0],
            fuse_unk=True,
            byte_fallback=bool(_number(trainer, 35, 0)),
        )
    )
    # Each stretch between special tokens is a text of its own, and gets the space before it.
    space = bool(_number(normalizer, 3, 1))
    steps: list[normalizers.Normalizer] = [_normalizer(normalizer)]
    if space and _number(normalizer, 4, 1):
        steps.append(normalizers.Prepend("▁"))
    backend.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])
    ends = [decoders.Strip(" ", 1, 0)] if space else []
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *ends]
    )
    for piece, _, kind in pieces:
        if kind in (_CONTROL, _USER_DEFINED):
            token = AddedToken(piece, normalized=False, special=kind == _CONTROL)
            backend.add_special_tokens([token]) if token.special else backend.add_tokens([token])
    return backend


def merges_of(pieces: Iterable[str], vocab: Mapping[str, int]) -> list[tuple[str, str]]:
    """Returns every way to join two pieces to one of these, which stand in the order in which BPE
    makes them: the first possible one is made first."""
    merges: list[tuple[str, str]] = []
    for piece in pieces:
        halves = ((piece[:at], piece[at:]) for at in range(1, len(piece)))
        ways = [(a, b) for a, b in halves if a in vocab and b in vocab]
        merges += sorted(ways, key=lambda way: (vocab[way[0]], vocab[way[1]]))
    return merges


Pieces = list[tuple[str, float, int]]


def _model(path: Path, expected: int) -> tuple[Pieces, Fields, Fields]:
    """The pieces, the trainer's settings and the normalizer's."""
    message = _read(read_bytes(path, _MOST_BYTES))
    trainer, normalizer = (_last(_bytes(message, number)) for number in (2, 3))
    names = {_UNIGRAM: "unigram", _BPE: "BPE"}
    if (kind := _number(trainer, 3, _UNIGRAM)) != expected:
        raise WeightsError(
            Text(
                f"{path} is a SentencePiece model of type {kind}; only type {expected} "
                f"({names[expected]}) can be read from it. Put the checkpoint's tokenizer.json "
                "beside it.",
                f"{path} 是第 {kind} 类 SentencePiece 模型；只能读取第 {expected} 类"
                f"（{names[expected]}）；请把检查点的 tokenizer.json 放在它旁边",
            )
        )
    return [_piece(raw) for raw in _bytes(message, 1)], trainer, normalizer


def check_charsmap(charsmap: bytes) -> None:
    """Raises ValueError if a SentencePiece charsmap, a table preceded by its size, is cut short."""
    size = int.from_bytes(charsmap[:4], "little")
    if len(charsmap) < 4 or size % 4 or size > len(charsmap) - 4:
        raise ValueError("its charsmap is not whole")


def _normalizer(spec: Fields) -> normalizers.Sequence:
    steps: list[normalizers.Normalizer] = []
    charsmap = _bytes(spec, 2)
    if charsmap and charsmap[-1]:  # empty where nothing is normalised
        check_charsmap(charsmap[-1])
        steps.append(normalizers.Precompiled(charsmap[-1]))
    if _number(spec, 4, 1):
        # Spaces alone: normalizers.Strip would take line ends too, which SentencePiece keeps.
        steps.append(normalizers.Replace(Regex(r"\A +| +\z"), ""))
        steps.append(normalizers.Replace(Regex(" {2,}"), " "))
    elif _number(spec, 3, 1):
        steps.append(normalizers.Prepend("▁"))
    return normalizers.Sequence(steps)


def _piece(raw: bytes) -> tuple[str, float, int]:
    fields = _read(raw)
    (score,) = struct.unpack("<f", _bytes(fields, 2)[-1]) if 2 in fields else (0.0,)
    return _bytes(fields, 1)[-1].decode("utf-8"), score, _number(fields, 3, 1)


def _last(messages: list[bytes]) -> Fields:
    return _read(messages[-1]) if messages else {}


def _bytes(fields: Fields, number: int) -> list[bytes]:
    return [value for value in fields.get(number, []) if isinstance(value, bytes)]


def _number(fields: Fields, number: int, default: int) -> int:
    values = [value for value in fields.get(number, []) if isinstance(value, int)]
    return values[-1] if values else default


def _read(data: bytes) -> Fields:
    """Fields of one message by number. Groups do not occur in this format and are an error."""
    fields: Fields = {}
    at = 0
    count = 0
    while at < len(data):
        if (count := count + 1) > MOST_TOKENS:
            raise ValueError(f"it has more than {MOST_TOKENS:,} pieces")
        key, at = _varint(data, at)
        wire = key & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            fields.setdefault(key >> 3, []).append(value)
            continue
        if wire == _BYTES:
            size, at = _varint(data, at)
        else:
            size = {_FIXED64: 8, _FIXED32: 4}[wire]
        if at + size > len(data):
            raise ValueError("it ends in the middle of a field")
        fields.setdefault(key >> 3, []).append(data[at : at + size])
        at += size
    return fields


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError("it holds a number of more than 64 bits")
