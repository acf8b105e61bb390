"""The rules of a chapter's cells: code, stored outputs, tags, ids and metadata."""

from __future__ import annotations

import ast
import io
import re
import statistics
import tokenize
from collections.abc import Iterator

import nbformat

from tools.chapter import STORED_TAGS, Cell, Chapter, Problem, callee

CODE_CELLS = (25, 45)
LONGEST_CELL = 25
MEDIAN_CELL = 8

TAGS = STORED_TAGS | {"hide-input", "remove-cell", "skip-execution", "raises-exception", "show-stderr"}
CELL_METADATA = frozenset({"tags", "mystnb", "reason"})
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
LANGUAGE = {"name": "python", "pygments_lexer": "ipython3"}
NOTEBOOK_METADATA = frozenset({"kernelspec", "language_info", "book"})

RANDOM_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})?")
"""The ids that Jupyter and jupytext make up; they differ from one conversion to the next."""

FIX = "Run `make fix`."

_HOST = re.compile(r"https?:|\bwww\.|\b[\w-]+\.(com|org|net|edu|io|ai|dev)\b(?!\s*[(=])")
_ABSOLUTE = re.compile(
    r"(/|~/|[A-Za-z]:[\\/])[\w.-]+([\\/][\w.-]*)+|/(home|Users|tmp|content|root|mnt|opt|var|work)\b|file:"
)
_NETWORK = frozenset({"requests", "urllib", "urllib3", "httpx", "http", "aiohttp", "socket", "ftplib", "wget", "gdown"})
_SHELL = frozenset({"get_ipython.system", "get_ipython.getoutput", "os.system", "subprocess.run", "subprocess.call"})
_SHELL_MAGIC = re.compile(r"\b(bash|conda|mamba|pip|script|sh|sx|system|uv)\b")
_MAGIC = frozenset({"get_ipython.run_line_magic", "get_ipython.run_cell_magic"})


def file_name(chapter: Chapter) -> Iterator[Problem]:
    """A chapter's file is called ``NN_topic.ipynb``."""
    if not chapter.is_template and not re.fullmatch(r"\d\d_[a-z0-9_]+\.ipynb", chapter.path.name):
        yield Problem(
            None, f"the file is called {chapter.path.name}.", "Call it NN_topic.ipynb: two digits, lower case."
        )


def notebook_format(chapter: Chapter) -> Iterator[Problem]:
    """The notebook is of format 4.5, for the kernel ``python3``, without a program's own metadata."""
    nb = chapter.nb
    if (nb.nbformat, nb.nbformat_minor) != (4, 5):
        yield Problem(None, f"the format is {nb.nbformat}.{nb.nbformat_minor}, not 4.5.", FIX)
    if dict(nb.metadata.get("kernelspec", {})) != KERNEL:
        yield Problem(None, "the kernelspec is not the plain `python3`.", FIX)
    if dict(nb.metadata.get("language_info", {})) != LANGUAGE:
        yield Problem(None, "language_info names more or less than the language and its lexer.", FIX)
    if "widgets" in nb.metadata:
        yield Problem(None, "the state of widgets is stored.", FIX)
    if extra := sorted(set(nb.metadata) - NOTEBOOK_METADATA - {"widgets"}):
        yield Problem(None, f"the notebook's metadata has {', '.join(extra)}.", FIX)
    for error in nbformat.validator.iter_validate(nb, relax_add_props=True):
        yield Problem(
            None, f"the file breaks the notebook format: {error.message[:200]}", "Open and save it in Jupyter."
        )


def ids(chapter: Chapter) -> Iterator[Problem]:
    """Every cell has a readable id of its own."""
    seen: dict[str, Cell] = {}
    for cell in chapter.cells:
        name = cell.node.get("id", "")
        if not name:
            yield Problem(cell, "the cell has no id.", FIX)
        elif name in seen:
            yield Problem(cell, f"the id is that of cell {seen[name].place} as well.", FIX)
        elif RANDOM_ID.fullmatch(name):
            yield Problem(cell, "the id was made up at random; it should say what the cell is about.", FIX)
        seen.setdefault(name, cell)


def cell_metadata(chapter: Chapter) -> Iterator[Problem]:
    """Cells keep no metadata but tags, figure captions and the reason of a skip."""
    for cell in chapter.cells:
        if extra := sorted(set(cell.node.metadata) - CELL_METADATA):
            yield Problem(cell, f"the cell's metadata has {', '.join(extra)}.", FIX)


def tags(chapter: Chapter) -> Iterator[Problem]:
    """Tags are known ones, sorted, and those that belong together are together."""
    for cell in chapter.cells:
        if unknown := [tag for tag in cell.tags if tag not in TAGS and not re.fullmatch(r"M\d\d", tag)]:
            mend = f"Known are {', '.join(sorted(TAGS))} and M01 to M99."
            yield Problem(cell, f"unknown tag {', '.join(unknown)}.", mend)
        if cell.tags != sorted(set(cell.tags)):
            yield Problem(cell, "the tags are not sorted, or one is there twice.", FIX)
        if len(STORED_TAGS & set(cell.tags)) == 1:
            yield Problem(cell, "only one of keep_output and nbval-check-output is there.", "Use both or none.")
        if "skip-execution" in cell.tags and not str(cell.node.metadata.get("reason", "")).strip():
            mend = 'Say why in the cell\'s metadata: "reason": "needs two GPUs".'
            yield Problem(cell, "the cell is skipped without a reason.", mend)


