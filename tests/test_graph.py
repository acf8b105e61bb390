"""The computation graph, its steps, its layout and its drawing."""

from __future__ import annotations

import itertools
import math
import re
from xml.etree import ElementTree

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import style
from helpers.graph import Graph, network
from helpers.graph_drawing import Stepper, draw
from helpers.graph_layout import layout, network_positions
from helpers.graph_steps import number, plain, steps

SVG = "{http://www.w3.org/2000/svg}"
WALKTHROUGH = ([0.05, 0.1], [0.01, 0.99], [[[0.15, 0.2], [0.25, 0.3]], [[0.4, 0.45], [0.5, 0.55]]], [0.35, 0.6])


@pytest.fixture
def net():
    return network(*WALKTHROUGH)


@pytest.fixture
def stepper(net):
    return Stepper(net, "L", lr=0.5, example="w5", positions=network_positions([2, 2, 2]), pills=("b1", "b2"))


@st.composite
def expressions(draw):
    """A random graph of sums, products and tanh, and the same calculation as torch leaves and a torch result."""
    graph, tensors = Graph(), {}
    n_leaves, n_operations = draw(st.integers(1, 4)), draw(st.integers(1, 10))
    for i in range(n_leaves):
        value = draw(st.floats(-2, 2, allow_nan=False))
        graph.leaf(f"x{i}", value)
        tensors[f"x{i}"] = torch.tensor(value, dtype=torch.float64, requires_grad=True)
    for i in range(n_operations):
        key, op = f"v{i}", draw(st.sampled_from(["+", "×", "tanh"]))
        a, b = (draw(st.sampled_from(sorted(tensors))) for _ in range(2))
        va, vb = tensors[a].item(), tensors[b].item()
        if op == "+":
            tensors[key], operands = tensors[a] + tensors[b], [(a, 1.0), (b, 1.0)]
        elif op == "×":
            tensors[key], operands = tensors[a] * tensors[b], [(a, vb), (b, va)]
        else:
            tensors[key], operands = torch.tanh(tensors[a]), [(a, 1 - math.tanh(va) ** 2)]
        graph.node(key, tensors[key].item(), operands, op=op)
    return graph, tensors, f"v{n_operations - 1}"


@settings(max_examples=60, deadline=None)
@given(expressions())
def test_backward_equals_autograd(expression):
    graph, tensors, root = expression
    found = graph.backward(root)
    leaves = {key: tensor for key, tensor in tensors.items() if tensor.is_leaf}
    gradients = torch.autograd.grad(tensors[root], list(leaves.values()), allow_unused=True)
    for key, gradient in zip(leaves, gradients, strict=True):
        expected = 0.0 if gradient is None else gradient.item()
        assert found[key] == pytest.approx(expected, rel=1e-10, abs=1e-10)


@settings(max_examples=60, deadline=None)
@given(expressions())
def test_every_step_needs_only_what_is_known(expression):
    graph, _, root = expression
    values = {key for key in graph.nodes if not graph.parents(key)}
    grads = set()
    for step in steps(graph, root):
        if step.phase == "forward":
            assert {edge.parent for edge in graph.parents(step.key)} <= values
            values.add(step.key)
        elif step.phase == "backward":
            uses = {edge.child for edge in graph.children(step.key)}
            reaches = {key for key in uses if graph.nodes[key].grad != 0 or key in grads}
            assert step.key == root or reaches <= grads
            grads.add(step.key)
    assert values == set(graph.nodes)


@settings(max_examples=60, deadline=None)
@given(expressions())
def test_automatic_boxes_do_not_overlap_and_edges_lead_right(expression):
    graph, _, root = expression
    plan = layout(graph)
    assert_apart(plan)
    for edge, route in zip(graph.edges, plan.routes, strict=True):
        assert [x for x, _ in route] == sorted(x for x, _ in route), edge
    for key, (x, y) in plan.centre.items():
        w, h = plan.size[key]
        assert w / 2 <= x <= plan.width - w / 2
        assert h / 2 <= y <= plan.height - h / 2
    stepper = Stepper(graph, root)
    for step in range(len(stepper)):
        ElementTree.fromstring(stepper.draw(step).svg)


