"""Many runs at once: convergence maps over starts, over rate and momentum, and the best rate of a sweep.

Every function walks one batch with :func:`helpers.optim_paths.descend`, so a map of 10,000 runs costs about as many
tensor operations as a single run. Results are plain tensors in the order that Matplotlib's ``imshow`` expects with
``origin="lower"``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from helpers import expect
from helpers.optim_paths import Rule, Trajectory, descend
from helpers.surfaces import Surface, as_points


@dataclass(frozen=True, eq=False)
class Map:
    """One number for every cell of a grid.

    Attributes
    ----------
    x, y : Tensor
        The grid along the axes, shapes (n_x,) and (n_y,).
    values : Tensor
        Shape (n_y, n_x); ``values[j, i]`` belongs to ``(x[i], y[j])``.
    """

    x: Tensor
    y: Tensor
    values: Tensor

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom, top of the image, half a cell beyond the outermost grid points."""
        dx, dy = ((axis[-1] - axis[0]).item() / (len(axis) - 1) / 2 for axis in (self.x, self.y))
        return self.x[0].item() - dx, self.x[-1].item() + dx, self.y[0].item() - dy, self.y[-1].item() + dy


@dataclass(frozen=True, eq=False)
class Sweep:
    """The same run at many rates.

    Attributes
    ----------
    rates : Tensor
        Shape (n_rates,).
    updates : Tensor
        Updates until a run is within reach of the minimum for good, shape (n_rates, n_starts); infinite where it is
        not.
    trajectory : Trajectory
        All runs as one batch, the starts of the first rate first.
    """

    rates: Tensor
    updates: Tensor
    trajectory: Trajectory

    @property
    def typical(self) -> Tensor:
        """The median over the starts, shape (n_rates,); of two middle values the smaller one."""
        return self.updates.median(dim=1).values

    @property
    def best(self) -> int:
        """Index of the rate whose typical run arrives first; of those that tie, the first."""
        return int(self.typical.argmin())


def updates_to(values: Tensor, level: float) -> Tensor:
    """Count the updates until a loss is at most ``level`` and stays there to the end of the run.

    Passing through the level does not count: a ball that rolls across a minimum has not arrived.

    Parameters
    ----------
    values : Tensor
        Shape (n_steps + 1, ...), as ``Trajectory.values``; infinities and NaNs count as above the level.
    level : float
        The largest loss that counts as arrived.

    Returns
    -------
    Tensor
        Shape (...), float64; infinite where the last value is still above the level.

    Examples
    --------
    >>> updates_to(torch.tensor([5.0, 0.5, 3.0, 0.4, 0.3]), 1.0).item()
    3.0
    >>> updates_to(torch.tensor([5.0, 0.5, math.nan]), 1.0).item()
    inf
    """
    expect.numbers(values=values)
    if values.dim() == 0 or values.shape[0] == 0:
        raise ValueError(f"values must have shape (n_steps + 1, ...), got {tuple(values.shape)}.")
    if math.isnan(level):
        raise ValueError("level must be a number, got nan.")
    above = ~(values <= level)
    steps = torch.arange(1, len(values) + 1, dtype=torch.float64).reshape(-1, *[1] * (values.dim() - 1))
    count = (above * steps).amax(dim=0)  # one more than the last step that is above
    return torch.where(above[-1], torch.full_like(count, math.inf), count)


def over_starts(f: Surface, *, lr: float, rule: Rule, n_steps: int, tol: float = 1e-3, n: int = 100) -> Map:
    """Start a rule from every point of a grid over the surface's window and count its updates to the minimum.

    Parameters
    ----------
    f : Surface
        Of two coordinates, with its minima known.
    lr, rule, n_steps
        As for :func:`helpers.optim_paths.descend`.
    tol : float, optional
        Arrived means: at most this much above the lowest minimum, until the end of the run.
    n : int, optional
        Grid points along each axis.

    Returns
    -------
    Map
        Updates; infinite where the run did not arrive.

    Examples
    --------
    >>> from helpers import optim_rules, optim_surfaces
    >>> ravine = optim_surfaces.ravine()
    >>> within = over_starts(ravine, lr=0.4, rule=optim_rules.GradientDescent(), n_steps=60, n=5)
    >>> within.values.shape, bool(within.values.isfinite().all())
    (torch.Size([5, 5]), True)
    """
    if f.dim != 2 or not f.minima:
        raise ValueError(f"over_starts needs a surface of two coordinates with a known minimum, not {f.name}.")
    x, y = (_axis(low, high, n) for low, high in f.domain)
    starts = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).reshape(-1, 2)
    run = descend(f, starts, lr=lr, n_steps=n_steps, rule=rule)
    return Map(x, y, updates_to(run.values, lowest(f) + tol).reshape(n, n))


