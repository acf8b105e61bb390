"""Learning-rate schedules at work: what a scheduler sets, and many small networks trained at once, each with its own.

The networks of `train_many` are fully connected, with ReLU between the layers and cross-entropy at the end. Their
weights lie stacked in one tensor per layer, shape (runs, n_in, n_out): one batched matrix product serves all runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from helpers import expect


@dataclass(frozen=True)
class Runs:
    """The outcome of `train_many`.

    Attributes
    ----------
    steps : Tensor, shape (records,)
        The updates after which the loss was recorded; the first is 0, the last is the number of updates.
    losses : Tensor, shape (records, runs)
        Mean cross-entropy over the whole training set, in nats. A run that has diverged has inf, never nan.
    parameters : tuple of Tensor
        Weight (runs, n_in, n_out) and bias (runs, 1, n_out) of each layer, in turn.
    """

    steps: Tensor
    losses: Tensor
    parameters: tuple[Tensor, ...]

    @property
    def final(self) -> Tensor:
        """The training loss after the last update, shape (runs,)."""
        return self.losses[-1]

    def evaluate(self, X: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean cross-entropy (nats) and share of right answers on the examples given, both of shape (runs,)."""
        logits = _forward(self.parameters, X)
        return _losses(logits, y.expand(len(logits), -1)).mean(dim=1), (logits.argmax(dim=2) == y).double().mean(dim=1)


def rates_of(
    make: Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler], n_steps: int, *, lr: float = 0.1
) -> Tensor:
    """Drive a scheduler and write down the learning rate that each update uses.

    Parameters
    ----------
    make : callable
        ``make(optimizer)`` returns the scheduler; the optimizer is a `torch.optim.SGD`.
    n_steps : int
        Number of updates, each followed by one ``scheduler.step()``.
    lr : float
        The rate that the optimizer is made with.

    Returns
    -------
    Tensor, shape (n_steps,), float64

    Raises
    ------
    ValueError
        If `n_steps` is not positive.

    Examples
    --------
    >>> rates_of(lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, step_size=2), 4)
    tensor([0.1000, 0.1000, 0.0100, 0.0100], dtype=torch.float64)
    """
    expect.whole(n_steps=n_steps, least=1)
    expect.rate(lr)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler = make(optimizer)
    used = []
    for _ in range(n_steps):
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()  # first the update,
        scheduler.step()  # then the next rate
    return torch.tensor(used, dtype=torch.float64)


def train_many(
    X: Tensor,
    y: Tensor,
    rates: Tensor,
    *,
    seeds: Sequence[int],
    batch_size: int,
    widths: Sequence[int],
    gain: float = 1.0,
    optimizer: type[torch.optim.Optimizer] = torch.optim.SGD,
    options: Mapping[str, Any] | None = None,
    clip_norm: float | None = None,
    n_records: int = 1,
) -> Runs:
    """Train one network per column of `rates`.

    Parameters
    ----------
    X : Tensor, shape (n, n_in)
        Inputs of all runs.
    y : Tensor, shape (n,)
        Class numbers.
    rates : Tensor, shape (updates, runs)
        The learning rate of each run at each update: any schedule, written out.
    seeds : sequence of int, one per run
        Runs with the same seed start from the same weights and see the same batches.
    batch_size : int
        Examples per update. Each epoch has a new order; a remainder of the data is left out of that epoch.
    widths : sequence of int
        Width of each layer, inputs and classes included, such as ``(64, 32, 10)``.
    gain : float
        Factor on the initial weights, whose law is that of `torch.nn.Linear` at 1.
    optimizer, options
        A class of `torch.optim` whose step is proportional to its rate and works entry by entry (SGD with any momentum,
        Adam, AdamW, RMSprop), and its further arguments.
    clip_norm : float, optional
        Scale the gradient of each run down to this norm.
    n_records : int
        How often the training loss is recorded, evenly spread, besides the one at the start.

    Returns
    -------
    Runs

    Raises
    ------
    ValueError
        If shapes or numbers do not fit.

    Notes
    -----
    The optimizer takes its step with rate 1; each run then keeps ``rates[t]`` of it. For the optimizers named that is
    the same as a step with that rate, because the rate multiplies the step and enters nowhere else.

    Examples
    --------
    >>> X, y = torch.eye(4), torch.arange(4)
    >>> rates = torch.tensor([0.0, 1.0]).expand(50, 2)
    >>> runs = train_many(X, y, rates, seeds=[0, 0], batch_size=4, widths=(4, 4))
    >>> bool(runs.final[0] == runs.losses[0, 0]), bool(runs.final[1] < 0.2)
    (True, True)
    """
    _check(X, y, rates, seeds, batch_size, widths, gain, clip_norm, n_records)
    n_steps = len(rates)
    parameters = _start(seeds, widths, gain, X.dtype)
    stepper = optimizer(parameters, lr=1.0, **(options or {}))
    order = _deal(seeds, len(y), n_steps, batch_size)
    record_at = {round(k * n_steps / n_records) for k in range(n_records + 1)}
    losses = []
    for t in range(n_steps + 1):
        if t in record_at:
            losses.append(_whole_loss(parameters, X, y))
        if t == n_steps:
            break
        batch = order[t]  # (runs, B)
        loss = _losses(_forward(parameters, X[batch]), y[batch]).mean(dim=1)
        gradients = torch.autograd.grad(loss.sum(), parameters)  # runs do not touch, so each gets its own gradient
        if clip_norm is not None:
            gradients = _clipped(gradients, clip_norm)
        before = [p.detach().clone() for p in parameters]
        for p, gradient in zip(parameters, gradients, strict=True):
            p.grad = gradient
        stepper.step()
        share = rates[t].to(X.dtype)[:, None, None]
        with torch.no_grad():
            for p, old in zip(parameters, before, strict=True):
                p.copy_(old + share * (p - old))
    return Runs(torch.tensor(sorted(record_at)), torch.stack(losses), tuple(p.detach() for p in parameters))


