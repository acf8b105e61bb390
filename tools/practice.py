"""The reader's notebook: a chapter without the solutions of its exercises, made from the one source."""

from __future__ import annotations

import copy

import nbformat
from nbformat.v4 import new_code_cell

from tools import myst

FOLDER = "practice"
"""Where the copies lie: beside ``notebooks`` on the site and on the branch for Colab."""


def without_solutions(nb: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A copy of a chapter in which each solution has become one empty code cell.

    Parameters
    ----------
    nb : NotebookNode
        The chapter as it is stored; a solution reaches from a cell with ``{solution-start}`` to one with
        ``{solution-end}``. It is not changed.

    Raises
    ------
    ValueError
        If a solution does not end, or ends without having begun.
    """
    out, kept, began = copy.deepcopy(nb), [], ""
    for cell in out.cells:
        blocks = {block.name: block for block in myst.directives(cell.source)} if cell.cell_type == "markdown" else {}
        if "solution-start" in blocks:
            if began:
                raise ValueError(f"the solution of {began} does not end before the next one begins.")
            began = blocks["solution-start"].argument
        elif "solution-end" in blocks:
            if not began:
                raise ValueError(f"a solution ends in cell {cell.id} that has not begun.")
            kept.append(new_code_cell("# Your work.", id=f"your-{began}"))
            began = ""
        elif not began:
            kept.append(cell)
    if began:
        raise ValueError(f"the solution of {began} does not end.")
    out.cells = kept
    return out
