"""Test surfaces: functions to walk down, with their minima.

A *surface* is a scalar function of a parameter vector. The parameter vector is always the **last** axis of a tensor, so
that one call evaluates one point ``(dim,)``, a path ``(n_steps + 1, dim)`` or a crowd of starts ``(n_starts, dim)``.
Python numbers become float64; a floating-point tensor keeps its dtype.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from helpers import expect


@dataclass(frozen=True, eq=False)
class Sample:
    """A surface evaluated on a regular grid, ready to be drawn.

    Attributes
    ----------
    axes : tuple of Tensor
        The grid along each coordinate, each of shape (n,).
    values : Tensor
        Shape (n,) for a curve; (n, n) for a surface of two coordinates, where ``values[j, i]`` belongs to
        ``(axes[0][i], axes[1][j])``, the order that Matplotlib's ``contour`` expects.
    coordinates : tuple of str
        The names of the coordinates, in TeX without dollar signs.
    name : str
        The name of the surface.
    """

    axes: tuple[Tensor, ...]
    values: Tensor
    coordinates: tuple[str, ...]
    name: str


@dataclass(frozen=True, eq=False)
class Surface:
    """A scalar function of ``dim`` parameters together with what is known about it.

    Parameters
    ----------
    name : str
        What the surface is called in captions.
    f : callable
        Maps a tensor of shape (..., dim) to one of shape (...). Must be differentiable by autograd.
    domain : tuple of (low, high)
        The window in which to draw it; one pair per coordinate, which also fixes ``dim``.
    minima : tuple of tuple of float
        All local minimisers inside the domain.
    coordinates : tuple of str, optional
        Names of the coordinates in TeX; ``x`` or ``x_1, x_2, ...`` unless given.

    Examples
    --------
    >>> bowl = Surface("bowl", lambda p: p[..., 0] ** 2 + 2 * p[..., 1] ** 2, ((-6, 6), (-3, 3)), ((0.0, 0.0),))
    >>> bowl([-5, -2]).item()
    33.0
    >>> bowl.gradient([-5, -2]).tolist()
    [-10.0, -8.0]
    >>> bowl.hessian([-5, -2]).tolist()
    [[2.0, 0.0], [0.0, 4.0]]
    """

    name: str
    f: Callable[[Tensor], Tensor]
    domain: tuple[tuple[float, float], ...]
    minima: tuple[tuple[float, ...], ...] = ()
    coordinates: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.domain or any(not low < high for low, high in self.domain):
            raise ValueError(
                f"domain must hold one pair (low, high) with low < high per coordinate, got {self.domain}."
            )
        if not self.coordinates:
            names = ("x",) if self.dim == 1 else tuple(f"x_{i + 1}" for i in range(self.dim))
            object.__setattr__(self, "coordinates", names)
        for given, what in ((self.coordinates, "coordinates"), *((m, "each minimum") for m in self.minima)):
            if len(given) != self.dim:
                raise ValueError(f"{what} must have {self.dim} entries, as domain has, got {given}.")

    @property
    def dim(self) -> int:
        """Number of parameters."""
        return len(self.domain)

    def __call__(self, points: Tensor | Sequence[float] | float) -> Tensor:
        """Value at points of shape (..., dim); shape (...)."""
        return self.f(self.check_points(points))

    def gradient(self, points: Tensor | Sequence[float] | float) -> Tensor:
        """Gradient by autograd at points of shape (..., dim); same shape."""
        return value_and_gradient(self.f, self.check_points(points))[1]

    def hessian(self, point: Tensor | Sequence[float] | float) -> Tensor:
        """Matrix of second derivatives at one point of shape (dim,); shape (dim, dim)."""
        point = self.check_points(point)
        if point.dim() != 1:
            raise ValueError(f"hessian takes one point of shape ({self.dim},), got shape {tuple(point.shape)}.")
        return torch.autograd.functional.hessian(self.f, point.detach())

    def sample(self, n: int = 201, domain: Sequence[tuple[float, float]] | None = None) -> Sample:
        """Evaluate the surface at ``n`` points per coordinate, over ``domain`` or its own window."""
        if self.dim > 2:
            raise ValueError(f"only surfaces of one or two coordinates can be sampled, {self.name} has {self.dim}.")
        axes = tuple(torch.linspace(low, high, n, dtype=torch.float64) for low, high in domain or self.domain)
        mesh = torch.stack(torch.meshgrid(*axes, indexing="xy"), dim=-1)
        return Sample(axes, self.f(mesh), self.coordinates, self.name)

    def check_points(self, points: Tensor | Sequence[float] | float) -> Tensor:
        """Turn numbers into points of this surface, or say which shape it takes."""
        points = as_points(points)
        if points.shape[-1] != self.dim:
            raise ValueError(
                f"{self.name} takes points whose last axis has {self.dim} entries, got shape {tuple(points.shape)}; "
                f"many starts go in as (n_starts, {self.dim})."
            )
        return points


def as_points(points: Tensor | Sequence[float] | float) -> Tensor:
    """Turn numbers into a tensor of points: float64 unless it is a floating-point tensor already; a scalar to (1,)."""
    points = points if isinstance(points, Tensor) else torch.tensor(points, dtype=torch.float64)
    expect.numbers(points=points)
    points = points if points.is_floating_point() else points.to(torch.float64)
    return points.reshape(1) if points.dim() == 0 else points


def value_and_gradient(f: Callable[[Tensor], Tensor], points: Tensor) -> tuple[Tensor, Tensor]:
    """Values of shape (...) and autograd's gradients of shape (..., dim) at points of shape (..., dim)."""
    leaf = points.detach().clone().requires_grad_()
    values = f(leaf)
    if values.shape != leaf.shape[:-1]:
        raise ValueError(
            f"the function must map points of shape {tuple(leaf.shape)} to values of shape {tuple(leaf.shape[:-1])}, "
            f"one per point, got {tuple(values.shape)}."
        )
    # Each value depends on its own point only, so the gradient of the sum holds the gradient of every value.
    (gradient,) = torch.autograd.grad(values.sum(), leaf)
    return values.detach(), gradient


