"""Initial weights: the schemes, what theory predicts for the layers of a network, and what a network does.

The theory follows one number through the layers: the mean square of the pre-activations, forwards, and of the
gradients with respect to them, backwards (X. Glorot and Y. Bengio, *Understanding the difficulty of training deep
feedforward neural networks*, AISTATS 2010; K. He et al., *Delving Deep into Rectifiers*, ICCV 2015; B. Poole et al.,
*Exponential expressivity in deep neural networks through transient chaos*, NIPS 2016; S. Schoenholz et al., *Deep
Information Propagation*, ICLR 2017). Biases are zero throughout.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn

from helpers import expect, tables

F64 = torch.float64
_INPUTS = 32  # for each measured network


@dataclass(frozen=True)
class Scheme:
    """A rule for filling the weight of a layer.

    Attributes
    ----------
    name : str
    tex, variance : str, callable
        The variance of one weight, as TeX and as a function of (fan_in, fan_out).
    fill : callable
        ``fill(weight, generator)`` overwrites a weight of shape (fan_out, fan_in) in place and returns it.
    call : str
        How PyTorch spells it.
    made_for, source : str
        What it is good for, and the paper.
    mean : float
        Of one weight.

    Examples
    --------
    >>> he = next(each for each in SCHEMES if each.name == "He normal")
    >>> he.variance(6, 4), tuple(he.fill(torch.empty(4, 6), None).shape)
    (0.333..., (4, 6))
    """

    name: str
    tex: str
    variance: Callable[[int, int], float]
    fill: Callable[[Tensor, Generator | None], Tensor]
    call: str
    made_for: str
    source: str
    mean: float = 0.0


def _drawn(rule: Callable[..., Tensor], **options) -> Callable[[Tensor, Generator | None], Tensor]:
    return lambda weight, generator: rule(weight, **options, generator=generator)


_NONE = ("0", lambda fan_in, fan_out: 0.0)
_LECUN = (r"\frac{1}{n_\text{in}}", lambda fan_in, fan_out: 1 / fan_in)
_XAVIER = (r"\frac{2}{n_\text{in} + n_\text{out}}", lambda fan_in, fan_out: 2 / (fan_in + fan_out))
_HE = (r"\frac{2}{n_\text{in}}", lambda fan_in, fan_out: 2 / fan_in)
_OWN = (r"\frac{1}{3 n_\text{in}}", lambda fan_in, fan_out: 1 / (3 * fan_in))
_ORTHOGONAL = (r"\frac{1}{\max(n_\text{in}, n_\text{out})}", lambda fan_in, fan_out: 1 / max(fan_in, fan_out))
_uniform, _normal = _drawn(nn.init.uniform_), _drawn(nn.init.normal_, mean=4.0, std=2.0)
_small, _constant = _drawn(nn.init.normal_, std=0.01), lambda w, _: nn.init.constant_(w, 0.54)
_own = _drawn(nn.init.kaiming_uniform_, a=math.sqrt(5))
_lecun, _he_normal = (_drawn(nn.init.kaiming_normal_, nonlinearity=each) for each in ("linear", "relu"))
_he_uniform = _drawn(nn.init.kaiming_uniform_, nonlinearity="relu")

_GLOROT, _KAIMING, _DEEP = "Glorot, Bengio 2010", "He et al. 2015", "linear, tanh"

SCHEMES = (
    Scheme("zeros", *_NONE, lambda w, _: nn.init.zeros_(w), "zeros_(w)", "biases", "–"),
    Scheme("ones", *_NONE, lambda w, _: nn.init.ones_(w), "ones_(w)", "scales of normalisation", "–", mean=1.0),
    Scheme("constant 0.54", *_NONE, _constant, "constant_(w, 0.54)", "nothing", "–", mean=0.54),
    Scheme("uniform [0, 1)", r"\frac{1}{12}", lambda i, o: 1 / 12, _uniform, "uniform_(w)", "nothing", "–", mean=0.5),
    Scheme("normal (4, 2)", "4", lambda i, o: 4.0, _normal, "normal_(w, 4, 2)", "nothing", "–", mean=4.0),
    Scheme("normal (0, 0.01)", "10^{-4}", lambda i, o: 1e-4, _small, "normal_(w, 0, 0.01)", "fan-in near $10^4$", "–"),
    Scheme("nn.Linear's own", *_OWN, _own, "kaiming_uniform_(w, a=5**0.5)", "shallow networks", "Torch 7"),
    Scheme("LeCun normal", *_LECUN, _lecun, 'kaiming_normal_(w, nonlinearity="linear")', _DEEP, "LeCun et al. 2012"),
    Scheme("Xavier normal", *_XAVIER, _drawn(nn.init.xavier_normal_), "xavier_normal_(w)", _DEEP, _GLOROT),
    Scheme("Xavier uniform", *_XAVIER, _drawn(nn.init.xavier_uniform_), "xavier_uniform_(w)", _DEEP, _GLOROT),
    Scheme("He normal", *_HE, _he_normal, 'kaiming_normal_(w, nonlinearity="relu")', "ReLU", _KAIMING),
    Scheme("He uniform", *_HE, _he_uniform, 'kaiming_uniform_(w, nonlinearity="relu")', "ReLU", _KAIMING),
    Scheme("orthogonal", *_ORTHOGONAL, _drawn(nn.init.orthogonal_), "orthogonal_(w)", "very deep", "Saxe et al. 2014"),
)
"""Every scheme of the chapter, from the ones that cannot work to the ones that do."""


@dataclass(frozen=True)
class Activation:
    """An elementwise function with its derivative `slope`, and what they do to a normal distribution.

    `name` is the one that `torch.nn.init.calculate_gain` knows. `exact` may give the four averages of
    :meth:`averages` in closed form; without it they are integrated numerically.
    """

    name: str
    function: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]
    exact: Callable[[Tensor, Tensor], tuple[Tensor, ...]] | None = None

    def averages(self, mean: Tensor | float, std: Tensor | float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Average the activation and its slope over z ~ N(mean, std^2).

        Returns the averages of phi(z), phi(z)^2, phi'(z) and phi'(z)^2, of the broadcast shape, in float64.

        Examples
        --------
        >>> [round(a.item(), 4) for a in ACTIVATIONS["relu"].averages(0.0, 1.0)]
        [0.3989, 0.5, 0.5, 0.5]
        """
        mean, std = torch.broadcast_tensors(torch.as_tensor(mean, dtype=F64), torch.as_tensor(std, dtype=F64))
        if self.exact is not None:
            return self.exact(mean, std)
        nodes, weights = _normal_grid(800)  # an even number: no node on a kink at zero
        z = mean[..., None] + std[..., None] * nodes
        value, slope = self.function(z), self.slope(z)
        return value @ weights, value**2 @ weights, slope @ weights, slope**2 @ weights