def over_rate_and_momentum(
    f: Surface,
    start: Sequence[float] | Tensor,
    make: Callable[[Tensor], Rule],
    *,
    rates: Tensor,
    momenta: Tensor,
    n_steps: int,
) -> Map:
    """Run from one start with every pair of rate and momentum, all at once.

    Parameters
    ----------
    f : Surface
        Where to walk.
    start : sequence or Tensor
        Shape (dim,).
    make : callable
        Makes the rule from a tensor of momenta of shape (n_runs, 1): ``lambda mu: Momentum(momentum=mu)``.
    rates, momenta : Tensor
        Shapes (n_x,) and (n_y,).
    n_steps : int
        Updates of each run.

    Returns
    -------
    Map
        The value of f after the last update; infinite where the run left the range of its numbers.

    Examples
    --------
    >>> from helpers import optim_surfaces
    >>> from helpers.optim_rules import Momentum
    >>> ends = over_rate_and_momentum(
    ...     optim_surfaces.ravine(),
    ...     [-5, -2],
    ...     lambda mu: Momentum(momentum=mu),
    ...     rates=torch.tensor([0.4, 0.6]),
    ...     momenta=torch.tensor([0.0, 0.5]),
    ...     n_steps=20,
    ... )
    >>> ends.values.gt(1).tolist()      # at 0.6, plain descent explodes and momentum 0.5 does not
    [[False, True], [False, False]]
    """
    expect.floats(rates=rates, momenta=momenta)
    for name, axis in (("rates", rates), ("momenta", momenta)):
        if axis.dim() != 1 or len(axis) < 2:
            raise ValueError(f"{name} must have shape (n,) with n at least 2, got {tuple(axis.shape)}.")
    point = as_points(start)
    if point.dim() != 1:
        raise ValueError(f"start must be one point of shape (dim,), got {tuple(point.shape)}.")
    lr, mu = (grid.reshape(-1) for grid in torch.meshgrid(rates, momenta, indexing="xy"))
    run = descend(f, point.repeat(len(lr), 1), lr=lr, n_steps=n_steps, rule=make(mu[:, None]))
    ends = run.values[-1].nan_to_num(math.inf, posinf=math.inf, neginf=math.inf)
    return Map(rates, momenta, ends.reshape(len(momenta), len(rates)))


def sweep(
    f: Surface,
    start: Sequence[float] | Tensor,
    rule: Rule,
    *,
    rates: Tensor,
    n_steps: int,
    tol: float = 1e-3,
) -> Sweep:
    """Run a rule at every rate, and count the updates to within ``tol`` of the lowest known minimum.

    A single start can be lucky, so several may be given: then the median counts.

    Parameters
    ----------
    f : Surface
        With its minima known.
    start : sequence or Tensor
        Shape (dim,) or (n_starts, dim).
    rule : callable
        As for :func:`helpers.optim_paths.descend`.
    rates : Tensor
        Shape (n_rates,).
    n_steps : int
        Updates of each run.
    tol : float, optional
        Arrived means: at most this much above the lowest minimum, until the end of the run.

    Examples
    --------
    On the ravine, plain descent is fastest just below its limit of 0.5:

    >>> from helpers import optim_rules, optim_surfaces
    >>> rates = torch.tensor([0.1, 0.4, 0.6])
    >>> found = sweep(optim_surfaces.ravine(), [-5, -2], optim_rules.GradientDescent(), rates=rates, n_steps=80)
    >>> found.best, found.typical.tolist()
    (1, [inf, 47.0, inf])
    """
    expect.numbers(rates=rates)
    points = as_points(start)
    points = points[None] if points.dim() == 1 else points
    if points.dim() != 2 or rates.dim() != 1 or 0 in (len(points), len(rates)):
        raise ValueError(
            f"sweep takes starts of shape (dim,) or (n_starts, dim) and rates of shape (n_rates,), "
            f"got {tuple(points.shape)} and {tuple(rates.shape)}."
        )
    lr = rates.repeat_interleave(len(points))
    run = descend(f, points.repeat(len(rates), 1), lr=lr, n_steps=n_steps, rule=rule)
    return Sweep(rates, updates_to(run.values, lowest(f) + tol).reshape(len(rates), len(points)), run)


def lowest(f: Surface) -> float:
    """The value at the lowest of a surface's known minima.

    >>> from helpers import surfaces
    >>> lowest(surfaces.saddle())
    -1.0...
    """
    if not f.minima:
        raise ValueError(f"no minimum of {f.name} is known.")
    return min(f(minimum).item() for minimum in f.minima)


def _axis(low: float, high: float, n: int) -> Tensor:
    expect.whole(n=n, least=2)
    return torch.linspace(low, high, n, dtype=torch.float64)
