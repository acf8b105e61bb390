"""Networks whose weights are computed, not learned: any polyline as one hidden layer, and where a network has kinks.

A hidden layer of k units on one input computes ``bias + sum_i c_i g(w_i x + b_i)``. With the hard sigmoid or the ReLU
for g this is piecewise linear, and every continuous piecewise-linear function of one variable can be written so.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from helpers import expect

_ACTIVATIONS = {"hard sigmoid": nn.Hardsigmoid, "ReLU": nn.ReLU, "sigmoid": nn.Sigmoid}
_LEVELS = {nn.Hardsigmoid: (-3.0, 3.0), nn.ReLU: (0.0,)}


@dataclass(frozen=True)
class HiddenLayer:
    """The function ``x -> bias + sum_i c_i g(w_i x + b_i)`` of one variable.

    Attributes
    ----------
    w, b, c : Tensor, shape (k,)
        Slope, shift and height of each unit.
    bias : float
        The constant that is added to the sum.
    activation : {"hard sigmoid", "ReLU", "sigmoid"}
        The function g; PyTorch's hard sigmoid is ``clip((z + 3) / 6, 0, 1)``.
    """

    w: Tensor
    b: Tensor
    c: Tensor
    bias: float
    activation: str

    def __post_init__(self) -> None:
        if self.activation not in _ACTIVATIONS:
            raise ValueError(f"activation is {self.activation!r}; choose one of {', '.join(map(repr, _ACTIVATIONS))}")
        if not (self.w.ndim == 1 and self.w.shape == self.b.shape == self.c.shape):
            shapes = [tuple(t.shape) for t in (self.w, self.b, self.c)]
            raise ValueError(f"w, b and c have shapes {shapes}; give three vectors of one length")

    def parts(self, x: Tensor) -> Tensor:
        """Return what each unit adds, ``c_i g(w_i x + b_i)``, shape (k, n), for x of shape (n,)."""
        z = self.w[:, None] * x + self.b[:, None]
        return self.c[:, None] * _ACTIVATIONS[self.activation]()(z)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the value at every x; shape (n,) in, shape (n,) out."""
        return self.bias + self.parts(x).sum(0)

    def module(self) -> nn.Sequential:
        """Return the same function as ``nn.Sequential(Linear(1, k), g, Linear(k, 1))`` in float64."""
        k = len(self.w)
        net = nn.Sequential(nn.Linear(1, k), _ACTIVATIONS[self.activation](), nn.Linear(k, 1)).double()
        with torch.no_grad():
            net[0].weight.copy_(self.w[:, None])
            net[0].bias.copy_(self.b)
            net[2].weight.copy_(self.c[None])
            net[2].bias.fill_(self.bias)
        return net


def hard_sigmoids_through(x, y) -> HiddenLayer:
    """Return the hard sigmoids whose sum runs through the points (x_i, y_i), and is constant beyond the outer two.

    One hard sigmoid per segment: it climbs from 0 to 1 between ``x[i]`` and ``x[i + 1]`` and is multiplied by
    ``y[i + 1] - y[i]``. The sum equals ``numpy.interp`` everywhere.

    Parameters
    ----------
    x, y : array-like, shape (n,)
        The corners; x strictly increasing, n at least 2.

    Raises
    ------
    ValueError
        If the shapes differ, a value is not finite, or x does not increase.

    Examples
    --------
    >>> net = hard_sigmoids_through([0, 1, 3], [1, 3, 2])
    >>> net(torch.tensor([-5, 0.5, 2, 9], dtype=torch.float64)).tolist()
    [1.0, 2.0, 2.5, 2.0]
    """
    x, y = _corners(x, y)
    w = 6 / x.diff()
    return HiddenLayer(w, -3 - w * x[:-1], y.diff(), y[0].item(), "hard sigmoid")


def relus_through(x, y, *, flat_right: bool = False) -> HiddenLayer:
    """Return the ReLUs whose sum runs through the points (x_i, y_i), and is constant to the left of the first.

    One ReLU per corner: it starts at ``x[i]`` and its height is the change of slope there.

    Parameters
    ----------
    x, y : array-like, shape (n,)
        The corners; x strictly increasing, n at least 2.
    flat_right : bool
        False: n - 1 ReLUs, and the last segment's slope goes on for ever. True: one more ReLU at the last corner
        makes the slope zero beyond it, and the sum equals ``numpy.interp`` everywhere.

    Raises
    ------
    ValueError
        If the shapes differ, a value is not finite, or x does not increase.

    Examples
    --------
    >>> net = relus_through([0, 1, 3], [1, 3, 2])
    >>> net.c.tolist()
    [2.0, -2.5]
    >>> net(torch.tensor([-5, 0.5, 2, 5], dtype=torch.float64)).tolist()
    [1.0, 2.0, 2.5, 1.0]
    """
    x, y = _corners(x, y)
    slopes = torch.cat([x.new_zeros(1), y.diff() / x.diff(), x.new_zeros(1)])
    k = len(x) if flat_right else len(x) - 1
    return HiddenLayer(torch.ones(k, dtype=x.dtype), -x[:k], slopes.diff()[:k], y[0].item(), "ReLU")


