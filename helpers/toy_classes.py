"""Made-up points with class labels; part of :mod:`helpers.toy`, which is where to import them from."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from . import expect


def moons(
    n: int = 200, *, noise: float = 0.1, seed: int = 0, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor]:
    """Draw two interleaved half circles, which no straight line separates; the geometry is scikit-learn's.

    Parameters
    ----------
    n : int
        Number of points, half of them (rounded up) in the upper moon, class 0.
    noise : float
        Standard deviation of the normal noise on both coordinates.
    seed : int
    dtype : torch.dtype

    Returns
    -------
    X : torch.Tensor
        Shape (n, 2); without noise in [-1, 2] x [-0.5, 1].
    y : torch.Tensor
        Shape (n,), int64, 0 or 1.

    Examples
    --------
    >>> X, y = moons(100)
    >>> tuple(X.shape), y.bincount().tolist()
    ((100, 2), [50, 50])
    """
    random = generator(n, seed)
    upper = torch.linspace(0, math.pi, n - n // 2, dtype=dtype)
    lower = torch.linspace(0, math.pi, n // 2, dtype=dtype)
    X = torch.cat([torch.stack([upper.cos(), upper.sin()], 1), torch.stack([1 - lower.cos(), 0.5 - lower.sin()], 1)])
    y = torch.cat([torch.zeros(len(upper), dtype=torch.int64), torch.ones(len(lower), dtype=torch.int64)])
    return _shuffled(X + normal_noise(noise, (n, 2), random, dtype), y, random)


def spirals(
    n: int = 300,
    *,
    classes: int = 3,
    turns: float = 0.75,
    noise: float = 0.03,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor]:
    """Draw the arms of a spiral, one for each class.

    Parameters
    ----------
    n : int
        Number of points, shared as evenly as possible among the classes.
    classes : int
        Number of arms.
    turns : float
        How often an arm winds around the centre; the more, the harder.
    noise : float
        Standard deviation of the normal noise on both coordinates.
    seed : int
    dtype : torch.dtype

    Returns
    -------
    X : torch.Tensor
        Shape (n, 2); without noise inside the unit circle.
    y : torch.Tensor
        Shape (n,), int64, from 0 to ``classes - 1``.

    Examples
    --------
    >>> X, y = spirals(300, noise=0.0)
    >>> y.bincount().tolist(), round(X.norm(dim=1).max().item(), 6)
    ([100, 100, 100], 1.0)
    """
    random = generator(n, seed, classes)
    expect.finite(turns=turns)
    y = torch.arange(n) % classes
    along = (torch.arange(n) // classes + 1).to(dtype)
    radius = along / along.max()
    angle = 2 * math.pi * (turns * radius + y.to(dtype) / classes)
    X = radius[:, None] * torch.stack([angle.cos(), angle.sin()], 1).to(dtype)
    return _shuffled(X + normal_noise(noise, (n, 2), random, dtype), y, random)


def blobs(
    n: int = 300,
    *,
    classes: int = 3,
    centres: Sequence[Sequence[float]] | None = None,
    noise: float = 0.5,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor]:
    """Draw round clouds of points, one for each class.

    Parameters
    ----------
    n : int
        Number of points, shared as evenly as possible among the classes.
    classes : int
        Number of clouds; with `centres` their number counts.
    centres : sequence of points, optional
        By default evenly spaced on a circle of radius 2 around the origin, the first on the positive x axis.
    noise : float
        Standard deviation of a cloud in each direction.
    seed : int
    dtype : torch.dtype

    Returns
    -------
    X : torch.Tensor
        Shape (n, 2), or (n, d) with centres in d dimensions.
    y : torch.Tensor
        Shape (n,), int64, from 0 to ``classes - 1``.

    Examples
    --------
    >>> X, y = blobs(6, centres=[(0, 0), (4, 4)], noise=0.0)
    >>> X[y == 1].tolist()
    [[4.0, 4.0], [4.0, 4.0], [4.0, 4.0]]
    """
    if centres is None:
        generator(n, seed, classes)  # checks them
        angles = 2 * math.pi * torch.arange(max(classes, 1), dtype=dtype) / max(classes, 1)
        middle = 2 * torch.stack([angles.cos(), angles.sin()], 1)
    else:
        middle = torch.tensor(centres, dtype=dtype)
        if middle.ndim != 2 or not bool(middle.isfinite().all()):
            raise ValueError(f"centres are points, a row of finite numbers for each class, not {centres!r:.80}")
        classes = len(middle)
    random = generator(n, seed, classes)
    y = torch.arange(n) % classes
    return _shuffled(middle[y] + normal_noise(noise, (n, middle.shape[1]), random, dtype), y, random)


def generator(n: int, seed: int, classes: int = 1) -> torch.Generator:
    """Check the size and make the source of randomness."""
    if not isinstance(classes, int) or classes < 1:
        raise ValueError(f"classes is {classes!r}, but must be a whole number from 1 on")
    if not isinstance(n, int) or n < classes:
        raise ValueError(
            f"n is {n!r}, but must be a whole number from {classes} on, one example for each class at least"
        )
    expect.whole(n=n, seed=seed)
    return torch.Generator("cpu").manual_seed(seed)


def normal_noise(sd: float, shape: tuple[int, ...], random: torch.Generator, dtype: torch.dtype) -> Tensor:
    if not 0 <= sd < math.inf:
        raise ValueError(f"noise is {sd!r}, but a standard deviation is finite and never negative")
    return sd * torch.randn(shape, generator=random, dtype=dtype)


def _shuffled(X: Tensor, y: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
    order = torch.randperm(len(y), generator=random)
    return X[order], y[order]
