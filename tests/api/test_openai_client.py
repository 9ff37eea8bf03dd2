"""The `openai` client against the live server: the vectors are those of the Embedder."""

import base64

import httpx
import numpy as np
import openai
import pytest

from photographs import folder
from seesay.inference.embedder import load

TEXTS = ["a cat on a sofa", "沙发上的一只猫", "", "word " * 500]


@pytest.fixture(scope="module")
def embedder():
    return load()


@pytest.fixture(scope="module")
def program(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0) as program:
        yield program


def assert_same(found, expected):
    """To the digits that bfloat16 keeps, where the processor computes in it: there the last ones
    depend on how many inputs are embedded at once."""
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert ((found * expected).sum(axis=1) > 0.9999).all()


def data_url(name, kind="png"):
    return f"data:image/{kind};base64,{base64.b64encode((folder() / name).read_bytes()).decode()}"


def test_texts_in_both_languages_have_the_vectors_of_the_embedder(program, embedder):
    found = program.embeddings.create(model="seesay-mini", input=TEXTS)
    vectors = np.array([one.embedding for one in found.data], np.float32)
    assert_same(vectors, embedder.embed_texts(TEXTS).vectors)
    assert [one.index for one in found.data] == [0, 1, 2, 3]
    assert found.model == "seesay-mini"
    padding = embedder.tokenizer.config.pad_id
    real = int((embedder.tokenizer.encode(TEXTS).ids != padding).sum())
    assert found.usage.total_tokens == real > 500


def test_lists_of_numbers_and_base64_say_the_same(program):
    as_list = program.embeddings.create(
        model="seesay-mini", input="一只猫", encoding_format="float", dimensions=384
    )
    usual = program.embeddings.create(model="seesay-mini", input="一只猫")
    np.testing.assert_array_equal(
        np.float32(as_list.data[0].embedding), np.float32(usual.data[0].embedding)
    )


def test_pictures_come_as_data_urls_between_texts(program, embedder):
    inputs = [data_url("chelsea.png"), "一只猫", data_url("rocket.jpg", "jpeg")]
    found = program.embeddings.create(model="seesay-mini", input=inputs)
    vectors = np.array([one.embedding for one in found.data], np.float32)
    files = [(folder() / name).read_bytes() for name in ("chelsea.png", "rocket.jpg")]
    assert_same(vectors[[0, 2]], embedder.embed_images(files).vectors)
    assert_same(vectors[[1]], embedder.embed_texts(["一只猫"]).vectors)
    assert vectors[0] @ vectors[1] > vectors[2] @ vectors[1]


def test_the_client_finds_out_which_models_there_are(program):
    assert [model.id for model in program.models.list()] == ["seesay-mini"]


@pytest.mark.parametrize(
    ("asked", "kind", "said"),
    [
        ({"model": "text-embedding-3-small", "input": "x"}, openai.NotFoundError, "is not served"),
        ({"model": "../../etc", "input": "x"}, openai.NotFoundError, "is not served"),
        ({"model": "seesay-mini", "input": []}, openai.BadRequestError, "0 inputs"),
        ({"model": "seesay-mini", "input": ["x"] * 257}, openai.BadRequestError, "1 to 256"),
        ({"model": "seesay-mini", "input": "x", "dimensions": 5}, openai.BadRequestError, "384"),
        (
            {"model": "seesay-mini", "input": "data:image/png;base64,AAAA"},
            openai.BadRequestError,
            "begin like any picture",
        ),
    ],
)
def test_what_cannot_be_is_told_in_the_form_the_client_knows(program, asked, kind, said):
    with pytest.raises(kind, match=said):
        program.embeddings.create(**asked)


@pytest.mark.parametrize("url", ["http://127.0.0.1/a.png", "file:///etc/passwd", "/etc/passwd"])
def test_nothing_is_fetched_or_opened_for_a_picture(client, url):
    answer = client.post("/v1/search", json={"images": [url]})
    assert answer.status_code == 400
    assert "addresses are never fetched" in answer.json()["error"]["message"]
    told = httpx.Response(
        200,
        json=client.post(
            "/v1/embeddings", json={"model": "seesay-mini", "input": [url, "data:text/plain,x"]}
        ).json(),
    ).json()
    assert len(told["data"]) == 2  # they are texts like any other
