"""Time of the strict build: from an empty cache, unchanged, after edits, and what the first one is made of.

Run it with ``python -m benchmarks.build_time``. It removes ``_build`` first, and edits a chapter for a moment. The
table says how many cores did it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from tools import warm_kernels
from tools.build import ROOT, build
from tools.provenance import cores

RESULT = Path(__file__).parent / "results" / "build_time.md"
EDITED = ROOT / "notebooks" / "09_losses.ipynb"


def timed(work: Callable[[], object]) -> float:
    """Seconds by the clock."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def built() -> None:
    """Build, and give up where that fails."""
    if status := build(quiet=True):
        raise SystemExit(status)


def imports() -> None:
    """What every kernel would import, in a process of its own."""
    code = f"import importlib\nfor name in {warm_kernels.PRELOADED!r}:\n    importlib.import_module(name)"
    subprocess.run([sys.executable, "-c", code], check=True)


def empty_notebook() -> None:
    """A kernel that begins, runs one line and ends."""
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 + 1")])
    NotebookClient(nb, kernel_name="python3").execute()


def after_an_edit() -> float:
    """Seconds of the build after one word in one chapter has changed; the chapter is put back."""
    kept = EDITED.read_bytes()
    nb = json.loads(kept)
    nb["cells"][0]["source"].append("\nA line more.")
    try:
        EDITED.write_text(json.dumps(nb), encoding="utf-8")
        return timed(built)
    finally:
        EDITED.write_bytes(kept)


def main() -> int:
    folder = ROOT / "_build"
    shutil.rmtree(folder, ignore_errors=True)
    rows = [("from an empty cache", timed(built)), ("unchanged", timed(built))]
    entries = sorted((folder / ".cache" / "executed").glob("*.json"))
    chapters = [(e.stem.rsplit("-", 1)[0], json.loads(e.read_text(encoding="utf-8"))["seconds"]) for e in entries]
    (ROOT / "book" / "setup.md").touch()
    rows += [("one Markdown page touched", timed(built)), ("one chapter edited", after_an_edit())]
    built()  # with the chapter as it was
    for name in ("html", ".doctrees"):
        shutil.rmtree(folder / name)
    sphinx = timed(built)
    parts = [
        ("what a fresh kernel would import", timed(imports)),
        ("the chapters, added up (their cells, and a kernel each)", sum(seconds for _, seconds in chapters)),
        ("Sphinx, with every chapter executed already", sphinx),
    ]
    parts.insert(1, ("an empty notebook, in a kernel as Jupyter starts it", timed(empty_notebook)))
    warm_kernels.use(1)
    empty_notebook()
    parts.insert(2, ("the same, in one forked from the process that has imported all", timed(empty_notebook)))
    lines = [f"# Build time\n\nMeasured with `python -m benchmarks.build_time` on {cores()} cores.\n"]
    for title, table in (("build", rows), ("part", parts), ("chapter, executed in a kernel of its own", chapters)):
        lines += [
            f"| {title} | seconds |",
            "|---|---:|",
            *(f"| {name} | {seconds:.1f} |" for name, seconds in table),
            "",
        ]
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
