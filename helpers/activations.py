"""Activation functions with their derivatives in closed form, and what a stack of layers does to a signal.

:data:`ACTIVATIONS` holds the functions that act entry by entry. Their derivatives are written so that they neither
overflow nor lose their digits far from zero; the tests compare them with autograd. :func:`depth_profile` measures how
the signal on its way up, and the gradient on its way down, change from layer to layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from helpers import expect, tables


@dataclass(frozen=True)
class ActivationFunction:
    """A function that acts entry by entry, with its derivative and the line that a cheat sheet has about it.

    Attributes
    ----------
    name : str
        Name in the text, and key of :func:`get`.
    formula, slope, range : str
        TeX of the function, of its derivative and of the values that it takes, without dollar signs.
    f : callable
        Tensor to tensor of the same shape; autograd can differentiate it.
    derivative : callable
        Closed form of the derivative, tensor to tensor of the same shape. At a corner it says what PyTorch says.
    largest_slope : float
        Supremum of the derivative.
    module, use : str
        PyTorch's layer, as an expression after ``from torch import nn``, and where it is used.
    """

    name: str
    formula: str
    slope: str
    range: str
    f: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor], Tensor]
    largest_slope: float
    module: str
    use: str


def _sigmoid_slope(z: Tensor) -> Tensor:
    return torch.sigmoid(z) * torch.sigmoid(-z)  # 1 - sigmoid(z) would be 0 from z = 37 on


def _leaky_slope(slope: float) -> Callable[[Tensor], Tensor]:
    return lambda z: torch.where(z > 0, torch.ones_like(z), slope)


def _gelu_slope(z: Tensor) -> Tensor:
    return torch.special.ndtr(z) + z * torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)


PRELU_START = 0.25  # nn.PReLU starts with it, and learns another
LEAKY_SLOPE = 0.01  # nn.LeakyReLU's default, and never learned

ACTIVATIONS = (
    ActivationFunction(
        "sigmoid",
        r"\sigma(z) = \dfrac{1}{1+e^{-z}}",
        r"\sigma(z)\,(1-\sigma(z))",
        "(0, 1)",
        torch.sigmoid,
        _sigmoid_slope,
        0.25,
        "nn.Sigmoid()",
        "gates; probability of a yes",
    ),
    ActivationFunction(
        "tanh",
        r"\tanh z = 2\sigma(2z) - 1",
        r"1 - \tanh^2 z",
        "(-1, 1)",
        torch.tanh,
        lambda z: 4 * _sigmoid_slope(2 * z),
        1.0,
        "nn.Tanh()",
        "recurrent states; outputs with a sign",
    ),
    ActivationFunction(
        "ReLU",
        r"\max(0, z)",
        r"[z > 0]",
        r"[0, \infty)",
        torch.relu,
        lambda z: (z > 0).to(z.dtype),
        1.0,
        "nn.ReLU()",
        "first choice for hidden layers",
    ),
    ActivationFunction(
        "leaky ReLU",
        r"\max(0, z) + \alpha\min(0, z)",
        r"1\ (z > 0),\ \text{else}\ \alpha",
        r"(-\infty, \infty)",
        lambda z: F.leaky_relu(z, LEAKY_SLOPE),
        _leaky_slope(LEAKY_SLOPE),
        1.0,
        f"nn.LeakyReLU({LEAKY_SLOPE})",
        "where ReLUs die; α is fixed",
    ),
    ActivationFunction(
        "PReLU",
        r"\max(0, z) + a\min(0, z)",
        r"1\ (z > 0),\ \text{else}\ a",
        r"(-\infty, \infty)",
        lambda z: F.prelu(z, z.new_tensor([PRELU_START])),
        _leaky_slope(PRELU_START),
        1.0,
        "nn.PReLU()",
        "as leaky ReLU; $a$ is learned and may exceed 1",
    ),
    ActivationFunction(
        "ELU",
        r"z\ (z > 0),\ \text{else}\ e^z - 1",
        r"1\ (z > 0),\ \text{else}\ e^z",
        r"(-1, \infty)",
        F.elu,
        lambda z: torch.exp(z.clamp(max=0)),
        1.0,
        "nn.ELU()",
        "hidden layers without normalisation",
    ),
    ActivationFunction(
        "softplus",
        r"\log(1 + e^z)",
        r"\sigma(z)",
        r"(0, \infty)",
        lambda z: torch.logaddexp(z, torch.zeros_like(z)),  # F.softplus returns z itself above 20, 2e-9 off
        torch.sigmoid,
        1.0,
        "nn.Softplus()",
        "outputs that must be positive",
    ),
    ActivationFunction(
        "GELU",
        r"z\,\Phi(z)",
        r"\Phi(z) + z\,\varphi(z)",
        r"[-0.17, \infty)",
        F.gelu,
        _gelu_slope,
        0.5 * (1 + math.erf(1.0)) + math.exp(-1.0) / math.sqrt(math.pi),  # at z = sqrt(2)
        "nn.GELU()",
        "transformers",
    ),
    ActivationFunction(
        "SiLU",
        r"z\,\sigma(z)",
        r"\sigma(z)\,\bigl(1 + z\,\sigma(-z)\bigr)",
        r"[-0.28, \infty)",
        F.silu,
        lambda z: torch.sigmoid(z) * (1 + z * torch.sigmoid(-z)),
        1.0998393194,  # where z = 2 coth(z / 2), at 2.3994
        "nn.SiLU()",
        "recent image and language models",
    ),
)
"""The activation functions of the book that act entry by entry. Softmax, which mixes entries, is not among them."""


def get(name: str) -> ActivationFunction:
    """Find an activation by its name.

    Raises
    ------
    ValueError
        If there is none of that name; the message lists the names.

    Examples
    --------
    >>> gelu = get("GELU")
    >>> gelu.f(torch.tensor([0.0, 1.0])), gelu.derivative(torch.tensor([0.0]))
    (tensor([0.0000, 0.8413]), tensor([0.5000]))
    """
    for each in ACTIVATIONS:
        if each.name == name:
            return each
    raise ValueError(f"there is no activation called {name!r}; known are {', '.join(a.name for a in ACTIVATIONS)}")


def table() -> str:
    """The cheat sheet of :data:`ACTIVATIONS` as a Markdown table, with TeX between dollar signs.

    Examples
    --------
    >>> print(table().splitlines()[4][:34])
    | ReLU `nn.ReLU()` | $\\max(0, z)$
    """
    rows = [
        (f"{a.name} `{a.module}`", f"${a.formula}$", f"${a.slope}$", f"${a.range}$", f"{a.largest_slope:.3g}", a.use)
        for a in ACTIVATIONS
    ]
    return tables.markdown(("function", "$f(z)$", "$f'(z)$", "values", "largest slope", "use"), rows)


@dataclass(frozen=True)
class DepthProfile:
    """What happened to the signal and to the gradient in each layer; entry 0 of a tuple is the first layer.

    Attributes
    ----------
    z, delta : tuple of Tensor
        Inputs of the activation, and gradients of the loss with respect to them, each of shape (n_samples, width).
    signal : Tensor
        Standard deviation of the activation's output over the samples, root mean square over units; shape (depth,).
    gradient : Tensor
        Root mean square of `delta`, shape (depth,).
    slope : Tensor
        Root mean square of the activation's derivative at `z`, shape (depth,).
    weight_scale : Tensor
        Standard deviation of the weights times the square root of the width, shape (depth,).
    """

    z: tuple[Tensor, ...]
    delta: tuple[Tensor, ...]
    signal: Tensor
    gradient: Tensor
    slope: Tensor
    weight_scale: Tensor

    @property
    def surviving(self) -> float:
        """Gradient of the first layer as a share of the last layer's."""
        return (self.gradient[0] / self.gradient[-1]).item()


