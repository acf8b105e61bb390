"""``make colab-check``: run every Colab copy on an imitation of a Colab machine, from its set-up cell on.

    python -m tools.colab_check [--env DIR] [--python python3.12] [--practice N] [01 21 ...]

The imitation is a virtual environment with what ``tools/colab_packages.txt`` lists; its making downloads several GB.
The copies are written outside the project by ``tools.colab``, and their set-up cell installs `helpers` with pip out of
a git repository, as it does on Colab; the repository is a snapshot of the working tree, with a ``file://`` address.
Before each copy the package is removed. Checked are: every cell runs; the set-up cell works twice in the same kernel;
what was installed before stays as it was, and nothing joins it but `helpers` (and d2l, where a chapter shows it);
`helpers` comes from the environment, not from the working tree. The data sets are those inside the packages unless
``BOOK_DATA`` says otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat.v4 import new_code_cell

from tools import colab, practice
from tools.chapter import ROOT
from tools.snapshot import snapshot

PACKAGE = "deep-learning-worked-out"
PACKAGES = Path(__file__).with_name("colab_packages.txt")
CELL_TIMEOUT = 1800
SETUP_SECONDS = 30
"""A set-up cell that keeps the processor busy for longer is a fault."""

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_IMPORTED = "--IPKernelApp.exec_lines=import google.colab"  # as Colab's own kernel has it
_BEFORE = "import os, torch\nkernel_before, torch_before, busy_before = os.getpid(), torch, sum(os.times()[:4])"
_BUSY = "print(sum(os.times()[:4]) - busy_before)"  # seconds of this process and of those that it started
_LOOK = """\
import json, os, sys, helpers
here = {"helpers": helpers.__file__, "same": os.getpid() == kernel_before and sys.modules["torch"] is torch_before}
print(json.dumps(here))
"""


@dataclass
class Found:
    """What running one copy showed.

    Attributes
    ----------
    seconds, setup, again : float
        Of the whole notebook, of its set-up cell, and of that cell once more in the same kernel, by the clock.
    busy : float
        Seconds for which the set-up cell kept the processor busy.
    faults : list of str
        What must not be.
    stderr : list of str
        First line of what each cell wrote to stderr.
    """

    seconds: float = 0.0
    setup: float = 0.0
    again: float = 0.0
    busy: float = 0.0
    faults: list[str] = field(default_factory=list)
    stderr: list[str] = field(default_factory=list)


class Machine:
    """A virtual environment with Colab's packages.

    Parameters
    ----------
    folder : Path
        Made if it is not there, and completed if it lacks something on the list.
    interpreter : str
        Colab's Python.
    """

    def __init__(self, folder: Path, interpreter: str):
        self.python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        if not self.python.exists():
            subprocess.run([interpreter, "-m", "venv", folder], check=True)
        lines = [line.strip() for line in PACKAGES.read_text(encoding="utf-8").splitlines()]
        wanted = {line for line in lines if line and not line.startswith("#")}
        if missing := wanted - {line.split("+")[0] for line in self.installed()}:
            print("installing", *sorted(missing), flush=True)
            subprocess.run([self.python, "-m", "pip", "install", "--quiet", *sorted(wanted)], check=True)
        self.clear()
        self.base = self.installed()

    def installed(self) -> set[str]:
        """What pip lists, each as ``name==version``."""
        command = [self.python, "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check"]
        return set(subprocess.check_output(command, text=True).replace("_", "-").split())

    def clear(self) -> None:
        """Remove the book's package, and the one that two chapters show."""
        command = [self.python, "-m", "pip", "uninstall", "--quiet", "--yes", PACKAGE, "d2l"]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)

    def kernel(self, folder: Path) -> str:
        """Write a kernel of this machine below `folder`; return its name."""
        stub = folder / "stub" / "google" / "colab"
        stub.mkdir(parents=True)
        (stub / "__init__.py").touch()
        spec = {
            "argv": [str(self.python), "-m", "ipykernel_launcher", "-f", "{connection_file}", _IMPORTED],
            "display_name": "imitation of Colab",
            "language": "python",
            "env": {
                "PYTHONPATH": str(stub.parents[1]),
                "BOOK_DATA": os.environ.get("BOOK_DATA", "embedded"),
                "PYDEVD_DISABLE_FILE_VALIDATION": "1",
            },
        }
        (folder / "kernels" / "colab").mkdir(parents=True)
        (folder / "kernels" / "colab" / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
        return "colab"

    def run(self, path: Path, kernel: str) -> Found:
        """Execute the copy in `path`, with checks of its set-up around it."""
        self.clear()
        found, start = Found(), time.perf_counter()
        if changed := self.installed() ^ self.base:
            found.faults.append(f"the machine was not clean: {sorted(changed)}")
        nb = nbformat.read(path, as_version=4)
        first = nb.cells[0]
        nb.cells.insert(0, new_code_cell(_BEFORE, id="before"))
        nb.cells[2:2] = [new_code_cell(_BUSY, id="busy"), new_code_cell(first.source, id="install-again")]
        nb.cells.append(new_code_cell(_LOOK, id="look"))
        resources = {"metadata": {"path": str(path.parent)}}
        try:
            NotebookClient(nb, timeout=CELL_TIMEOUT, kernel_name=kernel, resources=resources).execute()
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            failed = [c for c in nb.cells if any(out.output_type == "error" for out in c.get("outputs", []))]
            cell = (failed or [c for c in nb.cells if c.get("execution_count")] or nb.cells)[-1]
            found.faults.append(f"cell {cell.id}: {_ANSI.sub('', str(error)).strip().splitlines()[-1]}")
        found.seconds = time.perf_counter() - start
        _judge({cell.id: cell for cell in nb.cells}, found, self.python.parents[1])
        ours = (PACKAGE, "d2l==") if "d2l_compat" in "".join(cell.source for cell in nb.cells) else (PACKAGE,)
        if changed := {line for line in self.installed() ^ self.base if not line.startswith(ours)}:
            found.faults.append(f"the set-up cell changed what was installed: {sorted(changed)}")
        return found


def _judge(cells: dict[str, nbformat.NotebookNode], found: Found, env: Path) -> None:
    """Hold the executed cells against what a set-up promises."""
    printed = {
        name: "".join(out.get("text", "") for out in cell.get("outputs", []) if out.get("name") == "stdout")
        for name, cell in cells.items()
    }
    found.stderr = [
        f"{name}: {out.text.strip().splitlines()[0]}"
        for name, cell in cells.items()
        for out in cell.get("outputs", [])
        if out.get("name") == "stderr" and out.text.strip()
    ]
    found.setup, found.again = (_seconds(cells[name]) for name in (colab.INSTALL_ID, "install-again"))
    if not printed[colab.INSTALL_ID].startswith("Installed the book's helpers, version "):
        found.faults.append(f"the set-up cell said {printed[colab.INSTALL_ID]!r}")
    if printed["install-again"] != "The book's helpers are installed already.\n":
        found.faults.append(f"the set-up cell, run twice, said {printed['install-again']!r}")
    found.busy = float(printed["busy"] or "nan")
    if found.busy > SETUP_SECONDS:
        found.faults.append(f"the set-up cell kept the processor busy for {found.busy:.0f} s")
    if printed["look"]:  # else a cell before it failed, and that was said
        look = json.loads(printed["look"])
        if not Path(look["helpers"]).is_relative_to(env):
            found.faults.append(f"helpers was imported from {look['helpers']}")
        if not look["same"]:
            found.faults.append("the kernel or torch is not the one from before the set-up")


def _seconds(cell: nbformat.NotebookNode) -> float:
    """How long a cell ran, by the clock of its kernel; not a number if it did not."""
    times = cell.metadata.get("execution", {})
    try:
        begin, end = (datetime.fromisoformat(times[key]) for key in ("iopub.execute_input", "shell.execute_reply"))
    except KeyError:
        return float("nan")
    return (end - begin).total_seconds()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the copies and print one line for each; return 1 if there was a fault."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.colab_check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("chapters", nargs="*", help="beginnings of file names, such as 07; all by default")
    parser.add_argument("--env", type=Path, default=ROOT / "_build" / "colab-env", metavar="DIR")
    parser.add_argument("--python", default="python3.12", help="Colab's Python")
    parser.add_argument("--practice", type=int, default=5, metavar="N", help="copies without solutions to run")
    options = parser.parse_args(arguments)
    machine = Machine(options.env.absolute(), options.python)
    bad = 0
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        commit, address = snapshot(folder / "repository"), (folder / "repository").as_uri()
        colab.main(["--repository", address, "--commit", commit, "--out", str(folder / "copies")])
        os.environ["JUPYTER_PATH"] = str(folder)
        kernel = machine.kernel(folder)
        full, without = (sorted((folder / "copies" / name).glob("*.ipynb")) for name in ("notebooks", practice.FOLDER))
        chosen = tuple(options.chapters) or ("",)
        paths = [path for path in full if path.name.startswith(chosen)]
        paths += [path for path in without if path.name.startswith(chosen)][: options.practice]
        for path in paths:
            found = machine.run(path, kernel)
            bad += bool(found.faults)
            times = (
                f"{found.seconds:.0f} s, set-up {found.setup:.1f} s, busy {found.busy:.1f} s, again {found.again:.1f} s"
            )
            print(f"{path.parent.name}/{path.stem}: {'FAILED' if found.faults else 'ok'} ({times})", flush=True)
            for line in [*found.faults, *(f"(stderr) {line}" for line in found.stderr)]:
                print(f"    {line[:300]}", flush=True)
    print(f"{len(paths)} copies, {bad} with faults; {len(machine.base)} packages were there before and after")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
