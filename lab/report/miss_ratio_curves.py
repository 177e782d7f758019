"""Miss-ratio curves as one SVG, or as a page with the numbers below it: what share of requests an edge's memory of each size leaves to others.

One file that loads nothing, light and dark by the reader's system; lines are told apart by colour, dash and a legend in words. Pure but for the style of reports.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log2

from lab.prediction.network import MIB, WhatIf
from lab.prediction.simulation import Prediction
from lab.prediction.tables import label_of, percent
from lab.report.markup import Markup, element, join, table, text
from lab.report.page import page

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 16, 52
LEGEND_LINE = 20
COLORS = 8
MOST_TICKS = 12
_STYLE = """
svg { color-scheme: light dark; background: var(--card, #ffffff); font: 13px system-ui, sans-serif; --text: var(--ink, #18212b); --grid: var(--line, #e0e4e9);
  --k0: #0072b2; --k1: #e69f00; --k2: #009e73; --k3: #cc79a7; --k4: #56b4e9; --k5: #d55e00; --k6: #7b6bc8; --k7: #8f8b1e; }
@media (prefers-color-scheme: dark) { svg { background: var(--card, #161d25); --text: var(--ink, #e4e9ee); --grid: var(--line, #29333e);
  --k0: #4a9fd8; --k1: #e6a925; --k2: #2bb88c; --k3: #d893ba; --k4: #7cc8f2; --k5: #e8803c; --k6: #a497e6; --k7: #bdb84a; } }
text { fill: var(--text); } .grid { stroke: var(--grid); } .curve { fill: none; stroke-width: 2; }
"""


@dataclass(frozen=True, slots=True)
class Point:
    """One size of memory."""

    edge_bytes: int
    miss_ratio: float
    """Of edges: requests that were looked up and not answered from what was stored."""
    origin_share: float
    """Requests to origins for each request of viewers."""


Curves = Mapping[str, Sequence[Point]]
"""By what is different, the sizes in ascending order."""


def curves_of(combinations: Sequence[WhatIf], predictions: Sequence[Prediction]) -> Curves:
    """Those combinations that say a size of memory, by everything else that they say."""
    curves: dict[str, list[Point]] = {}
    for wanted, prediction in zip(combinations, predictions, strict=True):
        if wanted.edge_bytes is not None:
            edge = prediction.of_tier("edge")
            share = prediction.origin.requests / edge.requests if edge.requests else 0.0
            point = Point(wanted.edge_bytes, 1 - (edge.hit_ratio or 0.0), share)
            curves.setdefault(label_of(wanted.without_edge_bytes()), []).append(point)
    return {name: sorted(points, key=lambda point: point.edge_bytes) for name, points in curves.items()}


def draw_svg(curves: Curves) -> Markup:
    """Solid: edges; dashed: origins."""
    sizes = sorted({point.edge_bytes for points in curves.values() for point in points})
    height = HEIGHT + LEGEND_LINE * (len(curves) + 1)
    parts = [element("style", Markup(_STYLE)), *_grid(sizes)]
    for number, (name, points) in enumerate(curves.items()):
        color = f"var(--k{number % COLORS})"
        parts.append(_curve([(point.edge_bytes, point.miss_ratio) for point in points], sizes, color, ""))
        parts.append(_curve([(point.edge_bytes, point.origin_share) for point in points], sizes, color, "6 4"))
        parts += _legend(name, HEIGHT + LEGEND_LINE * number, color)
    note = "solid: missed by edges; dashed: fetched from origins"
    parts.append(_text(LEFT, height - LEGEND_LINE / 2, note))
    attributes = {
        "xmlns": "http://www.w3.org/2000/svg",
        "viewBox": f"0 0 {WIDTH} {height}",
        "role": "img",
        "aria-label": f"Miss-ratio curves: {', '.join(curves)}",
    }
    return element("svg", parts, attributes=attributes)


def draw_page(title: str, curves: Curves) -> str:
    """The same with its numbers."""
    rows = [
        [text(name), text(_size(point.edge_bytes)), text(percent(point.miss_ratio)), text(percent(point.origin_share))]
        for name, points in curves.items()
        for point in points
    ]
    columns = ("what if", "memory of an edge", "missed by edges", "fetched from origins")
    body = [
        element("h1", text(title)),
        element("p", text("Share of the requests of viewers, by the memory of each edge."), "note"),
        element("div", draw_svg(curves), "card"),
        table(columns, rows, frozenset({1, 2, 3})),
    ]
    return page(title, body, {})


def _x(size: int, sizes: Sequence[int]) -> float:
    smallest, largest = log2(sizes[0]), log2(sizes[-1])
    share = (log2(size) - smallest) / (largest - smallest) if largest > smallest else 0.5
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _y(ratio: float) -> float:
    return TOP + (1 - min(ratio, 1.0)) * (HEIGHT - TOP - BOTTOM)


def _grid(sizes: Sequence[int]) -> list[Markup]:
    parts = []
    for fifth in range(6):
        y = _y(fifth / 5)
        line = {"x1": str(LEFT), "x2": str(WIDTH - RIGHT), "y1": f"{y:.1f}", "y2": f"{y:.1f}"}
        parts += [element("line", Markup(""), "grid", line), _text(LEFT - 8, y + 4, f"{fifth * 20} %", "end")]
    step = -(-len(sizes) // MOST_TICKS)
    for size in sizes[::step]:
        parts.append(_text(_x(size, sizes), HEIGHT - BOTTOM + 20, _size(size), "middle"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - BOTTOM + 40, "memory of each edge", "middle"))
    return parts


def _curve(points: Sequence[tuple[int, float]], sizes: Sequence[int], color: str, dash: str) -> Markup:
    path = " ".join(f"{_x(size, sizes):.1f},{_y(ratio):.1f}" for size, ratio in points)
    style = {"points": path, "style": f"stroke:{color}"} | ({"stroke-dasharray": dash} if dash else {})
    dots = [
        element(
            "circle",
            Markup(""),
            "",
            {"cx": f"{_x(size, sizes):.1f}", "cy": f"{_y(ratio):.1f}", "r": "2.5", "style": f"fill:{color}"},
        )
        for size, ratio in points
    ]
    return join([element("polyline", Markup(""), "curve", style), *dots])


def _legend(name: str, y: float, color: str) -> list[Markup]:
    line = {
        "x1": str(LEFT),
        "x2": str(LEFT + 24),
        "y1": f"{y:.1f}",
        "y2": f"{y:.1f}",
        "style": f"stroke:{color};stroke-width:3",
    }
    return [element("line", Markup(""), "", line), _text(LEFT + 32, y + 4, name)]


def _text(x: float, y: float, words: str, anchor: str = "start") -> Markup:
    return element("text", text(words), "", {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor})


def _size(size_bytes: int) -> str:
    return f"{size_bytes / MIB:g} MiB" if size_bytes < 1024 * MIB else f"{size_bytes / MIB / 1024:g} GiB"
