"""Ids equal the references' on the real vocabularies, or on a small one of the same kind.

transformers is asked with split_special_tokens=True: what a person types is text to us, never a
special token (see Tokenizer).
"""

import gzip
import json
import re
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
import sentencepiece
import tokenizers
from hypothesis import assume, given
from open_clip.tokenizer import SimpleTokenizer, get_clean_fn
from transformers import BertTokenizer, CLIPTokenizer, Siglip2Tokenizer, SiglipTokenizer

from seesay.data.tokenizer import Tokenizer, TokenizerConfig, load_tokenizer
from seesay.errors import WeightsError
from tokenizer_texts import HARD, UNCLEAN, some_text

Ids = Callable[[str], list[int]]
LONG = 4096  # a context that every text here fits
SPECIAL = re.compile("<(start|end)_of_text>", re.I)  # a token of open_clip, text to us
SHORT = 2048  # the same for the two families whose padding is compared too


def ids_of(tokenizer: Tokenizer) -> Ids:
    """One text's ids with special tokens, without padding."""

    def ids(text: str) -> list[int]:
        (row,) = tokenizer.encode([text]).ids.tolist()
        while row[-1] == tokenizer.config.pad_id:
            row.pop()
        return row

    return ids


@pytest.fixture(scope="session")
def clip_files(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    shutil.copy(shared / "vocab" / "clip_bpe_16e6.txt.gz", folder / "bpe_simple_vocab_16e6.txt.gz")
    return folder


@pytest.fixture(scope="session")
def bert_files(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bert")
    shutil.copy(shared / "vocab" / "chinese_bert_vocab.txt", folder / "vocab.txt")
    return folder


@pytest.fixture(scope="session")
def clip(clip_files: Path) -> Tokenizer:
    # No id stands for padding in this test, so that ids_of cannot take a token for it.
    return load_tokenizer(clip_files, TokenizerConfig(context=LONG, pad_id=60_000))


@pytest.fixture(scope="session")
def cleaned(clip_files: Path) -> Tokenizer:
    """The same vocabulary as open_clip layouts use it."""
    config = TokenizerConfig(context=LONG, pad_id=60_000, clean="open_clip_lower")
    return load_tokenizer(clip_files, config)


@pytest.fixture(scope="session")
def bert(bert_files: Path) -> Tokenizer:
    return load_tokenizer(bert_files, TokenizerConfig(context=LONG, pad_id=60_000))


@pytest.fixture(scope="session")
def open_clip(clip_files: Path) -> SimpleTokenizer:
    return SimpleTokenizer(str(clip_files / "bpe_simple_vocab_16e6.txt.gz"))


@pytest.fixture(scope="session")
def clip_reference(open_clip: SimpleTokenizer) -> CLIPTokenizer:
    """transformers' tokenizer on the vocabulary as open_clip derives it from the same file."""
    vocab = {name: index for name, index in open_clip.encoder.items() if index < 49406}
    vocab |= {"<|startoftext|>": 49406, "<|endoftext|>": 49407}
    return CLIPTokenizer(vocab=vocab, merges=list(open_clip.bpe_ranks), split_special_tokens=True)


@pytest.fixture(scope="session")
def bert_reference(bert_files: Path) -> BertTokenizer:
    return BertTokenizer(vocab=str(bert_files / "vocab.txt"), split_special_tokens=True)


@pytest.mark.shared
class TestOnTheRealVocabularies:
    @pytest.mark.parametrize("text", HARD)
    def test_clip_ids_equal_transformers(self, text, clip, clip_reference):
        assert ids_of(clip)(text) == clip_reference(text)["input_ids"]

    @given(text=some_text)
    def test_clip_ids_equal_transformers_on_any_text(self, text, clip, clip_reference):
        assert ids_of(clip)(text) == clip_reference(text)["input_ids"]

    @pytest.mark.parametrize("text", [*HARD, *UNCLEAN])
    def test_ids_of_an_open_clip_layout_equal_open_clip(self, text, cleaned, open_clip):
        assert ids_of(cleaned)(text)[1:-1] == open_clip.encode(text)

    @given(text=some_text)
    def test_ids_of_an_open_clip_layout_equal_open_clip_on_any_text(self, text, cleaned, open_clip):
        assume(not SPECIAL.search(text))
        # Whether a character of a newer Unicode is a letter depends on the version of each library.
        assume(all(unicodedata.category(character) != "Cn" for character in text))
        assert ids_of(cleaned)(text)[1:-1] == open_clip.encode(text)

    @pytest.mark.parametrize("text", UNCLEAN)
    def test_open_clips_cleaning_is_not_that_of_transformers(self, text, clip, open_clip):
        assert ids_of(clip)(text)[1:-1] != open_clip.encode(text)

    @pytest.mark.parametrize("text", [*HARD, *UNCLEAN])
    @pytest.mark.parametrize("kind", ["lower", "canonicalize", "whitespace"])
    def test_each_kind_of_cleaning_equals_open_clip(self, kind, text, clip_files):
        config = TokenizerConfig(context=LONG, pad_id=0, clean=f"open_clip_{kind}")
        assert load_tokenizer(clip_files, config)._text(text) == get_clean_fn(kind)(text)

    def test_a_bert_that_does_not_cut_at_spaces_is_refused_by_name(self, bert_files, tmp_path):
        shutil.copy(bert_files / "vocab.txt", tmp_path)
        (tmp_path / "tokenizer_config.json").write_text('{"do_basic_tokenize": false}')
        with pytest.raises(WeightsError, match="sets do_basic_tokenize to false"):
            load_tokenizer(tmp_path, TokenizerConfig(context=6, pad_id=0))

    def test_padding_takes_the_place_of_the_end_mark_where_a_model_was_trained_so(self, bert_files):
        """CLIPA; open_clip, HFTokenizer.strip_sep_token."""
        config = TokenizerConfig(context=6, pad_id=0, clean="open_clip_whitespace", end_mark=False)
        (row,) = load_tokenizer(bert_files, config).encode(["狗"]).ids.tolist()
        assert row == [101, 4318, 0, 0, 0, 0]

    @pytest.mark.parametrize("text", HARD)
    def test_chinese_bert_ids_equal_transformers(self, text, bert, bert_reference):
        assert ids_of(bert)(text) == bert_reference(text)["input_ids"]

    @given(text=some_text)
    def test_chinese_bert_ids_equal_transformers_on_any_text(self, text, bert, bert_reference):
        assert ids_of(bert)(text) == bert_reference(text)["input_ids"]

    @pytest.mark.parametrize("text", [text for text in HARD if "Σ" not in text])
    def test_chinese_bert_ids_equal_those_of_chinese_clips_authors(self, text, bert):
        from cn_clip.clip import tokenize

        (theirs,) = tokenize([text], LONG).tolist()
        ours = ids_of(bert)(text)
        assert ours == theirs[: len(ours)]
        assert set(theirs[len(ours) :]) == {0}

    def test_the_vocabulary_sizes_are_the_published_ones(self, clip, bert):
        assert (clip.vocab_size, bert.vocab_size) == (49_408, 21_128)

    def test_a_word_piece_that_is_a_line_separator_keeps_the_ids_after_it_in_place(
        self, bert_files
    ):
        words = (bert_files / "vocab.txt").read_text(encoding="utf-8").split("\n")
        tokenizer = load_tokenizer(bert_files, TokenizerConfig(context=8, pad_id=0))
        assert "\u2028" in words
        assert tokenizer.encode(["狗"]).ids[0].tolist()[:3] == [101, words.index("狗"), 102]

    def test_vocab_json_with_merges_txt_gives_the_same_ids(self, clip, clip_files, tmp_path):
        lines = gzip.decompress((clip_files / "bpe_simple_vocab_16e6.txt.gz").read_bytes()).decode()
        clip.save(tmp_path)
        model = json.loads((tmp_path / "tokenizer.json").read_text())["model"]
        (tmp_path / "tokenizer.json").unlink()
        (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"]))
        (tmp_path / "merges.txt").write_text(
            "#version: 0.2\n" + "\n".join(lines.split("\n")[1:48895]) + "\n"
        )
        again = load_tokenizer(tmp_path, TokenizerConfig(context=LONG, pad_id=60_000))
        assert [ids_of(again)(text) for text in HARD] == [ids_of(clip)(text) for text in HARD]


CORPUS = [
    "a photo of a dog playing in the snow",
    "two children run after a red ball on the beach",
    "the quick brown fox jumps over the lazy dog",
    "an old man sits on a bench near the river reading a newspaper",
    "a bowl of rice with vegetables and chopsticks 0 1 2 3 4 5 6 7 8 9",
    "雪地里的狗 一只猫睡在沙发上 海边的日落",
    "ΣΟΦΟΣ σοφός",
    "several people are standing outside a station waiting for the next train in the rain",
    "this restaurant serves breakfast, coffee and cake until eleven o'clock every morning",
]


@pytest.fixture(scope="session")
def siglip_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A unigram model with the special ids of SigLIP's: pad 0 (never used), </s> 1, unk 2."""
    folder = tmp_path_factory.mktemp("siglip")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS * 20),
        model_prefix=str(folder / "spiece"),
        vocab_size=300,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    return folder


@pytest.fixture(scope="session")
def siglip(siglip_files: Path) -> Tokenizer:
    return load_tokenizer(siglip_files, TokenizerConfig(context=SHORT, pad_id=1, clean="siglip"))


@pytest.fixture(scope="session")
def siglip_reference(siglip_files: Path) -> Ids:
    reference = SiglipTokenizer(str(siglip_files / "spiece.model"), split_special_tokens=True)

    def ids(text: str) -> list[int]:
        # It deletes "_" itself, where big_vision, with which SigLIP was trained, puts a space.
        spaced = text.replace("_", " ")
        return reference(spaced, padding="max_length", max_length=SHORT)["input_ids"]

    return ids


class TestSiglip:
    @given(text=some_text)
    def test_a_text_is_cleaned_as_big_vision_does(self, text, siglip):
        from open_clip.tokenizer import canonicalize_text

        assert siglip._text(text) == canonicalize_text(text)

    @pytest.mark.parametrize("text", HARD)
    def test_ids_and_padding_equal_transformers(self, text, siglip, siglip_reference):
        assert siglip.encode([text]).ids.tolist() == [siglip_reference(text)]

    @given(text=some_text)
    def test_ids_and_padding_equal_transformers_on_any_text(self, text, siglip, siglip_reference):
        assert siglip.encode([text]).ids.tolist() == [siglip_reference(text)]

    def test_punctuation_and_case_are_cleaned_as_transformers_does(self, siglip, siglip_reference):
        text = "A Photo of a DOG's ball, (in the snow)!"
        assert siglip.encode([text]).ids.tolist() == [siglip_reference(text)]

    def test_an_empty_text_is_the_end_and_padding(self, siglip):
        assert siglip.encode(["", "!?"]).ids.tolist() == [[1] * SHORT, [1] * SHORT]


@pytest.fixture(scope="session")
def siglip2_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small vocabulary of Gemma's kind, with the settings that SigLIP 2 checkpoints publish."""
    folder = tmp_path_factory.mktemp("siglip2")
    backend = tokenizers.Tokenizer(
        tokenizers.models.BPE(fuse_unk=True, unk_token="<unk>", byte_fallback=True)
    )
    backend.normalizer = tokenizers.normalizers.Replace(" ", "▁")
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Split(" ", "merged_with_previous")
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
        + [f"<0x{byte:02X}>" for byte in range(256)],
        show_progress=False,
    )
    backend.train_from_iterator(CORPUS * 5, trainer)
    backend.post_processor = tokenizers.processors.TemplateProcessing(
        single="$A <eos>", pair=None, special_tokens=[("<eos>", 1)]
    )
    backend.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "GemmaTokenizer",
                "add_bos_token": False,
                "add_eos_token": True,
                "bos_token": "<bos>",
                "eos_token": "<eos>",
                "pad_token": "<pad>",
                "padding_side": "right",
                "model_max_length": 64,
            }
        )
    )
    return folder