def _start(seeds: Sequence[int], widths: Sequence[int], gain: float, dtype: torch.dtype) -> list[Tensor]:
    nets = {}
    for seed in set(seeds):
        generator = torch.Generator().manual_seed(seed)
        nets[seed] = []
        for n_in, n_out in pairwise(widths):
            bound = 1 / math.sqrt(n_in)  # torch.nn.Linear: uniform in plus or minus this
            for shape, scale in (((n_in, n_out), gain * bound), ((1, n_out), bound)):
                nets[seed].append(scale * (2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1))
    stacks = zip(*(nets[seed] for seed in seeds), strict=True)
    return [torch.stack(stack).to(dtype).requires_grad_() for stack in stacks]


def _deal(seeds: Sequence[int], n: int, n_steps: int, batch_size: int) -> Tensor:
    """Return the rows of each batch, shape (updates, runs, batch_size)."""
    per_epoch = n // batch_size
    orders = {}
    for seed in set(seeds):
        generator = torch.Generator().manual_seed(10_000 + seed)  # apart from the generator of the weights
        epochs = [
            torch.randperm(n, generator=generator)[: per_epoch * batch_size].view(per_epoch, batch_size)
            for _ in range(-(-n_steps // per_epoch))
        ]
        orders[seed] = torch.cat(epochs)[:n_steps]
    return torch.stack([orders[seed] for seed in seeds], dim=1)


def _forward(parameters: Sequence[Tensor], X: Tensor) -> Tensor:
    """Return logits of shape (runs, n, classes); X has shape (n, n_in), or (runs, n, n_in)."""
    a = X
    for k in range(0, len(parameters), 2):
        a = (a.relu() if k else a) @ parameters[k] + parameters[k + 1]
    return a


def _losses(logits: Tensor, y: Tensor) -> Tensor:
    """Return the cross-entropy of each example, shape (runs, n)."""
    return F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none").view(y.shape)


@torch.no_grad()
def _whole_loss(parameters: Sequence[Tensor], X: Tensor, y: Tensor) -> Tensor:
    logits = _forward(parameters, X)
    return _losses(logits, y.expand(len(logits), -1)).mean(dim=1).nan_to_num(nan=math.inf)


def _clipped(gradients: Sequence[Tensor], clip_norm: float) -> list[Tensor]:
    norm = torch.stack([g.flatten(1).norm(dim=1) for g in gradients]).norm(dim=0)  # (runs,)
    factor = (clip_norm / (norm + 1e-6)).clamp(max=1.0)  # as torch.nn.utils.clip_grad_norm_
    return [factor[:, None, None] * g for g in gradients]


def _check(X, y, rates, seeds, batch_size, widths, gain, clip_norm, n_records) -> None:
    expect.floats(X=X)
    expect.numbers(X=X, y=y, rates=rates)
    expect.whole(
        batch_size=batch_size, n_records=n_records, **{f"widths_{i}": n for i, n in enumerate(widths)}, least=1
    )
    expect.finite(gain=gain)
    if y.dtype != torch.int64:
        raise TypeError(f"y holds {y.dtype}, but class numbers are needed, torch.int64: use y.long()")
    if X.ndim != 2 or y.shape != X.shape[:1]:
        raise ValueError(f"X has shape (n, n_in) and y shape (n,), not {tuple(X.shape)} and {tuple(y.shape)}")
    if rates.ndim != 2 or 0 in rates.shape:
        raise ValueError(f"rates has shape (updates, runs), not {tuple(rates.shape)}: give every run a column")
    if not bool(torch.isfinite(rates).all()) or bool((rates < 0).any()):
        raise ValueError("a learning rate in rates is negative or not finite: check the schedule")
    if len(seeds) != rates.shape[1]:
        raise ValueError(f"there are {len(seeds)} seeds for {rates.shape[1]} runs: give each column of rates a seed")
    if not 1 <= batch_size <= len(X):
        raise ValueError(f"batch_size is from 1 to the number of examples, {len(X)}, not {batch_size}")
    if len(widths) < 2 or widths[0] != X.shape[1] or int(y.max()) >= widths[-1] or int(y.min()) < 0:
        raise ValueError(
            f"widths={tuple(widths)} does not fit {X.shape[1]} inputs and classes {int(y.min())} to {int(y.max())}"
        )
    if clip_norm is not None and not clip_norm > 0:
        raise ValueError(f"clip_norm is a positive number or None, not {clip_norm}")
    if not 1 <= n_records <= len(rates):
        raise ValueError(f"n_records is from 1 to the number of updates, {len(rates)}, not {n_records}")
