"""An endpoint on this machine that speaks the chat completions of OpenAI, with the faults that real
ones have."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any, Literal


@dataclass(frozen=True)
class Reply:
    """One answer of the endpoint."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    end: Literal["whole", "cut", "stall"] = "whole"
    """After the body: nothing more, a connection that breaks in the middle, or silence."""


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Endpoint:
    """What the endpoint replies, in turn (the last for ever), and what it was sent. A reply may be
    formed from the request."""

    replies: list[Reply | Callable[[Request], Reply]] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    url: str = ""
    released: Event = field(default_factory=Event)
    """Ends every silence."""
    hung_up: Event = field(default_factory=Event)
    """Set when a client closed its connection while an answer was under way."""


def completion(text: str | None = "a cat", **changes: Any) -> Reply:
    """A whole answer; `changes` replace fields of it or of its message."""
    message = {"role": "assistant", "content": text}
    message |= {name: changes.pop(name) for name in ("refusal",) if name in changes}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    choice |= {name: changes.pop(name) for name in ("finish_reason", "logprobs") if name in changes}
    usage = {"prompt_tokens": 300, "completion_tokens": 2, "total_tokens": 302}
    return as_json(
        {"id": "1", "object": "chat.completion", "model": "cats-7b", "created": 1}
        | {"choices": [choice], "usage": usage}
        | changes
    )


def as_json(value: Any, status: int = 200, **headers: str) -> Reply:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    body = json.dumps(value, ensure_ascii=False).encode()
    return Reply(body, status, {"Content-Type": "application/json"} | named)


def refusal(status: int, message: str, code: str | None = None, **headers: str) -> Reply:
    return as_json({"error": {"message": message, "code": code}}, status, **headers)


def piece(text: str | None, finish_reason: str | None = None, **changes: Any) -> Any:
    """One chunk of a stream."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish_reason}
    chunk = {"id": "1", "object": "chat.completion.chunk", "model": "cats-7b", "created": 1}
    return chunk | {"choices": [choice]} | changes


USAGE = piece("", choices=[], usage={"prompt_tokens": 300, "completion_tokens": 3})


def stream(*chunks: Any, done: bool = True, end: Literal["whole", "cut", "stall"] = "whole"):
    """An answer in pieces; a chunk that is text is sent as it stands."""
    lines = [one if isinstance(one, str) else json.dumps(one) for one in chunks]
    lines += ["[DONE]"] if done else []
    body = "".join(f"data: {line}\n\n" for line in lines).encode()
    return Reply(body, headers={"Content-Type": "text/event-stream"}, end=end)


@contextmanager
def chat_server(*replies: Reply | Callable[[Request], Reply]) -> Iterator[Endpoint]:
    """Serve on a free port of the loopback interface while the block runs."""
    state = Endpoint(list(replies))
    handler = type("Handler", (_Handler,), {"state": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield state
    finally:
        state.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    state: Endpoint
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        state = self.state
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.path, headers, json.loads(content or b"null"))
        state.requests.append(request)
        reply = state.replies.pop(0) if len(state.replies) > 1 else state.replies[0]
        reply = reply if isinstance(reply, Reply) else reply(request)
        if reply.end == "stall" and not reply.body:
            state.released.wait()
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.end == "whole":
            self.send_header("Content-Length", str(len(reply.body)))
        else:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if reply.end == "whole":
            self.wfile.write(reply.body)
            return
        self.wfile.write(b"%x\r\n%s\r\n" % (len(reply.body), reply.body))
        self.wfile.flush()
        if reply.end == "stall":
            # A client that hangs up ends the wait: its side reads as closed.
            self.connection.settimeout(60)
            if self.rfile.read(1) == b"":
                state.hung_up.set()
        self.close_connection = True
