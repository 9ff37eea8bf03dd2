"""The active filters as buttons, each of which drops its filter."""

from dataclasses import replace
from html import escape
from pathlib import PurePath
from typing import Any

from seesay.search.catalog.database import path_to_text, text_to_path
from seesay.text import Text, to_unicode
from seesay.web import words
from seesay.web.asking import SearchForm, split_filters
from seesay.web.report import both

_ALL = "all"
_NONE: dict[str, Any] = {"without": "", "kind": None, "since": "", "until": "", "min_match": 0.0}
"""The filters that have one value, and what they are without it."""


def chips(asked: SearchForm) -> str:
    """A button for each filter of a query; empty where there is none."""
    shown = [_chip(name, value, label) for name, value, label in _filters(asked)]
    if not shown:
        return ""
    if len(shown) > 1:
        shown.append(
            f'<button type="button" class="do clear" data-do="drop" data-filter="{_ALL}">'
            f"{both(words.CLEAR)}</button>"
        )
    label = escape(f"{words.FILTERED.en} {words.FILTERED.zh}")
    return f'<div class="chips" role="group" aria-label="{label}">{"".join(shown)}</div>'


def without(asked: SearchForm, name: str, value: str) -> SearchForm:
    """The first page of a query without one of its filters, or without any."""
    asked = replace(asked, page=0)
    if name == "folder":
        dropped = text_to_path(value)
        return replace(asked, folders=tuple(one for one in asked.folders if one != dropped))
    if name == "where":
        kept = [one for one in split_filters(asked.where) if one != value]
        return replace(asked, where=", ".join(kept))
    if name == _ALL:
        return replace(asked, folders=(), where="", **_NONE)
    return replace(asked, **{name: _NONE[name]}) if name in _NONE else asked


def _filters(asked: SearchForm) -> list[tuple[str, str, Text]]:
    """Name, value and label of each."""
    found: list[tuple[str, str, Text]] = []
    if asked.without.strip():
        found.append(("without", "", words.CHIP_WITHOUT.format(text=asked.without.strip())))
    if asked.kind:
        kinds = {kind: label for label, kind in words.KINDS}
        found.append(("kind", "", kinds.get(asked.kind, Text.of(asked.kind))))
    for folder in asked.folders:
        name = to_unicode(PurePath(folder).name or folder)
        found.append(("folder", path_to_text(folder), Text(name, name)))
    if since := asked.since.strip():
        found.append(("since", "", words.CHIP_SINCE.format(day=since)))
    if until := asked.until.strip():
        found.append(("until", "", words.CHIP_UNTIL.format(day=until)))
    found += [("where", one, Text(one, one)) for one in split_filters(asked.where)]
    if asked.min_match:
        share = f"{asked.min_match:.0f}"
        found.append(("min_match", "", words.CHIP_MIN_MATCH.format(share=share)))
    return found


def _chip(name: str, value: str, label: Text) -> str:
    title = escape(to_unicode(value or " ".join(dict.fromkeys((label.en, label.zh)))))
    return (
        f'<button type="button" class="do chip" data-do="drop" data-filter="{name}"'
        f' data-value="{escape(value)}" title="{title}"><span>{both(label)}</span>'
        f'<i aria-hidden="true">×</i><span class="unseen">{both(words.TAKE_AWAY)}</span></button>'
    )