def depth_profile(
    f: Callable[[Tensor], Tensor],
    *,
    depth: int = 10,
    width: int = 128,
    weight_scale: float = 1.0,
    z_std: float | None = None,
    n_samples: int = 128,
    seed: int = 0,
) -> DepthProfile:
    """Send random samples up a stack of random layers, and a random gradient down again, in float64.

    Layer `l` is ``z = a @ W.T`` followed by ``f``, without a bias; inputs and the gradient at the top are standard
    normal. One seed gives every activation the same inputs, the same weights and the same gradient at the top.

    Parameters
    ----------
    f : callable
        Activation, tensor to tensor of the same shape.
    depth, width, n_samples, seed : int
        Number of layers, units of each, and samples; seed of all that is random.
    weight_scale : float
        The weights are normal with standard deviation ``weight_scale / sqrt(width)``.
    z_std : float, optional
        If given, every layer's weights are rescaled until its `z` have this standard deviation instead.

    Raises
    ------
    ValueError
        If a number is not positive, or `f` changes the shape.

    Examples
    --------
    >>> profile = depth_profile(torch.sigmoid, depth=5)
    >>> profile.gradient.shape, profile.surviving < 0.25**4
    (torch.Size([5]), True)
    """
    given = {"depth": depth, "width": width, "n_samples": n_samples, "weight_scale": weight_scale, "z_std": z_std}
    for name, value in given.items():
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"{name} must be a positive number, got {value}")
    expect.whole(depth=depth, width=width, n_samples=n_samples, least=1)
    expect.whole(seed=seed)
    draw = {"generator": torch.Generator().manual_seed(seed), "dtype": torch.float64}
    a, zs, scales, signals = torch.randn(n_samples, width, **draw).requires_grad_(), [], [], []
    for _ in range(depth):
        W = torch.randn(width, width, **draw) * weight_scale / math.sqrt(width)
        if z_std is not None:
            W = W * (z_std / (a @ W.T).std().detach())
        z = a @ W.T
        a = f(z)
        if a.shape != z.shape:
            raise ValueError(f"f must keep the shape {tuple(z.shape)}, it returned {tuple(a.shape)}")
        zs.append(z)
        scales.append(W.std() * math.sqrt(width))
        signals.append(a.detach().var(dim=0, correction=0).mean().sqrt())
    delta = torch.autograd.grad(a, zs, torch.randn(a.shape, **draw))
    slopes = [torch.autograd.grad(f(z).sum(), z)[0] for z in (z.detach().requires_grad_() for z in zs)]
    gradient, slope = (torch.stack([each.square().mean().sqrt() for each in them]) for them in (delta, slopes))
    z = tuple(each.detach() for each in zs)
    return DepthProfile(z, delta, torch.stack(signals), gradient, slope, torch.stack(scales))
