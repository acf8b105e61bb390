"""A computation graph of scalars: values, local derivatives, gradients, and the steps that fill them in.

The graph does not know what its operations compute. Every node brings its value, every edge the *local derivative* of
the child with respect to the parent; :meth:`Graph.backward` then does what backpropagation does: it sums, over all
edges that leave a node, the child's gradient times the local derivative (S. Linnainmaa, *Taylor expansion of the
accumulated rounding error*, BIT 16, 1976). :class:`helpers.graph_drawing.Stepper` draws it step by step.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass


@dataclass
class Node:
    """One scalar of the graph.

    Attributes
    ----------
    key : str
        Its unique name.
    value : float
    label : str
        How it is written: one or more letters, a subscript after ``_`` (``"w_5"``, ``"z_{h1}"``).
    kind : {"input", "parameter", "op", "loss"}
        Inputs receive no gradient. Parameters move in the step. ``"loss"`` marks operations that belong to the loss.
    op : str
        Sign of the operation that made it (``"+"``, ``"×"``, ``"σ"``); empty for a leaf.
    formula : str
        The operation with the keys of its parents in braces: ``"{w}·{x} + {b}"``.
    grad : float or None
        Derivative of the root by this node, once :meth:`Graph.backward` has run.
    """

    key: str
    value: float
    label: str
    kind: str = "op"
    op: str = ""
    formula: str = ""
    grad: float | None = None


@dataclass(frozen=True)
class Edge:
    """The dependence of one node on another.

    Attributes
    ----------
    parent, child : str
    local : float
        The local derivative, d child / d parent, at the values of the graph.
    symbol : str
        How that derivative is written, with keys in braces (``"{h1}"``, ``"{h1}(1 − {h1})"``); empty: a quotient.
    """

    parent: str
    child: str
    local: float
    symbol: str = ""


class Graph:
    """A computation graph that is built from the leaves upwards.

    Examples
    --------
    ``L = 1/2 (w x - t)^2`` at ``w = 3, x = 2, t = 4``:

    >>> g = Graph()
    >>> g.leaf("w", 3.0)
    >>> g.leaf("x", 2.0, kind="input")
    >>> g.node("z", 6.0, [("w", 2.0, "{x}"), ("x", 3.0, "{w}")], op="×", formula="{w}·{x}")
    >>> g.node("L", 2.0, [("z", 2.0, "({z} − 4)")], kind="loss", formula="½({z} − 4)²")
    >>> g.backward("L")["w"]
    4.0
    """

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.edges: list[Edge] = []

    def leaf(self, key: str, value: float, *, label: str = "", kind: str = "parameter") -> None:
        """Add a leaf: a parameter, or an input (``kind="input"``) that needs no gradient."""
        if kind not in ("parameter", "input"):
            raise ValueError(f"A leaf is a 'parameter' or an 'input', not {kind!r}.")
        self._add(Node(key, float(value), label or key, kind))

    def node(
        self,
        key: str,
        value: float,
        parents: Iterable[Sequence],
        *,
        label: str = "",
        op: str = "",
        formula: str = "",
        kind: str = "op",
    ) -> None:
        """Add the result of an operation.

        Parameters
        ----------
        key, value, label, op, formula, kind
            As in :class:`Node`.
        parents : iterable of (key, local) or (key, local, symbol)
            The operands with their local derivatives; the same operand may occur twice.

        Raises
        ------
        ValueError
            If the key is taken, or a parent is not in the graph yet.
        """
        if kind not in ("op", "loss"):
            raise ValueError(f"The result of an operation is an 'op' or a 'loss', not {kind!r}.")
        operands = [tuple(operand) for operand in parents]
        names = [operand[0] for operand in operands]
        edges = [
            Edge(name, key, float(local), *(rest or [_default_symbol(op, names, rank)]))
            for rank, (name, local, *rest) in enumerate(operands)
        ]
        missing = [edge.parent for edge in edges if edge.parent not in self.nodes]
        if missing or not edges:
            raise ValueError(f"Add the operands of {key!r} first; not in the graph: {', '.join(missing) or 'any'}.")
        formula = formula or _default_formula(op, names)
        self._add(Node(key, float(value), label or key, kind, op, formula))
        self.edges += edges

    def _add(self, node: Node) -> None:
        if node.key in self.nodes:
            raise ValueError(f"The graph already has a node {node.key!r}; give every node its own key.")
        self.nodes[node.key] = node

    @classmethod
    def walk(
        cls,
        root: object,
        *,
        parents: Callable[[object], Sequence[tuple[object, float]]],
        value: Callable[[object], float],
        label: Callable[[object], str] = lambda item: "",
        op: Callable[[object], str] = lambda item: "",
    ) -> Graph:
        """Build the graph of an autograd engine's objects, from the result back to its leaves.

        Parameters
        ----------
        root : object
            The engine's result; its key in the graph is ``"n0"``, ``"n1"``... in topological order, last of all.
        parents : callable
            ``parents(item)``: the operands of `item` as (object, local derivative) pairs; empty for a leaf.
        value, label, op : callable
            What :class:`Node` needs, of an item. Items without a label are called v_1, v_2...
        """
        graph, keys, unnamed, stack = cls(), {}, 0, [(root, False)]
        while stack:
            item, ready = stack.pop()
            if id(item) in keys:
                continue
            operands = list(parents(item))
            if not ready and operands:
                stack.append((item, True))
                stack += [(operand, False) for operand, _ in reversed(operands)]
                continue
            name, key = label(item), f"n{len(keys)}"
            unnamed += not name
            name = name or f"v_{{{unnamed}}}"
            if operands:
                graph.node(key, value(item), [(keys[id(p)], d) for p, d in operands], label=name, op=op(item))
            else:
                graph.leaf(key, value(item), label=name)
            keys[id(item)] = key
        return graph

    def parents(self, key: str) -> list[Edge]:
        """The edges that come into a node."""
        return [edge for edge in self.edges if edge.child == key]

    def children(self, key: str) -> list[Edge]:
        """The edges that leave a node."""
        return [edge for edge in self.edges if edge.parent == key]

    def reads(self, edge: Edge, backwards: bool) -> set[str]:
        """The nodes whose values an edge needs: forwards its parent, backwards those in its local derivative."""
        return set(re.findall(r"\{(\w+)\}", edge.symbol)) if backwards else {edge.parent}

    def layers(self) -> dict[str, int]:
        """The length of the longest path from a leaf to every node; a leaf stands right before its first use."""
        layer: dict[str, int] = {}
        for key in self.nodes:  # parents were added before their children
            layer[key] = max((layer[edge.parent] + 1 for edge in self.parents(key)), default=0)
        for key in self.nodes:
            if not self.parents(key) and self.children(key):
                layer[key] = min(layer[edge.child] for edge in self.children(key)) - 1
        return layer

    def backward(self, root: str) -> dict[str, float]:
        """Fill every node's `grad` with the derivative of `root`, and return them by key.

        Raises ``ValueError`` if `root` is not in the graph.
        """
        if root not in self.nodes:
            raise ValueError(f"There is no node {root!r}; the graph has {', '.join(self.nodes) or 'no nodes'}.")
        for key in reversed(self.nodes):
            contributions = [self.nodes[edge.child].grad * edge.local for edge in self.children(key)]
            self.nodes[key].grad = 1.0 if key == root else math.fsum(contributions)
        return {key: node.grad for key, node in self.nodes.items()}


def network(
    x: Sequence[float],
    target: Sequence[float],
    weights: Sequence[Sequence[Sequence[float]]],
    biases: Sequence[float],
) -> Graph:
    """The graph of a sigmoid network with one bias per layer and the loss ``L = sum 1/2 (o - t)^2``, for one sample.

    Parameters
    ----------
    x, target : sequences of float
        Inputs and targets.
    weights : sequence of matrices
        ``weights[l][j][i]`` leads from unit `i` to unit `j`; numbered w_1, w_2... row by row through all layers.
    biases : sequence of float
        One per layer, shared by its units, so that its gradient is a sum.

    Returns
    -------
    Graph
        Root ``"L"``; units ``x1``, ``zh1``, ``h1`` (further hidden layers: g, f, e), ``zo1``, ``o1``, ``L1``...

    Examples
    --------
    >>> g = network([1.0], [0.0], [[[2.0]]], [-2.0])
    >>> g.backward("L")["w1"], g.nodes["o1"].value
    (0.125, 0.5)
    """
    if not len(weights) == len(biases) <= 5:
        raise ValueError(
            f"Got {len(weights)} weight matrices and {len(biases)} biases; give one of each per layer (1-5)."
        )
    graph, below, count = Graph(), [], 0
    for i, value in enumerate(x, start=1):
        graph.leaf(f"x{i}", value, label=f"x_{i}", kind="input")
        below.append(f"x{i}")
    for number, (W, b) in enumerate(zip(weights, biases, strict=True), start=1):
        letter = "o" if number == len(weights) else "hgfe"[number - 1]
        graph.leaf(f"b{number}", b, label=f"b_{number}")
        units = []
        for j, row in enumerate(W, start=1):
            names = [f"w{count + i + 1}" for i in range(len(row))]
            for name, w in zip(names, row, strict=True):
                graph.leaf(name, w, label=f"w_{name[1:]}" if len(name) == 2 else f"w_{{{name[1:]}}}")
            count += len(row)
            inputs = [graph.nodes[key].value for key in below]
            z = math.fsum(w * a for w, a in zip(row, inputs, strict=True)) + b
            edges = [(key, w, f"{{{name}}}") for key, name, w in zip(below, names, row, strict=True)]
            edges += [(name, a, f"{{{key}}}") for key, name, a in zip(below, names, inputs, strict=True)]
            formula = " + ".join(f"{{{name}}}·{{{key}}}" for key, name in zip(below, names, strict=True))
            key, unit, a = f"z{letter}{j}", f"{letter}{j}", 1 / (1 + math.exp(-z))
            graph.node(
                key,
                z,
                [*edges, (f"b{number}", 1, "1")],
                label=f"z_{{{unit}}}",
                op="+",
                formula=f"{formula} + {{b{number}}}",
            )
            slope = [(key, a * (1 - a), f"{{{unit}}}·(1 − {{{unit}}})")]
            graph.node(unit, a, slope, label=f"{letter}_{j}", op="σ", formula=f"σ({{{key}}})")
            units.append(unit)
        below = units
    for j, (unit, t) in enumerate(zip(below, target, strict=True), start=1):
        error = graph.nodes[unit].value - t
        symbol = f"({{{unit}}} − {t:g})"
        graph.node(f"L{j}", error**2 / 2, [(unit, error, symbol)], label=f"L_{j}", formula=f"½{symbol}²", kind="loss")
    parts = [f"L{j}" for j in range(1, len(below) + 1)]
    total = math.fsum(graph.nodes[key].value for key in parts)
    formula = " + ".join(f"{{{key}}}" for key in parts)
    graph.node("L", total, [(key, 1, "1") for key in parts], op="+", formula=formula, kind="loss")
    return graph


def _default_formula(op: str, parents: list[str]) -> str:
    names = [f"{{{key}}}" for key in parents]
    if op in ("+", "−", "-", "×", "*", "·", "/") and len(names) > 1:
        return f" {op} ".join(names)
    return f"{op or 'f'}({', '.join(names)})"


def _default_symbol(op: str, parents: list[str], rank: int) -> str:
    """How the local derivative of a sum or of a product of two is written; nothing for all others."""
    if op == "+":
        return "1"
    if op in ("×", "*", "·") and len(parents) == 2:
        return f"{{{parents[1 - rank]}}}"
    return ""
