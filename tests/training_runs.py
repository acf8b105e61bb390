"""Training runs for the tests of checkpoints, in a module of its own so that a fresh process can import it."""

from __future__ import annotations

from pathlib import Path

import torch
import torch._dynamo  # the first step of an optimizer imports it: better once, before processes are forked
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from helpers import data
from helpers.checkpoint import Checkpoint
from helpers.runtime import set_seed
from helpers.training import EarlyStopping, accuracy, fit

N, D, C = 103, 5, 3


def examples() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Inputs, classes, and the number of each example."""
    g = torch.Generator().manual_seed(7)
    X = torch.randn(N, D, generator=g)
    return X, (X @ torch.randn(D, C, generator=g)).argmax(1), torch.arange(N)


class LoggedLoss(nn.Module):
    """Cross-entropy that writes down the examples of every batch: the evidence for the order of the data."""

    reduction = "mean"

    def __init__(self, model: nn.Module, log: Path | None, done: int):
        super().__init__()
        self.owner, self.log, self.calls = [model], log, done

    def forward(self, outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if self.log is not None and self.owner[0].training:
            with self.log.open("a") as file:
                file.write(f"{self.calls} {','.join(map(str, target[:, 1].tolist()))}\n")
            self.calls += 1
        return nn.functional.cross_entropy(outputs, target[:, 0])


def right(outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return accuracy(outputs, target[:, 0])


class Augmented(TensorDataset):
    """Examples with noise from the global generator, as random augmentation would add it."""

    def __getitem__(self, i):
        X, y = super().__getitem__(i)
        return X + 0.01 * torch.randn(D), y


def train(
    path: str | Path,
    *,
    epochs: int = 3,
    every: int | None = 1,
    kind: str = "plain",
    resume: bool | str | Path = True,
    log: Path | None = None,
    device: str = "cpu",
    workers: int = 0,
):
    """One run with everything that has a state: dropout, batch norm, Adam, a schedule, accumulation, early stopping."""
    X, y, number = examples()
    target = torch.stack([y, number], 1)
    set_seed(11)
    model = nn.Sequential(nn.Linear(D, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, C))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    if kind == "plain":
        loader = DataLoader(Augmented(X, target), batch_size=10, shuffle=True, num_workers=workers)
    elif kind == "generator":
        loader = DataLoader(
            TensorDataset(X, target), batch_size=10, shuffle=True, generator=torch.Generator().manual_seed(2)
        )
    else:
        loader = data.loader(X, target, batch_size=10, seed=5)
    valid = data.loader(X[:31], target[:31], batch_size=10, shuffle=False)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.05, total_steps=6 * epochs)
    done = 0
    if log is not None and Path(path).exists():
        state = torch.load(path, weights_only=True)
        done = state["epoch"] * 11 + min(state["step"] * 2, 11)
    history = fit(
        model, loader, valid, loss_fn=LoggedLoss(model, log, done), optimizer=optimizer, epochs=epochs,
        metrics={"accuracy": right}, scheduler=scheduler, accumulate=2, clip_norm=1.0, device=device, precision="fp32",
        early_stopping=EarlyStopping(patience=50), checkpoint=Checkpoint(path, every=every), resume=resume,
        progress=False,
    )  # fmt: skip
    return model, optimizer, history


def unfinished(path: str, log: str, epochs: int, every: int, kind: str) -> None:
    """The body of a process that will be killed."""
    torch.set_num_threads(1)
    train(path, epochs=epochs, every=every, kind=kind, log=Path(log))
