"""Pages and queries get the vectors and the scores of transformers' ColQwen2."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import rule_slips
from seesay.errors import WeightsError
from seesay.inference.late_interaction import load_pages
from seesay.models.late_interaction import max_sim
from seesay.weights.colqwen2 import read_colqwen2
from seesay.weights.tensors import read_tensors
from tiny_late import MARKS, SIZES, late_folder

QUERIES = ("the notice period", "退租 <|image_pad|>", "")


def page(seed: int, size: tuple[int, int] = (64, 90)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return late_folder(tmp_path_factory.mktemp("colqwen2"))


@pytest.fixture(scope="module")
def processor(reference):
    from transformers import ColQwen2Processor, PreTrainedTokenizerFast
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(reference.folder / "tokenizer.json"),
        pad_token="<|endoftext|>",
        padding_side="left",
        split_special_tokens=False,
    )
    settings = json.loads((reference.folder / "preprocessor_config.json").read_text())
    return ColQwen2Processor(Qwen2VLImageProcessorPil(**settings), tokenizer)


@torch.no_grad()
def of_pages(reference, processor, pages):
    """The vectors of transformers, whose class counts positions as in a text: the model was trained
    with those of its pictures (colpali-engine, modeling_colqwen2.py), which are given here."""
    given = processor(images=pages)
    pad = MARKS.index("<|image_pad|>") + 256
    positions, _ = reference.model.vlm.get_rope_index(
        given["input_ids"],
        (given["input_ids"] == pad).int(),
        image_grid_thw=given["image_grid_thw"],
        attention_mask=given["attention_mask"],
    )
    vectors = reference.model(**given, position_ids=positions).embeddings
    return [one[keep.bool()] for one, keep in zip(vectors, given["attention_mask"], strict=True)]


@torch.no_grad()
def of_queries(reference, processor, texts):
    given = processor(text=[text.replace("<|", "< |") for text in texts])
    vectors = reference.model(**given).embeddings
    return [one[keep.bool()] for one, keep in zip(vectors, given["attention_mask"], strict=True)]


def test_vectors_of_pages_and_queries_and_their_scores_are_those_of_the_original(
    reference, processor
):
    ours = load_pages(str(reference.folder), device="cpu", dtype="float32")
    pages = [page(0), page(1, (200, 30)), page(2, (9, 9))]
    texts = [text.replace("<|", "< |") for text in QUERIES]
    theirs = of_pages(reference, processor, pages)
    mine = [ours.embed_page(one) for one in pages]
    for one, other in zip(mine, theirs, strict=True):
        assert one.dtype == np.float16 and one.shape == other.shape
        np.testing.assert_allclose(one, other, atol=5e-4)  # float16
    asked = of_queries(reference, processor, texts)
    for text, other in zip(texts, asked, strict=True):
        np.testing.assert_allclose(ours.embed_query(text), other, atol=2e-5)
    for text, query in zip(texts, asked, strict=True):
        for one, other in zip(mine, theirs, strict=True):
            wanted = processor.score_retrieval([query], [other])[0, 0]
            assert abs(max_sim(ours.embed_query(text), one) - wanted) < 5e-3
    lengths = {len(one) for one in theirs}
    assert len(lengths) == 3 and max(lengths) <= SIZES["longest"] // 64 + 60


def test_a_special_token_in_a_query_is_text(reference):
    ours = load_pages(str(reference.folder), device="cpu", dtype="float32")
    typed = QUERIES[1]
    count = len(f"Query: {typed}".encode()) + 10 + 1  # a byte is a token
    assert len(ours.embed_query(typed)) == count


@torch.no_grad()
def test_a_row_does_not_depend_on_its_padding_which_gets_zeros(reference):
    ours = load_pages(str(reference.folder), device="cpu", dtype="float32").model
    ids = torch.tensor([[5, 6, 7], [8, 9, 0]])
    mask = ids != 0
    both = ours(ids, mask=mask)
    assert not both[1, 2].any() and torch.allclose(both[0].norm(dim=-1), torch.ones(3))
    assert torch.allclose(both[1:, :2], ours(ids[1:, :2]), atol=1e-6)


def test_vectors_of_other_weights_are_told_apart(reference, tmp_path):
    ours = load_pages(str(reference.folder), device="cpu", dtype="float32")
    same = load_pages(str(reference.folder), device="cpu", dtype="bfloat16")
    assert ours.fingerprint == same.fingerprint
    other = late_folder(tmp_path, seed=1)
    assert load_pages(str(other.folder), device="cpu").fingerprint != ours.fingerprint


def test_every_slip_in_the_rule_table_is_noticed(reference):
    ours = load_pages(str(reference.folder), device="cpu", dtype="float32")
    tensors = read_tensors(reference.folder)
    published = json.loads((reference.folder / "config.json").read_text())
    rules = dict(read_colqwen2(published, tensors).rules)
    one = ours.inputs.picture(page(0), alone=True)
    pad = MARKS.index("<|image_pad|>") + 256
    ids = torch.tensor([[1, *[pad] * one.media.counts[0], 5, 6]])

    def numbers(model):
        ours.inputs.model = model.vlm
        return {"vectors": model(ids, ours.inputs.see([one]))}

    assert rule_slips.unnoticed(ours.model, tensors, rules, numbers, most=15) == []


def test_the_authors_layout_gives_the_same(reference, tmp_path):
    from safetensors.torch import save_file

    whole = json.loads((reference.folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(
        json.dumps(whole["vlm_config"] | {"architectures": ["ColQwen2"], "model_type": "qwen2_vl"})
    )
    for name in ("tokenizer.json", "preprocessor_config.json"):
        (tmp_path / name).write_bytes((reference.folder / name).read_bytes())
    renamed = {}
    for name, tensor in read_tensors(reference.folder).items():
        name = name.replace("embedding_proj_layer", "custom_text_proj").removeprefix("vlm.")
        name = name.removeprefix("model.").replace("language_model.", "model.")
        renamed[name] = tensor.contiguous()
    save_file(renamed, tmp_path / "model.safetensors")
    one, other = (
        load_pages(str(f), device="cpu", dtype="float32") for f in (reference.folder, tmp_path)
    )
    np.testing.assert_array_equal(one.embed_page(page(3)), other.embed_page(page(3)))
    np.testing.assert_array_equal(one.embed_query("a"), other.embed_query("a"))


def test_another_model_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"architectures": ["BertModel"]}', encoding="utf-8")
    with pytest.raises(WeightsError, match="compares a query with pages"):
        load_pages(str(tmp_path))


# config.json of vidore/colqwen2-base with the adapter merged (tsystems/colqwen2-2b-v1.0-merged).
AUTHORS = {
    "architectures": ["ColQwen2"],
    "attention_dropout": 0.0,
    "bos_token_id": 151643,
    "eos_token_id": 151645,
    "hidden_act": "silu",
    "hidden_size": 1536,
    "image_token_id": 151655,
    "initializer_range": 0.02,
    "intermediate_size": 8960,
    "max_position_embeddings": 32768,
    "max_window_layers": 28,
    "model_type": "qwen2_vl",
    "num_attention_heads": 12,
    "num_hidden_layers": 28,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06,
    "rope_scaling": {"mrope_section": [16, 24, 24], "rope_type": "default", "type": "default"},
    "rope_theta": 1000000.0,
    "sliding_window": 32768,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.46.3",
    "use_cache": True,
    "use_sliding_window": False,
    "video_token_id": 151656,
    "vision_config": {
        "hidden_size": 1536,
        "in_chans": 3,
        "model_type": "qwen2_vl",
        "spatial_patch_size": 14,
    },
    "vision_end_token_id": 151653,
    "vision_start_token_id": 151652,
    "vision_token_id": 151654,
    "vocab_size": 151936,
}


@pytest.mark.parametrize("nested", [False, True])
def test_published_settings_are_read_to_the_last(nested):
    published = AUTHORS
    if nested:  # as the conversion writes them: those of the language model twice
        text = {k: v for k, v in AUTHORS.items() if k not in ("vision_config", "architectures")}
        vlm = {**AUTHORS, "text_config": {**text, "model_type": "qwen2_vl_text"}}
        published = {"model_type": "colqwen2", "embedding_dim": 128, "vlm_config": vlm}
    names = ["model.embed_tokens.weight", "visual.patch_embed.proj.weight", "lm_head.weight"]
    found = read_colqwen2(published, names)
    decoder, tower = found.model.vlm.decoder, found.model.vlm.tower
    assert (decoder.dim, decoder.depth, decoder.key_heads, decoder.tied) == (1536, 28, 2, True)
    assert decoder.rope.sections == (16, 24, 24) and found.model.embed_dim == 128
    assert (tower.dim, tower.depth, found.model.vlm.connector.text_dim) == (1280, 32, 1536)
    assert found.rules["lm_head.weight"] is None
