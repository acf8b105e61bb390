"""The engine that chapter 06 builds, taken from the notebook itself and compared with PyTorch."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "06_autograd_engine.ipynb"
BINARY = ("+", "-", "*", "/", "2 *", "1 -", "3 /")
UNARY = ("neg", "pow", "exp", "log", "tanh", "relu", "sigmoid")


def engine_cells() -> list[str]:
    """The cells that make up the engine, in order: their ids are engine-1, engine-2..."""
    nb = nbformat.read(NOTEBOOK, as_version=4)
    return [cell.source for cell in nb.cells if cell.cell_type == "code" and cell.id.startswith("engine-")]


def load_engine() -> SimpleNamespace:
    room = {"math": math}
    for source in engine_cells():
        exec(compile(source, NOTEBOOK.name, "exec"), room)
    return SimpleNamespace(**{name: thing for name, thing in room.items() if not name.startswith("__")})


engine = load_engine()
Value = engine.Value


def apply(name, a, b):
    """One operation, for values as well as for tensors."""
    results = {
        "+": lambda: a + b,
        "-": lambda: a - b,
        "*": lambda: a * b,
        "/": lambda: a / b,
        "2 *": lambda: 2 * a,
        "1 -": lambda: 1 - a,
        "3 /": lambda: 3 / a,
        "neg": lambda: -a,
        "pow": lambda: a**3,
        "exp": lambda: a.exp(),
        "log": lambda: a.log(),
        "tanh": lambda: a.tanh(),
        "relu": lambda: a.relu(),
        "sigmoid": lambda: a.sigmoid(),
    }
    return results[name]()


def allowed(name, a, b):
    """Whether the operation is defined there and far enough from a pole for twelve digits to mean something."""
    if name in ("/", "3 /", "log"):
        x = b if name == "/" else a
        return x > 0.1 if name == "log" else abs(x) > 0.1
    return a < 5 if name == "exp" else True


@st.composite
def expressions(draw):
    """A random expression, as a value of the engine and as a tensor, with the leaves of both."""
    number = st.floats(-3, 3).map(lambda x: round(x, 3)) | st.sampled_from([0.0, 1.0, -1.0])
    start = draw(st.lists(number, min_size=1, max_size=4))
    values, tensors = [Value(x) for x in start], [torch.tensor(x, dtype=torch.float64) for x in start]
    leaves = list(zip(values, [t.requires_grad_() for t in tensors], strict=True))
    for _ in range(draw(st.integers(1, 12))):
        i, j = (draw(st.integers(0, len(values) - 1)) for _ in range(2))
        name = draw(st.sampled_from([n for n in BINARY + UNARY if allowed(n, values[i].data, values[j].data)]))
        result = apply(name, values[i], values[j])
        if abs(result.data) < 100:
            values.append(result)
            tensors.append(apply(name, tensors[i], tensors[j]))
    return values[-1], tensors[-1], leaves


@settings(max_examples=300, deadline=None, derandomize=True)
@given(expressions())
def test_random_expressions_agree_with_torch(expression):
    ours, theirs, leaves = expression
    ours.backward()
    theirs.backward()
    scale = max(1.0, *(abs(v.grad) for v in engine.order(ours)))  # where large gradients cancel, their rounding stays
    assert ours.data == pytest.approx(theirs.item(), rel=1e-12, abs=1e-12)
    for value, tensor in leaves:
        expected = 0.0 if tensor.grad is None else tensor.grad.item()
        assert value.grad == pytest.approx(expected, rel=1e-12, abs=1e-12 * scale)


@pytest.mark.parametrize("x", [-800.0, -30.0, -1.0, 0.0, 0.5, 30.0, 800.0])
@pytest.mark.parametrize("name", ["tanh", "relu", "sigmoid"])
def test_saturation_and_kinks_are_those_of_torch(name, x):
    value, tensor = Value(x), torch.tensor(x, dtype=torch.float64, requires_grad=True)
    ours, theirs = getattr(value, name)(), getattr(tensor, name)()
    ours.backward()
    theirs.backward()
    assert ours.data == pytest.approx(theirs.item(), rel=1e-12)
    assert value.grad == pytest.approx(tensor.grad.item(), rel=1e-12, abs=1e-16)


@pytest.mark.parametrize(("base", "p"), [(2.0, 0), (0.0, 0), (0.0, 1), (0.0, 2), (-2.0, 3), (-2.0, -1), (2.0, 0.5)])
def test_powers(base, p):
    value, tensor = Value(base), torch.tensor(base, dtype=torch.float64, requires_grad=True)
    result = value**p
    result.backward()
    (tensor**p).backward()
    assert (result.data, value.grad) == pytest.approx((base**p, tensor.grad.item()), rel=1e-12)


def test_outside_of_its_domain_an_operation_refuses():
    with pytest.raises(ValueError, match="math domain error"):
        Value(-2.0) ** 0.5
    with pytest.raises(ValueError, match=r"math domain error|positive input"):
        Value(-1.0).log()
    with pytest.raises(ZeroDivisionError):
        1 / Value(0.0)
    with pytest.raises(TypeError):
        Value(2.0) ** Value(3.0)
    with pytest.raises(ValueError, match="zip"):
        engine.affine([Value(1.0)], [1.0, 2.0], Value(0.0))


@given(st.lists(st.floats(-3, 3), min_size=7, max_size=7))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_affine(numbers):
    values = [Value(x) for x in numbers]
    tensors = torch.tensor(numbers, dtype=torch.float64, requires_grad=True)
    ours = engine.affine(values[:3], values[3:6], values[6])
    theirs = tensors[:3] @ tensors[3:6] + tensors[6]
    ours.backward()
    theirs.backward()
    assert ours.data == pytest.approx(theirs.item(), abs=1e-12)
    assert [v.grad for v in values] == pytest.approx(tensors.grad.tolist(), abs=1e-12)


def test_gradients_add_up_over_calls_at_the_leaves():
    x = Value(2.0)
    u = x * x
    z = u * u
    z.backward()
    z.backward()
    assert (x.grad, u.grad) == (64.0, 16.0)
    x.backward()
    assert x.grad == 65.0


def test_order_lists_every_value_once_and_operands_first():
    x = Value(2.0)
    u = x * x
    z = u + u * u
    found = engine.order(z)
    place = {v: i for i, v in enumerate(found)}
    assert len(place) == len(found) == 4
    assert all(place[operand] < place[v] for v in found for operand, _ in v.operands)


def test_long_chains_and_many_paths():
    x = Value(1.0)
    v = x
    for _ in range(60):
        v = v + v
    v.backward()
    assert x.grad == 2.0**60
    x.grad = 0.0
    sum([x] * 50_000).backward()
    assert x.grad == 50_000


def test_about_75_lines_as_the_chapter_says():
    lines = [line for source in engine_cells() for line in source.splitlines() if line.strip()]
    assert 70 <= len(lines) <= 80
