"""Runs that one process and two processes must make alike. Started by test_distributed.py; prints nothing.

Usage: python tests/training_processes.py FOLDER   (under `accelerate launch` or alone); writes FOLDER/<case>-<rank>.pt
"""

from __future__ import annotations

import sys
from pathlib import Path

import cnn_processes
import torch
import torch.distributed as dist
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, RandomSampler, TensorDataset

from helpers import data
from helpers.checkpoint import Checkpoint
from helpers.training import EarlyStopping, accuracy, evaluate, fit, predict

D, C = 5, 3
CASES = {  # 101 examples in batches of 10: the last has one example, so one of two processes has none
    "plain": {"n": 103},
    "one left over": {"n": 101},
    "book": {"n": 103, "loader": "book"},
    "stream": {"n": 101, "loader": "stream"},
    "batches as indices": {"n": 103, "loader": "index"},
    "list": {"n": 101, "loader": "list"},
    "accumulate": {"n": 101, "accumulate": 4},
    "sum": {"n": 101, "reduction": "sum", "accumulate": 3, "lr": 0.002},
    "odd batches": {"n": 50, "batch_size": 7},
    "fewer than processes": {"n": 3, "batch_size": 1},
    "everything": {"n": 101, "extras": True},
} | cnn_processes.CASES


class Stream(IterableDataset):
    def __init__(self, X, y):
        self.X, self.y = X, y

    def __iter__(self):
        return zip(self.X, self.y, strict=True)


def error_rate(outputs, target):
    return (outputs.argmax(1) != target).double().mean()


def make_loader(kind: str, X: torch.Tensor, y: torch.Tensor, batch_size: int):
    if kind == "book":
        return data.loader(X, y, batch_size=batch_size, seed=3)
    if kind == "stream":
        return DataLoader(Stream(X, y), batch_size=batch_size)
    if kind == "list":
        return list(zip(X.split(batch_size), y.split(batch_size), strict=True))
    pairs = TensorDataset(X, y)
    if kind == "index":
        return DataLoader(pairs, sampler=BatchSampler(RandomSampler(pairs), batch_size, False), batch_size=None)
    return DataLoader(pairs, batch_size=batch_size, shuffle=True)


def run(
    folder: Path, n: int, loader="plain", batch_size=10, reduction="mean", lr=0.1, extras=False, accumulate=1
) -> dict:
    g = torch.Generator().manual_seed(7)
    X = torch.randn(n, D, generator=g, dtype=torch.float64)
    y = (X @ torch.randn(D, C, generator=g, dtype=torch.float64)).argmax(1)
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(D, 8), nn.Tanh(), nn.Linear(8, C)).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.5)
    loss_fn = nn.CrossEntropyLoss(reduction=reduction)
    metrics = {"accuracy": accuracy, "error": error_rate}
    arguments = {
        "loss_fn": loss_fn,
        "optimizer": optimizer,
        "metrics": metrics,
        "progress": False,
        "accumulate": accumulate,
    }
    if extras:
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        arguments |= {"clip_norm": 0.5, "scheduler": scheduler, "early_stopping": EarlyStopping(9)}
        arguments |= {"checkpoint": Checkpoint(folder / "run.pt", every=7), "resume": True}
        fit(model, make_loader(loader, X, y, batch_size), make_loader("plain", X, y, 10), epochs=1, seed=5, **arguments)
    train = make_loader(loader, X, y, batch_size)
    valid = DataLoader(TensorDataset(X, y), batch_size=8)
    history = fit(model, train, valid, epochs=3, seed=5, **arguments)
    return {
        "weights": [p.detach().clone() for p in model.parameters()],
        "epochs": {name: values for name, values in history.epochs.items() if name != "seconds"},
        "steps": history.steps,
        "evaluated": evaluate(model, valid, loss_fn=loss_fn, metrics=metrics),
        "predicted": predict(model, X),
    }


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    for name, settings in CASES.items():
        result = cnn_processes.run(**settings) if name in cnn_processes.CASES else run(folder, **settings)
        many = dist.is_available() and dist.is_initialized()
        rank, world = (dist.get_rank(), dist.get_world_size()) if many else (0, 1)
        torch.save(result | {"world": world}, folder / f"{name}-{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
