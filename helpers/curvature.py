"""What second derivatives say: which stationary points are minima, and how long a step may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from helpers.surfaces import Surface, as_points, symmetric


def largest_stable_lr(hessian: Tensor | Sequence[Sequence[float]]) -> float:
    """The bound 2 / lambda_max: on this quadratic, gradient descent converges below it, and no longer at it.

    >>> f"{largest_stable_lr([[28 / 3, 4.0], [4.0, 2.0]]):.6f}"          # the line through three points
    '0.180295'
    """
    eigenvalues = torch.linalg.eigvalsh(symmetric(hessian))
    if eigenvalues[0] <= 0:
        raise ValueError(
            f"the Hessian is not positive definite (eigenvalues {[round(v, 6) for v in eigenvalues.tolist()]}): "
            "no learning rate makes gradient descent converge to its centre from every start."
        )
    return 2 / eigenvalues[-1].item()


@dataclass(frozen=True, eq=False)
class Stationary:
    """What gradient and Hessian say about one point.

    Attributes
    ----------
    kind : str
        ``"minimum"``, ``"maximum"``, ``"saddle"``, ``"undecided"`` (an eigenvalue is zero and the others agree in
        sign, so that higher derivatives decide) or ``"not stationary"``.
    gradient : Tensor
        Shape (dim,).
    eigenvalues : Tensor
        Of the Hessian, ascending, shape (dim,).
    eigenvectors : Tensor
        Shape (dim, dim), one per column.
    """

    kind: str
    gradient: Tensor
    eigenvalues: Tensor
    eigenvectors: Tensor


def classify(surface: Surface, point: Sequence[float] | Tensor | float, *, tol: float = 1e-8) -> Stationary:
    """Tell minimum, maximum and saddle apart by the signs of the Hessian's eigenvalues.

    Numbers up to ``tol`` in size count as zero.

    >>> from helpers import surfaces
    >>> classify(surfaces.saddle(), [0, 0]).kind, classify(surfaces.saddle(), [0, 1]).kind
    ('saddle', 'not stationary')
    """
    if not 0 <= tol < float("inf"):
        raise ValueError(f"tol is a finite number from 0 on, not {tol}.")
    gradient = surface.gradient(point)
    hessian = surface.hessian(point)
    if not (gradient.isfinite().all() and hessian.isfinite().all()):
        raise ValueError(f"{surface.name} has no finite first and second derivatives at {as_points(point).tolist()}.")
    hessian = hessian.float() if hessian.itemsize < 4 else hessian  # eigenvalues take no half precision
    eigenvalues, eigenvectors = torch.linalg.eigh(hessian)
    low, high = eigenvalues[0].item(), eigenvalues[-1].item()
    if gradient.norm() > tol:
        kind = "not stationary"
    elif low > tol:
        kind = "minimum"
    elif high < -tol:
        kind = "maximum"
    elif low < -tol and high > tol:
        kind = "saddle"
    else:
        kind = "undecided"
    return Stationary(kind, gradient, eigenvalues, eigenvectors)
