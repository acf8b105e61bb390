"""A chapter's notebook, read once and laid out for the rules that check it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nbformat

from tools import myst

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
TEMPLATE = NOTEBOOKS / "_template.ipynb"

STORED_TAGS = frozenset({"keep_output", "nbval-check-output"})
"""The two tags that a cell with stored output carries."""


ASKS = re.compile(r"^yours = \.\.\.$", re.MULTILINE)
"""The line in which a cell asks for the reader's answer."""


@dataclass(frozen=True)
class Problem:
    """What a rule found: the cell (None: the notebook as a whole), what is wrong, and how to mend it."""

    cell: Cell | None
    what: str
    mend: str


@dataclass(frozen=True)
class Finding:
    """A problem together with the notebook and the rule that it belongs to."""

    path: Path
    rule: str
    problem: Problem

    def __str__(self) -> str:
        cell = self.problem.cell
        where = f"{shown(self.path)}, {cell}" if cell else shown(self.path)
        return f"{where}: {self.problem.what}\n    {self.problem.mend}  [{self.rule}]"


@dataclass(frozen=True, eq=False)
class Cell:
    """One cell with its place in the notebook, counted from 1 as a reader would."""

    place: int
    node: nbformat.NotebookNode

    def __str__(self) -> str:
        return f"cell {self.place} (id {self.node.get('id', 'missing')})"

    @property
    def source(self) -> str:
        """The cell's text."""
        return self.node.source

    @property
    def tags(self) -> list[str]:
        """The cell's tags, as stored."""
        return list(self.node.metadata.get("tags", []))

    @property
    def is_code(self) -> bool:
        """Whether this is a code cell."""
        return self.node.cell_type == "code"

    @property
    def asks(self) -> bool:
        """Whether the reader is to put an answer here, in place of three dots."""
        return self.is_code and bool(ASKS.search(self.source))

    @property
    def runs(self) -> bool:
        """Whether a build executes this cell."""
        return self.is_code and "skip-execution" not in self.tags

    @cached_property
    def tree(self) -> ast.Module | None:
        """The syntax tree of a code cell, IPython's own syntax translated; None if it cannot be parsed."""
        from IPython.core.inputtransformer2 import TransformerManager

        try:
            return ast.parse(TransformerManager().transform_cell(self.source))
        except SyntaxError:
            return None

    @cached_property
    def calls(self) -> list[ast.Call]:
        """Every call in a code cell, those inside functions included."""
        return [node for node in ast.walk(self.tree or ast.Module([], [])) if isinstance(node, ast.Call)]

    @cached_property
    def directives(self) -> list[myst.Directive]:
        """Every directive of a Markdown cell."""
        return [] if self.is_code else list(myst.walk(self.source))


@dataclass(frozen=True, eq=False)
class Chapter:
    """A notebook and its path."""

    path: Path
    nb: nbformat.NotebookNode

    @property
    def number(self) -> str:
        """The two digits that begin the file's name; ``00`` for the template."""
        match = re.match(r"\d\d(?=_)", self.path.name)
        return match[0] if match else "00"

    @property
    def is_template(self) -> bool:
        """Whether the notebook says of itself that it is the template, which need not have a chapter's length."""
        return bool(self.nb.metadata.get("book", {}).get("template"))

    @cached_property
    def cells(self) -> list[Cell]:
        """All cells."""
        return [Cell(place, node) for place, node in enumerate(self.nb.cells, start=1)]

    @property
    def code(self) -> list[Cell]:
        """The code cells."""
        return [cell for cell in self.cells if cell.is_code]

    @property
    def text(self) -> list[Cell]:
        """The Markdown cells."""
        return [cell for cell in self.cells if cell.node.cell_type == "markdown"]

    @cached_property
    def directives(self) -> list[tuple[Cell, myst.Directive]]:
        """Every directive of the notebook with its cell, in reading order."""
        return [(cell, directive) for cell in self.text for directive in cell.directives]

    def named(self, *names: str) -> list[tuple[Cell, myst.Directive]]:
        """The directives of the given names."""
        return [(cell, directive) for cell, directive in self.directives if directive.name in names]

    @cached_property
    def headings(self) -> list[tuple[Cell, myst.Heading]]:
        """Every heading with its cell."""
        return [(cell, heading) for cell in self.text for heading in myst.headings(cell.source)]

    def section(self, title: str) -> str | None:
        """The text under the second-level heading `title`, or None where there is no such heading."""
        text = "\n\n".join(cell.source for cell in self.text)
        starts = [token for token in myst.parse(text) if token.type == "heading_open" and token.tag in {"h1", "h2"}]
        titles = [heading.text for heading in myst.headings(text) if heading.level <= 2]
        lines = text.splitlines()
        for i, (start, found) in enumerate(zip(starts, titles, strict=True)):
            if start.tag == "h2" and found.strip().lower() == title.lower():
                end = starts[i + 1].map[0] if i + 1 < len(starts) else len(lines)
                return "\n".join(lines[start.map[1] : end])
        return None


def read(path: Path) -> Chapter:
    """Read a notebook as it is stored.

    Raises
    ------
    ValueError
        If the file is not a notebook of format 4.
    """
    try:
        nb = nbformat.reader.reads(path.read_text(encoding="utf-8"))
    except (ValueError, nbformat.ValidationError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{shown(path)} is not a Jupyter notebook: {error}") from error
    if nb.get("nbformat") != 4 or "cells" not in nb or "metadata" not in nb:
        raise ValueError(f"{shown(path)} is not a notebook of format 4, which the book uses")
    return Chapter(path, nb)


def find(names: Iterable[str], *, folder: Path = NOTEBOOKS) -> list[Path]:
    """The notebooks meant by `names`: paths, chapter numbers such as ``3`` or ``03``; all of `folder` for no name.

    Raises
    ------
    ValueError
        If a name means no notebook.
    """
    names = list(names)
    if not names:
        return sorted(folder.glob("*.ipynb"))
    paths = []
    for name in names:
        if name.isdigit():
            matches = sorted(folder.glob(f"{int(name):02d}_*.ipynb"))
        else:
            matches = [path for path in (Path(name), folder / name, folder / f"{name}.ipynb") if path.is_file()][:1]
        if not matches:
            known = ", ".join(path.name for path in sorted(folder.glob("*.ipynb"))) or "none yet"
            raise ValueError(f"no notebook is meant by {name!r}: give a path or a chapter number; there are: {known}")
        paths += matches
    return paths


def shown(path: Path) -> str:
    """`path` as it is shown to a person: from the project's root where it lies inside it."""
    try:
        return path.resolve().relative_to(ROOT).as_posix()
    except ValueError:
        return str(path)


def callee(call: ast.Call) -> str:
    """The dotted name that `call` calls, or only its last part where it is not a plain name.

    Examples
    --------
    >>> callee(ast.parse("check.glue('03-loss', loss)").body[0].value)
    'check.glue'
    >>> callee(ast.parse("get_ipython().system('ls')").body[0].value)
    'get_ipython.system'
    >>> callee(ast.parse("models[0].plot()").body[0].value)
    'plot'
    """
    parts, node = [], call.func
    while isinstance(node, ast.Attribute | ast.Call):
        parts += [node.attr] if isinstance(node, ast.Attribute) else []
        node = node.value if isinstance(node, ast.Attribute) else node.func
    if isinstance(node, ast.Name):
        parts.append(node.id)
    return ".".join(reversed(parts))


def outside_functions(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node of `tree` that runs when the cell runs, not only when a function defined in it is called."""
    for child in ast.iter_child_nodes(tree):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            yield child
            yield from outside_functions(child)
