"""Means over examples that stay on the device: the loop hands over tensors, and one transfer an epoch reads them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from helpers import expect, failures
from helpers.batches import Batch
from helpers.diagnose import BatchChecks

if TYPE_CHECKING:
    from helpers.engine import Engine

Metric = Callable[[Tensor, Tensor], Tensor]


def named(metrics: Mapping[str, Metric] | Iterable[Metric]) -> dict[str, Metric]:
    """Return metrics as a dictionary; functions without a given name go by their own.

    Examples
    --------
    >>> def hits(outputs, target):
    ...     return outputs.argmax(1) == target
    >>> list(named([hits])), list(named({"accuracy": hits}))
    (['hits'], ['accuracy'])
    """
    if not isinstance(metrics, Mapping):
        metrics = {getattr(metric, "__name__", type(metric).__name__): metric for metric in metrics}
    for name, metric in metrics.items():
        if not callable(metric) or name == "loss":
            raise TypeError(f"a metric is a function of (outputs, targets) with a name other than loss, not {name!r}")
    return dict(metrics)


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Say for each example whether the class with the largest output is the right one.

    Parameters
    ----------
    outputs : Tensor of shape (n, n_classes)
        Logits or probabilities.
    targets : Tensor of shape (n,)
        Class numbers.

    Returns
    -------
    Tensor of bool, shape (n,)
        Its mean is the accuracy.

    Raises
    ------
    ValueError
        If there is not one class number for each row of outputs: they are never broadcast.

    Examples
    --------
    >>> accuracy(torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.tensor([0, 0]))
    tensor([ True, False])
    """
    expect.numbers(outputs=outputs, targets=targets)
    if outputs.dtype == torch.bool:
        raise TypeError("outputs are logits or probabilities, one for each class, not truth values")
    if outputs.ndim < 2 or not outputs.shape[1] or targets.shape != outputs[:, 0].shape:
        raise ValueError(
            f"outputs {tuple(outputs.shape)} and targets {tuple(targets.shape)} do not fit: accuracy takes "
            "(n, n_classes) with one class or more, and class numbers (n,)"
        )
    return outputs.argmax(dim=1) == targets


class Meter:
    """Collect loss and metrics of many batches, and average them over examples.

    Nothing is read while batches are added: on a GPU that would make Python wait for the device at every step. `flush`
    moves everything that was added since the last one in a single transfer. Sums are taken in float64 and added with
    `math.fsum`, so the result does not depend on when that happens.

    Parameters
    ----------
    metrics : dict of str to callable
        ``metric(outputs, targets)`` returns one value per example, shape (n,), or the mean over the batch, shape ().
        It is called without gradients.
    summed : bool
        Whether the loss of a batch is a sum over its examples (``reduction="sum"``) and not their mean.
    reduce : callable
        Adds an array up over all processes.
    """

    def __init__(self, metrics: dict[str, Metric], *, summed: bool, reduce: Callable[[np.ndarray], np.ndarray]):
        self.metrics, self.summed, self.reduce = metrics, summed, reduce
        self.sums: dict[str, list[float]] = {name: [] for name in ("loss", *metrics)}
        self.counts: list[int] = []
        self._waiting: list[tuple[int, list[Tensor]]] = []

    def add(self, batch: Batch, loss: Tensor, outputs: Tensor) -> None:
        """Take the results of one batch, as tensors on the device."""
        values = [loss.detach()]
        if self.metrics:
            with torch.no_grad():
                outputs = outputs.detach() if isinstance(outputs, Tensor) else outputs
                values += [metric(outputs, batch.target) for metric in self.metrics.values()]
        self._waiting.append((batch.n, values))

    def flush(self, extra: list[Tensor] | None = None) -> np.ndarray:
        """Read what was added, in one transfer.

        Parameters
        ----------
        extra : list of scalar tensors, optional
            Read along.

        Returns
        -------
        ndarray
            The values of `extra`.
        """
        waiting, self._waiting = self._waiting, []
        columns = [list(column) for column in zip(*(values for _, values in waiting), strict=True)]
        flat = [_flat(column) for column in ([*columns, extra] if extra else columns)]
        if not flat:
            return np.empty(0)
        read = np.split(_read(flat), np.cumsum([len(part) for part in flat])[:-1])
        if waiting:
            n = np.array([count for count, _ in waiting], dtype=np.float64)
            pairs = enumerate(zip(read, columns, strict=False))
            rows = [_sums(part, column, n, self.summed and i == 0) for i, (part, column) in pairs]
            *rows, counts = self.reduce(np.stack([*rows, n]))
            for name, row in zip(self.sums, rows, strict=True):
                self.sums[name] += row.tolist()
            self.counts += [int(count) for count in counts]
        return read[-1] if extra else np.empty(0)

    def means(self) -> dict[str, float]:
        """Return the mean over examples of the loss and of every metric."""
        total = sum(self.counts)
        return {name: math.fsum(sums) / total if total else math.nan for name, sums in self.sums.items()}

    def state_dict(self) -> dict:
        """Return what was read so far, as plain values."""
        return {"sums": {name: list(sums) for name, sums in self.sums.items()}, "counts": list(self.counts)}

    def load_state_dict(self, state: dict) -> None:
        """Go on from what `state_dict` returned."""
        if list(state["sums"]) != list(self.sums):
            raise ValueError(f"the checkpoint has metrics {list(state['sums'])[1:]}, this run {list(self.sums)[1:]}")
        self.sums = {name: list(sums) for name, sums in state["sums"].items()}
        self.counts = list(state["counts"])


def measure(
    engine: Engine,
    net: nn.Module,
    model: nn.Module,
    data: Iterable,
    loss_fn: Callable,
    meter: Meter,
    checks: bool = True,
) -> dict[str, float]:
    """Return the means over `data` of loss and metrics, in evaluation mode and without gradients.

    `net` is the form of `model` that the engine prepared for training; `checks` looks for the mistakes of
    `helpers.diagnose.check_first_batch`.
    """
    net = engine.for_evaluation(net, model)
    model.eval()
    check = BatchChecks(checks)
    with torch.inference_mode():
        for batch in engine.read(data):
            with failures.in_words(model, batch.inputs, precision=engine.precision), engine.autocast():
                outputs = net(*batch.inputs)
                check(model, outputs, batch.target, loss_fn)
                loss = loss_fn(outputs, batch.target)
            meter.add(batch, loss, outputs)
    meter.flush()
    return meter.means()


def _flat(values: list[Tensor]) -> Tensor:
    if values[0].ndim == 0:
        return torch.stack(values)
    return torch.cat([v if v.ndim == 1 else v.reshape(len(v), -1).to(torch.float32).mean(1) for v in values])


def _read(parts: list[Tensor]) -> np.ndarray:
    dtype = torch.float32 if parts[0].device.type == "mps" else torch.float64  # MPS knows no float64
    return torch.cat([part.to(dtype) for part in parts]).cpu().numpy().astype(np.float64)


def _sums(read: np.ndarray, values: list[Tensor], n: np.ndarray, summed: bool) -> np.ndarray:
    """Return the sum over the counted examples of each batch, shape (batches,)."""
    if values[0].ndim == 0:
        sums = read if summed else read * n
    else:
        sums = np.add.reduceat(read, np.cumsum([0, *(len(v) for v in values[:-1])]))
    return np.where(n > 0, sums, 0.0)
