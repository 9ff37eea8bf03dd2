"""The background vocabulary of a built-in model comes with it; others are kept on disk."""

from types import SimpleNamespace

import numpy as np
import pytest

from fakes import FakeEmbedder
from seesay.data.tokenizer import TokenizerConfig
from seesay.inference import background
from seesay.inference.background import BUILT_IN_FILE, Backgrounds, write_built_in


class Model(FakeEmbedder):
    def __init__(self, *, weights="1", prefix=""):
        super().__init__()
        self.revision, self._weights = "", weights
        config = TokenizerConfig(context=9, pad_id=0, query_prefix=prefix)
        self.tokenizer = SimpleNamespace(config=config, vocab_size=9)

    def fingerprint(self):
        return self._weights


def test_a_built_in_models_vectors_are_read_from_its_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(background, "find", lambda _: SimpleNamespace(built_in=tmp_path))
    write_built_in(Model(), tmp_path)
    assert (tmp_path / BUILT_IN_FILE).stat().st_mode & 0o044 == 0o044
    asking = Model()
    for language in ("en", "zh"):
        found = Backgrounds(asking, tmp_path / "cache").of(language)
        np.testing.assert_allclose(
            found.scenes, Backgrounds(Model()).of(language).scenes, rtol=0, atol=1e-3
        )
    assert asking.texts == [] and not (tmp_path / "cache").exists()


@pytest.mark.parametrize("changed", [{"weights": "2"}, {"prefix": "query:"}])
@pytest.mark.parametrize("built_in", [True, False])
def test_vectors_of_other_weights_or_another_tokenizer_are_not_used(
    tmp_path, monkeypatch, changed, built_in
):
    folder = tmp_path if built_in else None
    monkeypatch.setattr(background, "find", lambda _: SimpleNamespace(built_in=folder))
    write_built_in(Model(), tmp_path)
    Backgrounds(Model(), tmp_path / "cache").of("en")
    again, other = Model(), Model(**changed)
    for asking in (again, other):
        Backgrounds(asking, tmp_path / "cache").of("en")
    assert again.texts == [] and len(other.texts) > 100
