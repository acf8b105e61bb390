"""Drawing: every function takes a finished result and an axes, and returns the axes. Nothing here computes a result.

Colours, dashes and markers come from :mod:`helpers.style`; curves are named where they are, not in a legend.
"""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from helpers.optim_paths import Trajectory
from helpers.style import BLUE, COLORS, DASHES, INK, MARKERS, MUTED, PAPER, RED, WIDTH
from helpers.surfaces import Sample


def plot_curve(sample: Sample, ax: Axes | None = None, *, color: str = MUTED) -> Axes:
    """Draw a surface of one coordinate as a curve.

    Parameters
    ----------
    sample : Sample
        ``Surface.sample()`` of a surface with one coordinate.
    ax : Axes, optional
        Where to draw; a new figure unless given.
    color : str
        A colour of :mod:`helpers.style`.
    """
    _check_dimensions(sample, 1)
    ax = _axes(ax)
    x = _numpy(sample.axes[0])
    ax.plot(x, _numpy(sample.values), color=color, linestyle="-", linewidth=1.5, zorder=1)
    ax.set(xlabel=f"${sample.coordinates[0]}$", ylabel=f"$f({sample.coordinates[0]})$", xlim=(x[0], x[-1]))
    return ax


def plot_descent_1d(trajectory: Trajectory, ax: Axes | None = None, *, color: str = BLUE, marker: str = "o") -> Axes:
    """Draw a run over one parameter: hollow marker at the start, small ones on the way, a large one at the end.

    Parameters
    ----------
    trajectory : Trajectory
        One start, one parameter: points of shape (n_steps + 1, 1).
    ax : Axes, optional
        Usually the axes on which :func:`plot_curve` has drawn the curve.
    """
    points = _one_run(trajectory, 1)
    return _draw_path(_axes(ax), points[:, 0], _numpy(trajectory.values), color, "-", marker)


def plot_contour(
    sample: Sample, ax: Axes | None = None, *, levels: int | Sequence[float] = 8, minima: Sequence[Sequence[float]] = ()
) -> Axes:
    """Draw a surface of two coordinates by its contour lines, with a cross at each of the given minima.

    ``levels`` is a number of lines, spaced by the square of the height above the lowest value (so that the lines of a
    quadratic lie evenly), or the heights themselves.
    """
    _check_dimensions(sample, 2)
    ax = _axes(ax)
    values = _numpy(sample.values)
    if isinstance(levels, int):
        low, high = values.min(), values.max()
        levels = low + (high - low) * (np.arange(1, levels + 1) / (levels + 1)) ** 2
    ax.grid(False)
    ax.contour(*sample.axes, values, levels=levels, colors=MUTED, linewidths=0.7, linestyles="solid", alpha=0.75)
    for x, y in minima:
        ax.plot([x], [y], marker="+", markersize=11, markeredgewidth=1.6, color=INK, linestyle="none", zorder=2)
    ax.set(xlabel=f"${sample.coordinates[0]}$", ylabel=f"${sample.coordinates[1]}$")
    return ax


def plot_trajectory(trajectory: Trajectory, ax: Axes | None = None, *, color: str | None = None) -> Axes:
    """Draw one run, or a few, over two parameters, usually on top of :func:`plot_contour`.

    Parameters
    ----------
    trajectory : Trajectory
        Points of shape (n_steps + 1, 2), or (n_steps + 1, n_starts, 2) for a few starts, each in its own colour,
        dash and marker.
    color : str, optional
        One colour for all runs.
    """
    ax = _axes(ax)
    runs = (
        [trajectory] if trajectory.points.dim() == 2 else [trajectory.run(i) for i in range(trajectory.points.shape[1])]
    )
    for i, run in enumerate(runs):
        points = _one_run(run, 2)
        style = color or COLORS[i % len(COLORS)], DASHES[i % len(DASHES)], MARKERS[i % len(MARKERS)]
        _draw_path(ax, points[:, 0], points[:, 1], *style)
    return ax


def plot_loss_curve(
    trajectory: Trajectory,
    ax: Axes | None = None,
    *,
    label: str = "",
    color: str = BLUE,
    dash=DASHES[0],
    log: bool = True,
) -> Axes:
    """Draw the value after each update, with the label at the end of the line."""
    if trajectory.values.dim() != 1:
        raise ValueError(f"plot_loss_curve draws one run; pick one of {trajectory.values.shape[1]} with run(i).")
    ax = _axes(ax)
    values = _numpy(trajectory.values)
    steps = np.arange(len(values))
    ax.plot(steps, values, color=color, linestyle=dash)
    if log:
        ax.set_yscale("log")
    label_end(ax, steps, values, label, color=color)
    ax.set(xlabel="update", ylabel="loss")
    return ax


