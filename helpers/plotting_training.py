"""Draw what `helpers.training` measured: at most 300 points a line, and nothing is computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MaxNLocator

from helpers.style import BLUE, DASHES, MARKERS, MUTED, RED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from helpers.history import History
    from helpers.lr_finder import LRFinder

_MAX_POINTS = 300
_MAX_MARKERS = 30


def plot_history(history: History, ax: Axes | None = None, *, metric: str = "loss") -> Axes:
    """Draw one metric per epoch, for training and validation data.

    Parameters
    ----------
    history : History
    ax : matplotlib Axes, optional
        A new figure by default.
    metric : str
        ``"loss"`` or the name of a recorded metric.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    KeyError
        If neither ``train_<metric>`` nor ``valid_<metric>`` was recorded.
    """
    names = [f"train_{metric}", f"valid_{metric}"]
    if not any(name in history.epochs for name in names):
        history[names[0]]  # raises the KeyError that lists what there is
    ax = ax if ax is not None else plt.subplots()[1]
    epochs = np.asarray(history["epoch"])
    if metric == "loss" and history.steps.get("loss") and len(epochs):
        loss = np.asarray(history.steps["loss"])
        x = np.arange(1, len(loss) + 1) * (epochs[-1] / len(loss))
        keep = slice(None, None, -(-len(loss) // _MAX_POINTS))
        ax.plot(
            x[keep], loss[keep], color=MUTED, linewidth=0.7, alpha=0.6, linestyle="-", label="training, single steps"
        )
    for name, label, color, dash, marker in zip(
        names, ("training", "validation"), (BLUE, RED), DASHES, MARKERS, strict=False
    ):
        if name in history.epochs:
            shown = marker if len(epochs) <= _MAX_MARKERS else None
            ax.plot(epochs, history[name], color=color, linestyle=dash, marker=shown, label=label)
    if history.best_epoch is not None:
        ax.axvline(history.best_epoch, color=MUTED, linewidth=1, linestyle=":", label="best epoch, weights restored")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="epoch", ylabel=metric.replace("_", " "))
    ax.legend()
    return ax


def plot_lr_finder(result: LRFinder, ax: Axes | None = None) -> Axes:
    """Draw the loss of a learning-rate range test over the learning rate, and the suggestion.

    Parameters
    ----------
    result : LRFinder
    ax : matplotlib Axes, optional
        A new figure by default.

    Returns
    -------
    matplotlib Axes
    """
    ax = ax if ax is not None else plt.subplots()[1]
    ax.plot(result.lr, result.loss, color=MUTED, linewidth=0.7, alpha=0.6, linestyle="-", label="loss of a step")
    ax.plot(result.lr, result.smoothed, color=BLUE, label="smoothed")
    ax.axvline(result.suggestion, color=RED, linestyle=DASHES[1], label=f"suggestion {result.suggestion:.1e}")
    low, high = min(result.smoothed), result.smoothed[0]
    margin = max(high - low, 1e-3 * abs(high))
    ax.set(xscale="log", ylim=(low - 0.1 * margin, high + margin), xlabel="learning rate η", ylabel="training loss")
    ax.legend()
    return ax
