"""The search finds the likeliest text: of a captioner, and of any model that says what is next."""

from dataclasses import dataclass

import pytest
import torch

from seesay.inference.generation import beam_search, caption_logits
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
