"""Language models in GGUF files give the numbers of what they were written from."""

from pathlib import Path

import numpy as np
import pytest
import torch

from decoder_references import close, internlm2, llama, mistral, qwen2, qwen3
from seesay.errors import MissingExtraError, WeightsError
from seesay.weights.decoders import load_decoder
from seesay.weights.gguf import MODULES, load_gguf

gguf = pytest.importorskip("gguf")
F16, F32, Q8_0, Q4_1 = (gguf.GGMLQuantizationType[name] for name in ("F16", "F32", "Q8_0", "Q4_1"))
FAMILIES = {"llama": llama, "mistral": mistral, "qwen2": qwen2, "qwen3": qwen3}
FAMILIES["internlm2"] = internlm2


def written(path: Path, model, architecture: str, number_type=F32, **settings: object) -> None:
    """Writes one of our decoders as llama.cpp does. Its weights become those of the file."""
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
