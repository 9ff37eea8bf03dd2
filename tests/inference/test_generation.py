"""The search finds the likeliest text: of a captioner, and of any model that says what is next."""

from dataclasses import dataclass

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from seesay.errors import ConfigError
from seesay.inference.decoding import DecodingConfig, TextStream, decode
from seesay.inference.generation import (
    beam_search,
    caption_logits,
    choose_tokens,
    keep_likeliest,
    write_tokens,
)
from seesay.models.captioner import CaptionerConfig
from seesay.models.dual_encoder import DualEncoder, DualEncoderConfig
from seesay.models.text_encoder import TextConfig
from seesay.models.vit import VitConfig

START, END, PAD = 1, 2, 0
TOWER = dict(dim=16, depth=1, heads=2, hidden=32)
IMAGE = VitConfig(
    image_size=16, patch_size=8, pool="queries", queries=4, query_dim=8, query_heads=2, **TOWER
)
TEXT = TextConfig(vocab_size=5, context=6, pool="cls", pad_id=PAD, **TOWER)
SETTINGS = dict(length=TEXT.context, end_ids=(END,), pad_id=PAD)


@pytest.fixture
def model() -> DualEncoder:
    torch.manual_seed(0)
    captioner = CaptionerConfig(depth=2, heads=4, hidden=32)
    model = DualEncoder(
        DualEncoderConfig(image=IMAGE, text=TEXT, embed_dim=12, captioner=captioner)
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.6 * torch.randn_like(parameter))
    return model.eval()


def likeliest(model, seen, beginning):
    """Of all captions that can be written, by going through each."""
    best = []

    def follow(ids, score):
        if ids[-1] == END or len(ids) == TEXT.context:
            best.append((ids[-1] == END, score / (len(ids) - len(beginning)), ids))
            return
        logs = model.caption_logits(seen, torch.tensor([ids]))[0, -1].log_softmax(0)
        for token in range(1, TEXT.vocab_size):
            follow([*ids, token], score + float(logs[token]))

    follow(list(beginning), 0.0)
    return max(best)[2]


@torch.no_grad()
def test_enough_beams_find_the_likeliest_caption_of_all(model):
    seen = model.embed_with_tokens(torch.randn(3, 3, 16, 16))[1]
    beginning = torch.tensor([START, 4, 3])
    found = beam_search(
        caption_logits(model, seen, beams=80), beginning.expand(3, -1), beams=80, **SETTINGS
    )
    for row, ids in enumerate(found.tolist()):
        expected = likeliest(model, seen[row : row + 1], beginning.tolist())
        assert ids == expected + [PAD] * (len(ids) - len(expected))


@torch.no_grad()
def test_one_beam_takes_the_likeliest_token_each_time(model):
    seen = model.embed_with_tokens(torch.randn(3, 3, 16, 16))[1]
    found = beam_search(caption_logits(model, seen, beams=1), torch.full((3, 1), START), **SETTINGS)
    for row, ids in enumerate(found):
        for place in range(1, len(ids)):
            if ids[place] == PAD:
                assert END in ids[:place]
                continue
            logits = model.caption_logits(seen[row : row + 1], ids[None, :place])[0, -1]
            logits[PAD] = -torch.inf
            assert ids[place] == logits.argmax()


@dataclass
class Sums:
    """What a model that adds up its tokens' vectors keeps of each row."""

    vectors: torch.Tensor

    def select(self, rows: torch.Tensor) -> "Sums":
        return Sums(self.vectors[rows])


@pytest.mark.parametrize("beams", [1, 3])
def test_a_model_that_keeps_what_it_computed_writes_the_same(beams):
    torch.manual_seed(0)
    table, head = torch.randn(7, 4), torch.randn(4, 7)

    def anew(ids, cache):
        return table[ids].cumsum(1)[:, -1].tanh() @ head, None

    def kept(ids, cache):
        before = table[ids[:, :-1]].sum(1) if cache is None else cache.vectors
        now = before + table[ids[:, -1]]
        return now.tanh() @ head, Sums(now)

    begin = torch.tensor([[1, 3], [1, 4], [1, 5]])
    settings = dict(length=9, end_ids=(END,), pad_id=PAD, beams=beams)
    found = beam_search(kept, begin, **settings)
    assert found.tolist() == beam_search(anew, begin, **settings).tolist()
    assert len({tuple(row) for row in found.tolist()}) == 3


@pytest.mark.parametrize("ends", [(END,), (5, 6)])
def test_beams_end_at_any_of_the_ends(ends):
    torch.manual_seed(0)
    table = torch.randn(7, 7)
    settings = dict(length=9, pad_id=PAD, beams=3)
    written = beam_search(
        lambda ids, cache: (table[ids[:, -1]], None),
        torch.tensor([[1], [3], [4]]),
        end_ids=ends,
        **settings,
    )
    for row in written.tolist():
        text = [token for token in row if token != PAD]
        assert text[-1] in ends and not set(text[1:-1]) & set(ends)


