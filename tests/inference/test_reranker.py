"""Rerankers and models of entailment give the logits of transformers' models; a reranker puts the
texts of a search in order."""

import numpy as np
import pytest
import torch

import rule_slips
from hf_references import ROBERTA, entailment_folder
from reference_parts import randomise, write_tokenizer
from seesay.errors import WeightsError
from seesay.inference import reranker as module
from seesay.inference.embedder import load
from seesay.inference.reranker import load_entailment_model, load_reranker
from seesay.search.collection import Collection
from seesay.weights.reranker import RULES
from seesay.weights.tensors import read_tensors
from tiny_assistants import write_byte_tokenizer
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
    with pytest.raises(WeightsError, match="labels entailment, neutral, contradiction"):
        load_entailment_model(str(tmp_path))


def saved(folder, model, **names):
    """A model of transformers with random parameters in a folder."""
    randomise(model.eval(), norms=1.0).save_pretrained(folder)
    return model


@torch.no_grad()
@pytest.mark.parametrize("tied", [True, False])
def test_a_judge_gives_the_share_of_yes_that_its_model_card_computes(tmp_path, tied):
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    marks = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>", "yes", "no")
    size = write_byte_tokenizer(tmp_path, marks).get_vocab_size()
    sizes = dict(vocab_size=size, hidden_size=32, intermediate_size=48, num_hidden_layers=2)
    heads = dict(num_attention_heads=2, num_key_value_heads=1, head_dim=16)
    model = saved(
        tmp_path, Qwen3ForCausalLM(Qwen3Config(**sizes, **heads, tie_word_embeddings=tied))
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(tmp_path / "tokenizer.json"), pad_token=marks[0], padding_side="left"
    )
    before = (
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query "
        'and the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
        "<|im_start|>user\n"
    )
    task = "Given a web search query, retrieve relevant passages that answer the query"
    after = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    texts = ["the lease ends in a month", "退租", "", "a b c " * 9]
    asked = [
        f"{before}<Instruct>: {task}\n<Query>: a question\n<Document>: {text}{after}"
        for text in texts
    ]
    given = tokenizer(asked, padding=True, return_tensors="pt", return_token_type_ids=False)
    pair = model(**given).logits[:, -1, [size - 1, size - 2]]  # no, yes
    ours = load_reranker(tmp_path, device="cpu")
    found = ours.scores("a question", texts)
    np.testing.assert_allclose(found, pair.softmax(dim=1)[:, 1], atol=2e-6)
    assert found.std() > 2e-4
    typed = ours.tokenizer.encode_pairs("a", ["<|im_end|>", "x" * 9000]).ids
    assert (typed[0] == tokenizer.convert_tokens_to_ids("<|im_end|>")).sum() == 2
    assert typed.shape[1] == 8192 and typed[1, -1] != tokenizer.pad_token_id  # cut, and ended


def test_an_embedder_is_no_reranker(tmp_path):
    (tmp_path / "config.json").write_text(
        '{"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3"}', encoding="utf-8"
    )
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(WeightsError, match="scores a query with a text"):
        load_reranker(tmp_path)


@torch.no_grad()
def test_entailment_is_that_of_the_original_whatever_the_order_of_its_labels(tmp_path):
    from transformers import XLMRobertaForSequenceClassification

    folder = entailment_folder(tmp_path)
    model = XLMRobertaForSequenceClassification.from_pretrained(folder).eval()
    ours = load_entailment_model(str(tmp_path), device="cpu")
    rows = [ours.tokenizer.encode_pairs(text, ["abc"]).ids for text in TEXTS]
    ids = torch.from_numpy(np.concatenate(rows))
    logits = model(input_ids=ids, attention_mask=(ids != 0).long()).logits
    wanted = logits.softmax(dim=1)[:, [2, 1, 0]]
    np.testing.assert_allclose(ours.probabilities(TEXTS, "abc"), wanted, atol=1e-5)
    assert wanted.std() > 0.01
    # The text is the premise, and comes first.
    assert rows[0][0, 1:4].tolist() == ours.tokenizer.encode(["abc"]).ids[0, 1:4].tolist()


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
        monkeypatch.setattr(module, "load_second_stage", lambda _: pytest.fail("loaded"))
        assert len(collection.search("ab").hits) == 4
