"""The picture on the landing page: twelve walkers, one learning rate, and everything that can happen to them."""

from __future__ import annotations

import math

import torch

from helpers import plotting, style, surfaces
from helpers.explore import Control, Explore
from helpers.optim_paths import Trajectory, descend
from helpers.style import BLUE, GREEN, INK, ORANGE, PURPLE, RED

N_STEPS = 40
RATES = (
    0.005,
    0.01,
    0.015,
    0.02,
    0.03,
    0.04,
    0.06,
    0.08,
    0.1,
    0.14,
    0.18,
    0.2,
    0.22,
    0.26,
    0.3,
    0.34,
    0.38,
    0.42,
    0.46,
)
COLOURS = (BLUE, RED, GREEN, PURPLE, ORANGE)


def landscape() -> surfaces.Surface:
    """Two valleys of different depth with a saddle between them, bent so that no axis is special."""

    def height(p):
        x, y = p[..., 0], p[..., 1]
        bent = y - 0.55 * torch.sin(1.6 * x)
        return 0.5 * (x**2 - 1.6) ** 2 + 0.45 * x + 2.2 * bent**2

    return surfaces.Surface(
        "landscape", height, ((-2.3, 2.3), (-1.65, 1.65)), ((-1.33010, -0.46676), (1.18767, 0.52042)), ("w_1", "w_2")
    )


def starts() -> torch.Tensor:
    """Twelve starts on an ellipse, shape (12, 2)."""
    angle = torch.arange(12, dtype=torch.float64) * math.tau / 12 + 0.2
    return torch.stack((1.75 * torch.cos(angle), 1.3 * torch.sin(angle)), dim=1)


def walk(lr: float) -> Trajectory:
    return descend(landscape(), starts(), lr=lr, n_steps=N_STEPS)


def outcome(path: Trajectory) -> tuple[int, int, int]:
    """How many of the walkers rest in a valley, still move, or have left the map."""
    final = path.final
    inside = final.isfinite().all(dim=1) & (final.abs() < 3).all(dim=1)
    resting = inside & (path.gradients[-1].norm(dim=1) < 0.05)
    return int(resting.sum()), int((inside & ~resting).sum()), int((~inside).sum())


def draw(lr):
    surface, path = landscape(), walk(lr)
    fig, (ax,) = plotting.still_axes(1.0, height=3.5)
    levels = torch.linspace(0.02, 1.0, 11, dtype=torch.float64) ** 2 * 9 - 0.62
    plotting.plot_contour(surface.sample(61), ax, levels=levels.tolist())
    for i in range(len(starts())):
        points = path.points[:, i].clamp(-9, 9)
        points = points[points.isfinite().all(dim=1)]
        colour = COLOURS[i % len(COLOURS)]
        ax.plot(*points.T, color=colour, linestyle="-", linewidth=1.3, marker="o", markersize=2.6)
        ax.plot(*points[0], color=colour, marker="o", markersize=6, markerfacecolor=style.PAPER, linestyle="none")
        ax.plot(*points[-1], color=INK, marker="o", markersize=5.5, linestyle="none", zorder=5)
    ax.set(xlim=(-2.3, 2.3), ylim=(-1.65, 1.65))
    return fig


def describe(lr):
    resting, moving, lost = outcome(walk(lr))
    parts = [f"{resting} of 12 walkers {'rests' if resting == 1 else 'rest'} in a valley"]
    if moving:
        parts.append(f"{moving} {'is' if moving == 1 else 'are'} still moving")
    if lost:
        parts.append(f"{lost} {'has' if lost == 1 else 'have'} left the map")
    return f"After {N_STEPS} steps " + ", ".join(parts) + "."


def descent() -> Explore:
    """The figure itself: one slider, from a crawl to an explosion."""
    style.use_style()
    control = Control(RATES, label="learning rate η", start=5, format="{:g}")
    return Explore(draw, describe=describe, title="One number decides", play="lr", lr=control)
