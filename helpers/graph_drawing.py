"""Drawing a computation graph as SVG, click by click: values in blue, gradients in red, the active node in bold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from helpers import graph_svg
from helpers.graph import Graph
from helpers.graph_layout import Layout, layout
from helpers.graph_steps import Step, steps
from helpers.graph_svg import View
from helpers.style import PAPER

TOP, BOTTOM = 40.0, 46.0


@dataclass(frozen=True)
class Drawing:
    """A finished SVG picture; notebooks show it, and `Explore` takes it as a frame."""

    svg: str
    width: float
    height: float

    def _repr_svg_(self) -> str:
        return self.svg


class Stepper:
    """The pictures and the words of a graph that is worked out click by click.

    Parameters
    ----------
    graph : Graph
    root : str
        The node whose gradient is taken, usually the loss.
    lr : float, optional
        With a learning rate, the last step moves the parameters.
    example : str
        The parameter whose move is written out in that step; by default the one with the largest gradient.
    positions, pills
        As in :func:`helpers.graph_layout.layout`.

    Examples
    --------
    >>> g = Graph()
    >>> g.leaf("w", 3.0)
    >>> g.node("L", 9.0, [("w", 6.0, "2·{w}")], op="²", formula="{w}²")
    >>> stepper = Stepper(g, "L")
    >>> len(stepper), stepper.describe(3)
    (4, 'Backward: dL/dw = dL/dL · 2·w = 1 × 6 = 6.')
    >>> stepper.draw(3)._repr_svg_()[:5]
    '<svg '
    """

    def __init__(
        self,
        graph: Graph,
        root: str,
        *,
        lr: float | None = None,
        example: str = "",
        positions: Mapping[str, Sequence] | None = None,
        pills: Sequence[str] = (),
    ) -> None:
        self.graph, self.root, self.lr = graph, root, lr
        self.layout = layout(graph, positions, pills=pills)
        self.steps = steps(graph, root, lr=lr, example=example)

    def __len__(self) -> int:
        return len(self.steps)

    def describe(self, step: int) -> str:
        """The arithmetic of one step in words."""
        return self.steps[step].text

    def view(self, step: int) -> View:
        """What is known and what is active after `step` clicks."""
        if not 0 <= step < len(self.steps):
            raise ValueError(f"step must be between 0 and {len(self.steps) - 1}, not {step}.")
        done, now = self.steps[: step + 1], self.steps[step]
        leaves = {key for key in self.graph.nodes if not self.graph.parents(key)}
        values = leaves | {item.key for item in done if item.phase in ("forward", "loss")}
        grads = {item.key for item in done if item.phase == "backward"}
        backwards = now.phase == "backward"
        wanted = "parent" if backwards else "child"
        edges = {index for index, edge in enumerate(self.graph.edges) if getattr(edge, wanted) == now.key}
        if backwards:
            edges = {index for index in edges if self.graph.edges[index].child in grads}
        moved = [node for node in self.graph.nodes.values() if node.kind == "parameter" and now.phase == "step"]
        new = {node.key: node.value - self.lr * node.grad for node in moved}
        read = {key for index in edges for key in self.graph.reads(self.graph.edges[index], backwards)}
        return View(frozenset(values), frozenset(grads), now.key, frozenset(edges), frozenset(read), backwards, new)

    def draw(self, step: int) -> Drawing:
        """The picture after `step` clicks."""
        return _picture(self.graph, self.layout, self.view(step), self.steps[step])


def draw(
    graph: Graph,
    *,
    positions: Mapping[str, Sequence] | None = None,
    pills: Sequence[str] = (),
    path: Sequence[str] = (),
) -> Drawing:
    """The whole graph in one still picture: all values, all local derivatives, and the gradients if they are known.

    Parameters
    ----------
    graph : Graph
    positions, pills
        As in :func:`helpers.graph_layout.layout`.
    path : sequence of str
        Nodes; the edges between any two of them are emphasised, as the way that a gradient takes.
    """
    grads = {key for key, node in graph.nodes.items() if node.grad is not None and node.kind != "input"}
    edges = {i for i, edge in enumerate(graph.edges) if edge.parent in path and edge.child in path}
    view = View(frozenset(graph.nodes), frozenset(grads), None, frozenset(edges), frozenset(), bool(path))
    return _picture(graph, layout(graph, positions, pills=pills), view, None)


def _picture(graph: Graph, plan: Layout, view: View, step: Step | None) -> Drawing:
    top = TOP if step else 0.0
    width, height = plan.width, plan.height + top + (BOTTOM if step else 0.0)
    body = [
        graph_svg.edge(graph, plan, view, index)
        for index in sorted(range(len(graph.edges)), key=lambda i: i in view.edges)
    ]
    body += [graph_svg.node(graph, plan, view, key) for key in graph.nodes]
    body += [graph_svg.chip(graph, plan, view, index) for index in range(len(graph.edges))]
    parts = [f'<g transform="translate(0 {top:g})">{"".join(body)}</g>']
    if step:
        parts += [graph_svg.bar(step, width), graph_svg.equation(step, width, height)]
    return Drawing(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" font-family="\'Worked Sans\',sans-serif">'
        f'<rect width="{width:g}" height="{height:g}" fill="{PAPER}"/>{"".join(parts)}</svg>',
        width,
        height,
    )
