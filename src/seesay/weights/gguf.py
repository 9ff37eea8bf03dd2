"""Language models in GGUF files, the format of llama.cpp and Ollama: Llama, Vicuna and Mistral,
Qwen2 and 2.5, Qwen3, and InternLM2.

    decoder = load_gguf(Path("qwen2.5-0.5b-instruct-q8_0.gguf"))
    decoder, vocabulary = load_gguf_with_vocabulary(Path("SmolLM2-135M-Instruct.Q4_1.gguf"))

Reads every type that the `gguf` package knows (Q4_0 to Q8_0, the K-quants, F16, BF16, F32), as
float32.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, processors
from torch import Tensor

from seesay.data.model_files import plain_size
from seesay.data.vocabularies import Words, byte_pairs, library_errors
from seesay.errors import MissingExtraError, WeightsError
from seesay.models.decoder import Decoder, DecoderConfig
from seesay.models.rope import RopeConfig
from seesay.text import Text
from seesay.weights.bundle import checked
from seesay.weights.decoders import DecoderBlueprint
from seesay.weights.gguf_format import read_gguf
from seesay.weights.tensors import (
    MOST_PARTS,
    Rule,
    Rules,
    Tensors,
    blank_model,
    both,
    load_weights,
)

ARCHITECTURES = {"llama": True, "internlm2": True, "qwen2": False, "qwen3": False}
"""The value of "general.architecture" -> whether the rows of queries and keys are reordered, for
rotations that pair neighbours (llama.cpp, convert_hf_to_gguf.py, LlamaModel.permute)."""
WORDS: dict[str, Words] = {"smollm": "smollm", "qwen2": "qwen", "gpt-2": "gpt-2"}
"""The value of "tokenizer.ggml.pre" -> how words are divided (llama.cpp, llama-vocab.cpp)."""
CONTROL, USER_DEFINED = 3, 4  # values of "tokenizer.ggml.token_type"
MODULES = {
    "attn_norm": "norm1",
    "ffn_norm": "norm2",
    "attn_q": "attention.query",
    "attn_k": "attention.key",
    "attn_v": "attention.value",
    "attn_output": "attention.out",
    "attn_q_norm": "attention.query_norm",
    "attn_k_norm": "attention.key_norm",
    "ffn_gate": "mlp.gate",
    "ffn_up": "mlp.up",
    "ffn_down": "mlp.down",
}


def _rules() -> Rules:
    table: dict[str, Rule] = {
        "token_embd.weight": "token_embed.weight",
        "output.weight": "head.weight",
        **both("output_norm", "norm_out"),
    }
    for theirs, ours in MODULES.items():
        table |= both(f"blk.{{}}.{theirs}", f"blocks.{{}}.{ours}")
    return table


RULES = _rules()


@dataclass(frozen=True)
class _Fields:
    """The settings of a file."""

    path: Path
    values: Mapping[str, Any]

    def get(self, name: str, default: Any = None) -> Any:
        """Returns a setting of the architecture, or its default."""
        return self.any(f"{self.architecture}.{name}", default)

    def any(self, name: str, default: Any = None) -> Any:
        return self.values.get(name, default)

    @property
    def architecture(self) -> str:
        return str(self.any("general.architecture", ""))

    def refusal(self, name: str, value: object, *expected: str) -> WeightsError:
        return WeightsError(
            Text(
                f"{self.path} sets {name} to {value!r:.60}; expected {' or '.join(expected)}, as "
                "any other value may change every result. Choose another file",
                f"{self.path} 把 {name} 设为 {value!r:.60}；应为 {' 或 '.join(expected)}，"
                "其他值可能改变全部结果。请换一个文件",
            )
        )


def load_gguf(path: Path) -> Decoder:
    """Loads a language model from a GGUF file in float32 and evaluation mode.

    Raises WeightsError unless settings and tensors match the model exactly, and MissingExtraError
    without the package `gguf`.
    """
    return _decoder(*_read(path))


def load_gguf_with_vocabulary(path: Path) -> tuple[Decoder, Tokenizer]:
    """Loads the same with the tokenizer in the file, if that is one of byte pairs (SmolLM, Qwen).

    Raises WeightsError for any other, too.
    """
    fields, tensors = _read(path)
    with library_errors(f"the vocabulary in {path}"):
        vocabulary = _vocabulary(fields)
    return _decoder(fields, tensors), vocabulary


def _decoder(fields: _Fields, tensors: Tensors) -> Decoder:
    if fields.architecture not in ARCHITECTURES:
        raise fields.refusal("general.architecture", fields.architecture, *ARCHITECTURES)
    blueprint = checked(lambda: _blueprint(fields, tensors), fields.path, {"model": DecoderConfig})
    if ARCHITECTURES[fields.architecture]:
        tensors = _with_halves(tensors, blueprint.model)
    model = blank_model(Decoder, blueprint.model, MOST_PARTS * len(tensors))
    load_weights(model, tensors, blueprint.rules)
    return model.eval()


def _read(path: Path) -> tuple[_Fields, Tensors]:
    plain_size(path)
    try:
        values, arrays = read_gguf(path)
    except MissingExtraError:
        raise
    except Exception as error:  # from gguf, from numpy for a short file, or from the disk
        raise WeightsError(
            Text(
                f"{path} is not a valid GGUF file ({error!r:.100}); it was truncated, renamed from "
                "another format, or has numbers of an unknown type: delete it and download it "
                "again",
                f"{path} 不是有效的 GGUF 文件（{error!r:.100}）；文件被截断、由其他格式改名而来，"
                "或含有未知的数值类型：请删除后重新下载",
            )
        ) from None
    return _Fields(path, values), {n: torch.from_numpy(one) for n, one in arrays.items()}


def _blueprint(f: _Fields, tensors: Tensors) -> DecoderBlueprint:
    heads, dim = f.get("attention.head_count"), f.get("embedding_length")
    head_dim = f.get("attention.key_length", dim // heads)
    scaling = f.get("rope.scaling.type", "none")
    if scaling not in ("none", "linear"):
        raise f.refusal(f"{f.architecture}.rope.scaling.type", scaling, "none", "linear")
    factor = float(f.get("rope.scaling.factor", 1.0)) if scaling == "linear" else 1.0
    model = DecoderConfig(
        vocab_size=len(tensors["token_embd.weight"]),
        context=f.get("context_length"),
        dim=dim,
        depth=f.get("block_count"),
        heads=heads,
        key_heads=f.get("attention.head_count_kv", heads),
        head_dim=head_dim,
        hidden=f.get("feed_forward_length"),
        # Files keep float32: 1e-6 comes back as 9.99999997e-07.
        norm_eps=float(f"{f.get('attention.layer_norm_rms_epsilon'):.6g}"),
        input_bias="blk.0.attn_q.bias" in tensors,
        output_bias="blk.0.attn_output.bias" in tensors,
        query_key_norm="blk.0.attn_q_norm.weight" in tensors,
        rope=RopeConfig(
            theta=float(f.get("rope.freq_base", 10_000.0)),
            fraction=f.get("rope.dimension_count", head_dim) / head_dim,
            scaling="none" if factor == 1.0 else "linear",
            factor=factor,
        ),
        tied="output.weight" not in tensors,
    )
    return DecoderBlueprint(model=model, rules=RULES)


def _with_halves(tensors: Tensors, config: DecoderConfig) -> Tensors:
    """Returns the tensors with query and key rows in the usual published order, in which rotated
    pairs are half a head apart."""
    heads = {"attn_q": config.heads, "attn_k": config.key_heads}
    ordered: dict[str, Tensor] = dict(tensors)
    for name, tensor in tensors.items():
        module = name.split(".")[-2] if "." in name else ""
        if module in heads and not len(tensor) % (2 * heads[module]):
            pairs = tensor.unflatten(0, (heads[module], -1, 2))
            ordered[name] = pairs.transpose(1, 2).flatten(0, 2)
    return ordered


def _vocabulary(f: _Fields) -> Tokenizer:
    model, words = f.any("tokenizer.ggml.model"), f.any("tokenizer.ggml.pre", "default")
    if model != "gpt2":
        raise f.refusal("tokenizer.ggml.model", model, "gpt2")
    if words not in WORDS:
        raise f.refusal("tokenizer.ggml.pre", words, *WORDS)
    tokens: list[str] = f.any("tokenizer.ggml.tokens")
    first, second = zip(*(pair.split() for pair in f.any("tokenizer.ggml.merges")), strict=True)
    ids = {token: number for number, token in enumerate(tokens)}
    backend = byte_pairs(ids, [*zip(first, second, strict=True)], WORDS[words])
    for token, kind in zip(tokens, f.any("tokenizer.ggml.token_type"), strict=True):
        if kind == CONTROL:
            backend.add_special_tokens([AddedToken(token, normalized=False)])
        elif kind == USER_DEFINED:
            backend.add_tokens([AddedToken(token, normalized=False, special=False)])
    if f.any("tokenizer.ggml.add_bos_token", False):
        number = f.any("tokenizer.ggml.bos_token_id")
        backend.post_processor = processors.TemplateProcessing(
            single=f"{tokens[number]} $A", pair=None, special_tokens=[(tokens[number], number)]
        )
    return backend