def outputs(chapter: Chapter) -> Iterator[Problem]:
    """Outputs are stored only as text, and exactly in the cells that have both tags."""
    for cell in chapter.code:
        stored = cell.node.get("outputs", [])
        if cell.node.get("execution_count") is not None:
            yield Problem(cell, "an execution count is stored.", FIX)
        if not set(cell.tags) >= STORED_TAGS:
            if stored:
                yield Problem(cell, "an output is stored.", f"{FIX} To keep worked numbers, give the cell both tags.")
        elif not stored:
            mend = f"Run `python -m tools.notebooks outputs {chapter.path.name}`."
            yield Problem(cell, "the cell should keep its output, and none is stored.", mend)
        elif not all(is_text(output) for output in stored):
            yield Problem(
                cell, "a stored output is not plain text.", "Keep only what is printed; show figures elsewhere."
            )


def is_text(output: nbformat.NotebookNode) -> bool:
    """Whether `output` is plain text: printed to stdout, or a value whose only form is text."""
    if output.output_type == "stream":
        return output.name == "stdout"
    return output.output_type == "execute_result" and set(output.data) == {"text/plain"}


def set_up(chapter: Chapter) -> Iterator[Problem]:
    """The first code cell is the visible set-up: imports, style, seed."""
    if not chapter.code:
        yield Problem(None, "there is no code.", "Begin with a set-up cell.")
        return
    cell = chapter.code[0]
    called = {callee(call) for call in cell.calls}
    for name in ("use_style", "set_seed"):
        if not any(other.split(".")[-1] == name for other in called):
            whole = {"use_style": "style.use_style()", "set_seed": "runtime.set_seed(0)"}[name]
            yield Problem(cell, f"the first code cell does not call {name}.", f"Add `{whole}` to the set-up cell.")
    if hidden := {"hide-input", "remove-cell"} & set(cell.tags):
        yield Problem(cell, f"the set-up cell is hidden ({', '.join(hidden)}).", "Show it: readers copy from it.")


def code_count(chapter: Chapter) -> Iterator[Problem]:
    """A chapter has 25 to 45 code cells, whose median length is at most 8 lines.

    Hidden cells count too; the cells in which the reader answers do not.
    """
    low, high = CODE_CELLS
    lengths = [_length(cell) for cell in chapter.code if not cell.asks]
    if not low <= len(lengths) <= high:
        yield Problem(None, f"there are {len(lengths)} code cells.", f"Have {low} to {high}, hidden ones included.")
    if lengths and (median := statistics.median(lengths)) > MEDIAN_CELL:
        what = f"the median code cell has {median:g} lines."
        yield Problem(
            None, what, f"Keep it at {MEDIAN_CELL} or fewer, hidden cells included: split, or move code to helpers."
        )


def code_length(chapter: Chapter) -> Iterator[Problem]:
    """No code cell is longer than 25 lines."""
    for cell in chapter.code:
        if (length := _length(cell)) > LONGEST_CELL:
            mend = f"At most {LONGEST_CELL}: split it, or move what is not the lesson to helpers."
            yield Problem(cell, f"the code has {length} lines.", mend)


def _length(cell: Cell) -> int:
    return len(cell.source.rstrip().splitlines())


def code_content(chapter: Chapter) -> Iterator[Problem]:
    """Code can be parsed, imports by name, and neither installs anything nor calls the shell."""
    for cell in chapter.code:
        if cell.tree is None:
            yield Problem(cell, "the code is not valid Python.", "Mend the syntax error.")
            continue
        for node in ast.walk(cell.tree):
            if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
                yield Problem(cell, f"`from {node.module} import *`.", "Import the names that are used.")
        for call in cell.calls:
            if callee(call) in _SHELL or (callee(call) in _MAGIC and _SHELL_MAGIC.search(ast.unparse(call))):
                mend = "Install nothing and call no shell: requirements.txt brings what the book needs."
                yield Problem(cell, "the cell runs a shell command.", mend)


def offline_code(chapter: Chapter) -> Iterator[Problem]:
    """Code asks for nothing over the network, names no host, and has no absolute path."""
    for cell in chapter.code:
        imported = []
        for node in ast.walk(cell.tree or ast.Module([], [])):
            if isinstance(node, ast.Import):
                imported += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                imported.append(node.module or "")
        if network := sorted({name for name in imported if name.split(".")[0] in _NETWORK}):
            mend = "Get data through helpers.data, which works offline too."
            yield Problem(cell, f"{', '.join(network)} is imported.", mend)
        for text in _strings_and_comments(cell):
            if match := _HOST.search(text):
                mend = "Link from the prose, or use helpers.data."
                yield Problem(cell, f"the code names a host, {match[0]!r}.", mend)
            if match := _ABSOLUTE.match(text.lstrip("# \t")):
                yield Problem(cell, f"the code has the absolute path {match[0]!r}.", "Ask helpers for the path.")


def _strings_and_comments(cell: Cell) -> Iterator[str]:
    """The text of every string and comment of a code cell."""
    for node in ast.walk(cell.tree or ast.Module([], [])):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
    try:
        for token in tokenize.generate_tokens(io.StringIO(cell.source).readline):
            if token.type == tokenize.COMMENT:
                yield token.string
    except (tokenize.TokenError, SyntaxError):  # a line magic, which is not Python: its strings were read above
        return


CODE_LENGTHS = (code_count,)

CODE_RULES = [
    file_name,
    notebook_format,
    ids,
    cell_metadata,
    tags,
    outputs,
    set_up,
    code_count,
    code_length,
    code_content,
    offline_code,
]
