"""Look for a learning rate: let it grow step by step and watch the loss fall, then explode."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from helpers import checkpoint, diagnose
from helpers.engine import Engine, mode_restored, tensor_cores

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_EXPLODED = 4.0  # stop when the smoothed loss is this many times the best one


@dataclass(frozen=True)
class LRFinder:
    """The outcome of a learning-rate range test.

    Attributes
    ----------
    lr : tuple of float
        The learning rates tried, rising by a constant factor.
    loss : tuple of float
        The training loss of the batch at each of them, before the step.
    smoothed : tuple of float
        The same, as an exponentially weighted mean with bias correction.
    suggestion : float
        Where the smoothed loss falls fastest per factor of learning rate, over a tenth of the steps.
    diverged : bool
        Whether the test went on until the loss exploded. If not, larger rates may work too.
    """

    lr: tuple[float, ...]
    loss: tuple[float, ...]
    smoothed: tuple[float, ...]
    suggestion: float
    diverged: bool

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the loss over the learning rate; see `helpers.plotting_training.plot_lr_finder`."""
        from helpers.plotting_training import plot_lr_finder

        return plot_lr_finder(self, ax)

    def __repr__(self) -> str:
        outcome = "the loss exploded" if self.diverged else "the loss never exploded"
        return (
            f"LRFinder: suggestion {self.suggestion:.1e} ({len(self.lr)} steps from {self.lr[0]:.1e} to "
            f"{self.lr[-1]:.1e}, {outcome})"
        )


def find_lr(
    model: nn.Module,
    train: Iterable,
    *,
    loss_fn: Callable,
    optimizer: torch.optim.Optimizer,
    lr_min: float = 1e-6,
    lr_max: float = 10.0,
    steps: int = 100,
    smoothing: float = 0.9,
    device: str | torch.device | None = None,
    precision: str | None = None,
) -> LRFinder:
    """Run the learning-rate range test.

    Train for some steps while the learning rate rises from `lr_min` to `lr_max` by a constant factor. Afterwards model,
    optimizer, random generators and the order of the data are exactly as before, except that the model is on `device`.
    Each step reads its loss, to stop in time, so a step takes longer than in `fit`.

    Parameters
    ----------
    model, train, loss_fn, optimizer, device, precision
        As for `helpers.training.fit`. All parameter groups get the same learning rate during the test.
    lr_min, lr_max : float
        The range.
    steps : int
        Number of learning rates; `train` is run through again if it has fewer batches.
    smoothing : float
        Weight of the past in the smoothed loss, from 0 (none) to below 1.

    Returns
    -------
    LRFinder

    Raises
    ------
    ValueError
        If the range or the number of steps makes no sense, or the loss is not finite even at `lr_min`.
    RuntimeError
        With several processes: run it in one.

    Notes
    -----
    Leslie N. Smith, *Cyclical Learning Rates for Training Neural Networks* (2017), section 3.3. The suggestion is a
    starting point, no optimum: it depends on the batch size, and on the weights the model has now.

    Examples
    --------
    >>> _ = torch.manual_seed(0)
    >>> X = torch.randn(64, 3)
    >>> model = nn.Linear(3, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> result = find_lr(model, [(X, X.sum(1, keepdim=True))], loss_fn=nn.MSELoss(), optimizer=optimizer, device="cpu")
    >>> result.diverged, 1e-3 < result.suggestion < 1
    (True, True)
    """
    if not 0 < lr_min < lr_max < math.inf or not isinstance(steps, int) or steps < 10 or not 0 <= smoothing < 1:
        raise ValueError(
            f"needed: 0 < lr_min < lr_max, steps >= 10, 0 <= smoothing < 1; given: lr_min={lr_min}, lr_max={lr_max}, "
            f"steps={steps}, smoothing={smoothing}"
        )
    engine = Engine(device, precision)
    if engine.world > 1:
        raise RuntimeError("find_lr works in one process: run it before the launch, with the total batch size")
    diagnose.check_setup(model, train, optimizer)
    engine.prepare(model, optimizer, compile=False)
    rates = [lr_min * (lr_max / lr_min) ** (i / (steps - 1)) for i in range(steps)]
    with tensor_cores(engine.precision), mode_restored(model), _as_before(model, optimizer, train):
        model.train()
        losses, smoothed = _range_test(engine, model, train, loss_fn, optimizer, rates, smoothing)
    if len(losses) < 3:
        raise ValueError(f"the loss is not finite, or explodes at once, at lr_min={lr_min}: check data and loss first")
    tried = rates[: len(losses)]
    return LRFinder(
        tuple(tried), tuple(losses), tuple(smoothed), _steepest(tried, smoothed, smoothing), len(losses) < steps
    )


def _range_test(
    engine: Engine,
    model: nn.Module,
    train: Iterable,
    loss_fn: Callable,
    optimizer: torch.optim.Optimizer,
    rates: list[float],
    smoothing: float,
) -> tuple[list[float], list[float]]:
    losses: list[float] = []
    smoothed: list[float] = []
    mean = 0.0
    for lr, batch in zip(rates, _endless(engine, train), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = lr
        with engine.autocast():
            outputs = model(*batch.inputs)
            if not losses:
                diagnose.check_first_batch(model, outputs, batch.target, loss_fn)
            loss = loss_fn(outputs, batch.target)
        value = loss.item() / (batch.n if diagnose.reduction(loss_fn) == "sum" else 1)
        mean = smoothing * mean + (1 - smoothing) * value
        corrected = mean / (1 - smoothing ** (len(losses) + 1))  # as in Adam: the mean started from 0
        if not math.isfinite(value) or (smoothed and corrected > _EXPLODED * min(smoothed)):
            break
        losses.append(value)
        smoothed.append(corrected)
        optimizer.zero_grad()
        engine.scaler.scale(loss).backward()
        engine.scaler.step(optimizer)
        engine.scaler.update()
    return losses, smoothed


def _endless(engine: Engine, train: Iterable) -> Iterator:
    while True:
        n = 0
        for batch in engine.read(train):
            yield batch
            n += 1
        if not n:
            raise ValueError("train gave no batch: it is empty, or an iterator that an earlier loop has used up")


@contextmanager
def _as_before(model: nn.Module, optimizer: torch.optim.Optimizer, train: Iterable) -> Iterator[None]:
    """Put weights, gradients, optimizer and randomness back after the block."""
    weights = copy.deepcopy(model.state_dict())
    gradients = [(p, p.grad) for p in model.parameters()]
    state = copy.deepcopy(optimizer.state_dict())
    random = checkpoint.random_state(train)
    for p, _ in gradients:
        p.grad = None  # zero_grad lets go of a gradient, it does not overwrite it
    try:
        yield
    finally:
        model.load_state_dict(weights)
        optimizer.load_state_dict(state)
        for p, gradient in gradients:
            p.grad = gradient
        checkpoint.set_random_state(random, train)


def _steepest(rates: list[float], smoothed: list[float], smoothing: float) -> float:
    """Return the learning rate at which the loss falls fastest over log(lr), up to the point where it is lowest.

    A fall counts over a tenth of the steps, and only once the smoothed loss rests on as many batches as it averages:
    before, and from one step to the next, the batches differ by more than the rate has changed the loss.
    """
    lowest = max(min(range(len(smoothed)), key=smoothed.__getitem__), 1)
    width = min(max(1, len(rates) // 10), lowest)
    first = min(round(1 / (1 - smoothing)), lowest - width)
    falls = {i: smoothed[i] - smoothed[i + width] for i in range(first, lowest - width + 1)}
    return rates[max(falls, key=falls.__getitem__) + width // 2]
