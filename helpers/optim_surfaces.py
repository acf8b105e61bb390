"""Surfaces on which optimizers are compared: each is hard in a way of its own."""

from __future__ import annotations

import torch

from helpers.surfaces import Surface, quadratic, saddle


def ravine() -> Surface:
    """f(x) = 0.1 x1^2 + 2 x2^2: twenty times steeper across than along.

    >>> ravine().gradient([-5, -2]).tolist()
    [-1.0, -8.0]
    """
    bowl = quadratic([[0.2, 0.0], [0.0, 4.0]])
    return Surface("0.1 x₁² + 2 x₂²", bowl.f, ((-6.0, 3.0), (-3.0, 3.0)), ((0.0, 0.0),))


def rotated_ravine() -> Surface:
    """The ravine turned by 45 degrees, so that no coordinate points along it.

    >>> [round(v, 6) for v in rotated_ravine().gradient([-3, -3]).tolist()]    # down the valley: still slope 0.2 |x|
    [-0.6, -0.6]
    """
    bowl = quadratic([[2.1, -1.9], [-1.9, 2.1]])
    return Surface("ravine, turned by 45°", bowl.f, ((-5.0, 5.0), (-5.0, 5.0)), ((0.0, 0.0),))


def rosenbrock() -> Surface:
    """f(x) = (1 - x1)^2 + 100 (x2 - x1^2)^2: a curved valley with a nearly flat floor (Rosenbrock 1960).

    >>> rosenbrock()([1, 1]).item(), rosenbrock()([-1, 2]).item()
    (0.0, 104.0)
    """
    return Surface(
        "Rosenbrock",
        lambda p: (1 - p[..., 0]) ** 2 + 100 * (p[..., 1] - p[..., 0] ** 2) ** 2,
        ((-2.0, 2.0), (-1.0, 3.0)),
        ((1.0, 1.0),),
    )


def beale() -> Surface:
    """Beale's function (1958): plateaus, a steep corner, and one minimum at (3, 0.5) with value 0.

    f(x) = (1.5 - x1 + x1 x2)^2 + (2.25 - x1 + x1 x2^2)^2 + (2.625 - x1 + x1 x2^3)^2

    >>> beale()([3, 0.5]).item()
    0.0
    """

    def f(p: torch.Tensor) -> torch.Tensor:
        x, y = p[..., 0], p[..., 1]
        return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2

    return Surface("Beale", f, ((-4.5, 4.5), (-4.5, 4.5)), ((3.0, 0.5),))


def all_surfaces() -> dict[str, Surface]:
    """The surfaces of the race, by the name that a reader chooses them by."""
    return {
        "ravine": ravine(),
        "turned ravine": rotated_ravine(),
        "saddle": saddle(),
        "Rosenbrock": rosenbrock(),
        "Beale": beale(),
    }
