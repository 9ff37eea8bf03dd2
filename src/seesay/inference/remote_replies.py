"""An endpoint's reply -> an answer, or an error that says what to do.

Replies are read as plain JSON, since the client package does not validate its objects.
"""

import re
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

from seesay.errors import DataError, EndpointError, SeesayError
from seesay.inference.answer import Answer, AnswerStream, AnswerToken
from seesay.text import Text, printable

_BUSY = (408, 409, 425, 429)  # and everything from 500 up
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 60.0
_QUOTED = 300  # characters quoted from an endpoint's message
# How OpenAI, vLLM, SGLang, llama.cpp, Claude, Gemini and DashScope say that a prompt is too long.
_TOO_LONG = re.compile(
    r"context.{0,12}(length|size|window)|prompt is too long|input token count|input length"
    r"|maximum.{0,20}tokens.{0,20}exceed",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Endpoint:
    """What messages may say about an endpoint, and the key they must not reveal."""

    base_url: str
    model: str
    key_variable: str
    timeout_s: float
    key: str = field(repr=False)


def pause_s(error: Exception, attempt: int) -> float | None:
    """Returns the seconds to wait before a retry, or None if a retry would not help soon.

    A busy or failing endpoint may give the time itself. A connection kept open from an earlier
    request may have been closed since. Timeouts are not retried: they would take as long again.
    """
    response = getattr(error, "response", None)
    usual = min(_FIRST_PAUSE_S * 2**attempt, _LONGEST_PAUSE_S)
    if response is None:
        return (usual if attempt else 0.0) if _was_cut(error) else None
    status = response.status_code
    if (status not in _BUSY and status < 500) or getattr(error, "code", "") == "insufficient_quota":
        return None
    named = _seconds(response.headers)
    if named is None:
        return usual
    return named if named <= _LONGEST_PAUSE_S else None


def _seconds(headers: Any) -> float | None:
    for name, divisor in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            value = float(headers[name]) / divisor
        except (KeyError, ValueError):  # a date: use the default pause
            continue
        if value >= 0:
            return value
    return None


class Replies:
    """Reads the replies of one endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def answer(self, reply: Any) -> Answer:
        """Reads a whole reply. Raises EndpointError for an unexpected shape."""
        body = _plain(reply)
        choice = self._choices(body)[0]
        message = choice.get("message")
        if not isinstance(message, dict):
            self._refuse_shape("choices[0].message", message)
        return Answer(
            text=self._text(message),
            model=_string(body.get("model")) or self._endpoint.model,
            finish_reason=_string(choice.get("finish_reason")) or "stop",
            tokens=self._tokens(choice.get("logprobs")),
            **_usage(body),
        )

    def pieces(self, chunks: Iterable[Any]) -> AnswerStream:
        """Reads the chunks of a stream. Raises EndpointError for an unexpected shape, and if it
        ends early."""
        pieces: list[str] = []
        last: dict[str, Any] = {}
        for chunk in self._until_cut(chunks, pieces, last):
            body = _plain(chunk)
            choices = self._choices(body, streamed=True)
            last |= {name: body[name] for name in ("model", "usage") if body.get(name)}
            if not choices:
                continue  # the usage comes alone
            if reason := choices[0].get("finish_reason"):
                last["finish_reason"] = _string(reason)
            delta = choices[0].get("delta")
            if not isinstance(delta, dict | None):
                self._refuse_shape("choices[0].delta", delta)
            if piece := self._text(delta or {}):
                pieces.append(piece)
                yield piece
        return Answer(
            text="".join(pieces),
            model=_string(last.get("model")) or self._endpoint.model,
            finish_reason=last["finish_reason"],
            **_usage(last),
        )

    def _until_cut(
        self, chunks: Iterable[Any], pieces: list[str], last: dict[str, Any]
    ) -> Generator[Any]:
        empty = True
        try:
            for chunk in chunks:
                empty = False
                yield chunk
        except Exception as error:
            if "finish_reason" in last:
                return  # the answer is complete, so a broken connection does not matter
            if _was_cut(error):
                self._refuse_cut(pieces)
            raise
        if empty:
            raise self._invalid_reply(Text("the reply is not an event stream", "回复不是事件流"))
        if not last.get("finish_reason"):
            self._refuse_cut(pieces)

    def _refuse_cut(self, pieces: list[str]) -> NoReturn:
        count = sum(map(len, pieces))
        raise EndpointError(
            Text(
                f"the answer of {self._endpoint.base_url} was cut off after {count} characters; "
                "expected a stream that says why it ends. Ask again; if it happens often, check "
                "the log of the server or of a proxy in front of it.",
                f"{self._endpoint.base_url} 的回答在 {count} 个字符后中断；流式回答结束时应说明原因"
                "；请重试，若经常发生，请查看服务器或其前面代理的日志",
            )
        )

    def _choices(self, body: Any, *, streamed: bool = False) -> list[dict[str, Any]]:
        if not isinstance(body, dict):
            self._refuse_shape("the whole reply", body)
        if body.get("error"):  # some endpoints report errors with status 200
            raise self._of_status(_code(body), _message(body))
        choices = body.get("choices")
        if streamed and choices is None:
            choices = []
        if not isinstance(choices, list) or not (choices or streamed):
            self._refuse_shape("choices", choices)
        if not all(isinstance(one, dict) for one in choices):
            self._refuse_shape("choices[0]", choices[0])
        return choices

    def _text(self, message: dict[str, Any]) -> str:
        """Returns the text of a message or part; for a refusal, its reason."""
        content = message.get("content") or message.get("refusal") or ""
        if isinstance(content, list):  # content parts, as in questions
            parts = [part for part in content if isinstance(part, dict)]
            content = "".join(_string(part.get("text")) for part in parts)
        if not isinstance(content, str):
            self._refuse_shape("content", content)
        return content

    def _tokens(self, given: Any) -> tuple[AnswerToken, ...] | None:
        entries = given.get("content") if isinstance(given, dict) else None
        if entries is None:
            return None
        try:
            return tuple(
                AnswerToken(text=str(one["token"]), log_probability=float(one["logprob"]))
                for one in entries
            )
        except (TypeError, ValueError, LookupError):
            self._refuse_shape("choices[0].logprobs", given)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turns the client's errors into ours, without the request they contain."""
        try:
            yield
        except SeesayError:
            raise
        except Exception as error:
            ours = self._explain(error)
            if ours is None:
                raise
            raise ours from None

    def _explain(self, error: Exception) -> SeesayError | None:
        import openai

        if isinstance(error, openai.APIStatusError):
            return self._of_status(error.status_code, _message(error.body))
        if isinstance(error, openai.APITimeoutError) or _network_name(error).endswith("Timeout"):
            return self._timed_out()
        if isinstance(error, openai.APIConnectionError) or _network_name(error):
            return self._unreachable(error)
        if isinstance(error, openai.APIError):  # an event inside a stream
            return self._of_status(_code(error.body), _message(error.body) or error.message)
        if isinstance(error, ValueError | RecursionError):  # from the JSON parser
            return self._invalid_reply(Text("the reply is not JSON", "回复不是 JSON"))
        return None

    def _timed_out(self) -> EndpointError:
        url, timeout_s = self._endpoint.base_url, self._endpoint.timeout_s
        return EndpointError(
            Text(
                f"{url} was silent for {timeout_s:g} s; expected a reply, or part of one, in "
                "that time. Ask again: the first question may wait until the model is loaded; from "
                "Python, timeout_s allows more.",
                f"{url} 已有 {timeout_s:g} 秒没有响应；在此时间内应有回复或其中一段；请重试，"
                "第一个问题可能要等模型加载完；在 Python 里可调大 timeout_s",
            )
        )

    def _unreachable(self, error: Exception) -> EndpointError:
        url, reason = self._endpoint.base_url, self._quoted(str(error.__cause__ or error))
        return EndpointError(
            Text(
                f"{url} cannot be reached ({reason}); expected a server that listens there. Start "
                "it, or correct the address; for a remote host, check the network and its proxy.",
                f"无法连接 {url}（{reason}）；那里应有服务器在监听；请启动服务器或改正地址；"
                "若是外部主机，请检查网络和代理",
            )
        )

    def _of_status(self, status: int, message: str) -> SeesayError:
        url, model = self._endpoint.base_url, self._endpoint.model
        quoted = self._quoted(message)
        given = Text(
            f"{status}: {quoted or 'without a message'}", f"{status}：{quoted or '没有说明原因'}"
        )
        if status in (200, 400, 413, 422) and _TOO_LONG.search(message):
            return DataError(
                Text(
                    f"the question is too long for {model}: {quoted}; expected one that fits its "
                    "context. Shorten the text, or give fewer or smaller pictures (max_side).",
                    f"问题超出了 {model} 的上下文长度：{quoted}；提示词不应超出；请缩短文本，"
                    "或减少、缩小图片（max_side）",
                )
            )
        expected, remedy = self._advice(status)
        return EndpointError(
            Text(
                f"{url} refused the question for {model} ({given.en}); expected "
                f"{expected.en}. {remedy.en}.",
                f"{url} 拒绝了给 {model} 的问题（{given.zh}）；应为{expected.zh}；{remedy.zh}",
            )
        )

    def _advice(self, status: int) -> tuple[Text, Text]:
        """Returns what was expected and what to do."""
        if status in (401, 403):
            variable = self._endpoint.key_variable
            return Text("an API key that may use this model", "有权使用该模型的 API 密钥"), Text(
                f"Set {variable} to such a key",
                f"请把 {variable} 设为这样的密钥",
            )
        if status in (404, 405) or 300 <= status < 400:
            return Text("an API with this model there", "提供该模型的 API"), Text(
                "Check the model's name, and the address, which usually ends in /v1",
                "请核对模型名和地址，后者通常以 /v1 结尾",
            )
        if status in _BUSY or status >= 500:
            return Text("an endpoint with free capacity and credit", "空闲且有余额的端点"), Text(
                "Ask again later, or check the account or the server's log",
                "请稍后重试，或查看账户或服务器日志",
            )
        return Text("a request that it accepts", "端点接受的请求"), Text(
            "Follow its message; from Python, extra changes the fields of a request",
            "请按其提示处理；在 Python 里可用 extra 修改请求的字段",
        )

    def _refuse_shape(self, place: str, value: Any) -> NoReturn:
        given = self._quoted(repr(value))[:80]
        raise self._invalid_reply(Text(f"{place} is {given}", f"{place} 是 {given}"))

    def _invalid_reply(self, what: Text) -> EndpointError:
        url = self._endpoint.base_url
        return EndpointError(
            Text(
                f"{url} gives no valid answer: {what.en}; expected JSON with choices, as in "
                "OpenAI's chat completions. Check that this is the address of such an API; it "
                "usually ends in /v1.",
                f"{url} 的回答不合格式：{what.zh}；应为 OpenAI 聊天补全格式的 JSON，其中有 "
                "choices；请确认这是此类 API 的地址，通常以 /v1 结尾",
            )
        )

    def _quoted(self, message: str) -> str:
        """Returns an endpoint's message on one line, with the key removed."""
        key = self._endpoint.key
        message = " ".join(_without_tags(message).split())
        return printable(message.replace(key, "***") if key else message)[:_QUOTED]


def _plain(value: Any) -> Any:
    """Returns the JSON that a client object was built from."""
    return value.model_dump(warnings=False) if hasattr(value, "model_dump") else value


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _usage(body: dict[str, Any]) -> dict[str, Any]:
    usage = body.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    names = {"prompt_tokens": "prompt_tokens", "answer_tokens": "completion_tokens"}
    found = {ours: counts.get(theirs) for ours, theirs in names.items()}
    return {name: count if isinstance(count, int) else None for name, count in found.items()}


def _message(body: Any) -> str:
    """Returns the message of an error: {"error": {"message": ...}}, or a simpler form; of several,
    as FastAPI gives them, each with its place."""
    while isinstance(body, dict):
        inside = body.get("error") or body.get("message") or body.get("detail")
        if inside is None:
            return ""
        body = inside
    if isinstance(body, list):
        listed = [one for one in body if isinstance(one, dict) and "msg" in one]
        places = [".".join(map(str, one["loc"])) if "loc" in one else "" for one in listed]
        return "; ".join(
            f"{place}: {one['msg']}" if place else str(one["msg"])
            for place, one in zip(places, listed, strict=True)
        )
    return body if isinstance(body, str) else ""


def _code(body: Any) -> int:
    """Returns the status that an error inside a reply of status 200 has, where it names one."""
    error = body.get("error", body) if isinstance(body, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) and 400 <= code < 600 else 200


def _without_tags(message: str) -> str:
    """Returns the words of a web page, such as a proxy sends; any other message as it is."""
    if not re.match(r"\s*(<!doctype|<html)", message, re.IGNORECASE):
        return message
    body = re.sub(r"(?is)<(style|script|title)\b.*?</\1>", " ", message)
    return re.sub(r"<[^>]*>", " ", body)


def _network_name(error: BaseException | None) -> str:
    """Returns the class name of the HTTP client's error, since newer versions use another
    client."""
    module = type(error).__module__.split(".")[0]
    return type(error).__name__ if module in ("httpx", "httpx2", "httpcore", "httpcore2") else ""


def _was_cut(error: Exception) -> bool:
    cut = {"RemoteProtocolError", "ReadError", "WriteError"}
    return bool(cut & {_network_name(error), _network_name(error.__cause__)})
