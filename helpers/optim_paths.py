"""The paths that optimizers take over a surface.

A rule turns a gradient into a displacement (:mod:`helpers.optim_rules` has the known ones); :func:`descend` applies it
again and again, from one start or from many at once, and keeps every step. :func:`torch_path` lets an optimizer of
``torch.optim`` walk instead, and :func:`quadratic_path` knows gradient descent on a quadratic without walking it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from helpers import expect
from helpers import optim_rules as rules
from helpers.surfaces import Surface, as_points, symmetric, value_and_gradient

State = dict[str, Tensor]
Rule = Callable[[Tensor, Tensor, State, "float | Tensor"], Tensor]
_PLAIN = rules.GradientDescent()


@dataclass(frozen=True, eq=False)
class Trajectory:
    """The path of an optimizer: every point it visited, with the value and the gradient found there.

    Attributes
    ----------
    points : Tensor
        Shape (n_steps + 1, dim) for one start, (n_steps + 1, n_starts, dim) for many. ``points[0]`` is the start.
    values : Tensor
        Shape of ``points`` without the last axis.
    gradients : Tensor
        Shape of ``points``: the gradients that the rule was given.
    states : dict of str to Tensor
        What the rule remembered after each step, (n_steps, ...); empty unless asked for with ``keep_state=True``.
    """

    points: Tensor
    values: Tensor
    gradients: Tensor
    states: State = field(default_factory=dict)

    @property
    def n_steps(self) -> int:
        """Number of updates, one less than the number of points."""
        return self.points.shape[0] - 1

    @property
    def final(self) -> Tensor:
        """The last point, shape (dim,) or (n_starts, dim)."""
        return self.points[-1]

    @property
    def diverged(self) -> Tensor:
        """Whether the run left the range of its floating-point numbers; shape () or (n_starts,)."""
        return ~(self.points.isfinite().all(dim=-1) & self.values.isfinite()).all(dim=0)

    def run(self, i: int) -> Trajectory:
        """The path of the ``i``-th of many starts, as a trajectory of its own."""
        if self.points.dim() != 3:
            raise ValueError(f"run(i) picks one of many starts, but points has shape {tuple(self.points.shape)}.")
        states = {name: kept[:, i] for name, kept in self.states.items()}
        return Trajectory(self.points[:, i], self.values[:, i], self.gradients[:, i], states)


def descend(
    f: Surface | Callable[[Tensor], Tensor],
    start: Tensor | Sequence[float] | float,
    *,
    lr: float | Tensor | Callable[[int], float],
    n_steps: int,
    rule: Rule = _PLAIN,
    gradient: Callable[[Tensor, int], Tensor] | None = None,
    keep_state: bool = False,
) -> Trajectory:
    """Walk down a surface and keep every step.

    Parameters
    ----------
    f : Surface or callable
        Maps (..., dim) to (...).
    start : Tensor, sequence or float
        One start of shape (dim,), or many of shape (n_starts, dim): they do not influence one another.
    lr : float, Tensor or callable
        The learning rate; a tensor of shape (n_starts,) gives every start its own, a callable maps the
        step 0, 1, ... to the rate of that step.
    n_steps : int
        Number of updates.
    rule : callable, optional
        ``rule(x, gradient, state, lr)`` returns the displacement; ``state`` is a dict of its own that lives as long
        as the run. A rule with a method ``look_ahead(x, state)`` is given the gradient at the point it returns.
        Plain gradient descent unless given.
    gradient : callable, optional
        ``gradient(x, step)`` is given to the rule instead of the exact gradient: one of a mini-batch, a noisy or a
        sparse one. Same shape as x.
    keep_state : bool, optional
        Whether to keep what the rule remembers, step by step, as ``Trajectory.states``.

    Returns
    -------
    Trajectory
        A run that diverges is kept to its end, infinities and NaNs included; see :attr:`Trajectory.diverged`.

    Raises
    ------
    ValueError
        If shapes do not fit, the rate is negative or not finite, or the start has no finite value and gradient.

    Examples
    --------
    Ten steps on x^2 with learning rate 0.2 multiply the start by 0.6 each:

    >>> from helpers import surfaces
    >>> path = descend(surfaces.parabola(), 10.0, lr=0.2, n_steps=10)
    >>> path.points.shape, f"{path.final.item():.6f}", f"{10 * 0.6**10:.6f}"
    (torch.Size([11, 1]), '0.060466', '0.060466')
    """
    x = (f.check_points(start) if isinstance(f, Surface) else as_points(start)).detach()
    if x.dim() > 2:
        raise ValueError(f"start must have shape (dim,) or (n_starts, dim), got {tuple(x.shape)}.")
    expect.whole(n_steps=n_steps)
    if not callable(lr):
        _checked_rate(lr, x)
    rate_at = lr if callable(lr) else lambda step: lr
    look_ahead = getattr(rule, "look_ahead", None)
    state: State = {}
    points, values, gradients, kept = [], [], [], []
    for step in range(n_steps + 1):
        value, g = value_and_gradient(f, x)
        if step == 0 and not (value.isfinite().all() and g.isfinite().all()):
            raise ValueError(f"the surface has no finite value and gradient at the start {x.tolist()}.")
        if gradient is not None:
            g = gradient(x, step)
        elif look_ahead is not None:
            _, g = value_and_gradient(f, look_ahead(x, state))
        points.append(x)
        values.append(value)
        gradients.append(g)
        if step < n_steps:
            x = x + rule(x, g, state, _checked_rate(rate_at(step), x))
            kept.append({name: entry for name, entry in state.items() if keep_state and entry.dim()})
    states = {name: torch.stack([entry[name] for entry in kept]) for name in (kept[0] if kept else ())}
    return Trajectory(torch.stack(points), torch.stack(values), torch.stack(gradients), states)


def torch_path(
    f: Surface | Callable[[Tensor], Tensor],
    start: Tensor | Sequence[float] | float,
    optimizer: Callable[[list[Tensor]], torch.optim.Optimizer],
    *,
    n_steps: int,
) -> Trajectory:
    """The same walk with an optimizer of ``torch.optim``.

    Parameters
    ----------
    f : Surface or callable
        Maps (..., dim) to (...).
    start : Tensor, sequence or float
        Shape (dim,), or (n_starts, dim): torch's rules work coordinate by coordinate, so that starts do not mix.
    optimizer : callable
        Makes the optimizer from the list of parameters, ``lambda p: torch.optim.SGD(p, lr=0.1)``.
    n_steps : int
        Number of updates.

    Examples
    --------
    >>> from helpers import surfaces
    >>> path = torch_path(surfaces.parabola(), 10.0, lambda p: torch.optim.SGD(p, lr=0.2), n_steps=10)
    >>> f"{path.final.item():.6f}"
    '0.060466'
    """
    expect.whole(n_steps=n_steps)
    x = (f.check_points(start) if isinstance(f, Surface) else as_points(start)).detach().clone().requires_grad_()
    if x.dim() > 2:
        raise ValueError(f"start must have shape (dim,) or (n_starts, dim), got {tuple(x.shape)}.")
    stepper = optimizer([x])
    points, values, gradients = [], [], []
    for step in range(n_steps + 1):
        value, x.grad = value_and_gradient(f, x.detach())
        if step == 0 and not (value.isfinite().all() and x.grad.isfinite().all()):
            raise ValueError(f"the surface has no finite value and gradient at the start {x.tolist()}.")
        points.append(x.detach().clone())
        values.append(value)
        gradients.append(x.grad.clone())
        if step < n_steps:
            stepper.step()
    return Trajectory(torch.stack(points), torch.stack(values), torch.stack(gradients))


def torch_twin(rule: Rule, lr: float) -> Callable[[list[Tensor]], torch.optim.Optimizer]:
    """The optimizer of ``torch.optim`` that takes the same steps as a rule, for :func:`torch_path`.

    Raises
    ------
    ValueError
        If the rule is in a form that PyTorch does not have.

    Examples
    --------
    >>> from helpers import surfaces
    >>> twin = torch_twin(rules.Adam(), lr=0.1)
    >>> ours = descend(surfaces.saddle(), [1.0, 0.5], lr=0.1, n_steps=50, rule=rules.Adam())
    >>> torch.allclose(ours.points, torch_path(surfaces.saddle(), [1.0, 0.5], twin, n_steps=50).points, atol=1e-12)
    True
    """
    expect.rate(lr)
    options = dict(getattr(rule, "__dict__", {}))
    paper_form = any(options.pop(name, False) for name in ("eps_inside", "eps_hat", "rate_inside"))
    paper_form |= options.pop("bias_correction", "power") != "power"
    make = {
        rules.GradientDescent: torch.optim.SGD,
        rules.Momentum: torch.optim.SGD,
        rules.Nesterov: partial(torch.optim.SGD, nesterov=True),
        rules.AdaGrad: torch.optim.Adagrad,
        rules.RMSProp: torch.optim.RMSprop,
        rules.Adadelta: torch.optim.Adadelta,
        rules.Adam: torch.optim.AdamW if options.pop("decoupled", False) else torch.optim.Adam,
    }.get(type(rule))
    if make is None or paper_form:
        raise ValueError(f"torch.optim has no optimizer that takes the steps of {rule}.")
    return lambda parameters: make(parameters, lr=lr, **options)


def _checked_rate(lr: float | Tensor, x: Tensor) -> float | Tensor:
    rate = torch.as_tensor(lr, dtype=x.dtype)
    if not (rate.isfinite().all() and (rate >= 0).all()):
        raise ValueError(f"the learning rate must be finite and not negative, got {lr}.")
    if rate.dim() == 0:
        return float(lr)
    if x.dim() != 2 or rate.shape != x.shape[:1]:
        raise ValueError(
            f"lr of shape {tuple(rate.shape)} gives one rate per start, but start has shape {tuple(x.shape)}; "
            f"pass starts of shape ({rate.numel()}, dim)."
        )
    return rate[:, None]


def quadratic_path(
    hessian: Tensor | Sequence[Sequence[float]],
    start: Sequence[float] | Tensor,
    *,
    lr: float,
    n_steps: int,
    minimum: Sequence[float] | None = None,
) -> Trajectory:
    """Gradient descent on ``quadratic(hessian, minimum)`` in closed form, without taking a step.

    In the basis of the Hessian's eigenvectors the error after k steps is (1 - lr lambda)^k times the error at the
    start (G. Goh, *Why Momentum Really Works*, Distill, 2017, section "First Steps").

    >>> path = quadratic_path([[2.0, 0.0], [0.0, 4.0]], [-5, -2], lr=0.1, n_steps=20)
    >>> [f"{v:.6f}" for v in path.final.tolist()]
    ['-0.057646', '-0.000073']
    """
    H = symmetric(hessian)
    m = torch.zeros(len(H), dtype=torch.float64) if minimum is None else as_points(minimum)
    x = as_points(start)
    expect.whole(n_steps=n_steps)
    expect.rate(lr)
    if not (x.shape == m.shape == H.shape[:1] and x.isfinite().all() and m.isfinite().all()):
        raise ValueError(f"start and minimum must be finite, of shape ({len(H)},); got {x.tolist()} and {m.tolist()}.")
    eigenvalues, Q = torch.linalg.eigh(H)
    k = torch.arange(n_steps + 1, dtype=torch.float64)[:, None]
    error = ((x - m) @ Q * (1 - lr * eigenvalues) ** k) @ Q.T  # (n_steps + 1, dim)
    gradients = error @ H
    return Trajectory(m + error, (error * gradients).sum(dim=-1) / 2, gradients)
