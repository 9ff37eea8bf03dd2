"""The page's server as programs see it: the Gradio client, and those who ask for what is not
theirs."""

import base64
import os
import warnings

import httpx
import pytest

from photographs import folder

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from gradio_client import Client


@pytest.fixture(scope="module")
def client(served):
    opened = Client(served.address, verbose=False)
    yield opened
    opened.close()


def found(client, **asked) -> list[str]:
    answer = client.predict(**asked, api_name="/search")
    return [os.path.basename(hit["file"]) for hit in answer["hits"]]


def picture(name: str) -> str:
    data = base64.b64encode((folder() / name).read_bytes()).decode()
    return f"data:image/png;base64,{data}"


def test_the_one_endpoint_is_search_and_its_parameters_have_names(client):
    told = client.view_api(return_format="dict")["named_endpoints"]
    assert list(told) == ["/search"]
    names = [one["parameter_name"] for one in told["/search"]["parameters"]]
    assert names == [
        *("words", "without", "picture", "min_match", "kind", "where"),
        *("count", "page", "collection"),
    ]
    assert all(one["parameter_has_default"] for one in told["/search"]["parameters"])


@pytest.mark.parametrize("words", ["a close-up of a cat", "一只猫的特写"])
def test_a_program_searches_in_both_languages(client, words):
    assert found(client, words=words, kind="image", count=3)[0] == "chelsea.png"


def test_a_program_searches_with_a_picture_and_in_another_collection(client):
    assert found(client, picture=picture("chelsea.png"), count=1) == ["chelsea.png"]
    assert found(client, words="moon", collection="few") == ["moon.png"]


def test_searches_of_the_page_are_counted_and_what_it_listens_to_is_no_wait(client, served):
    def figures():
        lines = httpx.get(f"{served.address}/metrics").text.splitlines()
        return {
            key: float(value)
            for key, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")
        }

    few = 'seesay_searches_total{collection="few"}'
    before = figures().get(few, 0)
    found(client, words="moon", collection="few")
    after = figures()
    assert after[few] == before + 1
    stream = "/gradio_api/queue/data"
    assert after[f'seesay_requests_total{{method="GET",route="{stream}",status="200"}}'] > 0
    assert f'seesay_request_seconds_count{{route="{stream}"}}' not in after
    assert 'seesay_request_seconds_count{route="/gradio_api/queue/join"}' in after


def test_pages_of_a_program_have_as_many_hits_as_it_asks_for(client):
    pages = [found(client, words="sky", count=4, page=page) for page in range(3)]
    assert [len(page) for page in pages] == [4, 4, 4]
    assert len({name for page in pages for name in page}) == 12


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({}, "expected words or a picture|at least one"),
        ({"picture": "/etc/passwd"}, "expected a data URL"),
        ({"picture": "file:///etc/passwd"}, "expected a data URL"),
        ({"picture": "http://127.0.0.1:1/x.png"}, "expected a data URL"),
        ({"picture": "data:image/png;base64,###"}, "not base64"),
        ({"picture": "data:image/png;base64,aGVsbG8="}, "."),
        ({"words": "x" * 5000}, "at most 4000"),
        ({"words": "x", "where": "width>1," * 1000}, "at most 4000"),
        ({"words": "x", "collection": "nowhere"}, "there is no collection"),
    ],
)
def test_a_wrong_request_of_a_program_says_what_was_expected(client, asked, told):
    with pytest.raises(Exception, match=told):
        client.predict(**asked, api_name="/search")


def test_the_page_asks_for_nothing_from_elsewhere_and_counts_nobody(served):
    config = httpx.get(f"{served.address}/config").json()
    assert config["analytics_enabled"] is False
    theme = httpx.get(f"{served.address}/theme.css").text
    assert "url(http" not in theme and "fonts.g" not in theme and "@import" not in theme
