"""Time of the strict build: from an empty cache, unchanged, and after an edit in one page.

Run it with ``python -m benchmarks.build_time``. It removes ``_build`` first. The table says how many cores did it.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path

from tools.build import ROOT, build

RESULT = Path(__file__).parent / "results" / "build_time.md"


def timed() -> float:
    start = time.perf_counter()
    if status := build(quiet=True):
        raise SystemExit(status)
    return time.perf_counter() - start


def main() -> int:
    shutil.rmtree(ROOT / "_build", ignore_errors=True)
    rows = [("from an empty cache", timed()), ("unchanged", timed())]
    (ROOT / "book" / "setup.md").touch()
    rows.append(("one Markdown page touched", timed()))
    entries = sorted((ROOT / "_build" / ".cache" / "executed").glob("*.json"))
    chapters = [(e.stem.rsplit("-", 1)[0], json.loads(e.read_text(encoding="utf-8"))["seconds"]) for e in entries]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    lines = [f"# Build time\n\nMeasured with `python -m benchmarks.build_time` on {cores} cores.\n"]
    lines += ["| build | seconds |", "|---|---:|", *(f"| {name} | {seconds:.1f} |" for name, seconds in rows)]
    lines += [
        "\n| chapter, executed in its own kernel | seconds |",
        "|---|---:|",
        *(f"| {n} | {s:.1f} |" for n, s in chapters),
    ]
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
