"""What queries and text may see of each other, and that nothing else changes a row."""

from dataclasses import replace

import pytest
import torch

from reference_parts import randomise
from seesay.errors import ConfigError
from seesay.models.qformer import QFormer, QFormerConfig, query_text_mask

TINY = QFormerConfig(
    queries=3, dim=16, depth=3, heads=2, hidden=32, image_dim=12, vocab_size=40, context=8
)
REAL = torch.tensor([[True, True, True, False]])  # the last of four tokens is padding

# Rows attend to columns: two queries, then four tokens.
CONTRASTIVE = """
110000
110000
001110
001110
001110
001110
"""
MATCHING = """
111110
111110
111110
111110
111110
111110
"""
CAPTIONING = """
110000
110000
111000
111100
111110
111110
"""
TABLES = {"contrastive": CONTRASTIVE, "matching": MATCHING, "captioning": CAPTIONING}


@pytest.fixture
def qformer() -> QFormer:
    torch.manual_seed(0)
    return randomise(QFormer(TINY), norms=1.0)


def inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    real = torch.tensor([[True] * 5, [True, True, True, False, False]])
    return torch.randn(2, 7, 12), torch.randint(0, 40, (2, 5)), real


@pytest.mark.parametrize("objective", TABLES)
def test_each_objective_has_its_table_of_what_sees_what(objective):
    mask = query_text_mask(objective, 2, REAL)
    assert mask.shape == (1, 1, 6, 6)
    rows = ["".join(str(int(seen)) for seen in row) for row in mask[0, 0].tolist()]
    assert rows == TABLES[objective].split()


@torch.no_grad()
def test_in_contrastive_training_queries_and_text_are_as_if_alone(qformer):
    patches, ids, real = inputs()
    both = qformer(patches, ids, real, "contrastive")
    torch.testing.assert_close(both[:, :3], qformer(patches), rtol=0, atol=1e-5)
    alone = qformer.read(ids, real)
    torch.testing.assert_close(both[:, 3:][real], alone[real], rtol=0, atol=1e-5)


@torch.no_grad()
def test_in_captioning_a_token_depends_on_what_stands_before_it(qformer):
    patches, ids, _ = inputs()
    other = ids.clone()
    other[:, 3] = (other[:, 3] + 1) % 40
    one, two = (qformer(patches, text, None, "captioning") for text in (ids, other))
    torch.testing.assert_close(one[:, :6], two[:, :6], rtol=0, atol=1e-5)
    assert (one[:, 6:] - two[:, 6:]).abs().amax(dim=(0, 2)).min() > 1e-2
    torch.testing.assert_close(one[:, :3], qformer(patches), rtol=0, atol=1e-5)
    blind = qformer(torch.randn_like(patches), ids, None, "captioning")
    assert (one - blind).abs().amax(dim=(0, 2)).min() > 1e-2


@torch.no_grad()
def test_captions_read_the_queries_that_were_computed_once(qformer):
    patches, ids, real = inputs()
    both = qformer(patches, ids, real, "captioning")
    states = qformer.look(patches)
    torch.testing.assert_close(states[-1], qformer(patches), rtol=0, atol=1e-5)
    alone = qformer.write(states, ids, real)
    torch.testing.assert_close(alone[real], both[:, 3:][real], rtol=0, atol=1e-5)


@torch.no_grad()
def test_in_matching_queries_read_the_text(qformer):
    patches, ids, real = inputs()
    other = ids.clone()
    other[:, 0] = (other[:, 0] + 1) % 40
    one, two = (qformer(patches, text, real) for text in (ids, other))
    assert (one - two)[:, :3].abs().amax(dim=(0, 2)).min() > 1e-2


@pytest.mark.parametrize("objective", TABLES)
@torch.no_grad()
def test_padding_and_neighbours_change_no_row(qformer, objective):
    patches, ids, real = inputs()
    together = qformer(patches, ids, real, objective)
    alone = qformer(patches[1:], ids[1:, :3], real[1:, :3], objective)
    torch.testing.assert_close(together[1:, :6], alone, rtol=0, atol=1e-5)


def test_only_every_second_layer_reads_the_image(qformer):
    assert [block.cross is not None for block in qformer.blocks] == [True, False, True]


def test_what_cannot_be_read_is_refused(qformer):
    patches, ids, _ = inputs()
    with pytest.raises(ConfigError, match="a text has 9 tokens, expected at most context=8"):
        qformer.read(torch.zeros(1, 9, dtype=torch.long))
    silent = QFormer(replace(TINY, vocab_size=None))
    with pytest.raises(ConfigError, match="vocab_size=None, expected only an image"):
        silent(patches, ids)


@pytest.mark.parametrize(
    "setting", [{"queries": 0}, {"cross_every": 0}, {"vocab_size": 0}, {"heads": 3}]
)
def test_nonsense_in_a_config_is_refused(setting):
    name, value = next(iter(setting.items()))
    with pytest.raises(ConfigError, match=f"{name}={value}"):
        replace(TINY, **setting)
