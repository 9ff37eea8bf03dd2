"""A hub on this machine: what Hugging Face and ModelScope answer to the requests that downloads
make, with the faults that real ones have."""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"

Fault = Literal["cut", "stall", "short", "other", "missing"]


@dataclass
class HubState:
    """What the hub holds, and how it misbehaves."""

    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    faults: dict[str, Fault] = field(default_factory=dict)
    """By file name: cut off in the middle, stopped there without an end, sent shorter than listed,
    other content, not found."""
    status: int = 200
    """Of every answer."""
    error_code: str = ""
    """Hugging Face's reason for that status."""
    requests: list[str] = field(default_factory=list)
    url: str = ""
    stalled: Event = field(default_factory=Event)
    """Set when an answer has stopped in the middle."""
    ended: Event = field(default_factory=Event)

    def files_asked_for(self) -> set[str]:
        """Names of the files whose content was requested."""
        gets = (line.removeprefix("GET ") for line in self.requests if line.startswith("GET "))
        split = [urlsplit(line) for line in gets]
        named = {u.path.split("/resolve/")[1].split("/")[1] for u in split if "/resolve/" in u.path}
        asked = (parse_qs(u.query).get("FilePath") for u in split)
        return named | {names[0] for names in asked if names}


@contextmanager
def hub_server() -> Iterator[HubState]:
    """Serve on a free port of the loopback interface while the block runs."""
    state = HubState()
    handler = type("Handler", (_Handler,), {"state": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield state
    finally:
        state.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    state: HubState
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        state, url = self.state, urlsplit(self.path)
        state.requests.append(f"{self.command} {self.path}")
        if state.status != 200:
            self._send(b'{"error": "no"}', state.status, {"X-Error-Code": state.error_code})
            return
        path = unquote(url.path)
        if path.startswith("/api/v1/models/"):
            self._modelscope(path.removeprefix("/api/v1/models/"), parse_qs(url.query))
        elif path.startswith("/api/models/"):
            self._listing(path.removeprefix("/api/models/"))
        elif "/resolve/" in path:
            repo, _, rest = path.strip("/").partition("/resolve/")
            self._file(repo, *rest.split("/", 1))
        else:
            self._send(b"{}", 404, {})

    def _listing(self, path: str) -> None:
        owner, name, *rest = path.split("/")
        files = self.state.repos.get(f"{owner}/{name}")
        if files is None:
            self._send(b"{}", 404, {"X-Error-Code": "RepoNotFound"})
        elif len(rest) > 1 and not re.fullmatch(r"main|[0-9a-f]{40}", rest[1]):
            self._send(b"{}", 404, {"X-Error-Code": "RevisionNotFound"})
        elif rest[:1] == ["tree"]:
            self._json([_tree(file, content) for file, content in files.items()])
        else:
            siblings = [_sibling(file, content) for file, content in files.items()]
            commit = COMMIT if rest[1:] in ([], ["main"]) else rest[1]
            self._json({"id": f"{owner}/{name}", "sha": commit, "siblings": siblings})

    def _file(self, repo: str, commit: str, file: str) -> None:
        content = self.state.repos.get(repo, {}).get(file)
        if content is None or self.state.faults.get(file) == "missing":
            self._send(b"", 404, {"X-Error-Code": "EntryNotFound"})
            return
        headers = {"ETag": f'"{_etag(file, content)}"', "X-Repo-Commit": commit}
        headers["X-Linked-Size"] = str(len(content))
        self._content(file, content, headers)

    def _modelscope(self, path: str, query: dict[str, list[str]]) -> None:
        owner, name, *rest = path.split("/")
        files = self.state.repos.get(f"{owner}/{name}")
        if files is None or query.get("Revision", ["master"])[0] not in ("master", "main"):
            self._send(b'{"Code": 10010205001, "Message": "not found"}', 404, {})
        elif rest == ["repo", "files"]:
            listed = [
                {"Path": file, "Type": "blob", "Size": len(content), "Sha256": _sha256(content)}
                for file, content in files.items()
            ]
            self._json({"Code": 200, "Success": True, "Data": {"Files": listed}})
        else:
            file = query["FilePath"][0]
            if self.state.faults.get(file) == "missing":
                self._send(b'{"Code": 10010205001, "Message": "not found"}', 404, {})
            else:
                self._content(file, files[file], {})

    def _content(self, file: str, content: bytes, headers: dict[str, str]) -> None:
        fault = self.state.faults.get(file)
        if fault == "other":
            content = bytes(byte ^ 1 for byte in content)
        if fault == "short":
            content = content[: len(content) // 2]
        start, status = 0, 200
        if wanted := self.headers.get("Range"):
            start, status = int(wanted.removeprefix("bytes=").split("-")[0]), 206
            last = len(content) - 1
            headers = {**headers, "Content-Range": f"bytes {start}-{last}/{len(content)}"}
        self._send(content[start:], status, headers, fault)

    def _json(self, value: Any) -> None:
        self._send(json.dumps(value).encode(), 200, {"Content-Type": "application/json"})

    def _send(
        self, body: bytes, status: int, headers: dict[str, str], fault: Fault | None = None
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault not in ("cut", "stall"):
            self.wfile.write(body)
            return
        self.wfile.write(body[: len(body) // 2])
        self.wfile.flush()
        if fault == "stall":
            self.state.stalled.set()
            self.state.ended.wait()
        self.close_connection = True
        self.connection.close()


def _is_large(file: str) -> bool:
    return file.endswith((".safetensors", ".bin", ".pt"))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _git_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _etag(file: str, content: bytes) -> str:
    return _sha256(content) if _is_large(file) else _git_id(content)


def _sibling(file: str, content: bytes) -> dict[str, Any]:
    described: dict[str, Any] = {"rfilename": file, "size": len(content)}
    described["blobId"] = _git_id(content)
    if _is_large(file):
        size = len(content)
        described["lfs"] = {"sha256": _sha256(content), "size": size, "pointerSize": 130}
    return described


def _tree(file: str, content: bytes) -> dict[str, Any]:
    described = {"type": "file", "path": file, "size": len(content), "oid": _git_id(content)}
    if _is_large(file):
        described["lfs"] = {"oid": _sha256(content), "size": len(content), "pointerSize": 130}
    return described
