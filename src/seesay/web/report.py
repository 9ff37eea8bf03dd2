"""A page of questions and what was found, in both languages: one file that needs nothing else."""

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path

from seesay.data.archives import archive_of
from seesay.text import Text, to_unicode


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One find."""

    name: str
    """Of the file."""
    folder: str
    picture: bytes | None = None
    """A thumbnail in WebP; None for a text, and for a file that is gone."""
    text: str | None = None
    confidence: float | None = None
    """How sure the match is, 0 to 100."""
    link: str = ""
    """Where a click leads."""
    note: Text | None = None
    """How it was found, or anything else to be said of it."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """One question and what was found."""

    title: Text
    asked: str = ""
    """The words as they were typed."""
    pictures: tuple[bytes, ...] = ()
    """Thumbnails of the pictures that were asked with."""
    remark: Text | None = None
    no_good_match: bool = False
    cards: tuple[Tile, ...] = ()


def to_page(
    title: Text,
    introduction: Text,
    sections: Iterable[Section],
    language: str = "en",
    closing: str = "",
) -> str:
    """The page as HTML, at first in `language`. `closing` is HTML that stands below everything."""
    body = "".join(map(_section, sections))
    names = " · ".join(dict.fromkeys((title.en, title.zh)))
    return to_unicode(
        f'<!doctype html>\n<html lang="{_tag(language)}" data-spoken="{language}">\n<head>\n'
        f'<meta charset="utf-8">\n<title>{escape(names)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy()}">\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n<header>\n<div>"
        f"<h1>{both(title)}</h1><p>{both(introduction)}</p></div>\n"
        '<div class="switch" role="group" aria-label="Language 语言">'
        '<button type="button" data-to="en" lang="en">English</button>'
        '<button type="button" data-to="zh" lang="zh-CN">中文</button></div>\n</header>\n'
        f"<main>\n{body}</main>\n{closing}\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def both(text: Text) -> str:
    """A text in both languages, one of which is shown; escaped."""
    english, chinese = escape(to_unicode(text.en)), escape(to_unicode(text.zh))
    if english == chinese:
        return english
    return (
        f'<span class="en" lang="en">{english}</span><span class="zh" lang="zh-CN">{chinese}</span>'
    )


def file_link(path: str) -> str:
    """Where a click on a file leads: of one in an archive, to the archive; nothing for what is no
    file."""
    path = (archive_of(path) or (path, ""))[0]
    return Path(path).as_uri() if Path(path).is_absolute() else ""


def _section(section: Section) -> str:
    pictures = "".join(f'<img class="asked" alt="" src="{_data(p)}">' for p in section.pictures)
    words = f"<q>{escape(section.asked)}</q>" if section.asked else ""
    remark = f'<p class="remark">{both(section.remark)}</p>' if section.remark else ""
    state = " far" if section.no_good_match else ""
    nothing = (
        '<p class="nothing">'
        + both(
            Text(
                "No good match. These come nearest, and are probably something else:",
                "没有足够相符的结果。下面只是最接近的，多半不是你要找的：",
            )
            if section.cards
            else Text("No good match.", "没有足够相符的结果。")
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


def _card(card: Tile) -> str:
    if card.picture is not None:
        shown = f'<img loading="lazy" alt="{escape(card.name)}" src="{_data(card.picture)}">'
    else:
        shown = f"<blockquote>{escape(card.text or '…')}</blockquote>"
    if card.link:
        shown = f'<a href="{escape(card.link)}">{shown}</a>'
    return f'<li class="card">{shown}<div class="told">{_caption(card)}</div></li>'


def _caption(card: Tile) -> str:
    place = f"{card.folder}/{card.name}" if card.folder else card.name
    name = f'<span class="name" title="{escape(place)}">{escape(card.name)}</span>'
    note = f'<span class="note">{both(card.note)}</span>' if card.note else ""
    if card.confidence is None:
        return name + note
    share = min(max(card.confidence, 0.0), 100.0)
    label = both(Text(f"match {share:.0f}%", f"匹配度 {share:.0f}%"))
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


STYLE = """
:root{--paper:#fafafa;--card:#fff;--ink:#1b1b1f;--faint:#5d5d66;--line:#e3e3e8;--mark:#0b63ce;
--far:#8a4b00;color-scheme:light dark}
@media (prefers-color-scheme:dark){:root{--paper:#141416;--card:#1f1f23;--ink:#ededf0;
--faint:#a5a5ae;--line:#34343a;--mark:#7cb3ff;--far:#ffb86b}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"PingFang SC","Microsoft YaHei","Noto Sans SC",
"Noto Sans CJK SC","WenQuanYi Micro Hei",sans-serif}
[data-spoken=en] .zh,[data-spoken=zh] .en{display:none}
header,main,footer{max-width:76rem;margin:0 auto;padding:0 1.25rem}
header{display:flex;gap:1.5rem;justify-content:space-between;align-items:flex-start;
padding-top:2rem}
h1{font-size:1.7rem;line-height:1.25;margin:0 0 .4rem}
header p{color:var(--faint);max-width:46rem;margin:0}
.switch{display:flex;flex:none;border:1px solid var(--line);border-radius:.6rem;overflow:hidden}
.switch button{border:0;background:transparent;color:var(--ink);font:inherit;padding:.35rem .8rem;
cursor:pointer}
.switch button[aria-pressed=true]{background:var(--mark);color:var(--paper)}
:focus-visible{outline:3px solid var(--mark);outline-offset:2px}
section{margin:2.2rem 0;padding-top:1.4rem;border-top:1px solid var(--line)}
h2{display:flex;flex-wrap:wrap;gap:.6rem;align-items:center;font-size:1.2rem;margin:0 0 .5rem}
h2 q{quotes:"\\201c" "\\201d";overflow-wrap:anywhere}
.kind{color:var(--faint);font-weight:400;font-size:1rem}
.asked{height:3.2rem;border-radius:.4rem}
.remark{color:var(--faint);margin:0 0 .6rem}
.nothing{color:var(--far);font-weight:600;margin:0 0 .6rem}
.cards{list-style:none;margin:0;padding:0;display:grid;gap:1rem;
grid-template-columns:repeat(auto-fill,minmax(11.5rem,1fr))}
.card{background:var(--card);border:1px solid var(--line);border-radius:.7rem;overflow:hidden;
display:flex;flex-direction:column}
.card a{display:block;color:inherit;text-decoration:none}
.card img{display:block;width:100%;aspect-ratio:4/3;object-fit:cover;background:var(--line)}
.card blockquote{margin:0;padding:.8rem;aspect-ratio:4/3;overflow:hidden;font-size:.85rem;
white-space:pre-wrap;overflow-wrap:anywhere;background:var(--paper)}
.far .card{opacity:.75}
.told{padding:.55rem .8rem .7rem;display:flex;flex-direction:column;gap:.15rem}
.name{font-weight:600;font-size:.9rem;overflow-wrap:anywhere}
.sure,.note{font-size:.8rem;color:var(--faint)}
.bar{display:block;height:.3rem;border-radius:.2rem;background:var(--line)}
.bar i{display:block;height:100%;border-radius:inherit;background:var(--mark)}
footer{color:var(--faint);padding-bottom:3rem}
footer code{background:var(--card);border:1px solid var(--line);border-radius:.3rem;
padding:.1rem .35rem;overflow-wrap:anywhere}
@media (max-width:40rem){header{flex-direction:column-reverse}}
@media print{.switch{display:none}.card{break-inside:avoid}}
"""

SCRIPT = """
const root = document.documentElement;
const buttons = document.querySelectorAll(".switch button");
function speak(language) {
  root.dataset.spoken = language;
  root.lang = language === "zh" ? "zh-CN" : "en";
  buttons.forEach(b => b.setAttribute("aria-pressed", b.dataset.to === language));
}
buttons.forEach(b => b.addEventListener("click", () => speak(b.dataset.to)));
speak(root.dataset.spoken);
"""
