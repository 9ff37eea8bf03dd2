"""Lets only the requests of the page reach Gradio.

Gradio serves many more routes than the page needs: files, uploads, proxies, streams. And it takes
whatever looks like one of its `FileData` for a file, in every component: it opens the path, or
fetches the address, before the component is asked. The page has no use for either, since pictures
come as data URLs. So a request that is not listed here is refused before Gradio sees it, and a call
reaches Gradio as a body that is written anew from values that were checked. What a later version of
Gradio adds is closed until it is listed.
"""

import asyncio
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from seesay.errors import ConfigError, MissingExtraError

try:
    import gradio as gr
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect, Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send
except ModuleNotFoundError:
    raise MissingExtraError("gradio", "serve") from None

from seesay.text import Text
from seesay.web.address import LONGEST
from seesay.web.asking import MOST_CHARACTERS
from seesay.web.uploads import MOST_PICTURE

_JOIN, _EVENTS = "/gradio_api/queue/join", "/gradio_api/queue/data"
_SESSION = r"[A-Za-z0-9_-]{1,64}"
_ASSET = r"(?:assets|static)(?:/[A-Za-z0-9_@-][A-Za-z0-9_@.-]*)+"  # no part begins with a dot
_ROUTES: Mapping[str, re.Pattern[str]] = {
    "HEAD": re.compile("/"),
    "GET": re.compile(
        rf"/|/config|/theme\.css|/favicon\.ico|/{_ASSET}"
        rf"|/gradio_api/info|{_EVENTS}|/gradio_api/heartbeat/{_SESSION}"
    ),
    "POST": re.compile(_JOIN),
}
_OF_BODY = (b"content-length", b"content-type", b"transfer-encoding", b"content-encoding")
_LARGEST = 2**53  # beyond it a float skips whole numbers
_MOST_ITEMS = 1000  # of a list

Check = Callable[[Any], bool]


@dataclass(frozen=True, kw_only=True)
class _Field:
    """What a function takes at one place."""

    label: str
    expected: str
    check: Check


@dataclass(frozen=True, kw_only=True)
class _Function:
    """What may be sent to a function of the page."""

    fields: tuple[_Field, ...]
    triggers: frozenset[int]
    takes_event: bool


