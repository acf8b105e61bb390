"""helpers.piecewise against oracles nobody here wrote: numpy.interp, autograd, a closed form of the literature."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from helpers.piecewise import HiddenLayer, hard_sigmoids_through, kinks, relus_through

corner_lists = st.lists(st.tuples(st.floats(0.05, 3), st.floats(-10, 10)), min_size=2, max_size=9).map(
    lambda steps: (np.cumsum([dx for dx, _ in steps]) - 5, np.array([y for _, y in steps]))
)


@settings(max_examples=60, deadline=None)
@given(corner_lists)
def test_both_constructions_equal_numpy_interp_everywhere(corners):
    x, y = corners
    grid = np.linspace(x[0] - 4, x[-1] + 4, 301)
    expected = np.interp(grid, x, y)
    for net in (hard_sigmoids_through(x, y), relus_through(x, y, flat_right=True)):
        np.testing.assert_allclose(net(torch.from_numpy(grid)).numpy(), expected, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(corner_lists)
def test_relus_without_the_last_one_keep_the_last_slope(corners):
    x, y = corners
    net = relus_through(x, y)
    assert len(net.w) == len(x) - 1
    beyond = x[-1] + np.array([0.5, 2.0])
    slope = (y[-1] - y[-2]) / (x[-1] - x[-2])
    np.testing.assert_allclose(net(torch.from_numpy(beyond)).numpy(), y[-1] + slope * (beyond - x[-1]), atol=1e-7)


@pytest.mark.parametrize("through", [hard_sigmoids_through, relus_through])
def test_module_is_the_same_function(through):
    net = through([-1, 0, 2, 2.5], [0.3, -1, 4, 4])
    grid = torch.linspace(-3, 4, 101, dtype=torch.float64)
    torch.testing.assert_close(net.module()(grid[:, None])[:, 0], net(grid), atol=1e-12, rtol=0)
    torch.testing.assert_close(net.bias + net.parts(grid).sum(0), net(grid), atol=0, rtol=0)


def test_kinks_of_a_polyline_are_its_corners():
    x, y = [-1.0, 0.25, 2.0, 3.0], [0.0, 2.0, -1.0, 0.5]
    for net in (hard_sigmoids_through(x, y), relus_through(x, y, flat_right=True)):
        torch.testing.assert_close(kinks(net.module(), -9, 9), torch.tensor(x, dtype=torch.float64), atol=1e-12, rtol=0)
    assert kinks(relus_through(x, y).module(), 0, 2.5).tolist() == [0.25, 2.0]


def test_a_corner_without_a_change_of_slope_is_no_kink():
    assert kinks(relus_through([0, 1, 2], [0, 1, 2], flat_right=True).module(), -5, 5).tolist() == [0.0, 2.0]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Hardsigmoid])
def test_kinks_of_a_random_deep_network_agree_with_autograd(seed, activation):
    torch.manual_seed(seed)
    sizes = [1, 7, 6, 5, 1]
    layers = [m for a, b in itertools.pairwise(sizes) for m in (nn.Linear(a, b), activation())][:-1]
    net = nn.Sequential(*layers).double()
    for layer in net[::2]:
        nn.init.normal_(layer.weight, std=2.0)
        nn.init.normal_(layer.bias, std=2.0)
    found = kinks(net, -3, 3)
    assert len(found) >= 2
    edges = torch.cat([torch.tensor([-3.0]).double(), found, torch.tensor([3.0]).double()])
    # autograd's slope is one number inside a piece, at three places, and another one in the next piece
    inside = torch.stack([edges[:-1] + t * edges.diff() for t in (0.2, 0.5, 0.8)]).T.reshape(-1, 1).requires_grad_()
    (slope,) = torch.autograd.grad(net(inside).sum(), inside)
    slope = slope.reshape(-1, 3)
    torch.testing.assert_close(slope, slope[:, :1].expand(-1, 3), atol=1e-9, rtol=1e-9)
    assert (slope[:, 0].diff().abs() > 1e-8).all()


def test_kinks_of_the_sawtooth_double_with_each_layer():
    """Telgarsky (2016): composing the tent map k times gives 2**k pieces on [0, 1]."""
    for k in range(1, 9):
        layers = []
        for depth in range(k):
            first = nn.Linear(1 if depth == 0 else 2, 2).double()
            with torch.no_grad():
                row = torch.tensor([[1.0]]) if depth == 0 else torch.tensor([[2.0, -4.0]])
                first.weight.copy_(row.repeat(2, 1))
                first.bias.copy_(torch.tensor([0, -0.5]))
            layers += [first, nn.ReLU()]
        last = nn.Linear(2, 1).double()
        with torch.no_grad():
            last.weight.copy_(torch.tensor([[2.0, -4.0]]))
            last.bias.zero_()
        found = kinks(nn.Sequential(*layers, last), 0, 1)
        assert found.tolist() == [i / 2**k for i in range(1, 2**k)]


@pytest.mark.parametrize(
    ("x", "y", "says"),
    [
        ([0, 1, 1], [0, 1, 2], "increase"),
        ([0, 1], [0, 1, 2], "one length"),
        ([0], [1], "length >= 2"),
        ([0, 1], [0, float("nan")], "not finite"),
    ],
)
@pytest.mark.parametrize("through", [hard_sigmoids_through, relus_through])
def test_bad_corners_say_what_to_do(through, x, y, says):
    with pytest.raises(ValueError, match=says):
        through(x, y)


def test_bad_networks_say_what_to_do():
    with pytest.raises(TypeError, match="layer 1 is Tanh"):
        kinks(nn.Sequential(nn.Linear(1, 3), nn.Tanh(), nn.Linear(3, 1)), 0, 1)
    with pytest.raises(ValueError, match="2 outputs"):
        kinks(nn.Sequential(nn.Linear(1, 3), nn.ReLU(), nn.Linear(3, 2)), 0, 1)
    with pytest.raises(ValueError, match="needs one input"):
        kinks(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)), 0, 1)
    with pytest.raises(ValueError, match="lo < hi"):
        kinks(nn.Sequential(nn.Linear(1, 1)), 1, 1)
    one, two = torch.ones(1), torch.ones(2)
    with pytest.raises(ValueError, match="choose one of"):
        HiddenLayer(one, one, one, 0.0, "softmax")
    with pytest.raises(ValueError, match="one length"):
        HiddenLayer(one, two, one, 0.0, "ReLU")