def assert_apart(plan):
    for one, other in itertools.combinations(plan.centre, 2):
        (x, y), (u, v) = plan.centre[one], plan.centre[other]
        (w, h), (p, q) = plan.size[one], plan.size[other]
        assert abs(x - u) >= (w + p) / 2 + 2 or abs(y - v) >= (h + q) / 2 + 2, f"{one} overlaps {other}"


def test_boxes_of_the_network_do_not_overlap(stepper):
    assert_apart(stepper.layout)
    assert stepper.layout.width == 740


def test_the_network_has_the_gradients_of_torch(net):
    x, t, W, b = (torch.tensor(part, dtype=torch.float64, requires_grad=i > 1) for i, part in enumerate(WALKTHROUGH))
    a = x
    for layer in range(2):
        a = torch.sigmoid(W[layer] @ a + b[layer])
    (0.5 * ((a - t) ** 2).sum()).backward()
    found = net.backward("L")
    assert [found[f"w{i}"] for i in range(1, 9)] == pytest.approx(W.grad.ravel().tolist(), abs=1e-12)
    assert [found["b1"], found["b2"]] == pytest.approx(b.grad.tolist(), abs=1e-12)
    assert len(net.edges) == 28


def test_the_steps_of_the_network_in_order(stepper):
    phases = [step.phase for step in stepper.steps]
    assert [phase for phase, _ in itertools.groupby(phases)] == ["start", "forward", "loss", "backward", "step"]
    backward = [step.key for step in stepper.steps if step.phase == "backward"]
    assert backward[:7] == ["L", "L1", "L2", "o1", "o2", "zo1", "w5"]
    assert set(backward) == {key for key in stepper.graph.nodes if not key.startswith("x")}
    assert len(backward) == len(set(backward))


def test_the_arithmetic_of_a_step_in_words(stepper):
    at = {step.key: index for index, step in enumerate(stepper.steps) if step.phase == "backward"}
    assert stepper.describe(at["w5"]) == (
        "Backward: dL/dw5 = dL/dz_o1 · h1 = 0.138498562 × 0.593269992 = 0.082167041. "
        "Along the whole path: 0.7414 × 0.1868 × 0.5933."
    )
    assert stepper.describe(at["h1"]) == (
        "Backward: dL/dh1 = dL/dz_o1 · w5 + dL/dz_o2 · w7 = "
        "0.138498562 × 0.4 + (−0.038098237) × 0.5 = 0.036350306. The paths add."
    )
    assert stepper.describe(len(stepper) - 1).endswith("w5 ← 0.4 − 0.5 × 0.082167041 = 0.35891648.")


def shown(drawing):
    root = ElementTree.fromstring(drawing.svg)
    return ["".join(text.itertext()).replace("\u200b", "") for text in root.iter(f"{SVG}text")]


def test_values_and_gradients_appear_one_by_one(stepper):
    at = {(step.phase, step.key): index for index, step in enumerate(stepper.steps)}
    before, after = at["forward", "h1"] - 1, at["forward", "h1"]
    assert "0.5933" not in shown(stepper.draw(before))
    assert "0.5933" in shown(stepper.draw(after))
    gradient = at["backward", "w5"]
    assert "0.08217" not in shown(stepper.draw(gradient - 1))
    assert "0.08217" in shown(stepper.draw(gradient))
    assert "0.3589" not in shown(stepper.draw(len(stepper) - 2))
    assert "0.3589" in shown(stepper.draw(len(stepper) - 1))
    assert "∂L/∂w5 = ∂L/∂zo1 · h1 = 0.1385 × 0.5933 = 0.08217" in shown(stepper.draw(gradient))


def test_every_frame_is_well_formed_and_uses_the_palette_only(stepper):
    palette = {getattr(style, name) for name in ("INK", "MUTED", "GRID", "PAPER", "BLUE", "RED", "GREEN")}
    for step in range(len(stepper)):
        svg = stepper.draw(step).svg
        ElementTree.fromstring(svg)
        assert set(re.findall(r"#[0-9a-fA-F]{3,8}", svg)) <= palette


