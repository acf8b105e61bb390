"""The training loop against a loop near the limit and against its peers: ratios measured in one run.

    python -m benchmarks.training [--quick] [--device cuda] [--threads N] [--models NAME ...] [--repetitions N]

Work: images of 28 x 28 in the format and number of Fashion-MNIST, made on the spot; a network is trained for one epoch
and then measured on the test set, with loss and accuracy on both. The arms take turns; the table gives the median of
their ratios to the near-limit loop of the same turn. Peers that are not installed are reported as such. On the CPU the
number of threads is pinned, to one unless `--threads` says another; a result of its own for each number.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("MPLBACKEND", "agg")

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from benchmarks import training_d2l
from benchmarks import training_peers as peers
from helpers import data, training
from tools.provenance import processor

RESULTS = Path(__file__).parent / "results"
LR = 0.3
CONFIGURATIONS = (("mlp", 64), ("mlp", 256), ("lenet", 256))
LIMITS = {64: 1.20, 256: 1.10}


def mlp() -> nn.Module:
    """784-256-128-10."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10)
    )


def lenet() -> nn.Module:
    """LeNet-5 as it is taught today, with ReLU and max-pooling."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


MODELS = {"mlp": mlp, "lenet": lenet}


def made_images(n_train: int, n_test: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images of ten prototypes with noise, uint8 (n, 28, 28), and their labels, for the parts "train" and "t10k"."""
    rng, parts = np.random.default_rng(0), {}
    prototypes = 255 * (rng.random((10, 28, 28)) < 0.25)  # easy: d2l's trainer insists on a loss below 0.5
    for name, n in (("train", n_train), ("t10k", n_test)):
        labels = rng.integers(0, 10, n).astype(np.uint8)
        noise = rng.integers(-30, 31, (n, 28, 28), dtype=np.int16)
        parts[name] = np.clip(prototypes[labels] + noise, 0, 255).astype(np.uint8), labels
    return parts


