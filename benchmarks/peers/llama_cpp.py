"""A decoder of seesay written to a GGUF file, and that file run by llama.cpp's C library.

    npm pack @node-llama-cpp/linux-x64@3.22.1      # built libraries, in package/bins/linux-x64

Structures of settings change with versions of llama.h: fields are only set where the defaults of
0.5.0 are found.
"""

import ctypes
from collections.abc import Iterator
from ctypes import POINTER, c_bool, c_char_p, c_float, c_int8, c_int32, c_uint32, c_void_p
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.quants import quantize
from torch import Tensor

from seesay.models.decoder import Decoder
from seesay.weights.gguf import MODULES

# Fields of llama_context_params, as numbers of four bytes each, and their defaults.
CONTEXT, BATCH, FLASH, KEYS, VALUES = 0, 1, 13, 26, 27
DEFAULTS = {CONTEXT: 512, BATCH: 2048, FLASH: 2**32 - 1, KEYS: 1, VALUES: 1}


def write_gguf(decoder: Decoder, path: Path, kind: GGMLQuantizationType) -> None:
    """Writes a decoder with rotary positions and RMSNorm, its matrices in numbers of this type and
    the rest in F32."""
    c = decoder.config
    sections = c.rope.sections
    architecture = "llama" if sections is None else "qwen2vl"
    writer = GGUFWriter(path, architecture)
    writer.add_tokenizer_model("no_vocab")
    writer.add_vocab_size(c.vocab_size)
    writer.add_context_length(c.context)
    writer.add_embedding_length(c.dim)
    writer.add_block_count(c.depth)
    writer.add_feed_forward_length(c.hidden)
    writer.add_head_count(c.heads)
    writer.add_head_count_kv(c.key_heads)
    writer.add_layer_norm_rms_eps(c.norm_eps)
    writer.add_rope_dimension_count(c.head_dim)
    writer.add_rope_freq_base(c.rope.theta)
    if sections is not None:
        writer.add_rope_dimension_sections([*sections, 0])
    for name, tensor in _named(decoder, pairs=sections is None):
        array = tensor.float().contiguous().numpy()
        if array.ndim == 2 and kind != GGMLQuantizationType.F32:
            writer.add_tensor(name, quantize(array, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _named(decoder: Decoder, pairs: bool) -> Iterator[tuple[str, Tensor]]:
    """Tensors by their names in the file. With `pairs`, rotated rows are neighbours there, as
    `llama` wants them, and not half a head apart."""
    names = {ours: theirs for theirs, ours in MODULES.items()}
    whole = {"token_embed": "token_embd", "head": "output", "norm_out": "output_norm"}
    heads = {"attn_q": decoder.config.heads, "attn_k": decoder.config.key_heads}
    for name, tensor in decoder.state_dict().items():
        module, _, end = name.rpartition(".")
        if module in whole:
            yield f"{whole[module]}.{end}", tensor
            continue
        _, layer, module = module.split(".", 2)
        theirs = names[module]
        if pairs and theirs in heads:
            halves = tensor.unflatten(0, (heads[theirs], 2, -1))
            tensor = halves.transpose(1, 2).flatten(0, 2)
        yield f"blk.{layer}.{theirs}.{end}", tensor


class _Settings(ctypes.Structure):
    """llama_model_params or llama_context_params, with room to spare: functions that take one by
    value read as much as they know."""

    _fields_ = [("fields", c_uint32 * 128)]


class _Batch(ctypes.Structure):
    _fields_ = [
        ("n_tokens", c_int32),
        ("token", POINTER(c_int32)),
        ("embd", POINTER(c_float)),
        ("pos", POINTER(c_int32)),
        ("n_seq_id", c_void_p),
        ("seq_id", c_void_p),
        ("logits", POINTER(c_int8)),
    ]


_Log = ctypes.CFUNCTYPE(None, c_int32, c_char_p, c_void_p)
_silent = _Log(lambda level, text, user: None)


def library(folder: Path) -> ctypes.CDLL:
    """libllama of a folder of shared libraries, with the backend of this processor."""
    _base, ggml, llama = (
        ctypes.CDLL(str(_only(folder, pattern)), mode=ctypes.RTLD_GLOBAL)
        for pattern in ("libggml-base*.so*", "libggml.*so*", "libllama.*so*")
    )
    for name in ("model", "context"):
        getattr(llama, f"llama_{name}_default_params").restype = _Settings
    for name in ("model_load_from_file", "init_from_model", "get_memory", "model_get_vocab"):
        getattr(llama, f"llama_{name}").restype = c_void_p
    llama.llama_model_load_from_file.argtypes = [c_char_p, _Settings]
    llama.llama_init_from_model.argtypes = [c_void_p, _Settings]
    llama.llama_set_n_threads.argtypes = [c_void_p, c_int32, c_int32]
    llama.llama_decode.argtypes = [c_void_p, _Batch]
    llama.llama_get_logits_ith.argtypes = [c_void_p, c_int32]
    llama.llama_get_logits_ith.restype = POINTER(c_float)
    llama.llama_memory_clear.argtypes = [c_void_p, c_bool]
    for name in ("free", "model_free", "get_memory", "model_get_vocab", "vocab_n_tokens"):
        getattr(llama, f"llama_{name}").argtypes = [c_void_p]
    llama.llama_log_set(_silent, None)
    ggml.ggml_backend_load_all_from_path(str(folder).encode())
    return llama


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if not found:
        raise SystemExit(f"{folder} holds no {pattern}: name the folder of llama.cpp's libraries")
    return found[0]


class LlamaCpp:
    """A GGUF file ready to run."""

    def __init__(
        self, llama: ctypes.CDLL, path: Path, context: int, threads: int, exact: bool = False
    ) -> None:
        """`context` is how many tokens it holds. llama.cpp keeps keys and values in half precision
        and rounds inside its fused attention; `exact` computes in float32 throughout."""
        self._llama = llama
        self._model = llama.llama_model_load_from_file(
            str(path).encode(), llama.llama_model_default_params()
        )
        if not self._model:
            raise SystemExit(f"llama.cpp cannot load {path}")
        settings = llama.llama_context_default_params()
        found = {at: settings.fields[at] for at in DEFAULTS}
        if found != DEFAULTS:
            raise SystemExit(
                f"llama_context_params has the defaults {found}, expected {DEFAULTS}: take the "
                "libraries of llama.cpp 0.5.0, or compare with llama.h"
            )
        settings.fields[CONTEXT] = settings.fields[BATCH] = context  # a prompt is one batch
        if exact:
            settings.fields[FLASH] = settings.fields[KEYS] = settings.fields[VALUES] = 0
        self._context = llama.llama_init_from_model(self._model, settings)
        llama.llama_set_n_threads(self._context, threads, threads)
        self._vocab = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(self._model))

    def close(self) -> None:
        self._llama.llama_free(self._context)
        self._llama.llama_model_free(self._model)

    def read(self, embeds: Tensor, positions: Tensor | None = None) -> Tensor:
        """Forgets what came before and reads the rows of a prompt, `tokens dim`, at positions `3
        tokens` for time, row and column, or counted. Returns the logits of the next token."""
        self._llama.llama_memory_clear(self._llama.llama_get_memory(self._context), True)
        rows = embeds.float().contiguous()
        places = torch.arange(len(rows))
        if positions is not None:  # a fourth axis is not used
            places = torch.cat([positions, torch.zeros_like(positions[:1])])
        pointer = ctypes.cast(rows.data_ptr(), POINTER(c_float))
        return self._decode(len(rows), places, embd=pointer)

    def step(self, token: int, position: int) -> Tensor:
        """Reads one more token. Returns the logits of the next."""
        return self._decode(1, torch.tensor([position]), token=(c_int32 * 1)(token))

    def _decode(self, tokens: int, positions: Tensor, **given: Any) -> Tensor:
        places = positions.to(torch.int32).contiguous()
        pointer = ctypes.cast(places.data_ptr(), POINTER(c_int32))
        batch = _Batch(tokens, pos=pointer, **given)
        if code := self._llama.llama_decode(self._context, batch):
            raise RuntimeError(f"llama_decode returned {code}")
        logits = self._llama.llama_get_logits_ith(self._context, -1)
        return torch.from_numpy(np.ctypeslib.as_array(logits, (self._vocab,)).copy())
