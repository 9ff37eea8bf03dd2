"""A page of questions and what was found, in both languages: one file that needs nothing else."""

import base64
import hashlib
from collections.abc import Iterable
from html import escape
from pathlib import Path

from seesay.search.report.cards import Bilingual, Card, Section
from seesay.search.report.style import SCRIPT, STYLE
from seesay.text import to_unicode


def to_page(
    title: Bilingual,
    introduction: Bilingual,
    sections: Iterable[Section],
    language: str = "en",
    closing: str = "",
) -> str:
    """The page as HTML, at first in `language`. `closing` is HTML that stands below everything."""
    body = "".join(map(_section, sections))
    return to_unicode(
        f'<!doctype html>\n<html lang="{_tag(language)}" data-spoken="{language}">\n<head>\n'
        f'<meta charset="utf-8">\n<title>{escape(" · ".join(dict.fromkeys(title)))}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy()}">\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n<header>\n<div>"
        f"<h1>{both(title)}</h1><p>{both(introduction)}</p></div>\n"
        '<div class="switch" role="group" aria-label="Language 语言">'
        '<button type="button" data-to="en" lang="en">English</button>'
        '<button type="button" data-to="zh" lang="zh-CN">中文</button></div>\n</header>\n'
        f"<main>\n{body}</main>\n{closing}\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def both(words: Bilingual) -> str:
    """Words in both languages, one of which is shown; escaped."""
    english, chinese = (escape(to_unicode(text)) for text in words)
    if english == chinese:
        return english
    return (
        f'<span class="en" lang="en">{english}</span><span class="zh" lang="zh-CN">{chinese}</span>'
    )


def file_link(path: str) -> str:
    """Where a click on a file leads; nothing for what is no file."""
    return Path(path).as_uri() if Path(path).is_absolute() else ""


def _section(section: Section) -> str:
    pictures = "".join(f'<img class="asked" alt="" src="{_data(p)}">' for p in section.pictures)
    words = f"<q>{escape(section.asked)}</q>" if section.asked else ""
    remark = f'<p class="remark">{both(section.remark)}</p>' if any(section.remark) else ""
    state = " far" if section.no_good_match else ""
    nothing = (
        '<p class="nothing">'
        + both(
            (
                "No good match. These come nearest, and are probably something else:",
                "没有足够相符的结果。下面只是最接近的，多半不是你要找的：",
            )
            if section.cards
            else ("No good match.", "没有足够相符的结果。")
        )
        + "</p>"
        if section.no_good_match
        else ""
    )
    cards = "".join(map(_card, section.cards))
    return (
        f'<section><h2>{pictures}<span class="kind">{both(section.title)}</span> {words}</h2>'
        f'{remark}{nothing}<ul class="cards{state}">{cards}</ul></section>\n'
    )


def _card(card: Card) -> str:
    if card.picture is not None:
        shown = f'<img loading="lazy" alt="{escape(card.name)}" src="{_data(card.picture)}">'
    else:
        shown = f"<blockquote>{escape(card.text or '…')}</blockquote>"
    if card.link:
        shown = f'<a href="{escape(card.link)}">{shown}</a>'
    return f'<li class="card">{shown}<div class="told">{_caption(card)}</div></li>'


def _caption(card: Card) -> str:
    place = f"{card.folder}/{card.name}" if card.folder else card.name
    name = f'<span class="name" title="{escape(place)}">{escape(card.name)}</span>'
    note = f'<span class="note">{both(card.note)}</span>' if any(card.note) else ""
    if card.confidence is None:
        return name + note
    share = min(max(card.confidence, 0.0), 100.0)
    label = both((f"match {share:.0f}%", f"匹配度 {share:.0f}%"))
    bar = f'<i class="bar" aria-hidden="true"><i style="width:{share:.0f}%"></i></i>'
    return f'{name}{bar}<span class="sure">{label}</span>{note}'


def _data(picture: bytes) -> str:
    return f"data:image/webp;base64,{base64.b64encode(picture).decode()}"


def _policy() -> str:
    """Nothing is fetched, and no script runs but the one below: names of files are not ours."""
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def _tag(language: str) -> str:
    return "zh-CN" if language == "zh" else "en"
