"""The HTML document of the page with a head of our own.

Gradio's template describes Gradio: its title, its preview picture from another site, and a manifest
that the page does not have. All of that is taken out, and what a browser tab, a bookmark or a link
in a message shows of this page is put in.
"""

import re
from collections.abc import Mapping
from html import escape
from pathlib import Path
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from seesay.web import words
from seesay.web.address import from_address, title_of

ICON = Path(__file__).with_name("browser") / "icon.png"
PREVIEW = "/preview.png"
"""What a link in a message shows; 1200 x 630 pixels."""
_FILES = {PREVIEW: "image/png", "/land.json": "application/json"}
"""All that is served from the folder of the icon."""
_THEIRS = re.compile(
    rb"""<meta\s+(?:property|name)="(?:og|twitter):[^>]*>|<link\s+rel="manifest"[^>]*>"""
    rb"""|<title>.*?</title>""",
    re.DOTALL,
)
_HTML = re.compile(rb'<html\s+lang="[^"]*"')
_END_OF_HEAD = b"</head>"


class Document:
    """An ASGI application around the one that serves the page. It serves the preview picture and
    the outlines of land, and rewrites the document; everything else passes."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._files = {path: ICON.with_name(path[1:]).read_bytes() for path in _FILES}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reads = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
        if reads and (content := self._files.get(scope["path"])):
            headers = {"Cache-Control": "private, max-age=86400"}
            answer = Response(content, headers=headers, media_type=_FILES[scope["path"]])
            await answer(scope, receive, send)
        elif reads and scope["path"] == "/":
            rewriting = _rewriting(_Head(scope), send)  # the allow-list empties the query string
            await self.app(_uncompressed(scope), receive, rewriting)
        else:
            await self.app(scope, receive, send)


def _uncompressed(scope: Scope) -> Scope:
    # The same object: the metrics read from it which route was taken.
    scope["headers"] = [pair for pair in scope["headers"] if pair[0] != b"accept-encoding"]
    return scope


def _rewriting(head: "_Head", send: Send) -> Send:
    """Collects the document and sends it with our head; any other answer goes out as it comes."""
    start: Message = {}
    body = bytearray()

    async def rewriting(message: Message) -> None:
        nonlocal start
        if message["type"] == "http.response.start":
            start = message
            return
        body.extend(message.get("body", b""))
        if message.get("more_body", False):
            return
        is_page = Headers(raw=start["headers"]).get("content-type", "").startswith("text/html")
        answer = head.put_into(bytes(body)) if is_page else bytes(body)
        headers = [pair for pair in start["headers"] if pair[0] != b"content-length"]
        if answer:  # to HEAD there is none
            headers.append((b"content-length", str(len(answer)).encode()))
        await send({**start, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    return rewriting


class _Head:
    """What the document says of itself, to this visitor."""

    def __init__(self, scope: Scope) -> None:
        query, headers = scope["query_string"].decode("latin-1"), Headers(raw=scope["headers"])
        self.language = _language(parse_qs(query), headers.get("accept-language", ""))
        self.title = title_of(from_address(query).words)
        self.site = f"{scope.get('scheme', 'http')}://{headers.get('host', '')}"

    def put_into(self, page: bytes) -> bytes:
        tag = "zh-CN" if self.language == "zh" else "en"
        html = f'<html lang="{tag}" data-spoken="{self.language}"'.encode()
        page = _THEIRS.sub(b"", _HTML.sub(html, page, count=1))
        return page.replace(_END_OF_HEAD, self._tags().encode() + _END_OF_HEAD, 1)

    def _tags(self) -> str:
        about = words.ABOUT.in_language(self.language)
        described = {
            "og:title": self.title,
            "og:description": about,
            "og:image": self.site + PREVIEW,
            "og:type": "website",
            "og:site_name": words.TITLE,
        }
        tags = "".join(
            f'<meta property="{name}" content="{escape(text)}">' for name, text in described.items()
        )
        return (
            f'<title>{escape(self.title)}</title><meta name="description" '
            f'content="{escape(about)}">{tags}'
            '<meta name="twitter:card" content="summary_large_image">'
            '<link rel="icon" type="image/png" href="favicon.ico">'
        )


def _language(query: Mapping[str, list[str]], accepted: str) -> str:
    wanted = query.get("lang", [accepted])[0]
    return "zh" if wanted.strip().lower().startswith("zh") else "en"
