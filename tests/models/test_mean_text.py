import pytest
import torch
from torch import nn

from seesay.errors import ConfigError
from seesay.models.mean_text import GROUP, MeanTextConfig, MeanTextEncoder


def encoder(**changes: float) -> MeanTextEncoder:
    torch.manual_seed(0)
    settings = {"vocab_size": 50, "context": 9, "dim": 8, "depth": 2, "heads": 2, "hidden": 16}
    model = MeanTextEncoder(MeanTextConfig(**{**settings, **changes})).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5)
    return model


def texts(count: int = 2 * GROUP + 3) -> torch.Tensor:
    """Texts of 1 to 9 tokens, in no order."""
    torch.manual_seed(1)
    ids = torch.randint(1, 50, (count, 9))
    return ids.masked_fill(torch.arange(9) >= torch.randint(1, 10, (count, 1)), 0)


def test_the_vector_is_the_mean_over_the_tokens_by_their_importance() -> None:
    model, ids = encoder(), torch.tensor([[4, 7, 9]])
    x = model.norm_in(model.token_embed(ids) + model.positions[:3])
    for block in model.blocks:
        x = block(x)
    x = model.norm_out(x)
    weights = (x @ model.importance.weight[0]).exp()
    expected = (x * weights[..., None]).sum(dim=1) / weights.sum()
    torch.testing.assert_close(model(ids), expected)


def test_before_training_the_layers_add_nothing_and_all_words_count_alike() -> None:
    model = MeanTextEncoder(MeanTextConfig(vocab_size=50, context=9, dim=8, heads=2)).eval()
    ids = torch.tensor([[4, 7, 9]])
    words = model.norm_out(model.norm_in(model.token_embed(ids) + model.positions[:3]))
    torch.testing.assert_close(model(ids), words.mean(dim=1))


def test_a_text_gets_the_same_vector_alone_unpadded_and_among_others() -> None:
    model, ids = encoder(), texts()
    vectors = model(ids)
    for row, vector in zip(ids, vectors, strict=True):
        torch.testing.assert_close(model(row[row != 0][None])[0], vector)


def test_order_of_words_matters_unless_there_are_neither_layers_nor_positions() -> None:
    model = encoder()
    assert not torch.allclose(model(torch.tensor([[3, 5]])), model(torch.tensor([[5, 3]])))
    bag = encoder(depth=0)
    nn.init.zeros_(bag.positions)
    torch.testing.assert_close(bag(torch.tensor([[3, 5]])), bag(torch.tensor([[5, 3]])))


def test_an_empty_text_has_a_finite_vector() -> None:
    assert encoder()(torch.zeros(2, 9, dtype=torch.int64)).isfinite().all()


def test_words_are_dropped_in_training_only_and_never_all() -> None:
    model, ids = encoder(word_dropout=0.5), texts()
    torch.testing.assert_close(model(ids), encoder()(ids))
    model.train()
    kept = model._kept(ids)
    assert kept.any(dim=1).all()
    assert not (kept & (ids == 0)).any()
    assert kept.sum() < 0.75 * (ids != 0).sum()


def test_dropout_acts_in_training_only() -> None:
    model, ids = encoder(dropout=0.5), texts()
    torch.testing.assert_close(model(ids), encoder()(ids))
    assert not torch.allclose(model.train()(ids), encoder()(ids))


@pytest.mark.parametrize("name", ["dropout", "word_dropout"])
def test_dropping_everything_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}=1"):
        MeanTextConfig(**{name: 1.0})


def test_a_text_without_tokens_does_not_depend_on_its_neighbours():
    config = MeanTextConfig(vocab_size=9, context=6, dim=8, depth=1, heads=2, hidden=8)
    tower = MeanTextEncoder(config).eval()
    with torch.no_grad():
        for parameter in tower.parameters():
            parameter.normal_()
        empty, long = torch.zeros(1, 6, dtype=torch.int64), torch.arange(3, 9)[None]
        torch.testing.assert_close(tower(torch.cat([empty, long]))[:1], tower(empty))
