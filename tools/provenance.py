"""Where the numbers of a page come from: the versions, the machine, the day and the commit of their run."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
from datetime import UTC, date, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {"torch": "PyTorch", "numpy": "NumPy", "matplotlib": "Matplotlib"}


def of_this_run() -> dict[str, str]:
    """What a run that begins now has to say of itself.

    Returns
    -------
    dict of str
        ``date`` (ISO, in UTC), ``versions``, ``machine``, and ``commit``, which is empty where it can't be known.
    """
    versions = [f"Python {platform.python_version()}"]
    versions += [f"{name} {importlib.metadata.version(package)}" for package, name in PACKAGES.items()]
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "versions": ", ".join(versions),
        "machine": machine(),
        "commit": commit(),
    }


def machine() -> str:
    """The processor, its cores and the accelerator that PyTorch finds."""
    import torch

    available = cores()
    accelerator = "no GPU"
    if torch.cuda.is_available():
        accelerator = torch.cuda.get_device_name(0)
    elif torch.backends.mps.is_available():
        accelerator = "Apple GPU"
    return f"{processor()}, {available} core{'s' if available > 1 else ''}, {accelerator}"


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The name of the processor, as the system gives it."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:  # not Linux
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def commit(folder: Path = ROOT) -> str:
    """The commit in `folder`, with a word where the files differ from it; empty without git or outside a repository."""
    if known := os.environ.get("BOOK_COMMIT"):
        return known[:9]

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short=9", "HEAD") + (" with changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def sentence(run: dict[str, str]) -> str:
    """One sentence about a run, for the foot of its page.

    Examples
    --------
    >>> run = {"date": "2026-11-02", "versions": "Python 3.12.1, PyTorch 2.9", "machine": "M4, 8 cores, Apple GPU"}
    >>> sentence(run | {"commit": "1a2b3c4d5"})
    'This page was run on 2 November 2026 with Python 3.12.1, PyTorch 2.9 (M4, 8 cores, Apple GPU), commit 1a2b3c4d5.'
    """
    day = date.fromisoformat(run["date"])
    text = f"This page was run on {day.day} {day:%B %Y} with {run['versions']} ({run['machine']})"
    return f"{text}, commit {run['commit']}." if run["commit"] else f"{text}."
