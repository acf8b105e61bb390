"""How long until 99 of 100 test images are right: seconds, epochs and memory, on images in MNIST's size and number.

    python -m benchmarks.time_to_accuracy [--device cuda] [--data made] [--target 0.99] [--epochs N] [--seeds N]

LeNet with AdamW, the same start and step size for every arm. The clock runs from the first batch to the end of the
evaluation that first reaches the target; every epoch is followed by one. The data are MNIST where it is on disk or can
be downloaded, else made: digits of Matplotlib's type faces, turned, sheared, scaled, shifted and covered with noise.
The report says which. Made digits are not MNIST: compare arms with one another, not seconds with those of papers.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks import training as loops
from benchmarks import training_peers as peers
from helpers import data, training
from helpers.data import DataUnavailable

EXAMPLES, QUICK = (60_000, 10_000), (6_000, 1_000)
BATCH_SIZE, LR = 256, 3e-3
FACES = ("DejaVu*.ttf", "STIXGeneral*.ttf", "cmr10.ttf", "cmss10.ttf", "cmtt10.ttf", "cmb10.ttf", "cmti10.ttf")
"""Type faces that come with Matplotlib and have digits."""

Parts = dict[str, tuple[np.ndarray, np.ndarray]]
Trace = list[tuple[float, float]]
"""Seconds since the start and accuracy on the test set, after each epoch."""


def glyphs() -> Tensor:
    """The ten digits in every face of `FACES`, shape (faces, 10, 1, 28, 28), values in [0, 1]."""
    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    paths = [path for pattern in FACES for path in sorted(fonts.glob(pattern)) if "Display" not in path.name]
    drawn = np.zeros((len(paths), 10, 1, 28, 28), np.float32)
    for i, path in enumerate(paths):
        face = ImageFont.truetype(str(path), 24)
        for digit in range(10):
            canvas = Image.new("L", (28, 28))
            ImageDraw.Draw(canvas).text((14, 14), str(digit), fill=255, font=face, anchor="mm")
            drawn[i, digit, 0] = np.asarray(canvas) / 255
    return torch.from_numpy(drawn)


def made_digits(n_train: int, n_test: int) -> Parts:
    """Distorted digits, uint8 (n, 28, 28), and their labels, for the parts "train" and "t10k"."""
    random, prototypes, parts = torch.Generator().manual_seed(0), glyphs(), {}

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random)

    for name, n in (("train", n_train), ("t10k", n_test)):
        faces = torch.randint(len(prototypes), (n,), generator=random)
        labels = torch.randint(10, (n,), generator=random)
        turn, shear, size = 0.15 * normal(n), 0.15 * normal(n), torch.exp(0.12 * normal(n))
        rotation = torch.stack([turn.cos(), -turn.sin(), turn.sin(), turn.cos()], 1).reshape(n, 2, 2)
        skew = torch.eye(2).repeat(n, 1, 1)
        skew[:, 0, 1] = shear
        theta = torch.cat([size[:, None, None] * rotation @ skew, 0.06 * normal(n, 2, 1)], 2)
        images = []
        for rows in torch.arange(n).split(10_000):
            grid = F.affine_grid(theta[rows], [len(rows), 1, 28, 28], align_corners=False)
            images.append(F.grid_sample(prototypes[faces[rows], labels[rows]], grid, align_corners=False))
        noisy = (torch.cat(images)[:, 0] + 0.2 * normal(n, 28, 28)).clamp(0, 1)
        parts[name] = (255 * noisy).round().byte().numpy(), labels.byte().numpy()
    return parts


def mnist() -> Parts:
    """MNIST in the same form; raises `DataUnavailable` where it is neither on disk nor to be downloaded."""
    images = data.load_images("mnist", mode="full")
    sets = {"train": (images.X, images.y), "t10k": (images.X_test, images.y_test)}
    return {name: ((255 * X[:, 0]).round().byte().numpy(), y.byte().numpy()) for name, (X, y) in sets.items()}


def choose(name: str, examples: tuple[int, int]) -> tuple[str, Parts]:
    """The data of this name, and what to call them in the report; ``auto`` takes MNIST where it is to be had."""
    if name != "made":
        try:
            return "MNIST", mnist()
        except DataUnavailable as error:
            if name == "mnist":
                raise
            print(f"{error}\nMade digits take its place.", file=sys.stderr, flush=True)
    return "made digits (not MNIST)", made_digits(*examples)


def by_fit(bench: loops.Bench, epochs: int, target: float, **kwargs) -> Trace:
    """`helpers.training.fit` on our loader, all epochs; what comes after the target does not count."""
    model = loops.lenet()
    history = training.fit(
        model, *bench.our_loaders(BATCH_SIZE), loss_fn=nn.CrossEntropyLoss(),
        optimizer=torch.optim.AdamW(model.parameters(), lr=LR), epochs=epochs,
        metrics={"accuracy": training.accuracy}, progress=False, device=bench.device, **kwargs,
    )  # fmt: skip
    return list(zip(itertools.accumulate(history["seconds"]), history["valid_accuracy"], strict=True))


def by_tutorial(bench: loops.Bench, epochs: int, target: float) -> Trace:
    """The loop of tutorials, fed as they do it; it stops at the target."""
    model = loops.lenet().to(bench.device)
    optimizer, loss_fn = torch.optim.AdamW(model.parameters(), lr=LR), nn.CrossEntropyLoss()
    train, test = bench.own_loaders(BATCH_SIZE)
    trace, start = [], time.perf_counter()
    for _ in range(epochs):
        model.train()
        for xb, yb in train:
            xb, yb = xb.to(bench.device), yb.to(bench.device)
            optimizer.zero_grad()
            loss_fn(model(xb), yb).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            hits = sum((model(x.to(bench.device)).argmax(1).cpu() == y).sum().item() for x, y in test)
        trace.append((time.perf_counter() - start, hits / len(test.dataset)))
        if trace[-1][1] >= target:
            break
    return trace


def arms(device: str) -> dict[str, Callable[..., Trace]]:
    """The loops by their names in the report."""
    if device == "cpu":
        return {"fit": by_fit, "tutorial loop": by_tutorial}
    kinds = ("fp32", "tf32", "bf16")
    found = {f"fit, {kind}": lambda *a, k=kind: by_fit(*a, precision=k) for kind in kinds}
    captured = {"precision": "bf16", "compile": "reduce-overhead"}
    found["fit, bf16, compile='reduce-overhead'"] = lambda *a: by_fit(*a, **captured)
    return found | {"tutorial loop": by_tutorial}


def reached(trace: Trace, target: float) -> dict[str, float | int | None]:
    """Seconds and epochs until the target, None if it was not reached, and the best accuracy until then.

    >>> reached([(2.0, 0.97), (4.5, 0.992), (7.0, 0.995)], 0.99)
    {'seconds': 4.5, 'epochs': 2, 'best': 0.992}
    """
    first = next((i for i, (_, accuracy) in enumerate(trace) if accuracy >= target), None)
    seconds, epochs = (None, None) if first is None else (trace[first][0], first + 1)
    return {"seconds": seconds, "epochs": epochs, "best": max(accuracy for _, accuracy in trace[:epochs])}


def measure(bench: loops.Bench, epochs: int, target: float, seeds: int) -> dict[str, list[dict]]:
    """Let the arms take turns, one turn for each seed; the first turn is preceded by an epoch that warms up."""
    results: dict[str, list[dict]] = {}
    for seed in range(seeds):
        for name, arm in arms(bench.device).items():
            if seed == 0:
                arm(bench, 1, target)
            if bench.device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            torch.manual_seed(seed)
            with peers.quiet():
                result = reached(arm(bench, epochs, target), target)
            if bench.device == "cuda":
                result["peak_memory_bytes"] = torch.cuda.max_memory_allocated()
            results.setdefault(name, []).append(result)
            print(f"seed {seed}, {name}: {result}", flush=True)
    return results


def middle(runs: list[dict], key: str) -> float:
    """The median over seeds; infinite where most did not arrive."""
    return statistics.median(math.inf if run[key] is None else run[key] for run in runs)


def table(report: dict) -> str:
    """The report as Markdown."""
    env, runs = report["environment"], report["results"]
    share = f"{100 * report['target']:g} %"
    lines = [f"# Time to {share} of the test images{' (quick run: not for quoting)' if report['quick'] else ''}", ""]
    n_train, n_test = report["examples"]
    lines += [
        f"LeNet, batch {BATCH_SIZE}, AdamW with step size {LR:g}, on {report['data']}, {n_train:,} + {n_test:,}; "
        f"{env['device']}, {env['threads']} thread(s); "
        f"median of {report['seeds']} seeds, at most {report['epochs']} epochs.",
        "",
    ]
    lines += [f"Measured with `{report['command']}`.", ""]
    head = ["loop", "seconds", "epochs", "seeds that arrived", "best accuracy until then"]
    head += ["peak memory, MiB"] * ("peak_memory_bytes" in next(iter(runs.values()))[0])
    lines += [f"| {' | '.join(head)} |", "| --- |" + " ---: |" * (len(head) - 1)]
    for name, values in runs.items():
        seconds, epochs = middle(values, "seconds"), middle(values, "epochs")
        arrived = sum(run["seconds"] is not None for run in values)
        cells = [name, *(f"{x:.1f}" if math.isfinite(x) else "not reached" for x in (seconds, epochs))]
        cells += [f"{arrived} of {len(values)}", f"{max(run['best'] for run in values):.4f}"]
        if len(head) > len(cells):
            cells.append(f"{max(run['peak_memory_bytes'] for run in values) / 2**20:.0f}")
        lines.append(f"| {' | '.join(cells)} |")
    if env["device_type"] == "cpu":
        lines += ["", "GPU: not run, there is none here. `python -m benchmarks.time_to_accuracy --device cuda` does."]
    return "\n".join([*lines, "", f"torch {env['torch']}, torchvision {env['torchvision']}, {env['python']}."]) + "\n"


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the made data, one seed")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cpu", "cuda"])
    parser.add_argument("--data", default="auto", choices=["auto", "mnist", "made"])
    parser.add_argument("--target", type=float, default=0.99)
    parser.add_argument("--epochs", type=int, default=15, help="at most so many")
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of PyTorch on the CPU")
    options = parser.parse_args()
    if options.device == "cpu":
        torch.set_num_threads(options.threads)
    seeds = options.seeds or (1 if options.quick else 3)
    title, parts = choose("made" if options.quick else options.data, QUICK if options.quick else EXAMPLES)
    with tempfile.TemporaryDirectory() as folder:
        loops.write_idx(Path(folder), parts)
        results = measure(loops.Bench(Path(folder), options.device), options.epochs, options.target, seeds)
    env = loops.environment(options.device)
    report = {
        "command": loops.command("time_to_accuracy"),
        "quick": options.quick,
        "data": title,
        "examples": [len(parts[name][1]) for name in ("train", "t10k")],
        "target": options.target,
        "epochs": options.epochs,
        "seeds": seeds,
        "environment": {key: env[key] for key in ("device", "threads", "python", "torch", "torchvision")}
        | {"device_type": options.device},
        "results": results,
    }
    stem = f"time_to_accuracy-{options.device}{'-quick' if options.quick else ''}"
    loops.record(stem, report, table(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
