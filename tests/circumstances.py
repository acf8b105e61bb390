"""The circumstances in which a reader may run a chapter, each a function from a notebook to what its checks printed."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

from tools.chapter import STORED_TAGS
from tools.execution import CELL_TIMEOUT

CHECKED = re.compile(r".+: .+ = .+  \((?:exactly equal|within .+|largest difference .+)\)")
"""A line that `check.equal` printed."""

VSCODE_CELL = re.compile(r"^#\s*%%(?P<title>.*)$", re.MULTILINE)
"""What the Python extension of VS Code takes for the beginning of a cell, as far as jupytext writes it."""

SHELL = """\
import json, sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance(colors="NoColor")
for name, source, may_raise in json.load(open("cells.json", encoding="utf-8")):
    print("\\f", flush=True)
    if not shell.run_cell(source, store_history=True).success and not may_raise:
        sys.exit(f"the cell {name} failed")
"""
"""Runs the cells of the file in IPython without a kernel; a form feed separates what they print."""

Printed = list[tuple[str, str]]
"""The name of a code cell and what it printed, for every code cell in the order of the run."""


class Trouble(AssertionError):
    """A chapter does not bear the circumstance; the message says which cell and why."""


def code_cells(nb: NotebookNode) -> list[NotebookNode]:
    """The code cells of a notebook."""
    return [cell for cell in nb.cells if cell.cell_type == "code"]


def tags(cell: NotebookNode) -> set[str]:
    """The tags of a cell."""
    return set(cell.metadata.get("tags", []))


def bare(nb: NotebookNode) -> NotebookNode:
    """A copy without outputs."""
    nb = copy.deepcopy(nb)
    for cell in code_cells(nb):
        cell.outputs, cell.execution_count = [], None
    return nb


def environment() -> dict[str, str]:
    """A reader's environment: this one, the small data sets, and no sign of a build."""
    ours = {key: value for key, value in os.environ.items() if not key.startswith("BOOK_")}
    return ours | {"BOOK_DATA": "embedded", "PYTHONUTF8": "1"}


def printed(cells: list[NotebookNode]) -> Printed:
    """What each of these executed code cells printed; raise `Trouble` where one failed that should not."""
    for cell in cells:
        for output in cell.outputs:
            if output.output_type == "error" and "raises-exception" not in tags(cell):
                raise Trouble(f"cell {cell.id}: {output.ename}: {output.evalue}")
    return [
        (cell.id, "".join(o.text for o in cell.outputs if o.output_type == "stream" and o.name == "stdout"))
        for cell in cells
    ]


def alone(nb: NotebookNode, folder: Path) -> list[NotebookNode]:
    """The executed code cells, out of a fresh kernel whose working directory is `folder`."""
    nb = bare(nb)
    resources = {"metadata": {"path": str(folder)}}
    options = {"timeout": CELL_TIMEOUT, "coalesce_streams": True, "allow_errors": True}
    client = NotebookClient(nb, kernel_name="python3", resources=resources, **options)
    client.execute(env=environment() | {"MPLBACKEND": "module://matplotlib_inline.backend_inline"})
    return code_cells(nb)


