"""The clicks of the stepper: a computation graph worked out node by node, each step as an equation and in words."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from helpers.graph import Edge, Graph

PHASES = ("forward", "loss", "backward", "step")


@dataclass(frozen=True)
class Step:
    """One click of the stepper.

    Attributes
    ----------
    phase : str
        ``"start"`` or one of `PHASES`.
    key : str or None
        The node that this step works out.
    equation : tuple of (str, str)
        Pieces of text with their roles: ``"value"``, ``"grad"`` (a gradient), ``"result"``, ``"words"`` or ``""``.
    text : str
        The same in words, to nine significant digits.
    """

    phase: str
    key: str | None
    equation: tuple[tuple[str, str], ...]
    text: str


def steps(graph: Graph, root: str, *, lr: float | None = None, example: str = "") -> list[Step]:
    """All steps of a graph: the start, forward, loss, backward and, with a learning rate, the step of the parameters.

    Runs :meth:`Graph.backward`. Gradients of inputs are left out, as autograd leaves them out.

    Parameters
    ----------
    graph : Graph
    root : str
        The node whose derivative is taken.
    lr : float, optional
        Learning rate of the last step; without it there is none.
    example : str
        The parameter that the last step writes out; by default the one with the largest gradient.

    Examples
    --------
    >>> g = Graph()
    >>> g.leaf("w", 3.0)
    >>> g.leaf("x", 2.0, kind="input")
    >>> g.node("z", 6.0, [("w", 2.0, "{x}"), ("x", 3.0, "{w}")], op="×", formula="{w}·{x}")
    >>> g.node("L", 2.0, [("z", 2.0, "({z} − 4)")], kind="loss", formula="½({z} − 4)²")
    >>> for step in steps(g, "L", lr=0.1):
    ...     print(step.text)
    Start: only the inputs and the parameters have values.
    Forward: z = w·x = 3·2 = 6.
    Loss: L = ½(z − 4)² = ½(6 − 4)² = 2.
    Backward: dL/dL = 1, the seed from which every other gradient grows.
    Backward: dL/dz = dL/dL · (z − 4) = 1 × 2 = 2.
    Backward: dL/dw = dL/dz · x = 2 × 2 = 4.
    Step: all parameters move at once, each against its own gradient; w ← 3 − 0.1 × 4 = 2.6.
    """
    graph.backward(root)
    made = [key for key in graph.nodes if graph.parents(key)]
    found = [
        Step(
            "start",
            None,
            (("Given: the inputs and the parameters. Nothing else is known yet.", "words"),),
            "Start: only the inputs and the parameters have values.",
        )
    ]
    found += [_forward(graph, key, "forward") for key in made if graph.nodes[key].kind == "op"]
    found += [_forward(graph, key, "loss") for key in made if graph.nodes[key].kind == "loss"]
    found += [_backward(graph, key, root) for key in _backward_order(graph, root)]
    if lr is not None:
        found.append(_step(graph, root, lr, example))
    return found


def number(value: float, digits: int = 4) -> str:
    """A number to so many significant digits (from six on: decimals), three if it is small, with a real minus sign.

    Examples
    --------
    >>> number(0.59326999), number(-0.00043856773), number(0.35), number(-7.0), number(1.2e-7)
    ('0.5933', '−0.000439', '0.35', '−7', '1.2e−7')
    >>> number(1.10590596706, 9)
    '1.105905967'
    """
    if not math.isfinite(value):
        return str(value).replace("-", "−")
    size = abs(value)
    if 1e-6 <= size < 1e6:
        if digits < 6:
            digits = (3 if size < 1e-3 else digits) - 1 - math.floor(math.log10(size))
        text = f"{value:.{max(digits, 0)}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    else:
        text = re.sub(r"e(-?)\+?0*", r"e\1", f"{value:.3g}")
    return text.replace("-", "−") if value else "0"


def plain(label: str) -> str:
    """A label without subscripts: ``"z_{h1}"`` becomes ``"z_h1"``, ``"w_5"`` becomes ``"w5"``."""
    name, _, subscript = label.replace("{", "").replace("}", "").partition("_")
    return f"{name}_{subscript}" if subscript and not subscript.isdigit() else name + subscript


def _bracketed(value: float, digits: int = 4) -> str:
    return f"({number(value, digits)})" if value < 0 else number(value, digits)


def _fill(graph: Graph, template: str, write) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: write(graph.nodes[match[1]]), template)


def _forward(graph: Graph, key: str, phase: str) -> Step:
    node = graph.nodes[key]
    symbols = _fill(graph, node.formula, lambda item: item.label)
    short = _fill(graph, node.formula, lambda item: _bracketed(item.value))
    words = _fill(graph, node.formula, lambda item: plain(item.label))
    long = _fill(graph, node.formula, lambda item: _bracketed(item.value, 9))
    result = number(node.value, 9)
    equation = ((node.label, "value"), (f" = {symbols} = {short} = ", ""), (number(node.value), "result"))
    return Step(phase, key, equation, f"{phase.capitalize()}: {plain(node.label)} = {words} = {long} = {result}.")


def _symbol(graph: Graph, edge: Edge, write) -> str:
    if edge.symbol:
        return _fill(graph, edge.symbol, write)
    return f"∂{write(graph.nodes[edge.child])}/∂{write(graph.nodes[edge.parent])}"


def _backward(graph: Graph, key: str, root: str) -> Step:
    node, top = graph.nodes[key], graph.nodes[root].label
    if key == root:
        text = f"Backward: d{plain(top)}/d{plain(top)} = 1, the seed from which every other gradient grows."
        return Step("backward", key, ((f"∂{top}/∂{top}", "grad"), (" = ", ""), ("1", "result")), text)
    edges = graph.children(key)
    pieces, numbers, words, long = [], [], [], []
    for i, edge in enumerate(edges):
        child, plus = graph.nodes[edge.child], " + " if i else ""
        pieces += [
            (plus, ""),
            (f"∂{top}/∂{child.label}", "grad"),
            (" · " + _symbol(graph, edge, lambda n: n.label), ""),
        ]
        numbers += [(plus, ""), (_bracketed(child.grad), "grad"), (f" × {_bracketed(edge.local)}", "")]
        symbol = _symbol(graph, edge, lambda n: plain(n.label)).replace("∂", "d")
        words.append(f"d{plain(top)}/d{plain(child.label)} · {symbol}")
        long.append(f"{_bracketed(child.grad, 9)} × {_bracketed(edge.local, 9)}")
    equation = [(f"∂{top}/∂{node.label}", "grad"), (" = ", ""), *pieces, (" = ", ""), *numbers, (" = ", "")]
    text = f"Backward: d{plain(top)}/d{plain(node.label)} = {' + '.join(words)} = {' + '.join(long)} = "
    text += f"{number(node.grad, 9)}." + (" The paths add." if len(edges) > 1 else "")
    path = list(_only_path(graph, key, root))
    if node.kind == "parameter" and len(path) > 2:
        text += f" Along the whole path: {' × '.join(_bracketed(edge.local) for edge in reversed(path))}."
    return Step("backward", key, (*equation, (number(node.grad), "result")), text)


def _only_path(graph: Graph, key: str, root: str) -> Iterator[Edge]:
    """The edges from a node to the root if there is one path only, without those whose derivative is always 1."""
    path = []
    while key != root:
        edges = graph.children(key)
        if len(edges) != 1:
            return
        path += [edge for edge in edges if edge.symbol != "1"]
        key = edges[0].child
    yield from path


def _backward_order(graph: Graph, root: str) -> list[str]:
    """From the root down, layer by layer; a leaf as soon as all its uses are done; only nodes that reach it."""
    layer, keys, reach = graph.layers(), list(graph.nodes), {root}
    for key in reversed(keys):
        if any(edge.child in reach for edge in graph.children(key)):
            reach.add(key)
    order: list[str] = []
    for key in sorted((k for k in keys if graph.parents(k) and k in reach), key=lambda k: (-layer[k], keys.index(k))):
        order.append(key)
        for edge in graph.parents(key):
            leaf = graph.nodes[edge.parent].kind == "parameter" and edge.parent not in order
            if leaf and all(use.child in order for use in graph.children(edge.parent) if use.child in reach):
                order.append(edge.parent)
    return order


def _step(graph: Graph, root: str, lr: float, example: str) -> Step:
    moved = [node for node in graph.nodes.values() if node.kind == "parameter"]
    node = graph.nodes[example] if example else max(moved, key=lambda item: abs(item.grad))
    top, new = graph.nodes[root].label, node.value - lr * node.grad
    short = f" − {number(lr)} × {_bracketed(node.grad)} = "
    equation = ((f"{node.label} ← {node.label} − η ", ""), (f"∂{top}/∂{node.label}", "grad"))
    equation += ((f" = {number(node.value)}{short}", ""), (number(new), "result"))
    text = "Step: all parameters move at once, each against its own gradient; "
    text += (
        f"{plain(node.label)} ← {number(node.value, 9)} − {number(lr)} × {_bracketed(node.grad, 9)} = {number(new, 9)}."
    )
    return Step("step", None, equation, text)
