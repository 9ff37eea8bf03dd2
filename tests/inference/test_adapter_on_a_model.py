"""A model with an adapter on it: the numbers of the adapter, a name of its own, and one clear line
for an adapter that does not belong to it."""

import json
import shutil

import numpy as np
import pytest
import torch

import seesay
from seesay.cli.main import run
from seesay.errors import CollectionError, ConfigError, WeightsError
from seesay.inference.answering import ServedAssistant
from seesay.inference.assistant import chat
from seesay.inference.embedder import Embedder
from seesay.models.lora import LoraConfig, add_lora, is_adapter
from seesay.weights.bundle import load_bundle
from seesay.weights.hub import adapted_name, split_adapter
from seesay.weights.lora import CONFIG, WEIGHTS, rules_of, save_adapter
from tiny_assistants import picture, tiny_llava
from tiny_checkpoint import write_checkpoint

LORA = LoraConfig(rank=2, alpha=4.0, targets=("query", "value"))


def write_adapter(folder, model, base="tiny", rules=None, seed=0):
    """Saves an adapter with effect for a model, which keeps it, and returns where it is."""
    torch.manual_seed(seed)
    add_lora(model, LORA)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if is_adapter(name):
                parameter.normal_(std=0.5)
    save_adapter(folder, model.state_dict(), LORA, base, rules)
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A tiny dual encoder, an adapter for it, and the vectors that it gives with it."""
    folder = tmp_path_factory.mktemp("tiny")
    write_checkpoint(folder)
    bundle = load_bundle(folder / "tiny")
    write_adapter(folder / "adapter", bundle.model)
    for seed in range(3):
        (folder / "photos").mkdir(exist_ok=True)
        picture(seed).save(folder / "photos" / f"{seed}.png")
    expected = Embedder(bundle).embed_images(folder / "photos").vectors
    return folder, expected


@pytest.fixture(scope="module")
def llava(tmp_path_factory):
    torch.manual_seed(0)
    return tiny_llava(tmp_path_factory.mktemp("llava")).folder


def test_an_embedder_has_the_numbers_and_a_name_of_its_own(tiny):
    folder, expected = tiny
    plain = seesay.load(folder / "tiny", device="cpu", dtype="float32")
    adapted = seesay.load(
        folder / "tiny", adapter=folder / "adapter", device="cpu", dtype="float32"
    )
    vectors = adapted.embed_images(folder / "photos").vectors
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    assert np.abs(vectors - plain.embed_images(folder / "photos").vectors).max() > 0.01
    assert adapted.name == adapted_name(str(folder / "tiny"), folder / "adapter") != plain.name
    assert split_adapter(adapted.name) == (str(folder / "tiny"), folder / "adapter")
    assert adapted.fingerprint() != plain.fingerprint()
    again = seesay.load(adapted.name, device="cpu")
    assert (again.name, again.fingerprint()) == (adapted.name, adapted.fingerprint())


def test_a_collection_keeps_to_its_adapter(tiny, tmp_path, monkeypatch, capsys):
    folder, _ = tiny
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SEESAY_LANG", "en")
    model = ["-m", "tiny", "--text-model", "none", "--device", "cpu"]
    plain, adapted = ["-c", str(tmp_path / "plain")], ["-c", str(tmp_path / "adapted")]
    assert run(["index", "photos", *plain, *model]) == 0
    assert run(["index", "photos", *adapted, *model, "--adapter", "adapter"]) == 0
    assert run(["search", "a cat", *adapted, "--json"]) == 0  # by the name that is kept
    capsys.readouterr()
    assert run(["index", "photos", *plain, *model, "--adapter", "adapter"]) == 2
    refused = capsys.readouterr().err
    assert refused.count("\n") == 1 and "was indexed with" in refused
    bare = seesay.load(folder / "tiny", device="cpu")
    with pytest.raises(CollectionError, match="was indexed with"):
        seesay.open(str(tmp_path / "adapted"), model=bare)
    with seesay.open(str(tmp_path / "adapted")) as collection:
        assert collection.model.name == f"{folder / 'tiny'} + {folder / 'adapter'}"
    # Another adapter in the same folder.
    shutil.copytree(folder, tmp_path / "moved")
    write_adapter(tmp_path / "moved" / "adapter", load_bundle(folder / "tiny").model, seed=5)
    with seesay.open(str(tmp_path / "adapted")) as collection:
        other = seesay.load(folder / "tiny", adapter=tmp_path / "moved" / "adapter", device="cpu")
        other.name = collection.model.name
        with pytest.raises(CollectionError, match="is another"):
            seesay.open(str(tmp_path / "adapted"), model=other).model.get()


def test_a_probe_takes_the_adapter_that_it_was_fitted_with(tiny, tmp_path, capsys, monkeypatch):
    folder, _ = tiny
    monkeypatch.setenv("SEESAY_LANG", "en")
    for number in range(8):
        (place := tmp_path / "sorted" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        picture(number).save(place / f"{number}.png")
    asked = ["probe", str(tmp_path / "sorted")]
    fitted = ["--out", str(tmp_path / "probe"), "-m", str(folder / "tiny")]
    assert run([*asked, *fitted, "--adapter", str(folder / "adapter")]) == 0
    used = [*asked, "--predict", str(tmp_path / "probe"), "--json"]
    capsys.readouterr()
    assert run(used) == 0
    assert json.loads(capsys.readouterr().out)["model"].endswith(f" + {folder / 'adapter'}")
    assert run([*used, "--adapter", str(folder / "adapter")]) == 0
    assert run([*used, "-m", str(folder / "tiny")]) == 2
    assert "the probe was fitted on vectors of" in capsys.readouterr().err


def test_an_assistant_answers_with_it(llava, tmp_path):
    plain = chat(llava, device="cpu", dtype="float32")
    with_it = chat(llava, device="cpu", dtype="float32")
    adapter = write_adapter(tmp_path / "a", with_it.files.model, str(llava), rules_of(llava))
    adapted = chat(llava, adapter=adapter, device="cpu", dtype="float32")
    assert adapted.name == f"{llava} + {adapter}"
    answers = [one.ask(picture(), "What is it?", max_tokens=24).text for one in (with_it, adapted)]
    assert answers[0] == answers[1] != plain.ask(picture(), "What is it?", max_tokens=24).text
    quantized = chat(llava, adapter=adapter, device="cpu", dtype="float32", weights="int8")
    assert quantized.ask(picture(), "What is it?", max_tokens=4).text
    assert ServedAssistant(adapted.name).name == f"{llava.name}+a"


def test_what_was_measured_of_the_model_alone_is_not_said_of_its_answers(tmp_path):
    built_in = "seesay-assistant"
    plain = chat(built_in, device="cpu")
    adapter = write_adapter(tmp_path / "a", chat(built_in, device="cpu").files.model, built_in)
    adapted = chat(built_in, adapter=adapter, device="cpu")
    answers = [one.ask(picture(), "What is it?", max_tokens=8) for one in (plain, adapted)]
    assert answers[0].certainty is not None and answers[1].certainty is None


def test_the_command_line_puts_it_on(llava, tiny, tmp_path, monkeypatch, capsys):
    folder, expected = tiny
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEESAY_LANG", "en")
    mine = ["-m", str(folder / "tiny"), "--adapter", str(folder / "adapter"), "--json"]
    assert run(["embed", str(folder / "photos"), *mine, "--device", "cpu"]) == 0
    found = json.loads(capsys.readouterr().out)
    vectors = [item["vector"] for item in found["items"]]
    np.testing.assert_allclose(vectors, expected, atol=1e-2)  # in bfloat16 where that is quick
    assert found["model"] == f"{folder / 'tiny'} + {folder / 'adapter'}"
    assert run(["classify", str(folder / "photos"), "-l", "cat,dog", *mine]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == found["model"]
    model = chat(llava, device="cpu", dtype="float32").files.model
    adapter = write_adapter(tmp_path / "a", model, str(llava), rules_of(llava))
    picture().save("cat.png")
    asked = ["ask", "cat.png", "Why?", "--adapter", str(adapter), "--max-tokens", "3"]
    assert run([*asked, "-m", str(llava), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == f"{llava} + {adapter}"
    assert run([*asked, "--endpoint", "http://localhost:1/v1"]) == 2
    assert "--adapter stands beside --endpoint" in capsys.readouterr().err


def test_what_is_no_adapter_of_the_model_is_refused_in_a_line(tiny, llava, tmp_path):
    folder, _ = tiny
    refusals = {"missing": "there is no adapter_config.json in it", "empty": "no adapter_config"}
    (tmp_path / "empty").mkdir()

    def copied(name, because):
        refusals[name] = because
        return shutil.copytree(folder / "adapter", tmp_path / name)

    cut = copied("cut", "is not a whole safetensors file") / WEIGHTS
    cut.write_bytes(cut.read_bytes()[:-20])
    (copied("half", f"has no {WEIGHTS}") / WEIGHTS).unlink()
    (copied("broken", CONFIG) / CONFIG).write_text("{")
    (copied("whole", "it is a whole model") / "seesay.json").write_text("{}")
    other = chat(llava, device="cpu", dtype="float32").files.model
    write_adapter(tmp_path / "other", other, str(llava), rules_of(llava))
    refusals["other"] = "is no layer of this model"
    for name, because in refusals.items():
        with pytest.raises(WeightsError, match=because) as refused:
            seesay.load(folder / "tiny", adapter=tmp_path / name)
        assert "\n" not in str(refused.value) and name in str(refused.value)


def test_the_recorded_model_has_to_be_the_same(tiny, tmp_path):
    folder, _ = tiny
    adapter = shutil.copytree(folder / "adapter", tmp_path / "adapter")
    described = json.loads((adapter / CONFIG).read_text())

    def load(recorded):
        (adapter / CONFIG).write_text(json.dumps(described | {"base_model_name_or_path": recorded}))
        return seesay.load("seesay-mini", adapter=adapter, device="cpu")

    with pytest.raises(WeightsError, match=r"is of seesay-base, and the model is seesay-mini;"):
        load("seesay-base")
    with pytest.raises(WeightsError, match=r"is of openai/clip-vit-base-patch32"):
        load("openai/clip-vit-base-patch32")
    # The same, copied by somebody, or a folder: the tensors decide.
    for recorded in ("seesay-mini", "someone/seesay-mini", "/not/there", None):
        with pytest.raises(WeightsError, match="is no layer of this model"):
            load(recorded)
    with pytest.raises(ConfigError, match="makes vectors and answers no questions"):
        seesay.chat("seesay-mini", adapter=adapter)
