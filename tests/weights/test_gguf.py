"""Language models in GGUF files give the numbers of what they were written from."""

import numpy as np
import pytest
import torch

from decoder_references import close, internlm2, llama, mistral, qwen2, qwen3
from gguf_files import SPECIAL, byte_vocabulary, write_smollm, written
from seesay.errors import MissingExtraError, WeightsError
from seesay.weights.decoders import load_decoder
from seesay.weights.gguf import load_gguf, load_gguf_with_vocabulary

gguf = pytest.importorskip("gguf")
F16, F32, Q8_0, Q4_1 = (gguf.GGMLQuantizationType[name] for name in ("F16", "F32", "Q8_0", "Q4_1"))
FAMILIES = {"llama": llama, "mistral": mistral, "qwen2": qwen2, "qwen3": qwen3}
FAMILIES["internlm2"] = internlm2


@torch.no_grad()
@pytest.mark.parametrize("number_type", [F32, F16, Q8_0, Q4_1], ids=lambda one: one.name)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_file_gives_the_numbers_it_was_written_from(family, number_type, tmp_path):
    torch.manual_seed(0)
    model = load_decoder(FAMILIES[family](tmp_path).folder)
    architecture = "llama" if family == "mistral" else family
    written(tmp_path / "model.gguf", model, architecture, number_type)
    read = load_gguf(tmp_path / "model.gguf")
    assert read.config == model.config
    ids = torch.randint(0, model.config.vocab_size, (2, 7))
    close(read.logits(read(read.embed(ids))), model.logits(model(model.embed(ids))))


def test_rows_are_in_the_order_that_transformers_gives_them(tmp_path):
    from transformers.modeling_gguf_pytorch_utils import LlamaTensorProcessor

    torch.manual_seed(0)
    path = tmp_path / "model.gguf"
    written(path, load_decoder(llama(tmp_path).folder), "llama")
    read = load_gguf(path)
    theirs = LlamaTensorProcessor(dict(num_attention_heads=4, num_key_value_heads=2))
    kept = {str(one.name): one.data for one in gguf.GGUFReader(path).tensors}
    for name, module in (("attn_q", "query"), ("attn_k", "key"), ("attn_v", "value")):
        expected = theirs.process(kept[f"blk.0.{name}.weight"], f"blk.0.{name}.weight").weights
        mine = read.get_submodule(f"blocks.0.attention.{module}").weight
        assert np.array_equal(mine.detach().numpy(), expected)


def test_what_is_not_such_a_model_is_refused(tmp_path, monkeypatch):
    torch.manual_seed(0)
    model = load_decoder(llama(tmp_path).folder)
    path = tmp_path / "model.gguf"
    written(path, model, "gemma")
    with pytest.raises(WeightsError, match=r"general\.architecture to 'gemma'"):
        load_gguf(path)
    written(path, model, "llama", llama__rope__scaling__type="yarn")
    with pytest.raises(WeightsError, match=r"rope\.scaling\.type to 'yarn'"):
        load_gguf(path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(WeightsError, match="not a valid GGUF file") as raised:
        load_gguf(path)
    assert "不是有效的 GGUF 文件" in raised.value.text.zh
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    with pytest.raises(MissingExtraError, match=r"seesay\[gguf\]"):
        load_gguf(path)


def test_the_vocabulary_in_a_file_reads_as_that_of_transformers(tmp_path):
    from transformers import GPT2Tokenizer

    write_smollm(tmp_path / "model.gguf")
    decoder, vocabulary = load_gguf_with_vocabulary(tmp_path / "model.gguf")
    tokens, merges = byte_vocabulary()
    assert vocabulary.get_vocab_size() == decoder.config.vocab_size == len(tokens)
    pairs = [tuple(pair.split()) for pair in merges]
    theirs = GPT2Tokenizer({one: at for at, one in enumerate(tokens)}, pairs)
    for text in ("a red dog\n re-read", "一只 红色的狗", "  two  blanks "):
        assert vocabulary.encode(text).ids == theirs.encode(text)
        assert vocabulary.decode(vocabulary.encode(text).ids) == text
    assert vocabulary.encode("12").tokens == ["1", "2"]  # each digit by itself
    turn = vocabulary.encode("<|im_start|>user\nred<|im_end|>")
    assert (turn.ids[0], turn.ids[-1]) == (tokens.index(SPECIAL[1]), tokens.index(SPECIAL[2]))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"tokenizer__ggml__model": "llama"}, r"tokenizer\.ggml\.model to 'llama'; expected gpt2"),
        ({"tokenizer__ggml__model": "gpt2"}, r"tokenizer\.ggml\.pre to 'default'"),
        ({}, r"tokenizer\.ggml\.model to None"),
    ],
)
def test_other_vocabularies_are_refused(tmp_path, settings, expected):
    torch.manual_seed(0)
    path = tmp_path / "model.gguf"
    written(path, load_decoder(llama(tmp_path).folder), "llama", **settings)
    with pytest.raises(WeightsError, match=expected):
        load_gguf_with_vocabulary(path)