def write_idx(folder: Path, parts: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Write images and labels, both uint8, in the IDX format where torchvision looks for FashionMNIST."""
    raw = folder / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name, (images, labels) in parts.items():
        for kind, array, magic in (("images-idx3", images, 2051), ("labels-idx1", labels, 2049)):
            header = np.array([magic, *array.shape], dtype=">i4").tobytes()
            (raw / f"{name}-{kind}-ubyte").write_bytes(header + array.tobytes())


class Bench:
    """The data in both forms, and the arms."""

    def __init__(self, folder: Path, device: str):
        from torchvision.datasets import FashionMNIST
        from torchvision.transforms import ToTensor

        self.device = device
        self.sets = [FashionMNIST(folder, train=part, transform=ToTensor()) for part in (True, False)]
        self.tensors = [(s.data[:, None].float() / 255, s.targets) for s in self.sets]
        self.placed = [tensor.to(device) for pair in self.tensors for tensor in pair]

    def own_loaders(self, batch_size: int) -> tuple[DataLoader, DataLoader]:
        """The loaders that tutorials show."""
        train, test = self.sets
        return DataLoader(train, batch_size, shuffle=True), DataLoader(test, batch_size)

    def our_loaders(self, batch_size: int) -> tuple[DataLoader, DataLoader]:
        """The loaders of this book."""
        train, test = self.tensors
        return (
            data.loader(*train, batch_size=batch_size, device=self.device),
            data.loader(*test, batch_size=batch_size, shuffle=False, device=self.device),
        )

    def arms(self, model: str, batch_size: int, wanted: set[str]) -> dict[str, Callable[[], object]]:
        """Return the loops to time, each without arguments; the first is the near-limit loop."""
        make, device = MODELS[model], self.device
        arms = {"near-limit loop": lambda: peers.near_limit(make().to(device), *self.placed, batch_size, LR)}
        arms["fit"] = lambda: peers.ours(make(), *self.our_loaders(batch_size), LR, device)
        if device == "cuda":
            arms["fit, compile='reduce-overhead'"] = lambda: peers.ours(
                make(), *self.our_loaders(batch_size), LR, device, compile="reduce-overhead"
            )
        for name, (package, function, models) in peers.PEERS.items():
            if models in ("both", model) and package in wanted and peers.installed(package):
                for feed, loaders in (("own way", self.own_loaders), ("our loader", self.our_loaders)):
                    arms[f"{name} | {feed}"] = lambda f=function, ls=loaders: f(make(), *ls(batch_size), LR, device)
        return arms


def timed(arm: Callable[[], object], device: str) -> float:
    """Run an arm from a fixed seed and return its wall-clock seconds."""
    torch.manual_seed(0)
    with peers.quiet():
        start = time.perf_counter()
        arm()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start


def compare(arms: dict[str, Callable[[], object]], repetitions: int, device: str) -> dict[str, dict]:
    """Let the arms take turns, and return seconds and the median ratio to the first arm."""
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    failed: dict[str, str] = {}
    memory: dict[str, int] = {}
    for turn in range(repetitions + 1):
        for name, arm in arms.items():
            if device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            if name in failed:
                continue
            try:
                taken = timed(arm, device)
            except Exception as error:  # a peer that breaks must not take the table with it; ours may
                if name in ("fit", next(iter(arms))):
                    raise
                failed[name] = f"{type(error).__name__}: {error}"
                continue
            if turn:  # the first turn warms up
                seconds[name].append(taken)
                memory[name] = torch.cuda.max_memory_allocated() if device == "cuda" else 0
    base = seconds[next(iter(arms))]
    return {
        name: {
            "seconds": values,
            "median_seconds": statistics.median(values),
            "ratio": statistics.median(v / b for v, b in zip(values, base, strict=True)),
        }
        | ({"peak_memory_bytes": memory[name]} if device == "cuda" else {})
        for name, values in seconds.items()
        if name not in failed
    } | {name: {"failed": reason} for name, reason in failed.items()}


def tiny(repetitions: int, epochs: int = 1000) -> dict[str, float]:
    """Time three points for 1,000 full-batch epochs, in `fit` and in a bare loop; microseconds per epoch."""
    X = torch.tensor([[0.0], [1.0], [2.0]])
    y, loss_fn = 2 * X + 1, nn.MSELoss()

    def bare() -> None:
        model = nn.Linear(1, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=LR)
        losses = []
        for _ in range(epochs):
            optimizer.zero_grad()
            loss = loss_fn(model(X), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())

    def fitted() -> None:
        model = nn.Linear(1, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=LR)
        arguments = {"loss_fn": loss_fn, "optimizer": optimizer, "progress": False, "device": "cpu"}
        training.fit(model, [(X, y)], epochs=epochs, **arguments)

    result = compare({"bare loop": bare, "fit": fitted}, repetitions, "cpu")
    per_epoch = {name: 1e6 * values["median_seconds"] / epochs for name, values in result.items()}
    return {**per_epoch, "ratio": result["fit"]["ratio"]}


def command(name: str) -> str:
    """What was typed to run the benchmark of this name."""
    return " ".join([f"python -m benchmarks.{name}", *sys.argv[1:]])


def environment(device: str) -> dict[str, str | int]:
    """What the numbers depend on."""
    packages = sorted({"torch", "numpy", *(package for package, _, _ in peers.PEERS.values())})
    name = torch.cuda.get_device_name() if device == "cuda" else processor()
    return {
        "device": name,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{package: peers.installed(package) or "not installed" for package in packages},
    }


def table(report: dict) -> str:
    """Return the report as Markdown."""
    env = report["environment"]
    what = f"{report['examples'][0]:,} + {report['examples'][1]:,} images, median of {report['repetitions']} turns"
    lines = [f"# Training loop{' (quick run: not for quoting)' if report['quick'] else ''}", ""]
    lines += [f"{env['device']}, {env['threads']} thread(s); {what}. Seconds relative to the near-limit loop.", ""]
    lines += [f"Measured with `{report['command']}`.", ""]
    columns = list(report["results"])
    for title, feed in (
        ("Each in the way its own documentation shows", "own way"),
        ("Each on our loader", "our loader"),
    ):
        lines += [f"## {title}", "", f"| loop | {' | '.join(columns)} |", "| --- |" + " ---: |" * len(columns)]
        names = dict.fromkeys(name for column in report["results"].values() for name in column)
        for name in names:
            loop, _, suffix = name.partition(" | ")
            if suffix in ("", feed):
                cells = [report["results"][c].get(name, {}).get("ratio") for c in columns]
                lines.append(f"| {loop} | " + " | ".join("" if x is None else f"{x:.2f}" for x in cells) + " |")
        lines.append("")
    missing = [name for name, (package, _, _) in peers.PEERS.items() if env[package] == "not installed"]
    lines += [f"Not installed here: {', '.join(missing)}." if missing else "All peers were installed.", ""]
    if report.get("only") is not None:
        lines += [f"Timed of them: only those of {', '.join(report['only']) or 'none'} (`--only`).", ""]
    if env[training_d2l.PACKAGE] == "not installed":
        lines += [f"To time d2l 1: `{training_d2l.HINT}`.", ""]
    for column, arms in report["results"].items():
        lines += [f"Failed: {name}, {column}: {arm['failed']}\n" for name, arm in arms.items() if "failed" in arm]
    t = report["tiny"]
    lines += ["## Three points, 1,000 full-batch epochs", ""]
    lines += [f"Bare loop {t['bare loop']:.0f} µs an epoch, `fit` {t['fit']:.0f} µs: {t['ratio']:.2f} times.", ""]
    lines += [report["gpu"], "", "Versions: " + ", ".join(f"{k} {v}" for k, v in env.items() if k != "device") + "."]
    return "\n".join(lines) + "\n"


def record(stem: str, report: dict, text: str) -> None:
    """Write a report and its table into the results, and print the table."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{stem}.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    (RESULTS / f"{stem}.md").write_text(text, encoding="utf-8")
    print(text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a fifth of the data, two turns")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of PyTorch on the CPU")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS), help="networks to time")
    parser.add_argument("--repetitions", type=int)
    parser.add_argument("--only", nargs="*", help="packages of the peers to time (all that are installed by default)")
    options = parser.parse_args()
    if options.device == "cpu":
        torch.set_num_threads(options.threads)
    wanted = {package for package, _, _ in peers.PEERS.values()} if options.only is None else set(options.only)
    repetitions = options.repetitions or (2 if options.quick else 7)
    examples = (12_000, 2_000) if options.quick else (60_000, 10_000)
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        write_idx(Path(folder), made_images(*examples))
        bench = Bench(Path(folder), options.device)
        for model, batch_size in [pair for pair in CONFIGURATIONS if pair[0] in options.models]:
            name = f"{model}, batch {batch_size}"
            results[name] = compare(bench.arms(model, batch_size, wanted), repetitions, options.device)
            ratio = results[name]["fit"]["ratio"]
            print(f"{name}: fit {ratio:.2f} times the near-limit loop (target {LIMITS[batch_size]:.2f})", flush=True)
    not_run = "GPU: not run, there is none here. `python -m benchmarks.training --device cuda` fills this table on one."
    report = {
        "command": command("training"),
        "quick": options.quick,
        "repetitions": repetitions,
        "only": options.only,
        "examples": examples,
        "environment": environment(options.device),
        "results": results,
        "tiny": tiny(repetitions),
        "gpu": not_run if options.device == "cpu" else "The table above was measured on the GPU.",
    }
    threads = f"-{options.threads}threads" if options.device == "cpu" and options.threads != 1 else ""
    stem = f"training-{options.device}{threads}{'-quick' if options.quick else ''}"
    record(stem, report, table(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
