"""The reranker gives the logits of transformers' model, and puts the texts of a search in order."""

import numpy as np
import pytest
import torch

import rule_slips
from hf_references import ROBERTA
from reference_parts import randomise, write_tokenizer
from seesay.errors import WeightsError
from seesay.inference import reranker as module
from seesay.inference.embedder import load
from seesay.inference.reranker import load_reranker
from seesay.search.collection import Collection
from seesay.weights.reranker import RULES
from seesay.weights.tensors import read_tensors
from tiny_checkpoint import write_checkpoint

TEXTS = ["abc", "?", "a long text that needs two windows", ""]


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("reranker")
    sizes = dict(ROBERTA, max_position_embeddings=25, pad_token_id=0)
    config = XLMRobertaConfig(**sizes, num_labels=1)
    model = randomise(XLMRobertaForSequenceClassification(config).eval(), norms=1.0)
    model.save_pretrained(folder)
    write_tokenizer(folder)
    return model, folder


@torch.no_grad()
def test_scores_are_those_of_the_original(reference):
    model, folder = reference
    ours = load_reranker(str(folder), device="cpu")
    pairs = ours.tokenizer.encode_pairs("ab", TEXTS)
    assert pairs.owners.tolist() == [0, 1, 2, 2, 3]
    mask = torch.from_numpy(pairs.ids != ours.tokenizer.config.pad_id)
    logits = model(input_ids=torch.from_numpy(pairs.ids), attention_mask=mask.long()).logits[:, 0]
    best = [logits[pairs.owners == owner].max() for owner in range(len(TEXTS))]
    assert logits.std() > 0.01
    wanted = torch.stack(best).sigmoid()
    np.testing.assert_allclose(ours.scores("ab", TEXTS), wanted, atol=1e-5)
    alone = [ours.scores("ab", [text])[0] for text in TEXTS]
    np.testing.assert_allclose(alone, wanted, atol=1e-5)
    first = pairs.ids[0]
    end = ours.tokenizer.suffix[0]
    assert (first == end).sum() == 3 and len(first) == 24


def test_every_slip_in_the_rule_table_is_noticed(reference):
    _, folder = reference
    ours = load_reranker(str(folder), device="cpu")
    ids = torch.from_numpy(ours.tokenizer.encode_pairs("ab", TEXTS).ids)
    passed = rule_slips.unnoticed(
        ours.model, read_tensors(folder), RULES, lambda one: {"logits": one(ids)}, most=60
    )
    assert passed == []


def test_another_model_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"architectures": ["BertModel"]}', encoding="utf-8")
    with pytest.raises(WeightsError, match="scores a query with a text"):
        load_reranker(str(tmp_path))


def test_the_texts_of_a_search_come_in_its_order(reference, tmp_path, monkeypatch):
    _, folder = reference
    (tmp_path / "files").mkdir()
    for number, text in enumerate(("abc", "?!", "bca", "cab")):
        (tmp_path / "files" / f"{number}.txt").write_text(text, encoding="utf-8")
    main = load(write_checkpoint(tmp_path), device="cpu", dtype="float32")
    with Collection.open(tmp_path / "c", create=True, model=main) as collection:
        collection.index(tmp_path / "files")
        hits = collection.search("ab", rerank=str(folder)).hits
        scores = load_reranker(str(folder), device="cpu").scores("ab", [h.text for h in hits])
        assert len(hits) == 4 and (np.diff(scores) <= 0).all()
        assert [hit.confidence for hit in hits] == np.round(100 * scores).tolist()
        monkeypatch.setattr(module, "load_reranker", lambda _: pytest.fail("loaded"))
        assert len(collection.search("ab").hits) == 4