def symmetric(hessian: Tensor | Sequence[Sequence[float]]) -> Tensor:
    """Check that a matrix can be a Hessian (square, symmetric, finite); returns it in float64."""
    H = hessian if isinstance(hessian, Tensor) else torch.tensor(hessian, dtype=torch.float64)
    expect.numbers(hessian=H)
    H = H.to(torch.float64)
    if H.dim() != 2 or not len(H) or H.shape[0] != H.shape[1] or not H.isfinite().all() or not torch.allclose(H, H.T):
        raise ValueError(f"a Hessian is a finite symmetric matrix of shape (dim, dim), got {H.tolist()}.")
    return H


# --- surfaces ---------------------------------------------------------------------------------------------------------


def parabola() -> Surface:
    """f(x) = x^2, the simplest curve that curves.

    >>> parabola().gradient(10.0).tolist()
    [20.0]
    """
    return Surface("x²", lambda p: p[..., 0] ** 2, ((-12.0, 12.0),), ((0.0,),))


def quadratic(
    hessian: Tensor | Sequence[Sequence[float]],
    minimum: Sequence[float] | None = None,
    *,
    name: str = "quadratic",
    domain: tuple[tuple[float, float], ...] | None = None,
) -> Surface:
    """f(x) = (x - m)' H (x - m) / 2 for a symmetric matrix H of shape (dim, dim) and a centre m of shape (dim,).

    ``minima`` is filled only when H is positive definite: otherwise the centre is a saddle, a maximum, or flat.

    >>> quadratic([[2.0, 0.0], [0.0, 4.0]])([-5, -2]).item()      # x1^2 + 2 x2^2
    33.0
    >>> quadratic([[2.0, 4.0], [4.0, 2.0]]).minima                # x^2 + y^2 + 4xy has none
    ()
    """
    H = symmetric(hessian)
    m = torch.zeros(len(H), dtype=torch.float64) if minimum is None else as_points(minimum)
    if m.shape != H.shape[:1]:
        raise ValueError(f"minimum must have shape ({len(H)},) to fit the Hessian, got {tuple(m.shape)}.")

    def f(p: Tensor) -> Tensor:
        d = p - m.to(p.dtype)
        return (d @ H.to(p.dtype) * d).sum(dim=-1) / 2

    minima = (tuple(m.tolist()),) if torch.linalg.eigvalsh(H)[0] > 0 else ()
    return Surface(name, f, domain or tuple((c - 6.0, c + 6.0) for c in m.tolist()), minima)