class AllowList:
    """An ASGI application in front of Gradio's."""

    def __init__(self, app: ASGIApp, page: gr.Blocks) -> None:
        """Raises ConfigError for a page with a component that takes more than texts and numbers."""
        self.app = app
        self._functions = {
            number: _Function(
                fields=tuple(_field(*one) for one in enumerate(function.inputs)),
                triggers=frozenset(one for one, _ in function.targets if one is not None),
                takes_event=function.collects_event_data,
            )
            for number, function in page.fns.items()
            if function.fn is not None  # else it runs in the browser alone
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        method, path = scope["method"], scope["path"]
        taken = [one for one, route in _ROUTES.items() if route.fullmatch(path)]
        if taken and method not in taken:
            allow = {"Allow": ", ".join(sorted(taken))}
            raise HTTPException(405, f"{method[:20]} is no method of {path[:200]!r}", allow)
        if not taken:
            raise HTTPException(404, f"{method[:20]} {path[:200]!r} is no address of this server")
        # The scope is changed in place: the metrics read from it which route Gradio took.
        query, scope["query_string"] = scope["query_string"], b""
        if path == _EVENTS:
            scope["query_string"] = f"session_hash={_session_of(query)}".encode()
        if path == _JOIN:
            try:
                body = await Request(scope, receive).body()  # no larger than the guard lets through
            except ClientDisconnect:
                return
            # Off the event loop: it takes a while for a picture.
            checked = await asyncio.to_thread(self._checked, body)
            kept = [one for one in scope["headers"] if one[0] not in _OF_BODY]
            length = (b"content-length", str(len(checked)).encode())
            scope["headers"] = [*kept, (b"content-type", b"application/json"), length]
            receive = _given(checked, receive)
        refused: list[int] = []
        await self.app(scope, receive, _unless_refused(send, refused))
        if refused:  # told in our form, and not in Gradio's words
            raise HTTPException(refused[0], f"the page has no answer to {path[:200]!r}")

    def _checked(self, body: bytes) -> bytes:
        """The body of a call, written anew. Raises ConfigError."""
        call = _parsed(body)
        number, data, trigger = call.get("fn_index"), call.get("data"), call.get("trigger_id")
        function = self._functions.get(number) if type(number) is int else None
        if function is None:
            raise _refused(f"fn_index {_shown(number)}", "the number of a function of the page")
        if not isinstance(data, list) or len(data) != len(function.fields):
            raise _refused(f"data {_shown(data)}", f"a list of {len(function.fields)} values")
        if trigger is not None and not (type(trigger) is int and trigger in function.triggers):
            raise _refused(f"trigger_id {_shown(trigger)}", "what triggers this function")
        written = {
            "fn_index": number,
            "session_hash": _session(call.get("session_hash")),
            "trigger_id": trigger,
            "data": list(map(_value, function.fields, data)),
            "event_data": _event(call.get("event_data")) if function.takes_event else None,
        }
        return json.dumps(written).encode()


def _unless_refused(send: Send, refused: list[int]) -> Send:
    """Sends an answer, and of an error only puts the status into a list."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] >= 400:
            refused.append(message["status"])
        if not refused:
            await send(message)

    return sent


def _field(place: int, component: Any) -> _Field:
    """What a component says that it takes. Raises ConfigError for more than texts and numbers."""
    label = f"data[{place}]" + (f" ({component.elem_id})" if component.elem_id else "")
    if component.stateful:
        return _Field(label=label, expected="null", check=lambda _: False)  # the server keeps it
    takes = component.api_info()
    match takes.get("type"):
        case "string":
            most = getattr(component, "max_length", None) or MOST_PICTURE
            expected = f"text of at most {most} characters"
            return _Field(label=label, expected=expected, check=lambda one: _is_text(one, most))
        case "number" | "integer":
            return _Field(label=label, expected="a number", check=_is_number)
        case "array" if takes["items"].get("type") == "string":
            return _Field(label=label, expected="a list of texts", check=_are_texts)
    raise ConfigError(
        Text(
            f"the component at {label} takes {takes}; expected text, a number or a list of texts; "
            "let the page send it as text",
            f"组件 {label} 接收 {takes}；应为文本、数字或文本列表；请让网页以文本发送",
        )
    )


def _is_text(value: Any, most: int = MOST_CHARACTERS) -> bool:
    if not isinstance(value, str) or len(value) > most:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a character
        return False
    return True


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < _LARGEST


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= _MOST_ITEMS and all(map(_is_text, value))


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= _MOST_ITEMS and all(map(_is_number, value))


def _value(field: _Field, value: Any) -> Any:
    """A value that a field takes; an empty field is sent as null."""
    if value is not None and not field.check(value):
        raise _refused(f"{field.label} {_shown(value)}", field.expected)
    return value


_EVENT: Mapping[str, Check] = {  # what browser/script.py sends of a click
    **dict.fromkeys(("do", "unit", "page", "words", "filter", "value"), _is_text),
    "units": _are_numbers,
    "address": lambda one: _is_text(one, LONGEST),
}


def _event(data: Any) -> dict[str, Any]:
    if not isinstance(data, dict) or not data.keys() <= _EVENT.keys():
        raise _refused(f"event_data {_shown(data)}", f"an object of {', '.join(_EVENT)}")
    for name, value in data.items():
        if not _EVENT[name](value):
            expected = "a list of numbers" if name == "units" else "text"
            raise _refused(f"event_data.{name} {_shown(value)}", expected)
    return data


def _session(value: Any) -> str:
    if not isinstance(value, str) or re.fullmatch(_SESSION, value) is None:
        raise _refused(f"session_hash {_shown(value)}", "1 to 64 letters and digits")
    return value


def _session_of(query: bytes) -> str:
    given: Sequence[str] = parse_qs(query.decode("latin-1")).get("session_hash", [])
    return _session(given[0] if len(given) == 1 else given or None)


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        call = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _refused(f"the body cannot be read ({str(error)[:80]})", "JSON") from error
    if not isinstance(call, dict):
        raise _refused(f"the body {_shown(call)}", "an object")
    return call


def _refused(what: str, expected: str) -> ConfigError:
    """Only a program that does not use the page sends such a request, so what it sent is named in
    the words of the protocol in both languages."""
    return ConfigError(
        Text(
            f"{what}; expected {expected}; reload the page, or ask /v1/search",
            f"请求不符合网页的格式（{what}; expected {expected}）；请重新加载网页，"
            "或改用 /v1/search",
        )
    )


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return f"is {'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    return f"is {json.dumps(value[:40] if isinstance(value, str) else value)[:60]}"


def _given(body: bytes, receive: Receive) -> Receive:
    """Hands out a body first, then what comes after it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def given() -> Message:
        return messages.pop() if messages else await receive()

    return given
