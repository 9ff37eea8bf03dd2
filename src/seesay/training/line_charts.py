"""Line charts as SVG, to stand inside a page without any script or library."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import floor, isfinite, log10

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 520, 300
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 30, 40
# Colour-blind safe (Okabe and Ito, 2008).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
DASHES = ("", "6 3", "2 3")


@dataclass(frozen=True)
class Frame:
    """The ranges of a chart, and where a value stands in it."""

    x: tuple[float, float]
    y: tuple[float, float]

    def at(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return (
            LEFT + across * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM),
        )


def line_chart(title: str, x_label: str, lines: Mapping[str, Points]) -> str:
    """An SVG image with a line for each name. Values that are not finite leave a gap."""
    points = [p for line in lines.values() for p in line if isfinite(p[0]) and isfinite(p[1])]
    frame = Frame(_range([x for x, _ in points]), _range([y for _, y in points]))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(title)}</title>",
        f'<text x="{LEFT}" y="18" class="title">{escape(title)}</text>',
        *_grid(frame),
        f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 6}" text-anchor="middle">'
        f"{escape(x_label)}</text>",
    ]
    for number, line in enumerate(lines.values()):
        parts.append(_line(frame, line, *style(number)))
    return "\n".join([*parts, "</svg>"])


def style(number: int) -> tuple[str, str]:
    """Colour and dashes of the line of a number: the same in every chart of a page."""
    return COLOURS[number % len(COLOURS)], DASHES[number // len(COLOURS) % len(DASHES)]


def legend(names: Sequence[str]) -> str:
    """HTML that says which line is which."""
    entries = []
    for number, name in enumerate(names):
        colour, dashes = style(number)
        entries.append(
            f'<span><svg width="28" height="8"><line x1="0" y1="4" x2="28" y2="4" '
            f'stroke="{colour}" stroke-width="2.5" stroke-dasharray="{dashes}"/></svg> '
            f"{escape(name)}</span>"
        )
    return f'<p class="legend">{" ".join(entries)}</p>'


def _line(frame: Frame, points: Points, colour: str, dashes: str) -> str:
    path, pen = [], "M"
    for x, y in points:
        if isfinite(x) and isfinite(y):
            path.append("{}{:.1f} {:.1f}".format(pen, *frame.at(x, y)))
            pen = "L"
        else:
            pen = "M"
    return (
        f'<path d="{" ".join(path)}" fill="none" stroke="{colour}" stroke-width="2" '
        f'stroke-dasharray="{dashes}" stroke-linejoin="round" stroke-linecap="round"/>'
    )


def _grid(frame: Frame) -> list[str]:
    parts = []
    for value in ticks(*frame.y):
        x, y = frame.at(frame.x[0], value)
        parts.append(
            f'<line x1="{x}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" class="grid"/>'
        )
        parts.append(f'<text x="{x - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    for value in ticks(*frame.x):
        x, y = frame.at(value, frame.y[0])
        parts.append(f'<text x="{x:.1f}" y="{y + 16}" text-anchor="middle">{value:g}</text>')
    return parts


def _range(values: Sequence[float]) -> tuple[float, float]:
    """A little more than from the least to the most; never empty."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    margin = (high - low) * 0.04 or abs(high) * 0.1 or 1.0
    return low - margin, high + margin


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round values inside a range, about as many as wanted."""
    raw = (high - low) / wanted
    size = 10.0 ** floor(log10(raw))
    step = min((size * factor for factor in (1, 2, 5, 10)), key=lambda s: abs(s - raw))
    first = floor(low / step) + 1
    count = floor(high / step) - first + 1
    return [round((first + i) * step, 12) for i in range(count)]