def x_cos(c: float = 0.15 * math.pi) -> Surface:
    """f(x) = x cos(cx): unbounded below, with infinitely many local minima and no global one.

    With u = cx the stationary points solve cos u = u sin u, which has exactly one positive root in each interval
    (k pi, k pi + pi/2). f is odd, so for even k the minimum is at -u/c and for odd k at +u/c.

    >>> [f"{x:.6f}" for (x,) in x_cos().minima]
    ['-1.825685', '7.269388']
    """
    if not (math.isfinite(c) and c > 0):
        raise ValueError(f"c must be a positive number, got {c}.")
    minima, k = [], 0
    while (root := _root_of_cos_minus_u_sin(k) / c) <= 12:
        minima.append((root if k % 2 else -root,))
        k += 1
    return Surface("x cos(cx)", lambda p: p[..., 0] * torch.cos(c * p[..., 0]), ((-12.0, 12.0),), tuple(minima))


def saddle() -> Surface:
    """f(x) = x1^2 - x2^2 + x2^4 / 4: a saddle at the origin between the two minima (0, -sqrt 2) and (0, sqrt 2).

    >>> saddle().hessian([0, 0]).diag().tolist()
    [2.0, -2.0]
    """
    return Surface(
        "x₁² − x₂² + x₂⁴/4",
        lambda p: p[..., 0] ** 2 - p[..., 1] ** 2 + p[..., 1] ** 4 / 4,
        ((-2.0, 2.0), (-2.0, 2.0)),
        ((0.0, -math.sqrt(2)), (0.0, math.sqrt(2))),
    )


def line_fit(x: Tensor | Sequence[float], y: Tensor | Sequence[float]) -> Surface:
    """Mean squared error of the line w x + b over points (x, y) of shape (n,), as a surface over (w, b).

    >>> loss = line_fit([1, 2, 3], [1, 2, 3])
    >>> loss.gradient([0, 0]).tolist()                      # -28/3 and -4
    [-9.33..., -4.0]
    """
    x, y = as_points(x).double(), as_points(y).double()
    expect.numbers(x=x, y=y)
    if not (x.isfinite().all() and y.isfinite().all()):
        raise ValueError("x or y holds a value that is not finite; leave out the points with NaN or infinity.")
    if x.dim() != 1 or x.shape != y.shape or not len(x):
        raise ValueError(f"x and y must have the same shape (n,), got {tuple(x.shape)} and {tuple(y.shape)}.")
    if (x == x[0]).all():
        raise ValueError("the points need at least two different x, or many lines fit equally well.")
    best = torch.linalg.lstsq(torch.stack([x, torch.ones_like(x)], dim=1), y[:, None]).solution[:, 0].tolist()

    def f(p: Tensor) -> Tensor:
        w, b = p[..., :1], p[..., 1:]
        return ((w * x.to(p.dtype) + b - y.to(p.dtype)) ** 2).mean(dim=-1)

    domain = tuple((c - 3.0, c + 3.0) for c in best)
    return Surface("mean squared error", f, domain, (tuple(best),), ("w", "b"))


def _root_of_cos_minus_u_sin(k: int) -> float:
    low, high = k * math.pi, k * math.pi + math.pi / 2
    sign = math.cos(low)
    for _ in range(60):
        middle = (low + high) / 2
        if sign * (math.cos(middle) - middle * math.sin(middle)) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2
