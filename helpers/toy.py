"""Made-up data with a known truth: regression on a line and a curve, three classification problems, a memory task.

Every function takes a `seed` and gives the same tensors for the same seed. Rows come in random order.
Numbers are float32 unless `dtype` says otherwise; regression targets have shape (n, 1), like the output of
``nn.Linear(d, 1)``; class labels have shape (n,) and type int64, as `torch.nn.CrossEntropyLoss` wants them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from . import expect
from .toy_classes import blobs, generator, moons, normal_noise, spirals

__all__ = ["adding_problem", "blobs", "high_dimensional_linear", "line", "moons", "polynomial", "spirals"]


def line(
    n: int = 100,
    *,
    w: float | Sequence[float] = 2.0,
    b: float = 1.0,
    noise: float = 0.1,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor]:
    """Draw points near a line (or a plane): ``y = X w + b + noise``.

    Parameters
    ----------
    n : int
        Number of points.
    w : float or sequence of float
        The slope; several give as many features.
    b : float
        The intercept.
    noise : float
        Standard deviation of the normal noise on y.
    seed : int
    dtype : torch.dtype

    Returns
    -------
    X : torch.Tensor
        Shape (n, d), uniform on [-1, 1).
    y : torch.Tensor
        Shape (n, 1).

    Examples
    --------
    >>> X, y = line(4, w=2.0, b=1.0, noise=0.0)
    >>> tuple(X.shape), tuple(y.shape), torch.equal(y, 2 * X + 1)
    ((4, 1), (4, 1), True)
    """
    random = generator(n, seed)
    slopes = torch.tensor([w] if isinstance(w, (int, float)) else list(w), dtype=dtype)
    expect.finite(b=b, **{f"w_{i}": slope for i, slope in enumerate(slopes.tolist())})
    if not len(slopes):
        raise ValueError("w is empty: give one slope, or one for each feature")
    X = 2 * torch.rand(n, len(slopes), generator=random, dtype=dtype) - 1
    return X, X @ slopes[:, None] + b + normal_noise(noise, (n, 1), random, dtype)


def polynomial(
    n: int = 100,
    *,
    coefficients: Sequence[float] = (1.0, -2.0, -1.0, 1.0),
    noise: float = 0.3,
    low: float = -2.0,
    high: float = 3.0,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor]:
    """Draw points near a polynomial: ``y = c0 + c1 x + c2 x^2 + ... + noise``.

    Parameters
    ----------
    n : int
        Number of points.
    coefficients : sequence of float
        c0, c1, ... from the constant upwards. By default a cubic with two bends inside the range.
    noise : float
        Standard deviation of the normal noise on y.
    low, high : float
        Range of x.
    seed : int
    dtype : torch.dtype

    Returns
    -------
    X : torch.Tensor
        Shape (n, 1), uniform on [low, high).
    y : torch.Tensor
        Shape (n, 1).

    Examples
    --------
    >>> X, y = polynomial(3, coefficients=(0.0, 0.0, 1.0), noise=0.0)
    >>> torch.equal(y, X**2)
    True
    """
    random = generator(n, seed)
    expect.finite(low=low, high=high, **{f"c{i}": c for i, c in enumerate(coefficients)})
    if low > high or not len(coefficients):
        raise ValueError(f"give coefficients and low <= high, not {coefficients!r}, low={low} and high={high}")
    X = low + (high - low) * torch.rand(n, 1, generator=random, dtype=dtype)
    y = torch.zeros_like(X)
    for c in reversed(coefficients):  # Horner's rule
        y = y * X + c
    return X, y + normal_noise(noise, (n, 1), random, dtype)


def high_dimensional_linear(
    n: int = 20,
    *,
    d: int = 200,
    w: float = 0.01,
    b: float = 0.05,
    noise: float = 0.01,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor]:
    """Draw a regression with more features than examples: ``y = b + w (x_1 + ... + x_d) + noise``.

    With n < d a linear model can fit any targets exactly, and what it does on fresh examples depends on
    regularisation alone. For a test set draw more rows and keep some back: another seed gives the same truth.

    Parameters
    ----------
    n, d : int
        Number of examples and of features.
    w : float
        The true weight, the same for each feature.
    b : float
        The true bias.
    noise : float
        Standard deviation of the normal noise on y.
    seed : int
    dtype : torch.dtype

    Returns
    -------
    X : torch.Tensor
        Shape (n, d), standard normal.
    y : torch.Tensor
        Shape (n, 1); standard deviation ``sqrt(d w^2 + noise^2)``, 0.14 by default.

    Examples
    --------
    >>> X, y = high_dimensional_linear()
    >>> tuple(X.shape), tuple(y.shape)
    ((20, 200), (20, 1))
    """
    random = generator(n, seed)
    expect.whole(d=d, least=1)
    expect.finite(w=w, b=b)
    X = torch.randn(n, d, generator=random, dtype=dtype)
    return X, b + w * X.sum(1, keepdim=True) + normal_noise(noise, (n, 1), random, dtype)


def adding_problem(
    n: int = 1000, *, length: int = 50, seed: int = 0, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor]:
    """Draw the adding problem: remember two marked numbers of a sequence and add them.

    One mark falls into each half of the sequence. Who always answers 1 has a mean squared error of 1/6, the variance
    of the sum of two uniform numbers: a recurrent network has learned to remember only when it is well below.

    Parameters
    ----------
    n : int
        Number of sequences.
    length : int
        Steps of a sequence, at least 2.
    seed : int
    dtype : torch.dtype

    Returns
    -------
    X : torch.Tensor
        Shape (n, length, 2): in ``X[..., 0]`` numbers uniform on [0, 1), in ``X[..., 1]`` two marks 1, else 0.
    y : torch.Tensor
        Shape (n, 1): the sum of the marked numbers, between 0 and 2.

    References
    ----------
    S. Hochreiter and J. Schmidhuber, *Long short-term memory*, Neural Computation 9(8), 1997, experiment 4; with marks
    0 and 1 and one in each half as in M. Arjovsky, A. Shah and Y. Bengio, *Unitary evolution recurrent neural
    networks*, 2016, arXiv:1511.06464, section 4.

    Examples
    --------
    >>> X, y = adding_problem(3, length=8)
    >>> numbers, marks = X.unbind(-1)
    >>> marks.sum(1).tolist(), torch.equal(y[:, 0], (numbers * marks).sum(1))
    ([2.0, 2.0, 2.0], True)
    """
    random = generator(n, seed)
    expect.whole(length=length)
    if length < 2:
        raise ValueError(f"length is {length!r}, but two marks need at least 2 steps")
    numbers = torch.rand(n, length, generator=random, dtype=dtype)
    marks = torch.zeros(n, length, dtype=dtype)
    for start, stop in ((0, length // 2), (length // 2, length)):
        marks.scatter_(1, torch.randint(start, stop, (n, 1), generator=random), 1)
    return torch.stack([numbers, marks], -1), (numbers * marks).sum(1, keepdim=True)
