"""Queries are cut into the same tokens with and without the library's vocabulary."""

import json
import random
import tarfile
from dataclasses import replace

import numpy as np
import pytest
from tokenizers import AddedToken, Regex, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as Backend
from tokenizers.models import Unigram

from seesay.data.query_tokenizer import MOST_CHARACTERS, QueryTokenizer, load_query_tokenizer
from seesay.data.tokenizer import Tokenizer, TokenizerConfig, load_tokenizer
from seesay.errors import WeightsError
from seesay.weights.catalog import published_models

CONFIG = TokenizerConfig(context=40, pad_id=0, query_prefix="query:", passage_prefix="b\\a")
ODD = [
    "",
    " ",
    "▁",
    "▁ ▁",
    "<s>",
    "a <unk> b",
    '"',
    "\\",
    'a"b\\',
    "\n\t\x00\x1f",
    "ﬁ①",
    "～",
    "\ud83d",
]
LETTERS = 'ab"\\ ▁\n一xy<unk>'


def write_vocabulary(folder, seed):
    """A small vocabulary with equal scores, so that many divisions are equally good."""
    some = random.Random(seed)
    pieces = {"".join(some.choices('ab"\\▁一', k=some.randint(1, 4))): None for _ in range(40)}
    vocab = [("<s>", -9.0), ("</s>", -9.0), ("<unk>", -9.0)]
    vocab += [(piece, float(some.randint(-3, -1))) for piece in pieces]
    backend = Backend(Unigram(vocab, unk_id=2, byte_fallback=False))
    backend.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    backend.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    backend.add_special_tokens([AddedToken(one, normalized=False) for one in ("<s>", "</s>")])
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair=None, special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    backend.save(str(folder / "tokenizer.json"))


def assert_equal(folder, config, texts):
    ours, whole = load_query_tokenizer(folder, config), load_tokenizer(folder, config)
    assert isinstance(ours, QueryTokenizer)
    assert (ours.vocab_size, ours.config) == (whole.vocab_size, whole.config)
    for role in ("query", "passage"):
        found, wanted = ours.encode(texts, role), whole.encode(texts, role)
        np.testing.assert_array_equal(found.ids, wanted.ids)
        np.testing.assert_array_equal(found.owners, wanted.owners)


@pytest.mark.parametrize("seed", range(10))
def test_ties_and_unknown_characters_are_divided_as_the_library_does(tmp_path, seed):
    write_vocabulary(tmp_path, seed)
    some = random.Random(seed + 100)
    texts = ["".join(some.choices(LETTERS, k=some.randint(0, 20))) for _ in range(300)]
    assert_equal(tmp_path, CONFIG, texts)


@pytest.fixture(scope="module")
def e5():
    folder = published_models()["seesay-text"].built_in
    described = json.loads((folder / "seesay.json").read_text(encoding="utf-8"))
    return folder, TokenizerConfig(**described["tokenizer"])


def test_any_text_is_cut_as_the_library_cuts_it(e5):
    some = random.Random(0)
    blocks = (0x20, 0x250), (0x300, 0x3400), (0x4E00, 0xA000), (0xF900, 0x10000), (0, 0x110000)
    texts = list(ODD)
    for _ in range(400):
        block = some.choice(blocks)
        codes = (some.randrange(*block) for _ in range(some.randint(1, 20)))
        texts.append("".join(chr(code) for code in codes))
    folder, config = e5
    assert_equal(folder, replace(config, context=120), texts)


@pytest.mark.shared
def test_captions_are_cut_as_the_library_cuts_them(e5, shared):
    texts = []
    with tarfile.open(shared / "flickr8k-bilingual" / "dev-000000.tar") as archive:
        for member in archive:
            if member.name.endswith(".json"):
                found = json.load(archive.extractfile(member)).values()
                lists = [value if isinstance(value, list) else [value] for value in found]
                texts += [text for some in lists for text in some if isinstance(text, str)]
    assert len(texts) > 5000
    folder, config = e5
    assert_equal(folder, replace(config, context=120), texts[::3])


@pytest.mark.parametrize("text", ["a dog " * 400, "雪地里的狗" * (MOST_CHARACTERS // 5 + 1)])
def test_a_text_of_several_windows_is_left_to_the_library(e5, text):
    folder, config = e5
    assert_equal(folder, replace(config, context=30), ["a cat", text])


def test_a_file_of_another_layout_is_read_by_the_library(tmp_path):
    write_vocabulary(tmp_path, 1)
    file = tmp_path / "tokenizer.json"
    text = file.read_text(encoding="utf-8")
    described = json.loads(text)
    spaced = text.replace('        "<unk>"', '         "<unk>"')
    assert spaced != text
    ended = text.replace('        "<unk>",', '        "<unk>" ,')
    for other in (json.dumps(described), json.dumps(described, indent=4), spaced, ended):
        file.write_text(other, encoding="utf-8")
        assert type(load_query_tokenizer(tmp_path, CONFIG)) is Tokenizer
    described["model"]["byte_fallback"] = True
    file.write_text(json.dumps(described, indent=2, ensure_ascii=False), encoding="utf-8")
    assert type(load_query_tokenizer(tmp_path, CONFIG)) is Tokenizer


@pytest.mark.parametrize("damage", [('"unk_id": 2', '"unk_id": 2000'), ('"model"', '"mode"')])
def test_a_damaged_file_is_refused(tmp_path, damage):
    write_vocabulary(tmp_path, 1)
    file = tmp_path / "tokenizer.json"
    file.write_text(file.read_text(encoding="utf-8").replace(*damage), encoding="utf-8")
    with pytest.raises(WeightsError):
        load_query_tokenizer(tmp_path, CONFIG)
