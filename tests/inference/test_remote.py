"""Remote models against an endpoint on this machine: what they are sent, and what becomes of its
replies."""

import base64
import io
import logging
import socket
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from chat_server import (
    USAGE,
    Reply,
    as_json,
    chat_server,
    completion,
    piece,
    refusal,
    stream,
)
from seesay.data.chat import Media, Message
from seesay.errors import ConfigError, DataError, EndpointError, ImageError, MissingExtraError
from seesay.inference.answer import Answer, AnswerToken
from seesay.inference.remote import RemoteAssistant, RemoteConfig, data_url

KEY = "sk-secret-123"
PICTURE = Image.new("RGB", (40, 20), (200, 30, 30))


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    for name in ("SEESAY_REMOTE_KEY", "OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)


def assistant_of(endpoint, api_key=KEY, wait=None, **settings):
    waits = wait if wait is not None else []
    config = RemoteConfig(base_url=endpoint.url, model="cats", **settings)
    return RemoteAssistant(config, api_key, wait=waits.append)


def asked(reply, images=PICTURE, question="What is it?", settings=None, **options):
    """The answer to one question, and the request."""
    with chat_server(reply) as endpoint, assistant_of(endpoint, **(settings or {})) as assistant:
        answer = assistant.ask(images, question, **options)
        return answer, endpoint.requests[-1]


def error_of(*replies, streamed=False, error=EndpointError, **settings):
    """The text of the error that replies end in, in both languages; it never holds the key."""
    with (
        chat_server(*replies) as endpoint,
        assistant_of(endpoint, **settings) as assistant,
        pytest.raises(error) as caught,
    ):
        if streamed:
            list(assistant.stream(PICTURE, "What is it?"))
        else:
            assistant.ask(PICTURE, "What is it?")
    text = caught.value.text
    assert KEY not in text.en + text.zh and "\n" not in text.en + text.zh
    assert text.en != text.zh and "；" in text.zh
    return text


def collected(pieces):
    """The pieces of a stream, and the answer that it returns."""
    seen = []
    while True:
        try:
            seen.append(next(pieces))
        except StopIteration as end:
            return seen, end.value


def decoded(part):
    url = part["image_url"]["url"]
    assert url.startswith("data:image/jpeg;base64,")
    return Image.open(io.BytesIO(base64.b64decode(url.split(",")[1])))


def test_a_question_is_sent_as_the_api_has_it_and_its_answer_read():
    answer, request = asked(completion("a cat"), settings={"extra": {"seed": 7}}, max_tokens=9)
    assert answer == Answer(
        text="a cat",
        model="cats-7b",
        finish_reason="stop",
        prompt_tokens=300,
        answer_tokens=2,
    )
    assert request.path == "/v1/chat/completions"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    (message,) = request.body.pop("messages")
    assert request.body == {
        "model": "cats",
        "max_tokens": 9,
        "temperature": 0.0,
        "seed": 7,
        "stream": False,
    }
    picture, text = message["content"]
    assert message["role"] == "user" and text == {"type": "text", "text": "What is it?"}
    assert decoded(picture).size == (40, 20)


def test_fields_can_be_removed_and_temperature_left_to_the_endpoint():
    extra = {"max_tokens": None, "max_completion_tokens": 5}
    _, request = asked(completion(), settings={"extra": extra}, temperature=None)
    assert "max_tokens" not in request.body and "temperature" not in request.body
    assert request.body["max_completion_tokens"] == 5


def test_pictures_stand_where_the_conversation_has_them():
    red, blue = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    place = Media("image", (1,))
    turns = [
        Message("system", "Be brief."),
        Message("user", ("First: ", place, "What is it?")),
        Message("assistant", "red"),
        Message("user", ("", place, "And this? 这个呢？")),
    ]
    _, request = asked(completion(), [red, blue], turns)
    system, first, reply, second = request.body["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    assert reply == {"role": "assistant", "content": "red"}
    assert [part["type"] for part in first["content"]] == ["text", "image_url", "text"]
    assert [part["type"] for part in second["content"]] == ["image_url", "text"]
    assert second["content"][1]["text"] == "And this? 这个呢？"
    colours = [decoded(first["content"][1]), decoded(second["content"][0])]
    assert [np.asarray(one)[4, 4].argmax() for one in colours] == [0, 2]


def test_without_places_all_pictures_begin_the_first_question():
    turns = [Message("user", "one"), Message("assistant", "1"), Message("user", "two")]
    _, request = asked(completion(), [PICTURE, PICTURE], turns)
    first, _, last = request.body["messages"]
    assert [part["type"] for part in first["content"]] == ["image_url", "image_url", "text"]
    assert last == {"role": "user", "content": "two"}


def test_a_question_without_pictures_is_asked_by_none():
    _, request = asked(completion(), None)
    assert request.body["messages"] == [{"role": "user", "content": "What is it?"}]


def jpeg(picture, **settings):
    stream = io.BytesIO()
    picture.save(stream, "JPEG", **settings)
    return stream.getvalue()


def test_a_picture_is_sent_upright_small_and_without_its_metadata(tmp_path):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera"  # on its side, and its maker
    content = jpeg(Image.new("RGB", (300, 200)), exif=exif, comment=b"Berlin")
    path = tmp_path / "猫.jpg"
    path.write_bytes(content)
    array = np.zeros((200, 300, 3), np.uint8)
    for source, size in ((content, (67, 100)), (str(path), (67, 100)), (array, (100, 67))):
        url = data_url(source, 100, 10_000)
        sent = decoded({"image_url": {"url": url}})
        assert sent.size == size and not sent.getexif()
        raw = base64.b64decode(url.split(",")[1])
        assert b"camera" not in raw and b"Berlin" not in raw


@pytest.mark.parametrize("limit", [60_000, 20_000, 4096])
def test_a_file_is_within_its_limit_whatever_the_picture(limit):
    noise = np.random.default_rng(0).integers(0, 256, (256, 300, 3), dtype=np.uint8)
    sent = base64.b64decode(data_url(noise, 512, limit).split(",")[1])
    assert 0.3 * limit < len(sent) <= limit
    width, height = Image.open(io.BytesIO(sent)).size
    assert width <= 300 and abs(width / height - 300 / 256) < 0.1


def test_a_small_picture_is_not_enlarged_and_a_thin_one_keeps_a_pixel():
    assert decoded({"image_url": {"url": data_url(PICTURE, 2048, 10**6)}}).size == (40, 20)
    thin = Image.new("RGB", (4000, 1))
    assert decoded({"image_url": {"url": data_url(thin, 1000, 10**6)}}).size == (1000, 1)


def test_log_probabilities_come_with_their_tokens():
    entries = [{"token": "a", "logprob": -0.5, "bytes": None}, {"token": " cat", "logprob": -1}]
    answer, request = asked(completion(logprobs={"content": entries}), log_probabilities=True)
    assert request.body["logprobs"] is True
    assert answer.tokens == (
        AnswerToken(text="a", log_probability=-0.5),
        AnswerToken(text=" cat", log_probability=-1.0),
    )
    assert asked(completion(), log_probabilities=True)[0].tokens is None


@pytest.mark.parametrize(
    ("reply", "text", "reason", "counts"),
    [
        (completion("a ca", finish_reason="length"), "a ca", "length", (300, 2)),
        (completion(None, refusal="I cannot."), "I cannot.", "stop", (300, 2)),
        (completion(None, finish_reason="length", usage=None), "", "length", (None, None)),
        (
            completion([{"type": "text", "text": "一只"}, {"text": "猫"}]),
            "一只猫",
            "stop",
            (300, 2),
        ),
    ],
    ids=["cut at max_tokens", "refusal", "only thought", "parts"],
)
def test_answers_of_other_endpoints_are_read_too(reply, text, reason, counts):
    answer, _ = asked(reply)
    assert (answer.text, answer.finish_reason) == (text, reason)
    assert (answer.prompt_tokens, answer.answer_tokens) == counts


# Streams


def test_a_stream_yields_its_pieces_and_returns_the_answer():
    reply = stream(piece(""), piece("一只"), piece("猫"), piece(None, "stop"), USAGE)
    with chat_server(reply) as endpoint, assistant_of(endpoint) as assistant:
        seen, answer = collected(assistant.stream(PICTURE, "What?", max_tokens=3))
    assert seen == ["一只", "猫"]
    assert answer == Answer(
        text="一只猫", model="cats-7b", finish_reason="stop", prompt_tokens=300, answer_tokens=3
    )
    body = endpoint.requests[0].body
    assert body["stream"] is True and body["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("end", ["cut", "whole"])
def test_a_stream_cut_in_the_middle_is_an_error_after_what_came(end):
    reply = stream(piece("一只"), piece("猫"), done=False, end=end)
    seen = []
    with chat_server(reply) as endpoint, assistant_of(endpoint) as assistant:
        with pytest.raises(EndpointError, match="cut off after 3 characters"):
            seen.extend(assistant.stream(PICTURE, "What?"))
        pieces = assistant.stream(PICTURE, "What?")
        assert [next(pieces), next(pieces)] == ["一只", "猫"]
        with pytest.raises(EndpointError) as caught:
            next(pieces)
    assert "在 3 个字符后中断" in caught.value.text.zh


def test_an_answer_that_ended_is_whole_though_its_connection_broke():
    reply = stream(piece("a cat"), piece(None, "stop"), done=False, end="cut")
    with chat_server(reply) as endpoint, assistant_of(endpoint) as assistant:
        _, answer = collected(assistant.stream(PICTURE, "What?"))
    assert (answer.text, answer.finish_reason) == ("a cat", "stop")


def test_pieces_come_as_they_are_sent_and_closing_hangs_up():
    reply = stream(piece("a"), done=False, end="stall")
    with chat_server(reply) as endpoint, assistant_of(endpoint) as assistant:
        pieces = assistant.stream(PICTURE, "What?")
        assert next(pieces) == "a"
        pieces.close()
        assert endpoint.hung_up.wait(30)


def test_an_error_inside_a_stream_is_quoted():
    broken = {"error": {"message": f"out of memory, {KEY}", "code": 500}}
    text = error_of(stream(piece("a"), broken), streamed=True)
    assert "out of memory, ***" in text.en and "out of memory" in text.zh


# Endpoints that fail


@pytest.mark.parametrize("status", [429, 500, 503, 529])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_busy_endpoint_is_asked_again_with_growing_pauses(status, streamed):
    good = stream(piece("a cat", "stop")) if streamed else completion("a cat")
    waits = []
    with (
        chat_server(*[refusal(status, "busy")] * 3, good) as endpoint,
        assistant_of(endpoint, wait=waits) as assistant,
    ):
        if streamed:
            assert list(assistant.stream(PICTURE, "What?")) == ["a cat"]
        else:
            assert assistant.ask(PICTURE, "What?").text == "a cat"
    assert len(endpoint.requests) == 4
    assert all(request.body == endpoint.requests[0].body for request in endpoint.requests)
    usual = [0.5, 1.0, 2.0]
    assert all(low <= wait <= 1.25 * low for wait, low in zip(waits, usual, strict=True))


def test_an_endpoint_that_names_the_pause_is_obeyed_up_to_a_minute():
    waits = []
    slow, ms = refusal(429, "slow", retry_after="7"), refusal(503, "slow", retry_after_ms="250")
    with (
        chat_server(slow, ms, completion()) as endpoint,
        assistant_of(endpoint, wait=waits) as assistant,
    ):
        assistant.ask(PICTURE, "What?")
    assert 7 <= waits[0] <= 8.75 and 0.25 <= waits[1] <= 0.3125
    error_of(refusal(429, "come back tomorrow", retry_after="86400"), wait=(late := []))
    assert late == []


def test_retries_end_and_what_no_retry_helps_is_not_repeated():
    waits = []
    text = error_of(refusal(503, "overloaded"), wait=waits, retries=2)
    assert len(waits) == 2 and "503: overloaded" in text.en and "稍后重试" in text.zh
    for reply in (refusal(429, "pay", "insufficient_quota"), refusal(400, "bad field")):
        waits.clear()
        error_of(reply, wait=waits)
        assert waits == []


def test_a_connection_that_breaks_before_the_answer_is_opened_again():
    waits = []
    broken = Reply(b'{"choices": [', headers={"Content-Type": "application/json"}, end="cut")
    with (
        chat_server(broken, completion("a cat")) as endpoint,
        assistant_of(endpoint, wait=waits) as assistant,
    ):
        assert assistant.ask(PICTURE, "What?").text == "a cat"
    assert waits == [0.0]
    assert "cannot be reached" in error_of(broken, retries=1).en


@pytest.mark.parametrize("streamed", [False, True])
def test_a_silent_endpoint_times_out_once(streamed):
    waits = []
    text = error_of(Reply(end="stall"), streamed=streamed, wait=waits, timeout_s=0.2)
    assert "silent for 0.2 s" in text.en and "timeout_s" in text.en and "0.2 秒" in text.zh
    assert waits == []


def test_silence_inside_an_answer_times_out_too():
    reply = stream(piece("a"), done=False, end="stall")
    assert "silent for 0.2 s" in error_of(reply, streamed=True, timeout_s=0.2).en


def test_a_port_where_nobody_listens_is_one_clear_line():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound and not listening: nobody else takes it
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        with (
            RemoteAssistant(RemoteConfig(base_url=url, model="cats"), KEY) as assistant,
            pytest.raises(EndpointError, match=f"{url} cannot be reached .*refused") as caught,
        ):
            assistant.ask(PICTURE, "What?")
    assert "无法连接" in caught.value.text.zh and "请启动服务器" in caught.value.text.zh


TOO_LONG = [
    "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens",
    "prompt is too long: 210000 tokens > 200000 maximum",
    "The input (9000 tokens) is longer than the model's context length (8192 tokens).",
    "the request exceeds the available context size",
    "The input token count (1100000) exceeds the maximum number of tokens allowed (1048576).",
    "Range of input length should be [1, 30720]",
]


@pytest.mark.parametrize("message", TOO_LONG)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_context_overrun_is_an_error_of_the_question(message, streamed):
    reply = refusal(400, message, "context_length_exceeded")
    text = error_of(reply, error=DataError, streamed=streamed)
    assert message in text.en and "Shorten the text" in text.en and "请缩短文本" in text.zh


def test_another_refusal_is_quoted_and_is_no_context_overrun():
    text = error_of(refusal(400, "unsupported parameter: top_k\nline two"))
    assert "400: unsupported parameter: top_k line two" in text.en
    flat = as_json({"message": "model is loading", "object": "error"}, 400)
    assert "400: model is loading" in error_of(flat).en


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_names_the_variable_and_is_not_repeated_in_the_error(status):
    text = error_of(refusal(status, f"Incorrect API key provided: {KEY}."))
    assert "provided: ***" in text.en
    assert "SEESAY_REMOTE_KEY" in text.en and "SEESAY_REMOTE_KEY" in text.zh


def test_an_unknown_model_or_path_and_a_redirect_elsewhere_point_to_the_address():
    assert "404: no such model" in (text := error_of(refusal(404, "no such model"))).en
    assert "/v1" in text.en
    with chat_server(completion()) as other:
        moved = Reply(b"", 307, {"Location": f"{other.url}/chat/completions"})
        assert "307" in error_of(moved).en
        assert other.requests == []  # pictures do not follow to another host


NONSENSE = {
    "a page": Reply(b"<html>welcome</html>", headers={"Content-Type": "text/html"}),
    "no JSON": Reply(b"{oops", headers={"Content-Type": "application/json"}),
    "nothing": Reply(b"", headers={"Content-Type": "application/json"}),
    "no UTF-8": Reply(b'{"a": "\xff\xfe"}', headers={"Content-Type": "application/json"}),
    "a list": as_json([1, 2]),
    "null": as_json(None),
    "a number": as_json(7),
    "no choices": as_json({"id": "1"}),
    "empty choices": completion(choices=[]),
    "choices as text": completion(choices="a cat"),
    "choices of text": completion(choices=["a cat"]),
    "no message": completion(choices=[{"index": 0}]),
    "message as text": completion(choices=[{"message": "a cat"}]),
    "content as number": completion(choices=[{"message": {"content": 7}}]),
    "log probabilities": completion(logprobs={"content": [{"token": "a"}]}),
    "log probabilities as text": completion(logprobs={"content": ["a"]}),
}


@pytest.mark.parametrize("reply", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_is_one_clear_line(reply):
    text = error_of(reply)
    assert "gives no valid answer" in text.en and "不合格式" in text.zh


NONSENSE_PIECES = {
    "no JSON": "{oops",
    "a list": [1],
    "null": None,
    "text": '"a cat"',
    "choices as text": piece("", choices="a cat"),
    "choices of text": piece("", choices=["a cat"]),
    "delta as text": piece("", choices=[{"delta": "a cat"}]),
    "content as number": piece(7),
}


@pytest.mark.parametrize("chunk", NONSENSE_PIECES.values(), ids=NONSENSE_PIECES)
def test_nonsense_in_a_stream_is_one_clear_line(chunk):
    text = error_of(stream(piece("a"), chunk), streamed=True)
    assert "gives no valid answer" in text.en and "不合格式" in text.zh


def test_a_whole_answer_in_place_of_a_stream_is_no_answer():
    error_of(completion("a cat"), streamed=True)
    error_of(NONSENSE["a page"], streamed=True)


def test_an_error_with_status_200_is_quoted():
    assert "no credit" in error_of(as_json({"error": {"message": "no credit"}})).en


# Keys


def test_a_key_comes_from_the_variable_of_its_host_only(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "of-openai")
    with chat_server(completion()) as endpoint:
        with assistant_of(endpoint, None) as assistant:
            assistant.ask(PICTURE, "What?")
        monkeypatch.setenv("SEESAY_REMOTE_KEY", "of-others\n")
        with assistant_of(endpoint, None) as assistant:
            assistant.ask(PICTURE, "What?")
    without, others = (request.headers for request in endpoint.requests)
    assert "authorization" not in without
    assert others["authorization"] == "Bearer of-others"
    assert "of-openai" not in str(without) + str(others)
    openai = RemoteConfig(base_url="https://api.openai.com/v1", model="gpt-4o")
    assert openai.key_variable == "OPENAI_API_KEY"


def test_a_key_is_in_no_log_and_no_repr(caplog):
    with (
        caplog.at_level(logging.DEBUG),
        chat_server(refusal(500, "no")) as endpoint,
        assistant_of(endpoint) as assistant,
    ):
        with pytest.raises(EndpointError):
            assistant.ask(PICTURE, "What?")
        shown = repr(assistant)
    assert caplog.records and KEY not in caplog.text + shown


@pytest.mark.parametrize("key", ["sk-ab\ncd", "sk-猫狗", "Bearer sk-abcd"])
def test_a_key_that_no_header_takes_is_refused_without_showing_it(key):
    config = RemoteConfig(base_url="http://127.0.0.1:1/v1", model="cats")
    with pytest.raises(ConfigError, match="SEESAY_REMOTE_KEY") as caught:
        RemoteAssistant(config, key)
    assert key not in caught.value.text.en + caught.value.text.zh


def test_a_proxy_is_not_asked_for_this_machine(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert asked(completion("a cat"))[0].text == "a cat"


# Settings and questions


@pytest.mark.parametrize(
    "url",
    [
        *("", "localhost:8000/v1", "ftp://host/v1", "http:///v1", "http://[::1/v1"),
        *("http://host:x/v1", "http://me:secret@host/v1", "http://host/v1?key=secret"),
        "http://host/v1#secret",
    ],
)
def test_an_address_that_is_none_or_holds_a_secret_is_refused(url):
    with pytest.raises(ConfigError, match="base_url") as caught:
        RemoteConfig(base_url=url, model="cats")
    assert "secret" not in caught.value.text.en + caught.value.text.zh


@pytest.mark.parametrize(
    "setting",
    [
        *({"max_images": 0}, {"max_side": 1}, {"max_bytes": 10}, {"timeout_s": 0.0}),
        *({"timeout_s": float("nan")}, {"retries": -1}, {"model": " "}),
    ],
    ids=str,
)
def test_an_impossible_setting_is_refused_with_its_value(setting):
    config = RemoteConfig(base_url="http://127.0.0.1:1/v1", model="cats")
    (name, value), *_ = setting.items()
    with pytest.raises(ConfigError, match=f"{name}={value!r}"):
        replace(config, **setting)


PLACE = Media("image", (1,))
BAD_QUESTIONS = {
    "no picture": ([], "What?", DataError, "no picture was given"),
    "too many": ([PICTURE] * 3, "What?", DataError, "3 pictures .* at most 2"),
    "empty": (PICTURE, "  ", DataError, "no question"),
    "no turns": (PICTURE, [], DataError, "ends with nothing"),
    "an answer last": (PICTURE, [Message("assistant", "a cat")], DataError, "'assistant'"),
    "a place too many": (
        [PICTURE],
        [Message("user", (PLACE, PLACE, "Which?"))],
        DataError,
        "places for 2 pictures, but 1",
    ),
    "a place and no picture": (None, [Message("user", (PLACE, "?"))], DataError, "but 0 were"),
    "a video": (None, [Message("user", (Media("video", (1,)), "?"))], DataError, "video"),
    "no such file": ("missing.jpg", "What?", ImageError, "missing.jpg"),
    "a damaged file": (b"GIF89a", "What?", ImageError, "6 bytes"),
}


@pytest.mark.parametrize("case", BAD_QUESTIONS.values(), ids=BAD_QUESTIONS)
@pytest.mark.parametrize("method", ["ask", "stream"])
def test_a_bad_question_is_refused_before_anything_is_sent(case, method):
    images, question, error, message = case
    with (
        chat_server(completion()) as endpoint,
        assistant_of(endpoint, max_images=2) as assistant,
        pytest.raises(error, match=message),
    ):
        getattr(assistant, method)(images, question)
    assert endpoint.requests == []


@pytest.mark.parametrize("options", [{"max_tokens": 0}, {"temperature": -1.0}], ids=str)
def test_an_impossible_answer_is_refused(options):
    with (
        chat_server(completion()) as endpoint,
        assistant_of(endpoint) as assistant,
        pytest.raises(ConfigError, match="allow no answer"),
    ):
        assistant.ask(PICTURE, "What?", **options)


def test_a_missing_package_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    config = RemoteConfig(base_url="http://127.0.0.1:1/v1", model="cats")
    with pytest.raises(MissingExtraError, match=r"seesay\[remote\]"):
        RemoteAssistant(config)