def plot_surface(sample: Sample, ax: Axes, *, azimuth: float = -60, elevation: float = 30) -> Axes:
    """Draw a surface of two coordinates in perspective, as a sheet in the colours of its height.

    ``ax`` has to be three-dimensional: ``plt.subplots(subplot_kw={"projection": "3d"})``.
    """
    _check_dimensions(sample, 2)
    if ax.name != "3d":
        raise ValueError('plot_surface needs 3-D axes: plt.subplots(subplot_kw={"projection": "3d"}).')
    X, Y = np.meshgrid(_numpy(sample.axes[0]), _numpy(sample.axes[1]))
    values = _numpy(sample.values)
    ax.plot_surface(X, Y, values, cmap="cividis", alpha=0.85, linewidth=0, rstride=1, cstride=1, rasterized=True)
    for axis in (ax.xaxis, ax.yaxis, ax.zaxis):
        axis.pane.set_visible(False)
    ax.view_init(elev=elevation, azim=azimuth)
    ax.set(xlabel=f"${sample.coordinates[0]}$", ylabel=f"${sample.coordinates[1]}$")
    return ax


def plot_residuals(x, y, predictions, ax: Axes | None = None) -> Axes:
    """Draw points, a model's predictions at them, and the errors between the two as vertical bars.

    ``x``, ``y`` and ``predictions`` have shape (n,); the line joins the predictions in the order of ``x``.
    """
    x, y, predictions = (_numpy(v) for v in (x, y, predictions))
    if not (x.ndim == 1 and x.shape == y.shape == predictions.shape):
        raise ValueError(f"x, y and predictions need one shape (n,), got {x.shape}, {y.shape}, {predictions.shape}.")
    ax = _axes(ax)
    order = np.argsort(x)
    ax.vlines(x, y, predictions, color=RED, linewidth=2.5)
    ax.plot(x[order], predictions[order], color=BLUE, linestyle="-")
    ax.plot(x, y, color=INK, marker="o", linestyle="none", markersize=7, zorder=3)
    ax.set(xlabel="$x$", ylabel="$y$")
    return ax


def still_axes(
    *widths: float, heights: Sequence[float] = (1,), height: float = 3.3, right: float = 0.985
) -> tuple[Figure, tuple[Axes, ...]]:
    """Make a figure whose axes stay in place whatever is drawn, for the frames of an interactive figure.

    There is no automatic layout, which also halves the time that a frame takes.

    Parameters
    ----------
    *widths : float
        Relative widths of the columns; one column unless given.
    heights : sequence of float
        Relative heights of the rows.
    height : float
        Of the whole figure, in inches; it is as wide as the text.
    right : float
        Share of the width at which the last column ends; leave room for labels at the ends of lines.

    Returns
    -------
    Figure, tuple of Axes
        The panels row by row.
    """
    fig = plt.figure(figsize=(WIDTH, height), layout="none")
    margins = {"left": 0.085, "right": right, "bottom": 0.545 / height, "top": 1 - 0.3 / height, "wspace": 0.22}
    shape = {"width_ratios": widths or (1,), "height_ratios": heights, "squeeze": False}
    return fig, tuple(fig.subplots(len(heights), len(widths) or 1, gridspec_kw=margins, **shape).flat)


def label_end(ax: Axes, x, y, label: str, *, color: str = INK, dx: float = 5, dy: float = 0) -> None:
    """Write a label to the right of the last finite point of a line, ``dx`` and ``dy`` in points."""
    x, y = _numpy(x), _numpy(y)
    shown = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    if label and len(shown):
        end = x[shown[-1]], y[shown[-1]]
        ax.annotate(label, end, (dx, dy), textcoords="offset points", color=color, va="center", annotation_clip=False)


def _draw_path(ax: Axes, x: np.ndarray, y: np.ndarray, color: str, dash, marker: str) -> Axes:
    finite = np.isfinite(x) & np.isfinite(y)
    x, y = x[finite], y[finite]
    small = 3.5 if len(x) <= 45 else 2  # in a long run the dots would merge into a thick line
    ax.plot(x, y, color=color, linestyle=dash, linewidth=1.3, marker=marker, markersize=small, zorder=3)
    ax.plot(x[:1], y[:1], color=color, marker=marker, markersize=8, markerfacecolor=PAPER, linestyle="none", zorder=4)
    ax.plot(x[-1:], y[-1:], color=color, marker=marker, markersize=8, linestyle="none", zorder=4)
    return ax


def _axes(ax: Axes | None) -> Axes:
    return plt.subplots()[1] if ax is None else ax


def _numpy(values) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values, dtype=float)


def _check_dimensions(sample: Sample, dim: int) -> None:
    if len(sample.axes) != dim:
        raise ValueError(f"this draws surfaces of {dim} coordinate(s), {sample.name} has {len(sample.axes)}.")


def _one_run(trajectory: Trajectory, dim: int) -> np.ndarray:
    if trajectory.points.dim() != 2 or trajectory.points.shape[1] != dim:
        raise ValueError(
            f"this draws one run over {dim} parameter(s), points of shape (n_steps + 1, {dim}); "
            f"got {tuple(trajectory.points.shape)}. Pick one of many starts with run(i)."
        )
    return _numpy(trajectory.points)