def twice(nb: NotebookNode, folder: Path) -> tuple[list[NotebookNode], list[NotebookNode]]:
    """The same, and all cells again in the same kernel; the first half is as if it had run alone."""
    nb = copy.deepcopy(nb)
    again = copy.deepcopy(nb.cells)
    for cell in again:
        cell.id += "-again"
    nb.cells += again
    cells = alone(nb, folder)
    first, second = cells[: len(cells) // 2], cells[len(cells) // 2 :]
    for cell, other in zip(first, second, strict=True):
        other.id = cell.id
    return first, second


def with_parameters(nb: NotebookNode, folder: Path, **values: object) -> Printed:
    """With a cell of assignments where papermill puts it when no cell is tagged `parameters`, and after the set-up."""
    nb, lines = bare(nb), [f"{name} = {value!r}" for name, value in values.items()]
    first = next(i for i, cell in enumerate(nb.cells) if cell.cell_type == "code")
    for i, place in enumerate((first + 1, 0)):
        cell = nbformat.v4.new_code_cell("\n".join(["# Parameters", *lines]), id=f"injected-parameters-{i}")
        cell.metadata["tags"] = ["injected-parameters"]
        nb.cells.insert(place, cell)
    return [(name, text) for name, text in printed(alone(nb, folder)) if not name.startswith("injected-")]


def by_nbconvert(path: Path, folder: Path) -> Printed:
    """Through ``jupyter nbconvert --execute``, called from `folder`; the notebook runs in its own folder."""
    command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", str(path.resolve())]
    command += ["--output-dir", str(folder), "--output", "executed", f"--ExecutePreprocessor.timeout={CELL_TIMEOUT}"]
    run = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, encoding="utf-8", check=False)
    if run.returncode:
        raise Trouble(run.stderr[-3000:])
    made = folder / "executed.ipynb"
    nb = nbformat.read(made, as_version=4)
    made.unlink()
    return printed(code_cells(nb))


def percent_cells(nb: NotebookNode) -> list[tuple[str, str, bool]]:
    """The code cells as VS Code finds them in the ``py:percent`` form: name, source, whether an error is expected."""
    text = jupytext.writes(bare(nb), fmt="py:percent")
    found = list(VSCODE_CELL.finditer(text))
    ends = [match.start() for match in found[1:]] + [len(text)]
    sources = [
        text[match.end() : end].strip("\n")
        for match, end in zip(found, ends, strict=True)
        if not match["title"].strip().startswith("[markdown]")
    ]
    cells = code_cells(nb)
    if len(sources) != len(cells):
        raise Trouble(f"{len(cells)} code cells became {len(sources)} cells of the py:percent form")
    return [(c.id, s, "raises-exception" in tags(c)) for c, s in zip(cells, sources, strict=True)]


def as_percent_script(nb: NotebookNode, folder: Path) -> Printed:
    """Cell by cell in IPython without a kernel, from the ``py:percent`` form; figures are drawn, nothing shows them."""
    cells, listing, shell = percent_cells(nb), folder / "cells.json", folder / "shell.py"
    listing.write_text(json.dumps(cells), encoding="utf-8")
    shell.write_text(SHELL, encoding="utf-8")
    env = environment() | {"MPLBACKEND": "agg", "IPYTHONDIR": str(folder / "ipython")}
    command = [sys.executable, shell.name]
    run = subprocess.run(command, cwd=folder, env=env, capture_output=True, encoding="utf-8", check=False)
    parts = run.stdout.split("\f\n")[1:]
    if run.returncode:
        raise Trouble(f"{run.stderr[-1000:]}\n{parts[-1][-3000:] if parts else ''}")
    return [(name, text) for (name, *_), text in zip(cells, parts, strict=True)]


def checked(cells: Printed) -> list[tuple[str, str]]:
    """Every line of `check.equal`, with the cell that printed it."""
    return [(name, line) for name, text in cells for line in text.splitlines() if CHECKED.fullmatch(line)]


def compare(cells: Printed, expected: Printed) -> None:
    """Raise `Trouble` unless the same cells printed the same checked numbers."""
    ours, theirs = checked(cells), checked(expected)
    for mine, other in zip(ours, theirs, strict=False):
        if mine != other:
            raise Trouble(f"cell {mine[0]}: {mine[1]!r}, expected in cell {other[0]}: {other[1]!r}")
    if len(ours) != len(theirs):
        raise Trouble(f"{len(ours)} checked numbers, expected {len(theirs)}")


def compare_stored(cells: Printed, nb: NotebookNode) -> None:
    """Raise `Trouble` unless the cells that keep their output printed just that."""
    now = dict(cells)
    for cell in code_cells(nb):
        kept = "".join(o.text for o in cell.outputs if o.output_type == "stream")
        if tags(cell) >= STORED_TAGS and kept not in now[cell.id]:
            raise Trouble(f"cell {cell.id} printed {now[cell.id]!r}, it keeps {kept!r}")
