"""Every engine keeps the contract."""

import pytest

from engine_contract import CONTRACT, build


@pytest.fixture(scope="module")
def built(engine, index_from_few_rows_on, tmp_path_factory):
    built = build(engine, tmp_path_factory.mktemp("index"))
    yield built
    engine.drop(built.notes)


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
def test_the_engine(built, check):
    check(built)
