"""``make test``: everything that must hold before a change lands.

The order is from quick to slow: style, notebook rules, the strict build, then one run of pytest over the tests with
their doctests, the built site in a browser, and every notebook through nbval, shared by as many processes as there are
cores (at most four). All steps run even when one fails; the exit status is that of the first failure, and pytest's
closing line comes last. Tests marked slow (25 kills in place of 5, several processes under torchrun) run with
``BOOK_SLOW=1``, as in the weekly workflow.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

from tools.build import ROOT, build

SOURCES = ("conftest.py", "helpers", "tools", "tests", "benchmarks", "book/_ext")


def _run(*command: str, **env: str) -> int:
    return subprocess.run([sys.executable, "-m", *command], cwd=ROOT, env={**os.environ, **env}, check=False).returncode


def main() -> int:
    quick_env = {"BOOK_DATA": "embedded", "OMP_NUM_THREADS": "1"}  # one core for each of the processes below
    pytest = (
        "pytest",
        "tests",
        "helpers",
        "book/_ext/book_quiz.py",
        "notebooks",
        "--nbval-lax",
        "-q",
        "--durations=15",
        "--numprocesses",
        str(max(1, min(4, os.cpu_count() or 1))),
        "--dist=loadfile",  # the cells of a notebook, and tests that share a fixture, stay in one process
        "--no-loadscope-reorder",
        *([] if os.environ.get("BOOK_SLOW") == "1" else ["-m", "not slow"]),
    )
    steps = {
        "style (ruff check)": lambda: _run("ruff", "check", "--quiet", *SOURCES, "notebooks"),
        "style (ruff format)": lambda: _run("ruff", "format", "--quiet", "--check", *SOURCES),
        "notebook rules": lambda: _run("tools.notebooks", "check"),
        "strict build": lambda: build(quiet="CI" in os.environ),
        "tests, browser checks, notebooks (pytest)": lambda: _run(*pytest, **quick_env),
    }
    failed = []
    for name, step in steps.items():
        print(f"\n=== {name}", flush=True)
        start = time.perf_counter()
        if status := step():
            failed.append((name, status))
        print(f"--- {name}: {'FAILED' if status else 'passed'} in {time.perf_counter() - start:.0f} s", flush=True)
    if failed:
        print("\nfailed: " + "; ".join(name for name, _ in failed), file=sys.stderr)
        return failed[0][1]
    return 0


if __name__ == "__main__":
    sys.exit(main())