@torch.no_grad()
def kinks(model: nn.Sequential, lo: float, hi: float, *, rtol: float = 1e-9) -> Tensor:
    """Return where a piecewise-linear network of one variable changes its slope, strictly between lo and hi.

    Between two neighbouring kinks of the layers below, every pre-activation is linear, so its crossing of an
    activation's kink (0 for ReLU, -3 and 3 for the hard sigmoid) is found exactly. The function has
    ``len(kinks) + 1`` linear pieces on [lo, hi].

    Parameters
    ----------
    model : nn.Sequential
        Layers ``nn.Linear``, ``nn.ReLU`` and ``nn.Hardsigmoid`` only, one input and one output.
    lo, hi : float
        The interval.
    rtol : float
        Two slopes that differ by less than this, relative to the larger (and to 1), count as one.

    Returns
    -------
    Tensor, shape (number of kinks,), float64, increasing

    Raises
    ------
    ValueError
        If the interval is empty or the network has more than one input or output.
    TypeError
        If a layer is not piecewise linear, or is none of the three above.

    Examples
    --------
    >>> net = relus_through([0, 1, 3], [1, 3, 2]).module()
    >>> kinks(net, -5, 5).tolist()
    [0.0, 1.0]
    """
    if not lo < hi:
        raise ValueError(f"the interval [{lo}, {hi}] is empty; give lo < hi")
    x = torch.tensor([lo, hi], dtype=torch.float64)
    layers = list(model)
    for depth, layer in enumerate(layers):
        if isinstance(layer, nn.Linear):
            continue
        if type(layer) not in _LEVELS:
            raise TypeError(
                f"layer {depth} is {type(layer).__name__}; only Linear, ReLU and Hardsigmoid have kinks here"
            )
        x = _add_crossings(x, _run(layers[:depth], x), _LEVELS[type(layer)])
    y = _run(layers, x)
    if y.shape[1] != 1:
        raise ValueError(f"the network has {y.shape[1]} outputs; kinks are those of a function with one")
    slope = y[:, 0].diff() / x.diff()
    scale = torch.maximum(slope.abs()[1:], slope.abs()[:-1]).clamp(min=1)
    return x[1:-1][slope.diff().abs() > rtol * scale]


def _run(layers: list[nn.Module], x: Tensor) -> Tensor:
    """Return the values after `layers` at the points x: shape (n,) in, (n, units) out, in float64."""
    h = x[:, None]
    for layer in layers:
        if isinstance(layer, nn.Linear):
            if layer.in_features != h.shape[1]:
                raise ValueError(
                    f"a layer expects {layer.in_features} inputs and gets {h.shape[1]}; kinks needs one input"
                )
            bias = 0 if layer.bias is None else layer.bias.double()
            h = h @ layer.weight.double().T + bias
        else:
            h = layer(h)
    return h


def _add_crossings(x: Tensor, z: Tensor, levels: tuple[float, ...]) -> Tensor:
    """Return x (n,) with the points added at which a column of z (n, units), linear in between, crosses a level."""
    new = [x]
    for level in levels:
        left, right = z[:-1] - level, z[1:] - level
        i, unit = ((left * right) < 0).nonzero(as_tuple=True)
        share = left[i, unit] / (left[i, unit] - right[i, unit])
        new.append(x[i] + share * (x[i + 1] - x[i]))
    x = torch.cat(new).unique()  # sorted
    apart = x.diff() > 1e-12 * x.abs().max().clamp(min=1)
    return x[torch.cat([apart.new_ones(1), apart])]


def _corners(x, y) -> tuple[Tensor, Tensor]:
    x, y = (v if isinstance(v, Tensor) else torch.as_tensor(v, dtype=torch.float64) for v in (x, y))
    expect.numbers(x=x, y=y)
    x, y = x.to(torch.float64), y.to(torch.float64)
    if x.ndim != 1 or x.shape != y.shape or len(x) < 2:
        raise ValueError(
            f"x and y have shapes {tuple(x.shape)} and {tuple(y.shape)}; give two vectors of one length >= 2"
        )
    if not (x.isfinite().all() and y.isfinite().all()):
        raise ValueError("x or y holds a value that is not finite; remove the corners with NaN or infinity")
    if not (x.diff() > 0).all():
        raise ValueError("x does not increase strictly; sort the corners by x and keep one per x")
    return x, y
