"""``make bench``: run every benchmark, one after the other, and say where the results are."""

from __future__ import annotations

import subprocess
import sys

from tools.build import ROOT

BENCHMARKS = ("build_time", "page_weight", "lighthouse", "optimizers", "training", "time_to_accuracy")


def main() -> int:
    status = 0
    for name in BENCHMARKS:
        print(f"\n=== {name}", flush=True)
        status |= subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}", *sys.argv[1:]], cwd=ROOT, check=False
        ).returncode
    print("\nThe tables are in benchmarks/results/.")
    return status


if __name__ == "__main__":
    sys.exit(main())
