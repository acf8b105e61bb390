"""Where the nodes and edges of a computation graph go: automatic layers, or positions given by hand."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from helpers.graph import Edge, Graph

BOX = (62.0, 64.0)
INPUT = (62.0, 43.0)
PILL = (68.0, 40.0)
MARGIN = 8.0
COLUMN = 132.0
GAP = 14.0

Point = tuple[float, float]


@dataclass(frozen=True)
class Layout:
    """Centres and sizes of all nodes, routes of all edges, and the size of the whole, in SVG user units.

    Attributes
    ----------
    centre, size : dict
        By node key: ``(x, y)`` and ``(width, height)``.
    routes : list of tuple of points
        For every edge of the graph, in its order, the points that it passes, from the parent to the child.
    curved : bool
        Whether edges are smooth curves (automatic layout) or straight lines (by hand).
    pills : dict
        Leaves that sit on an edge: key of the leaf to the (parent, child) of that edge.
    width, height : float
    """

    centre: dict[str, Point]
    size: dict[str, Point]
    routes: list[tuple[Point, ...]]
    curved: bool
    pills: dict[str, tuple[str, str]]
    width: float
    height: float


def layout(
    graph: Graph, positions: Mapping[str, Sequence] | None = None, *, pills: Sequence[str] = (), width: float = 740
) -> Layout:
    """Lay out a graph from left to right.

    Parameters
    ----------
    graph : Graph
    positions : mapping, optional
        For every node its centre ``(x, y)``, or ``(parent, child, fraction)`` for a leaf that sits on that edge (it is
        drawn as a small pill). Without it, nodes go into the layers of the graph, and their order within a layer and
        their heights follow their neighbours (the method of K. Sugiyama, S. Tagawa and M. Toda, *Methods for visual
        understanding of hierarchical system structures*, IEEE Trans. SMC 11, 1981).
    pills : sequence of str
        Further leaves that are drawn small.
    width : float
        Least width of the drawing; many layers make it wider.

    Raises
    ------
    ValueError
        If `positions` leaves out a node, or names one that does not exist.

    Examples
    --------
    >>> g = Graph()
    >>> g.leaf("a", 2.0)
    >>> g.node("b", 4.0, [("a", 4.0)], op="²")
    >>> layout(g).centre["a"][0] < layout(g).centre["b"][0]
    True
    """
    if positions is None:
        return _automatic(graph, set(pills), width)
    wrong = set(graph.nodes) ^ set(positions)
    if wrong:
        raise ValueError(f"positions must name every node of the graph exactly; look at {', '.join(sorted(wrong))}.")
    on = {key: (where[0], where[1]) for key, where in positions.items() if len(where) == 3}
    size = _sizes(graph, set(pills) | set(on))
    centre = {key: (float(where[0]), float(where[1])) for key, where in positions.items() if key not in on}
    for key, (parent, child) in on.items():
        start, end = _ends(graph, Edge(parent, child, 0.0), centre, size)
        t = positions[key][2]
        centre[key] = (start[0] + t * (end[0] - start[0]), start[1] + t * (end[1] - start[1]))
    routes = []
    for edge in graph.edges:
        start, end = _ends(graph, edge, centre, size)
        if on.get(edge.parent, ("", ""))[1] == edge.child:  # from a pill: the rest of the edge that it sits on
            start, end = centre[edge.parent], _ends(graph, Edge(*on[edge.parent], 0.0), centre, size)[1]
        routes.append((start, end))
    return Layout(centre, size, routes, False, on, *_extent(centre, size, routes, width))


def network_positions(sizes: Sequence[int], *, row: float = 200.0, width: float = 740.0) -> dict[str, tuple]:
    """Positions for :func:`helpers.graph.network` with layers of two units: weights sit on the edges.

    Parameters
    ----------
    sizes : sequence of int
        Units per layer, inputs first; every entry must be 2, and there may be up to two layers of weights.
    row : float
        Distance between the two units of a layer.
    width : float
        Of the drawing.
    """
    if not 2 <= len(sizes) <= 3 or set(sizes) != {2}:
        raise ValueError(
            f"network_positions draws layers of two units, up to 2-2-2, not {list(sizes)}; use layout(graph)."
        )
    y = (MARGIN + BOX[1] / 2, MARGIN + BOX[1] / 2 + row)
    narrow = BOX[0] + 46.0  # from a sum to its activation: room for a local derivative
    wide = (width - 2 * MARGIN - BOX[0] - len(sizes) * narrow) / (len(sizes) - 1)  # room for the weights
    x = MARGIN + BOX[0] / 2
    positions: dict[str, tuple] = {"x1": (x, y[0]), "x2": (x, y[1])}
    below, number = ("x1", "x2"), 0
    for layer in range(1, len(sizes)):
        letter = "o" if layer == len(sizes) - 1 else "h"
        x += wide
        for j in range(2):
            positions[f"z{letter}{j + 1}"], positions[f"{letter}{j + 1}"] = (x, y[j]), (x + narrow, y[j])
            for i in range(2):
                number += 1
                positions[f"w{number}"] = (below[i], f"z{letter}{j + 1}", 0.42 if i == j else 0.625)
        positions[f"b{layer}"] = (x + 6, sum(y) / 2)  # clear of the weights
        x += narrow
        below = (f"{letter}1", f"{letter}2")
    x += narrow
    return positions | {"L1": (x, y[0]), "L2": (x, y[1]), "L": (x, sum(y) / 2)}


def _sizes(graph: Graph, pills: set[str]) -> dict[str, Point]:
    return {key: PILL if key in pills else INPUT if node.kind == "input" else BOX for key, node in graph.nodes.items()}


def _ends(graph: Graph, edge: Edge, centre: dict[str, Point], size: dict[str, Point]) -> tuple[Point, Point]:
    """Where an edge leaves its parent and reaches its child: sides in different columns, top and bottom in the same."""
    (px, py), (cx, cy) = centre[edge.parent], centre[edge.child]
    (pw, ph), (cw, ch) = size[edge.parent], size[edge.child]
    if abs(px - cx) < (pw + cw) / 4:
        sign = 1 if cy > py else -1
        return (px, py + sign * ph / 2), (px, cy - sign * ch / 2)
    return (px + pw / 2, py), (cx - cw / 2, cy)


def _extent(centre: dict[str, Point], size: dict[str, Point], routes: list, width: float) -> tuple[float, float]:
    right = max(centre[key][0] + size[key][0] / 2 for key in centre) + MARGIN
    bottom = max(centre[key][1] + size[key][1] / 2 for key in centre)
    lowest = max((point[1] for route in routes for point in route), default=0.0)
    return max(width, right), max(bottom, lowest) + MARGIN


def _automatic(graph: Graph, pills: set[str], width: float) -> Layout:
    size, layer = _sizes(graph, pills), graph.layers()
    low = min(layer.values())
    columns: list[list] = [[] for _ in range(max(layer.values()) - low + 1)]
    for key in graph.nodes:
        columns[layer[key] - low].append(key)
    chains, links = [], []
    for index, edge in enumerate(graph.edges):  # an edge over several layers gets a bend in each of them
        bends = [(index, depth) for depth in range(layer[edge.parent] + 1, layer[edge.child])]
        for bend in bends:
            columns[bend[1] - low].append(bend)
        chains.append([edge.parent, *bends, edge.child])
        links += itertools.pairwise(chains[-1])
    tall = {item: size[item][1] if item in size else 20.0 for column in columns for item in column}
    near: dict = {item: [] for item in tall}
    for one, other in links:
        near[one].append(other)
        near[other].append(one)
    y = {item: 70.0 * rank for column in columns for rank, item in enumerate(column)}
    for sweep in range(24):
        for column in columns if sweep % 2 else columns[::-1]:
            wanted = {item: sum(y[other] for other in near[item]) / max(1, len(near[item])) for item in column}
            column.sort(key=lambda item: wanted[item] if near[item] else y[item])
            y.update(_spread([(item, wanted[item], tall[item]) for item in column]))
    top = min(y[item] - tall[item] / 2 for item in y) - MARGIN
    pitch = COLUMN if len(columns) * COLUMN > width - 60 else min(190.0, (width - 90) / max(1, len(columns) - 1))
    left = max(MARGIN + BOX[0] / 2, (width - pitch * (len(columns) - 1)) / 2)
    place = {item: (left + pitch * c, y[item] - top) for c, column in enumerate(columns) for item in column}
    centre, routes = {key: place[key] for key in graph.nodes}, []
    for edge, chain in zip(graph.edges, chains, strict=True):
        (px, py), (cx, cy) = centre[edge.parent], centre[edge.child]
        start, end = (px + size[edge.parent][0] / 2, py), (cx - size[edge.child][0] / 2, cy)
        routes.append((start, *(place[bend] for bend in chain[1:-1]), end))
    return Layout(centre, size, _apart(graph, routes), True, {}, *_extent(centre, size, routes, width))


def _spread(items: list[tuple]) -> dict:
    """Heights closest to the wanted ones, in least squares, at which nothing overlaps (isotonic regression)."""
    offset, blocks, offsets = 0.0, [], []
    for rank, (_, wanted, height) in enumerate(items):
        offset += (items[rank - 1][2] + height) / 2 + GAP if rank else 0.0
        offsets.append(offset)
        blocks.append([wanted - offset, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (mean, count), (other, more) = blocks.pop(), blocks.pop()
            blocks.append([(mean * count + other * more) / (count + more), count + more])
    level = [mean for mean, count in blocks for _ in range(count)]
    return {item[0]: base + shift for item, base, shift in zip(items, level, offsets, strict=True)}


def _apart(graph: Graph, routes: list[tuple]) -> list[tuple]:
    """Bend edges that join the same two nodes (``a * a``) away from each other."""
    pairs = [(edge.parent, edge.child) for edge in graph.edges]
    for pair in set(pairs):
        same = [index for index, other in enumerate(pairs) if other == pair]
        for rank, index in enumerate(same if len(same) > 1 else []):
            route, lift = routes[index], 22.0 * (rank - (len(same) - 1) / 2)
            (x0, y0), (x1, y1) = route[0], route[-1]
            middle = route[1:-1] or (((x0 + x1) / 2, (y0 + y1) / 2),)
            routes[index] = (route[0], *((x, y + lift) for x, y in middle), route[-1])
    return routes
