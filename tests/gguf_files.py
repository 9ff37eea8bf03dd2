"""Writes small language models as GGUF files."""

from pathlib import Path

import gguf
import numpy as np
import torch
from tokenizers.pre_tokenizers import ByteLevel

from seesay.models.decoder import Decoder, DecoderConfig
from seesay.weights.gguf import MODULES

F32 = gguf.GGMLQuantizationType.F32
NORMAL, CONTROL = gguf.TokenType.NORMAL, gguf.TokenType.CONTROL
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MERGES = ("r e", "re d", "Ġ red", "1 2")
"""The last one joins digits, which SmolLM never does."""


def byte_vocabulary() -> tuple[list[str], list[str]]:
    """SmolLM's special tokens, all bytes and a few pairs of them; and those pairs."""
    letters = sorted(ByteLevel.alphabet())
    return [*SPECIAL, *letters, *(pair.replace(" ", "") for pair in MERGES)], list(MERGES)


def write_smollm(path: Path) -> Decoder:
    """Writes a tiny SmolLM with random weights, and returns it."""
    vocabulary = byte_vocabulary()
    config = DecoderConfig(
        vocab_size=len(vocabulary[0]),
        context=256,
        dim=32,
        depth=2,
        heads=4,
        key_heads=2,
        head_dim=8,
        hidden=64,
        tied=True,
    )
    torch.manual_seed(0)
    decoder = Decoder(config)
    written(path, decoder, "llama", vocabulary=vocabulary)
    return decoder


def written(
    path: Path, model, architecture: str, number_type=F32, vocabulary=(), **settings: object
) -> None:
    """Writes one of our decoders as llama.cpp does, with a vocabulary of byte pairs if it is given.
    Its weights become those of the file."""
    c = model.config
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(c.context)
    writer.add_embedding_length(c.dim)
    writer.add_block_count(c.depth)
    writer.add_feed_forward_length(c.hidden)
    writer.add_head_count(c.heads)
    writer.add_head_count_kv(c.key_heads)
    writer.add_key_length(c.head_dim)
    writer.add_layer_norm_rms_eps(c.norm_eps)
    writer.add_rope_freq_base(c.rope.theta)
    for name, value in settings.items():
        writer.add_string(name.replace("__", "."), value)
    if vocabulary:
        tokens, merges = vocabulary
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("smollm")
        writer.add_token_list(tokens)
        writer.add_token_types([CONTROL if one in SPECIAL else NORMAL for one in tokens])
        writer.add_token_merges(merges)
    names = {ours: theirs for theirs, ours in MODULES.items()}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            array = parameter.numpy()
            if parameter.ndim == 2 and array.shape[1] % 32 == 0:
                array = gguf.quants.quantize(array, number_type)
                whole = gguf.quants.dequantize(array, number_type)
                parameter.copy_(torch.from_numpy(np.array(whole)))
            module, _, part = name.rpartition(".")
            ends = {"token_embed": "token_embd", "norm_out": "output_norm", "head": "output"}
            theirs = (
                ends.get(module)
                or "blk.{1}.".format(*module.split(".")) + (names[module.split(".", 2)[2]])
            )
            if architecture in ("llama", "internlm2") and names_of_pairs(theirs):
                heads = c.heads if "attn_q" in theirs else c.key_heads
                rows = array.reshape(heads, 2, -1, *array.shape[1:])
                array = np.ascontiguousarray(rows.swapaxes(1, 2).reshape(array.shape))
            quantized = array.dtype == np.uint8
            writer.add_tensor(
                f"{theirs}.{part}", array, raw_dtype=number_type if quantized else None
            )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def names_of_pairs(theirs: str) -> bool:
    return theirs.endswith(("attn_q", "attn_k"))
