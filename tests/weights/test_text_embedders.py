"""Published text embedders give the numbers of transformers', stage by stage: their pooling, their
prefixes and their longest text come from the files of sentence-transformers beside them."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import rule_slips
from hf_references import ROBERTA
from reference_parts import CONTEXT, TEXT, TINY, VOCAB, layers, randomise, write_tokenizer
from seesay.errors import WeightsError
from seesay.inference.embedder import load
from seesay.weights import text_embedders
from seesay.weights.bundle import load_bundle
from seesay.weights.tensors import read_tensors

LAYERS = TINY["num_hidden_layers"]
TEXTS = ("abcabc", "a", "ghi!?")


def bert():
    from transformers import BertConfig, BertModel

    return BertModel(BertConfig(**TEXT, pad_token_id=0)), "cls_token"


def xlm_roberta():
    from transformers import XLMRobertaConfig, XLMRobertaModel

    sizes = dict(ROBERTA, max_position_embeddings=CONTEXT + 1, pad_token_id=0)
    return XLMRobertaModel(XLMRobertaConfig(**sizes)), "mean_tokens"


def qwen3():
    from transformers import Qwen3Config, Qwen3Model

    sizes = dict(TINY, num_key_value_heads=2, head_dim=16)
    config = Qwen3Config(**sizes, vocab_size=VOCAB, max_position_embeddings=CONTEXT)
    return Qwen3Model(config), "lasttoken"


FAMILIES = {"bert": bert, "xlm-roberta": xlm_roberta, "qwen3": qwen3}


def stages(name):
    if name == "qwen3":
        return layers("text.decoder.blocks", "layers", LAYERS)
    return layers("text.blocks", "encoder.layer", LAYERS)


@pytest.fixture(params=FAMILIES)
def family(request, tmp_path):
    """The name, the reference model and the folder of a tiny checkpoint with random parameters."""
    torch.manual_seed(0)
    model, pool = FAMILIES[request.param]()
    model = randomise(model.eval(), norms=0.5 if request.param == "qwen3" else 0.0)
    model.save_pretrained(tmp_path)
    write_tokenizer(tmp_path)
    if request.param == "qwen3":  # its texts end with the token that pads
        description = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
        frame = {"type": "TemplateProcessing", "pair": []}
        frame["single"] = [
            {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": "<pad>", "type_id": 0}},
        ]
        frame["special_tokens"] = {"<pad>": {"id": "<pad>", "ids": [0], "tokens": ["<pad>"]}}
        description["post_processor"] = frame
        write(tmp_path / "tokenizer.json", description)
        write(tmp_path / "tokenizer_config.json", {"pad_token": "<pad>"})
    (tmp_path / "1_Pooling").mkdir()
    modes = {f"pooling_mode_{one}": one == pool for one in text_embedders.POOLS}
    write(tmp_path / text_embedders.POOLING, {"word_embedding_dimension": 32, **modes})
    steps = [{"idx": n, "type": f"x.{step}"} for n, step in enumerate(text_embedders.STEPS)]
    write(tmp_path / "modules.json", steps)
    prompts = {"query": "Q:", "document": ""}
    write(tmp_path / "config_sentence_transformers.json", {"prompts": prompts})
    write(tmp_path / "sentence_bert_config.json", {"max_seq_length": 10})
    return request.param, model, tmp_path


def write(path, content):
    path.write_text(json.dumps(content), encoding="utf-8")


def reference_vector(name, model, ids):
    """The vector of one row without padding, by the definition of its pooling."""
    hidden = model(input_ids=ids[None]).last_hidden_state[0]
    vector = {"bert": hidden[0], "xlm-roberta": hidden.mean(dim=0), "qwen3": hidden[-1]}[name]
    return F.normalize(vector, dim=-1)


def rows_of(name, folder):
    """The ids of each text with its padding, and their number."""
    tokenizer = load_bundle(folder).tokenizer
    ids = torch.from_numpy(tokenizer.encode(TEXTS, "passage").ids)
    pad = tokenizer.config.pad_id
    return ids, [int((row != pad).sum()) + (name == "qwen3") for row in ids]


@torch.no_grad()
def test_vectors_and_hidden_states_are_the_originals(family):
    name, reference, folder = family
    ids, lengths = rows_of(name, folder)
    wanted = [
        reference_vector(name, reference, row[:n]) for row, n in zip(ids, lengths, strict=True)
    ]
    found = load(folder, device="cpu", dtype="float32").embed_texts(TEXTS, role="passage")
    np.testing.assert_allclose(found.vectors, torch.stack(wanted), atol=1e-5)
    mine, theirs, model = {}, {}, load_bundle(folder).model
    for ours, other in stages(name).items():
        keep(model.get_submodule(ours), mine, ours)
        keep(reference.get_submodule(other), theirs, ours)
    row = ids[:1, : lengths[0]]
    model.embed_texts(row)
    reference(input_ids=row)
    for ours in stages(name):
        read = mine[ours].shape[1]  # of the last layer we compute what is pooled
        torch.testing.assert_close(mine[ours], theirs[ours][:, :read], rtol=0, atol=1e-5)


def keep(module, outputs, name):
    def hook(_module, _inputs, output):
        outputs[name] = output[0] if isinstance(output, tuple) else output

    module.register_forward_hook(hook)


@torch.no_grad()
def test_every_slip_in_a_rule_table_is_noticed(family):
    name, _, folder = family
    blueprint = text_embedders.read(folder, read(folder), read_tensors(folder))
    tensors = text_embedders.with_scale(read_tensors(folder))
    ids, _ = rows_of(name, folder)
    model = load_bundle(folder).model
    passed = rule_slips.unnoticed(
        model, tensors, blueprint.rules, lambda one: {"texts": one.embed_texts(ids)}, most=60
    )
    assert passed == []


def read(folder):
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))


def test_prefixes_and_the_longest_text_are_those_of_the_files(family):
    _, _, folder = family
    tokenizer = load_bundle(folder).tokenizer
    assert (tokenizer.config.query_prefix, tokenizer.config.passage_prefix) == ("Q:", "")
    query, passage = (tokenizer.encode(["a"], role).ids[0] for role in ("query", "passage"))
    assert (query != passage).any()
    assert tokenizer.config.context == 10


def test_another_step_or_pooling_is_refused(family):
    _, _, folder = family
    write(folder / "modules.json", [{"type": "sentence_transformers.models.Dense"}])
    with pytest.raises(WeightsError, match="the step Dense"):
        load_bundle(folder)
    (folder / "modules.json").unlink()
    write(folder / text_embedders.POOLING, {"pooling_mode_max_tokens": True})
    with pytest.raises(WeightsError, match="max_tokens"):
        load_bundle(folder)


def test_a_saved_one_is_the_same(family, tmp_path):
    from seesay.weights.saving import save_bundle

    _, _, folder = family
    bundle = load_bundle(folder)
    save_bundle(tmp_path / "ours", bundle)
    again = load(tmp_path / "ours", device="cpu", dtype="float32").embed_texts(TEXTS).vectors
    whole = load(folder, device="cpu", dtype="float32").embed_texts(TEXTS).vectors
    np.testing.assert_allclose(again, whole, atol=1e-6)
