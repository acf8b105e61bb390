"""The rules of what a chapter shows: figures and captions, what the reader moves, numbers glued into the prose."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tools import myst
from tools.chapter import Cell, Chapter, Problem, callee, outside_functions

SHORTEST_ALT = 20

_ANYTHING = ".+"
_DRAWS = re.compile(r"(^|\.)(Explore|SVG|[Dd]raw\w*|plot\w*|[Ss]tepper|GraphSteps)$")


def figures(chapter: Chapter) -> Iterator[Problem]:
    """Every cell that shows a figure has a caption, a name and a text for readers who cannot see it."""
    for cell in (cell for cell in chapter.code if "remove-cell" not in cell.tags):
        about = cell.node.metadata.get("mystnb", {})
        figure, alt = about.get("figure", {}), about.get("image", {}).get("alt", "")
        if not figure and not alt and not shows_figure(cell):
            continue
        if not str(figure.get("caption", "")).strip():
            yield Problem(
                cell, "the figure has no caption.", 'Add "mystnb": {"figure": {"caption": …}} to the metadata.'
            )
        name = figure.get("name", "")
        if not re.fullmatch(rf"fig-{chapter.number}-[a-z0-9-]+", name):
            yield Problem(
                cell, f"the figure's name is {name!r}.", f"Name it fig-{chapter.number}-… in mystnb.figure.name."
            )
        if len(alt.strip()) < SHORTEST_ALT:
            mend = f"Say in mystnb.image.alt what is seen, in {SHORTEST_ALT} characters or more."
            yield Problem(cell, f"the figure's alternative text is {alt!r}.", mend)


def figures_read(chapter: Chapter) -> Iterator[Problem]:
    """Every figure is referred to in the text."""
    mentioned = {
        re.sub(r".*<(.+)>", r"\1", content)
        for cell in chapter.text
        for role, content in myst.roles(cell.source)
        if role in {"numref", "ref"}
    }
    for cell in chapter.code:
        name = cell.node.metadata.get("mystnb", {}).get("figure", {}).get("name")
        if name and name not in mentioned:
            yield Problem(cell, f"no sentence reads the figure {name}.", f"Read it, with {{numref}}`{name}`.")


def shows_figure(cell: Cell) -> bool:
    """Whether running `cell` shows a figure, as far as its code tells."""
    if cell.tree is None or not cell.tree.body:
        return False
    calls = [callee(node) for node in outside_functions(cell.tree) if isinstance(node, ast.Call)]
    if "plt.close" in calls:
        return False
    if any(name in {"plt.show", "plt.subplots", "plt.figure"} or name.startswith("plotting.plot_") for name in calls):
        return True
    last = cell.tree.body[-1]
    if not isinstance(last, ast.Expr):
        return False
    shown = last.value
    if isinstance(shown, ast.Call) and callee(shown) == "display" and shown.args:
        shown = shown.args[0]
    if isinstance(shown, ast.Name):
        made = [node.value for node in cell.tree.body if isinstance(node, ast.Assign) and _assigns(node, shown.id)]
        if shown.id in {"fig", "figure"} or not made:
            return shown.id in {"fig", "figure"}
        shown = made[-1]
    return isinstance(shown, ast.Call) and bool(
        re.search(r"(^|\.)(Explore|SVG|draw\w*|plot\w*|Stepper|stepper)$", callee(shown))
    )


def _assigns(node: ast.Assign, name: str) -> bool:
    return any(isinstance(target, ast.Name) and target.id == name for target in node.targets)


def explore(chapter: Chapter) -> Iterator[Problem]:
    """There is at least one figure that the reader moves."""
    if not any(callee(call).split(".")[-1] == "Explore" for cell in chapter.code for call in cell.calls):
        yield Problem(None, "there is no Explore figure.", "Let the reader move what the chapter is about.")


def glue(chapter: Chapter) -> Iterator[Problem]:
    """Numbers glued into the prose exist, and their names begin with the chapter's number."""
    patterns = []
    for cell in chapter.code:
        for call in cell.calls:
            if callee(call).split(".")[-1] == "glue" and call.args:
                pattern = _pattern(call.args[0])
                if (
                    pattern == _ANYTHING
                ):  # a variable: its value is not known here, but the prose can only mean names of ours
                    pattern = rf"{chapter.number}\-{_ANYTHING}"
                patterns.append(pattern)
                if not pattern.startswith(rf"{chapter.number}\-"):
                    what = f"the glued name {ast.unparse(call.args[0])} does not begin with {chapter.number}-."
                    yield Problem(cell, what, "Names are global to the book: prefix them with the chapter's number.")
    for cell in chapter.text:
        for role, content in myst.roles(cell.source):
            name = content.split(":")[0] if role == "glue:text" else content
            if role.startswith("glue") and not any(re.fullmatch(pattern, name) for pattern in patterns):
                yield Problem(cell, f"nothing is glued under the name {name!r}.", f'Store it: check.glue("{name}", …).')


def _pattern(name: ast.expr) -> str:
    """The names that an expression can make, as a regular expression: open where an f-string has a field."""
    if isinstance(name, ast.Constant):
        return re.escape(str(name.value))
    if isinstance(name, ast.JoinedStr):
        return "".join(_pattern(part) for part in name.values)
    return _ANYTHING


FIGURE_RULES = [figures, figures_read, explore, glue]