def _linear_averages(mean: Tensor, std: Tensor) -> tuple[Tensor, ...]:
    one = torch.ones_like(mean)
    return mean, mean**2 + std**2, one, one


def _relu_averages(mean: Tensor, std: Tensor) -> tuple[Tensor, ...]:
    ratio = mean / std.clamp_min(torch.finfo(F64).tiny)
    positive = torch.special.ndtr(ratio)  # the probability that z > 0
    density = torch.exp(-(ratio**2) / 2) / math.sqrt(2 * math.pi)
    value = (mean * positive + std * density).clamp_min(0)  # rounding may leave less than nothing
    square = ((mean**2 + std**2) * positive + mean * std * density).clamp_min(0)
    return value, square, positive, positive


def _normal_grid(n: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights of the trapezoidal rule for the standard normal density, cut at 8.5 standard deviations.

    It converges geometrically for smooth functions (L. Trefethen and J. Weideman, SIAM Review 56, 2014), and resolves
    the narrow bump that the slope of tanh is where z has a large variance; Gauss-Hermite nodes are too sparse for that.
    """
    nodes = torch.linspace(-8.5, 8.5, n, dtype=F64)
    weights = torch.exp(-(nodes**2) / 2)
    return nodes, weights / weights.sum()


_KNOWN = (
    Activation("linear", lambda z: z, torch.ones_like, _linear_averages),
    Activation("relu", torch.relu, lambda z: (z > 0).to(z.dtype), _relu_averages),
    Activation("tanh", torch.tanh, lambda z: 1 - torch.tanh(z) ** 2),
    Activation("sigmoid", torch.sigmoid, lambda z: torch.sigmoid(z) * torch.sigmoid(-z)),
)
ACTIVATIONS = {item.name: item for item in _KNOWN}
"""The activations of the chapter, by name."""


@dataclass(frozen=True, eq=False)
class Variances:
    """Mean squares of the layers 1, 2, ..., L; both have shape (L,) and are float64.

    `forward` is the mean of z^2 over the examples and neurons of a layer; weights of mean zero make it the variance
    of z. `backward` is the mean square of the gradients with respect to z, when that of the last layer is 1.
    """

    forward: Tensor
    backward: Tensor


def predicted_variances(
    scheme: Scheme, activation: Activation, widths: Sequence[int], *, gain: float = 1.0, input_variance: float = 1.0
) -> Variances:
    r"""Predict the mean squares of a network from its widths alone, for wide layers and inputs of mean zero.

    With weights of mean zero and variance :math:`v` the recursions are, :math:`z` being normal with mean zero,

    .. math:: q^{(l+1)} = n_l v \, E[\varphi(\sqrt{q^{(l)}} z)^2], \qquad
       d^{(l)} = n_{l+1} v \, E[\varphi'(\sqrt{q^{(l)}} z)^2] \, d^{(l+1)}

    (Poole et al. 2016, section 2; Schoenholz et al. 2017, section 4). Weights with a mean add a part that all neurons
    of a layer share; it is followed separately, for each value that the first layer may give it.

    Parameters
    ----------
    scheme : Scheme
    activation : Activation
    widths : sequence of int
        Number of inputs, then the width of each layer: L + 1 numbers for L layers.
    gain : float
        Every weight is multiplied by it.
    input_variance : float

    Raises
    ------
    ValueError
        If a width is not a positive integer, or another number is not finite.

    Examples
    --------
    A ReLU layer halves the mean square, and so does its gradient; He's factor 2 makes good for it:

    >>> relu = ACTIVATIONS["relu"]
    >>> predicted_variances(SCHEMES[7], relu, [100] * 4).forward
    tensor([1.0000, 0.5000, 0.2500], dtype=torch.float64)
    >>> predicted_variances(SCHEMES[10], relu, [100] * 4).backward
    tensor([1., 1., 1.], dtype=torch.float64)
    """
    widths = _checked(widths, gain, input_variance)
    mu = gain * scheme.mean
    v = [gain**2 * scheme.variance(fan_in, fan_out) for fan_in, fan_out in pairwise(widths)]
    nodes, weights = _normal_grid(160) if mu else (torch.zeros(1, dtype=F64), torch.ones(1, dtype=F64))
    mean = mu * math.sqrt(widths[0] * input_variance) * nodes  # shared by all neurons of a layer
    std = torch.full_like(mean, math.sqrt(v[0] * widths[0] * input_variance))
    forward, slopes = [], []
    for n, v_next in zip(widths[1:], [*v[1:], 0.0], strict=True):
        forward.append((weights * (mean**2 + std**2)).sum())
        value, square, *slope = activation.averages(mean, std)
        slopes.append(slope)
        mean, std = mu * n * value, (v_next * n * square).sqrt()

    total = squares = torch.full_like(mean, widths[-1])  # of the gradients: squared sum, sum of squares
    backward = [torch.ones((), dtype=F64)]
    for n, v_next, (slope, slope2) in zip(widths[-2:0:-1], v[:0:-1], slopes[-2::-1], strict=True):
        shared = mu**2 * total
        squares = n * slope2 * (shared + v_next * squares)
        total = squares + n * (n - 1) * slope**2 * shared
        backward.append((weights * squares).sum() / n)
    return Variances(torch.stack(forward), torch.stack(backward[::-1]))


def measured_variances(
    scheme: Scheme, activation: Activation, widths: Sequence[int], *, gain: float = 1.0, n_seeds: int = 4
) -> Variances:
    """Measure the mean squares in networks with zero biases, for 32 standard normal inputs.

    Gradients come from autograd; those that enter the last layer are standard normal too.

    Parameters
    ----------
    scheme, activation, widths, gain
        As for :func:`predicted_variances`; the same errors are raised.
    n_seeds : int
        Number of networks over which the squares are averaged; their seeds are 0, 1, ...

    Examples
    --------
    >>> run = measured_variances(SCHEMES[10], ACTIVATIONS["relu"], [100] * 6)
    >>> 1 < run.forward[-1] < 4
    tensor(True)
    """
    widths = _checked(widths, gain, 1.0)
    expect.whole(n_seeds=n_seeds, least=1)
    forward = torch.zeros(n_seeds, len(widths) - 1, dtype=F64)
    backward = torch.zeros_like(forward)
    for run in range(n_seeds):
        generator = torch.Generator().manual_seed(run)
        a = torch.randn(_INPUTS, widths[0], generator=generator, dtype=F64).requires_grad_()
        z = []
        for fan_in, fan_out in pairwise(widths):
            weight = scheme.fill(torch.empty(fan_out, fan_in, dtype=F64), generator)
            z.append(a @ (gain * weight).T)
            a = activation.function(z[-1])
        upstream = torch.randn(z[-1].shape, generator=generator, dtype=F64)
        deltas = torch.autograd.grad(z[-1], z, grad_outputs=upstream)
        forward[run] = torch.stack([each.detach().square().mean() for each in z])
        backward[run] = torch.stack([delta.square().mean() for delta in deltas])
    return Variances(forward.mean(dim=0), backward.mean(dim=0))


def table() -> str:
    """Write the schemes as a Markdown table; its last column predicts what a ReLU layer of 256 neurons does to z^2.

    Examples
    --------
    >>> print(table().splitlines()[0])
    | Scheme | Variance of a weight | In `torch.nn.init` | Made for | From | A ReLU layer: times |
    """
    columns = ("Scheme", "Variance of a weight", "In `torch.nn.init`", "Made for", "From", "A ReLU layer: times")
    rows = []
    for item in SCHEMES:
        q = predicted_variances(item, ACTIVATIONS["relu"], [256] * 4).forward
        factor = f"{q[2] / q[1]:.3g}" if q[1] else "0"
        rows.append((item.name, f"${item.tex}$", f"`{item.call}`", item.made_for, item.source, factor))
    return tables.markdown(columns, rows)


def _checked(widths: Sequence[int], gain: float, input_variance: float) -> list[int]:
    widths = list(widths)
    if len(widths) < 2 or any(type(n) is not int or n < 1 for n in widths):
        raise ValueError(f"widths are the number of inputs, then of the neurons of each layer; not {widths}.")
    if not (math.isfinite(gain) and math.isfinite(input_variance) and input_variance >= 0):
        raise ValueError(f"gain and input_variance are finite, the latter not negative; got {gain}, {input_variance}.")
    return widths
