"""The marks that a drawn computation graph is made of, as SVG text: boxes, edges, local derivatives, equations.

Colours are those of `helpers.style` only, tints are opacities of them, so that the site can theme every mark.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape

from helpers.graph import Graph
from helpers.graph_layout import PILL, Layout, Point
from helpers.graph_steps import PHASES, Step, number
from helpers.style import BLUE, GREEN, GRID, INK, MUTED, PAPER, RED

LABEL, BADGE = 22.0, 9.0
_TOKEN = re.compile(r"_\{([^}]*)\}|_(\w)|([A-Za-zηλθ]+)|([^A-Za-zηλθ_]+)")
_PHASE_COLOURS = dict(zip(PHASES, (BLUE, BLUE, RED, GREEN), strict=True))


@dataclass(frozen=True)
class View:
    """What one picture shows of a graph: what is known, and what is being worked out."""

    values: frozenset[str]
    grads: frozenset[str]
    active: str | None = None
    edges: frozenset[int] = frozenset()
    read: frozenset[str] = frozenset()
    backwards: bool = False
    new: Mapping[str, float] = field(default_factory=dict)


def _math(text: str) -> str:
    """Tspans of a formula: letters in italics, real subscripts, everything else upright."""
    found, shift = [], 0.0
    for match in _TOKEN.finditer(text):
        sub, letters, other = match[1] or match[2], match[3], match[4]
        move = 4.0 if sub else 0.0
        dy = f' dy="{move - shift:g}"' if move != shift else ""
        look = ' font-size="72%"' if sub else ' font-style="italic"' if letters else ""
        found.append(f"<tspan{dy}{look}>{escape(sub or letters or other)}</tspan>")
        shift = move
    return "".join(found) + (f'<tspan dy="{-shift:g}">\u200b</tspan>' if shift else "")


def _text(
    x: float, y: float, inside: str, size: float, colour: str = INK, *, weight: int = 400, anchor="middle"
) -> str:
    bold = f' font-weight="{weight}"' if weight != 400 else ""
    place = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" fill="{colour}"{bold}{place}>{inside}</text>'


def bar(step: Step, width: float) -> str:
    """The four verbs, the present one marked, and what the colours mean."""
    parts, x = [], 12.0
    for name in PHASES:
        now, wide = name == step.phase, 20 + 7.4 * len(name)
        if now:
            colour = _PHASE_COLOURS[name]
            parts.append(
                f'<rect x="{x:g}" y="6" width="{wide:g}" height="24" rx="12" fill="{colour}" fill-opacity=".16" '
                f'stroke="{colour}" stroke-width="1.4"/>'
            )
        parts.append(_text(x + wide / 2, 23, name, 15, INK if now else MUTED, weight=600 if now else 400))
        x += wide + 8
    x = width - 10
    for words, colour in (("gradient", RED), ("value", BLUE)):
        x -= 6.7 * len(words)
        parts.append(_text(x, 23, words, 14, MUTED, anchor="start"))
        parts.append(_tint(x - 19, 11, 14, 14, 4, colour, 0.3) + _outline(x - 19, 11, 14, 14, 4, colour, 1.2))
        x -= 38
    parts.append(_text(x + 2, 23, "×n local derivative", 14, MUTED, anchor="end"))
    return "".join(parts)


def equation(step: Step, width: float, height: float) -> str:
    """The equation of the step, under the graph."""
    colours = {"value": BLUE, "grad": RED, "result": _PHASE_COLOURS.get(step.phase, INK)}
    length = sum(len(re.sub(r"[_{}]", "", text)) for text, _ in step.equation)
    size = min(17.0, (width - 24) / max(1, length) / 0.5)
    inside = ""
    for words, role in step.equation:
        if role == "words":
            return _text(width / 2, height - 17, escape(words), 16, MUTED)
        look = f' fill="{colours[role]}"' if role else ""
        look += ' font-weight="600"' if role == "result" else ""
        inside += f"<tspan{look}>{_math(words)}</tspan>" if look else _math(words)
    return _text(width / 2, height - 17, inside, round(size, 1)) if inside else ""


# ---- boxes ---------------------------------------------------------------------------------------------------------


def _outline(x: float, y: float, w: float, h: float, r: float, colour: str, wide: float, fill: str = "none") -> str:
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="{r:g}" fill="{fill}" stroke="{colour}" '
        f'stroke-width="{wide:g}"/>'
    )


def _tint(x: float, y: float, w: float, h: float, r: float, colour: str, opacity: float) -> str:
    """A tinted band, its two lower corners rounded."""
    return (
        f'<path d="M{x:g} {y:g}h{w:g}v{h - r:g}a{r:g} {r:g} 0 0 1 {-r:g} {r:g}h{2 * r - w:g}'
        f'a{r:g} {r:g} 0 0 1 {-r:g} {-r:g}z" fill="{colour}" fill-opacity="{opacity:g}"/>'
    )


def _badge(op: str) -> float:
    """Half the width of the badge that names an operation."""
    return max(BADGE, 3.6 * len(op) + 4)


def node(graph: Graph, plan: Layout, view: View, key: str) -> str:
    """One node: its name, its value when it is known, and the slot for its gradient."""
    item, (x, y), (w, h) = graph.nodes[key], plan.centre[key], plan.size[key]
    left, top = x - w / 2, y - h / 2
    value, grad, now = key in view.values, key in view.grads, key == view.active
    colour = RED if view.backwards else BLUE
    small, slot = (w, h) == PILL, item.kind != "input"
    r = 12.0 if small else 6.0 if item.kind == "input" else 10.0
    gives = any(i in view.edges and graph.edges[i].child == key for i in range(len(graph.edges)))
    carries = any(i in view.edges and plan.pills.get(key) == (e.parent, e.child) for i, e in enumerate(graph.edges))
    stroke, wide = (MUTED, 1.1) if value else (GRID, 1.4)
    if now or (view.backwards and gives):
        stroke, wide = colour, 2.6 if now else 1.8
    elif key in view.read or carries:
        stroke, wide = BLUE, 1.8
    if key in view.new:
        stroke, wide = GREEN, 2.0
    parts = [_outline(left, top, w, h, r, "none", 0, PAPER)]
    band = (h - (0 if small else LABEL)) / (2 if slot else 1)
    y_value = top + (0 if small else LABEL)
    shown = number(view.new.get(key, item.value))
    if small:
        name = _math(item.label)
        parts.append(_text(left + 7, top + 15, name, 15, anchor="start"))
        parts.append(
            _text(left + w - 6, top + 15, shown, 13, GREEN if key in view.new else BLUE, weight=600, anchor="end")
        )
    else:
        parts.append(_text(x, top + 16.5, _math(item.label), 17, INK if value else MUTED))
        if value:
            active = now and not view.backwards
            parts.append(_tint(left, y_value, w, band, 0 if slot else r, BLUE, 0.32 if active else 0.13))
            parts.append(_text(x, y_value + band / 2 + 5, shown, 14, INK, weight=600 if active else 400))
    if grad:
        active = now and view.backwards
        parts.append(_tint(left, top + h - band, w, band, r, RED, 0.36 if active else 0.15))
        parts.append(
            _text(x, top + h - band / 2 + 5, number(item.grad), 13 if small else 14, INK, weight=600 if active else 400)
        )
    parts.append(_outline(left, top, w, h, r, stroke, wide))
    if item.op:
        half = _badge(item.op)
        parts.append(_outline(left + BADGE - 2 * half, y - BADGE, 2 * half, 2 * BADGE, BADGE, stroke, wide, PAPER))
        sign = escape(item.op.replace("*", "×") if len(item.op) == 1 else item.op)
        parts.append(_text(left + BADGE - half, y + 5, sign, 14, INK if value else MUTED))
    return "".join(parts)


# ---- edges ---------------------------------------------------------------------------------------------------------


def _cut(graph: Graph, plan: Layout, index: int) -> tuple[Point, ...]:
    """The route of an edge, stopped at the badge of its child and just before any outline."""
    edge, route = graph.edges[index], plan.routes[index]
    (x0, y0), (x1, y1) = route[-2], route[-1]
    sideways = abs(x1 - (plan.centre[edge.child][0] - plan.size[edge.child][0] / 2)) < 1e-6
    op = graph.nodes[edge.child].op
    keep = 2 * _badge(op) - BADGE + 2 if op and sideways else 2.0
    if plan.curved:
        return (*route[:-1], (x1 - keep, y1))
    length = math.hypot(x1 - x0, y1 - y0)
    return (*route[:-1], (x1 - keep * (x1 - x0) / length, y1 - keep * (y1 - y0) / length))


def _path(route: tuple[Point, ...], curved: bool) -> str:
    (x, y), text = route[0], f"M{route[0][0]:.5g} {route[0][1]:.5g}"
    for nx, ny in route[1:]:
        half = (nx - x) / 2
        text += (
            f"C{x + half:.5g} {y:.5g} {nx - half:.5g} {ny:.5g} {nx:.5g} {ny:.5g}" if curved else f"L{nx:.5g} {ny:.5g}"
        )
        x, y = nx, ny
    return text


def _head(tip: Point, towards: Point, colour: str, size: float, opacity: float) -> str:
    """An arrow head whose tip points the way from `towards` to `tip`."""
    length = math.hypot(tip[0] - towards[0], tip[1] - towards[1]) or 1.0
    ux, uy = (tip[0] - towards[0]) / length, (tip[1] - towards[1]) / length
    bx, by, half = tip[0] - size * ux, tip[1] - size * uy, size * 0.5
    points = (
        f"{tip[0]:.5g},{tip[1]:.5g} {bx - half * uy:.5g},{by + half * ux:.5g} {bx + half * uy:.5g},{by - half * ux:.5g}"
    )
    faint = f' fill-opacity="{opacity:g}"' if opacity < 1 else ""
    return f'<polygon points="{points}" fill="{colour}"{faint}/>'


def edge(graph: Graph, plan: Layout, view: View, index: int) -> str:
    """One edge with its arrow head, which points backwards while a gradient flows."""
    item, route = graph.edges[index], _cut(graph, plan, index)
    active = index in view.edges
    computed = item.child in view.values
    flowed = item.parent in view.grads and item.child in view.grads
    if active:
        colour, wide, opacity = (RED if view.backwards else BLUE), 3.0, 1.0
    elif flowed:
        colour, wide, opacity = RED, 1.8, 0.55
    else:
        colour, wide, opacity = (MUTED, 1.4, 0.75) if computed else (GRID, 1.4, 1.0)
    if item.parent in plan.pills and not active:
        return ""  # it lies on the edge that carries the pill
    backwards = view.backwards and active
    if backwards and item.parent not in plan.pills:
        nudged = 2.0 if plan.curved else 0.0
        route = ((route[0][0] + nudged, route[0][1]), *route[1:])
    tip, behind = (route[0], route[1]) if backwards else (route[-1], route[-2])
    if plan.curved:
        behind = (behind[0], tip[1])
    faint = f' stroke-opacity="{opacity:g}"' if opacity < 1 else ""
    line = f'<path d="{_path(route, plan.curved)}" fill="none" stroke="{colour}" stroke-width="{wide:g}"{faint}/>'
    size = 10.0 if active else 7.0
    if backwards and item.parent in plan.pills:
        return line  # its head would lie under the pill
    return line + _head(tip, behind, colour, size, opacity)


def chip(graph: Graph, plan: Layout, view: View, index: int) -> str:
    """The local derivative of an edge, from the moment at which its child has been computed."""
    item, route = graph.edges[index], _cut(graph, plan, index)
    carries_pill = (item.parent, item.child) in plan.pills.values()
    if item.parent in plan.pills or carries_pill or item.child not in view.values:
        return ""
    active = index in view.edges
    (x0, y0), (x1, y1) = route[0], route[-1]
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    if len(route) > 2:
        x, y = route[len(route) // 2]
    words = f"×{number(item.local, 3)}"
    wide = 6.2 * len(words) + 5
    steep = abs(x1 - x0) < 4
    if steep:
        x += wide / 2 + 5
    elif abs(x1 - x0) < wide + 30 or abs(y1 - y0) < 6:
        y -= 13
    back = _outline(x - wide / 2, y - 9, wide, 18, 9, RED if view.backwards else BLUE, 1.4, PAPER) if active else ""
    if not back and plan.curved:
        back = _outline(x - wide / 2, y - 8, wide, 16, 8, "none", 0, PAPER)
    return back + _text(
        round(x, 1), round(y + 4.5, 1), words, 12.5, INK if active else MUTED, weight=600 if active else 400
    )
