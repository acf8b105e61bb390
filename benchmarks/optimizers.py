"""Trajectories times steps per second: the book's batched rules against torch.optim in a loop, and the playground's.

    python -m benchmarks.optimizers [--repetitions N]

Work: Rosenbrock's function, 100 steps from every start. ``torch.optim`` walks one start after the other, as a notebook
that draws a few paths does it, and then all starts as one parameter; ``helpers.optim_paths.descend`` takes 10,000 at
once; the script of the playground runs in V8. The arms take turns; the table gives medians, and ratios to the loop of
the same turn. One thread is pinned.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from py_mini_racer import MiniRacer

from helpers import optim_rules as rules
from helpers.optim_paths import descend, torch_path, torch_twin
from helpers.optim_surfaces import rosenbrock
from helpers.playground import WEB
from helpers.runtime import report

RESULT = Path(__file__).parent / "results" / "optimizers.md"
N_STEPS, LR = 100, 1e-3
RULES = {"gradient descent": rules.GradientDescent(), "momentum": rules.Momentum(), "Adam": rules.Adam()}
_JS = "for (let i = 0; i < 1000; i++) OptimizerPlayground.run({name!r}, 'Rosenbrock', [i / 500 - 1, 1], \
{{lr: {lr}, momentum: 0.9, memory: 0.999}}, {steps}); 0"


def arms(name: str) -> dict[str, tuple[int, object]]:
    """For each arm the number of starts and what to run."""
    f, rule = rosenbrock(), RULES[name]
    twin = torch_twin(rule, LR)
    starts = torch.rand(10_000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    engine = MiniRacer()
    engine.eval((WEB / "playground.js").read_text(encoding="utf-8"))
    return {
        "torch.optim, one start after the other": (
            5, lambda: [torch_path(f, start, twin, n_steps=N_STEPS) for start in starts[:5]],
        ),
        "torch.optim, all starts as one parameter": (10_000, lambda: torch_path(f, starts, twin, n_steps=N_STEPS)),
        "helpers.optim_paths.descend": (10_000, lambda: descend(f, starts, lr=LR, n_steps=N_STEPS, rule=rule)),
        "playground.js": (1_000, lambda: engine.eval(_JS.format(name=name, lr=LR, steps=N_STEPS))),
    }  # fmt: skip


def measure(name: str, repetitions: int) -> list[str]:
    """Rows of the table for one rule."""
    speeds: dict[str, list[float]] = {}
    work = arms(name)
    for turn in range(repetitions + 1):  # the first turn warms up
        for arm, (n_starts, run) in work.items():
            begin = time.perf_counter()
            run()
            if turn:
                speeds.setdefault(arm, []).append(n_starts * N_STEPS / (time.perf_counter() - begin))
    loop = next(iter(speeds.values()))
    return [
        f"| {name} | {arm} | {statistics.median(values):,.0f} | "
        f"{statistics.median(v / reference for v, reference in zip(values, loop, strict=True)):,.1f} |"
        for arm, values in speeds.items()
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=5)
    repetitions = parser.parse_known_args()[0].repetitions
    torch.set_num_threads(1)
    lines = ["| rule | arm | trajectories × steps per second | times the loop |", "|---|---|---:|---:|"]
    lines += [row for name in RULES for row in measure(name, repetitions)]
    table = "\n".join(lines)
    print(table)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(
        f"# Optimizer paths\n\nMeasured with `python -m benchmarks.optimizers --repetitions {repetitions}`; one "
        f"thread; {report()}\n\n{table}\n",
        encoding="utf-8",
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
