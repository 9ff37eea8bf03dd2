"""The map of a collection as a figure, and what a visitor picks on it."""

from collections.abc import Sequence
from pathlib import PurePath

from seesay.errors import MissingExtraError

try:
    import plotly.graph_objects as go
except ModuleNotFoundError:
    raise MissingExtraError("plotly", "serve") from None

from seesay.search.collection import Collection
from seesay.search.report.map import Map, Point
from seesay.search.report.page import both
from seesay.search.store.records import Modality
from seesay.text import to_unicode
from seesay.web import words
from seesay.web.cards import notice, picture

_WEBGL_ABOVE = 3000  # points; fewer are drawn as SVG, which every browser can
_MOST_PICKED = 48
_SYMBOLS = {False: "circle", True: "diamond"}


def figure(drawn: Map) -> go.Figure:
    """The dots; names are shown as they are, never as markup."""
    many = len(drawn.points) > _WEBGL_ABOVE
    trace = go.Scattergl if many else go.Scatter
    dots = trace(
        x=[point.x for point in drawn.points],
        y=[point.y for point in drawn.points],
        mode="markers",
        marker={
            "size": 5 if many else 9 if len(drawn.points) > 200 else 12,
            "opacity": 0.75,
            "color": [point.x + point.y for point in drawn.points],
            "colorscale": [[0, "#2f6fdb"], [0.5, "#3fa796"], [1, "#e08e45"]],
            "line": {"width": 1, "color": "rgba(255,255,255,.6)"},
            "symbol": [_SYMBOLS[_is_caption(point, drawn)] for point in drawn.points],
        },
        # The name twice: the label is read as a little HTML by Plotly, the other by our script.
        customdata=[[point.unit, to_unicode(point.path), point.kind] for point in drawn.points],
        text=[_label(point, drawn) for point in drawn.points],
        hovertemplate="%{text}<extra></extra>",
    )
    made = go.Figure(dots)
    axis = {"visible": False, "fixedrange": False}
    made.update_layout(
        template="none",
        xaxis=axis,
        yaxis={**axis, "scaleanchor": "x"},
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        height=540,
        dragmode="pan",
        hovermode="closest",
        showlegend=False,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, sans-serif", "size": 13},
        modebar={"remove": ["select2d", "autoScale2d", "toImage"], "add": ["lasso2d"]},
    )
    return made


def draw(collection: Collection, modality: Modality) -> tuple[go.Figure | None, str]:
    """The figure, and a line about it. Raises CollectionError for an empty collection."""
    drawn = collection.map(modality)
    if not drawn.points:
        return None, notice(words.NOTHING_ON_MAP, kind="hint")
    told = words.told(
        words.MAP_TOLD,
        shown=len(drawn.points),
        total=drawn.total,
        share=f"{100 * drawn.explained:.0f}",
    )
    captions = sum(_is_caption(point, drawn) for point in drawn.points)
    more = both(words.told(words.CAPTIONS_TOLD, captions=captions)) if captions else ""
    return figure(drawn), f'<p class="remark">{both(told)}{more}</p>'


def picked(collection: Collection, name: str, units: Sequence[int]) -> str:
    """Those that were drawn around."""
    known = [unit for unit in collection.store.units.get(units[:_MOST_PICKED])]
    items = {one.id: one for one in collection.store.items.get({unit.item for unit in known})}
    cards = "".join(
        f'<li class="card">{picture(unit.id, items[unit.item].path, name)}</li>'
        for unit in known
        if unit.kind == "image" and unit.item in items
    )
    told = both(words.told(words.PICKED, count=len(units)))
    return f'<h3>{told}</h3><ul class="cards small">{cards}</ul>' if units else ""


def _is_caption(point: Point, drawn: Map) -> bool:
    return drawn.modality == "text" and point.kind != "text"


def _label(point: Point, drawn: Map) -> str:
    """The name of the file, and where texts are shown how this one begins."""
    name, text = PurePath(point.path).name, " ".join((point.text or "").split())
    shown = f"{name}: {text}" if drawn.modality == "text" and text else name
    return to_unicode(shown).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