def test_labels_are_italic_with_real_subscripts(stepper):
    svg = stepper.draw(0).svg
    assert re.search(r'<tspan font-style="italic">w</tspan><tspan dy="4" font-size="72%">5</tspan>', svg)


def test_an_input_gets_no_gradient(stepper):
    assert not any(step.phase == "backward" and step.key in ("x1", "x2") for step in stepper.steps)


def test_labels_are_escaped():
    graph = Graph()
    graph.leaf("a", 1.0, label="a<b&c")
    graph.node("r", 1.0, [("a", 1.0)], op="<&>")
    ElementTree.fromstring(draw(graph).svg)


def test_walk_builds_the_graph_of_an_engine():
    class Value:
        def __init__(self, data, parents=(), op="", label=""):
            self.data, self.parents, self.op, self.label = data, parents, op, label

    a, b = Value(2.0, label="a"), Value(-3.0, label="b")
    e = Value(-6.0, [(a, -3.0), (b, 2.0)], "*")
    square = Value(36.0, [(e, -6.0), (e, -6.0)], "*", "q")
    graph = Graph.walk(
        square,
        parents=lambda v: v.parents,
        value=lambda v: v.data,
        label=lambda v: v.label,
        op=lambda v: v.op,
    )
    assert [node.label for node in graph.nodes.values()] == ["a", "b", "v_{1}", "q"]
    root = list(graph.nodes)[-1]
    grads = graph.backward(root)
    assert [grads[key] for key in graph.nodes] == [36.0, -24.0, -12.0, 1.0]
    assert "dq/da = dq/dv1 · b" in steps(graph, root)[-2].text


def test_walk_is_not_limited_by_recursion():
    chain = ("leaf",)
    for _ in range(5000):
        chain = (chain,)
    graph = Graph.walk(chain, parents=lambda v: [] if v == ("leaf",) else [(v[0], 1.0)], value=lambda v: 0.0)
    assert len(graph.nodes) == 5001


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.0, 4, "0"),
        (-0.0, 4, "0"),
        (1.0, 4, "1"),
        (0.99999, 4, "1"),
        (12345.6, 4, "12346"),
        (1e9, 4, "1e9"),
        (-2.5e-9, 4, "−2.5e−9"),
        (float("nan"), 4, "nan"),
        (float("-inf"), 4, "−inf"),
        (0.0821670406, 9, "0.082167041"),
    ],
)
def test_numbers_are_written_short(value, digits, text):
    assert number(value, digits) == text


def test_plain_labels():
    assert [plain(label) for label in ("w_5", "z_{h1}", "L", "w_{12}")] == ["w5", "z_h1", "L", "w12"]


def test_mistakes_are_named(net):
    graph = Graph()
    graph.leaf("a", 1.0)
    with pytest.raises(ValueError, match="already has a node 'a'"):
        graph.leaf("a", 2.0)
    with pytest.raises(ValueError, match="operands of 'c' first; not in the graph: b"):
        graph.node("c", 2.0, [("a", 1.0), ("b", 1.0)])
    with pytest.raises(ValueError, match="operands of 'c' first"):
        graph.node("c", 2.0, [])
    with pytest.raises(ValueError, match="'parameter' or an 'input', not 'op'"):
        graph.leaf("b", 1.0, kind="op")
    with pytest.raises(ValueError, match="'op' or a 'loss', not 'input'"):
        graph.node("c", 2.0, [("a", 1.0)], kind="input")
    with pytest.raises(ValueError, match="no node 'z'; the graph has a"):
        graph.backward("z")
    with pytest.raises(ValueError, match=r"positions must name every node.*L"):
        layout(net, {"x1": (0, 0)})
    with pytest.raises(ValueError, match="layers of two units"):
        network_positions([3, 2, 2])
    with pytest.raises(ValueError, match="2 weight matrices and 1 biases"):
        network(WALKTHROUGH[0], WALKTHROUGH[1], WALKTHROUGH[2], [0.35])
    stepper = Stepper(net, "L")
    with pytest.raises(ValueError, match=r"step must be between 0 and 32, not 99"):
        stepper.draw(99)
