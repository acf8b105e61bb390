"""The network of chapter 21, made and trained by the chapter's own cells, for one process and for several.

`training_processes` runs the short cases among its own; alone this file trains as long as the chapter does:

Usage: python tests/cnn_processes.py FOLDER   (under a launcher or alone); writes FOLDER/lenet-<rank>.pt
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from helpers import data, runtime
from helpers.training import accuracy, evaluate, fit, predict
from tools.chapter import ROOT, read

SIDE = 8
BATCH = 64
"""The chapter's batch size; with two processes each has 32 examples of a batch."""
CASES = {
    "lenet, divides": {"n": 2 * 2 * BATCH, "epochs": 3},
    "lenet, does not divide": {"n": 2 * BATCH + 45, "epochs": 3},  # the last batch has 45: 23 and 22
    "lenet, one left over": {"n": 2 * BATCH + 1, "epochs": 3},  # the last batch has one, so one process has none
}


def chapter(X: torch.Tensor) -> dict:
    """Execute the cells of chapter 21 that define `lenet` and `trained`; `X` tells the second how long to train."""
    names = {"F": nn.functional, "nn": nn, "torch": torch, "X": X, "data": data, "runtime": runtime}
    names |= {"accuracy": accuracy, "fit": fit, "predict": predict}
    for cell in read(ROOT / "notebooks" / "21_cnn_on_images.ipynb").code:
        if "def lenet(" in cell.source or "def trained(" in cell.source:
            exec(compile(cell.source, cell.node.id, "exec"), names)
    return names


def run(n: int | None = None, epochs: int | None = None, dtype: torch.dtype = torch.float64) -> dict:
    """Train on `n` digits (all of the chapter's by default), and give everything that must not depend on processes."""
    images = data.load_images(mode="embedded")
    order = torch.randperm(len(images.X), generator=torch.Generator().manual_seed(0))
    valid, rest = order[: len(order) // 5], order[len(order) // 5 :][:n]
    X, X_test = images.X.to(dtype), images.X_test.to(dtype)
    names = chapter(X[rest])
    held_out = data.loader(X[valid], images.y[valid], batch_size=256, shuffle=False)
    settings = {"epochs": epochs} if epochs else {}
    model, history = names["trained"](
        lambda: names["lenet"](SIDE).to(dtype), X[rest], images.y[rest], valid=held_out, **settings
    )
    test = data.loader(X_test, images.y_test, batch_size=2 * BATCH - 1, shuffle=False)
    return {
        "weights": [p.detach().clone() for p in model.parameters()],
        "epochs": {name: values for name, values in history.epochs.items() if name != "seconds"},
        "steps": history.steps,
        "evaluated": evaluate(model, test, loss_fn=nn.CrossEntropyLoss(), metrics={"accuracy": accuracy}),
        "predicted": predict(model, X_test),
    }


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    for dtype in (torch.float64, torch.float32):
        result = run(dtype=dtype)
        many = dist.is_available() and dist.is_initialized()
        rank, world = (dist.get_rank(), dist.get_world_size()) if many else (0, 1)
        torch.save(result | {"world": world}, folder / f"lenet-{str(dtype).removeprefix('torch.')}-{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