@pytest.fixture(scope="session")
def siglip2(siglip2_files: Path) -> Tokenizer:
    config = TokenizerConfig(context=SHORT, pad_id=0, clean="lower")
    return load_tokenizer(siglip2_files, config)


@pytest.fixture(scope="session")
def siglip2_reference(siglip2_files: Path) -> Siglip2Tokenizer:
    return Siglip2Tokenizer.from_pretrained(
        str(siglip2_files), split_special_tokens=True, padding_side="right"
    )


class TestSiglip2:
    @pytest.mark.parametrize("text", HARD)
    def test_ids_and_padding_equal_transformers(self, text, siglip2, siglip2_reference):
        theirs = siglip2_reference(text, padding="max_length", max_length=SHORT)["input_ids"]
        assert siglip2.encode([text]).ids.tolist() == [theirs]

    @given(text=some_text)
    def test_ids_and_padding_equal_transformers_on_any_text(self, text, siglip2, siglip2_reference):
        theirs = siglip2_reference(text, padding="max_length", max_length=SHORT)["input_ids"]
        assert siglip2.encode([text]).ids.tolist() == [theirs]

    def test_the_end_is_appended_and_the_beginning_is_not(self, siglip2):
        assert (siglip2.prefix, siglip2.suffix) == ([], [1])