# One token after another


def counting(ids, cache):
    """Row r writes 3 + r, 4 + r, ... up to 6 and then ends."""
    token = torch.arange(len(ids)) + 3 + ids.shape[1]
    return torch.nn.functional.one_hot(token.clamp(max=7) % 8, 8).float() * 9, None


def test_rows_end_by_themselves_and_at_the_limit():
    steps = list(write_tokens(counting, 3, DecodingConfig(), max_tokens=9, end_ids=[5, 7]))
    assert [[one and one.id for one in step] for step in steps] == [
        [3, 4, 5],
        [4, 5, None],
        [5, None, None],
    ]
    assert all(one.log_probability == pytest.approx(-0.0009, abs=1e-4) for one in steps[0])
    assert len(list(write_tokens(counting, 1, DecodingConfig(), max_tokens=2, end_ids=[7]))) == 2


@pytest.mark.parametrize(("top_k", "top_p"), [(0, 1.0), (5, 1.0), (0, 0.7), (9, 0.5), (99, 0.01)])
def test_the_likeliest_tokens_are_kept_as_transformers_keeps_them(top_k, top_p):
    from transformers import TopKLogitsWarper, TopPLogitsWarper

    logits = 3 * torch.randn(20, 40, generator=torch.Generator().manual_seed(2))
    expected = logits
    if top_k:
        expected = TopKLogitsWarper(top_k)(None, expected)
    if top_p < 1:
        expected = TopPLogitsWarper(top_p)(None, expected)
    assert torch.equal(keep_likeliest(logits, top_k, top_p), expected)


def test_tokens_are_drawn_as_often_as_they_are_likely_at_a_temperature():
    odds = torch.tensor([0.6, 0.3, 0.1])
    rows = 2000
    generators = [torch.Generator().manual_seed(seed) for seed in range(rows)]
    for temperature in (1.0, 0.5):
        config = DecodingConfig(temperature=temperature)
        drawn = choose_tokens(odds.log().expand(rows, -1), config, generators)
        expected = odds ** (1 / temperature)
        shares = torch.bincount(drawn, minlength=3) / rows
        torch.testing.assert_close(shares, expected / expected.sum(), rtol=0, atol=0.04)


@pytest.mark.parametrize(
    "wrong",
    [
        dict(temperature=-0.1),
        dict(temperature=float("nan")),
        dict(top_p=0.0),
        dict(top_p=1.1),
        dict(top_k=-1),
        dict(beams=0),
        dict(beams=2, temperature=1.0),
    ],
    ids=str,
)
def test_impossible_ways_of_choosing_are_refused(wrong):
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))}=") as raised:
        DecodingConfig(**wrong)
    assert "请改正" in raised.value.text.zh


# Text as it comes


def bytes_in_order() -> Tokenizer:
    """GPT-2's way: every byte is a letter."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: at for at, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<end>"])
    return tokenizer


def bytes_for_want_of_words() -> Tokenizer:
    """Llama's way: words begin with a mark, and what is no word is written in bytes."""
    vocabulary = {"<unk>": 0} | {f"<0x{byte:02X}>": 1 + byte for byte in range(256)}
    for word in ("▁", "a", "c", "t", "▁c", "▁ca", "▁cat", "ca"):
        vocabulary[word] = len(vocabulary)
    merges = [("▁", "c"), ("▁c", "a"), ("▁ca", "t")]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, byte_fallback=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return tokenizer


TOKENIZERS = {"gpt-2": bytes_in_order, "llama": bytes_for_want_of_words}
WRITTEN = ["a cat", "猫在垫子上。", "  cat 👩\u200d🚀 cat\n\n", "é\ufffd cat\ufffd", ""]


@pytest.mark.parametrize("make", TOKENIZERS.values(), ids=TOKENIZERS)
@pytest.mark.parametrize("text", WRITTEN)
def test_pieces_are_the_text_and_split_no_character(make, text):
    tokenizer = make()
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    stream = TextStream(tokenizer)
    pieces = [stream.add(token) for token in ids]
    assert "".join([*pieces, stream.end()]) == decode(ids, tokenizer).strip()
    assert sum("\ufffd" in piece for piece in pieces) <= text.count("\ufffd")
    if text.startswith("猫"):
        assert [piece for piece in pieces if piece] == list(text)


@pytest.mark.parametrize("make", TOKENIZERS.values(), ids=TOKENIZERS)
def test_bytes_that_are_no_text_come_at_the_end_at_the_latest(make):
    tokenizer = make()
    ids = tokenizer.encode("猫猫", add_special_tokens=False).ids[:-1]
    stream = TextStream(tokenizer)
    pieces = [stream.add(token) for token in ids]
    assert "".join(pieces) == "猫"
    assert set(stream.end()) == {"\ufffd"}
