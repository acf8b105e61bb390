"""Sphinx extension: execute the notebooks before they are read, and hand MyST-NB the executed ones.

It also guards the build: one build at a time, and a build that was killed or that failed leaves nothing behind that
the next one would take for good.
"""

from __future__ import annotations

import html
import json
import sys
from pathlib import Path

from sphinx.errors import SphinxError
from sphinx.util import logging

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:  # `jupyter-book build .` does not put the book's folder on the path
    sys.path.insert(0, str(ROOT))

from helpers.svg import themed  # noqa: E402
from tools import execution, provenance  # noqa: E402
from tools.build import Obstacle, begin, end, guard  # noqa: E402
from tools.chapter import ASKS  # noqa: E402

log = logging.getLogger(__name__)
PROMPT = "Check your answer, in a live notebook"


class BuildError(SphinxError):
    category = "The book was not built"


def setup(app):
    folder = Path(app.outdir).parent
    try:
        lock = guard(folder)
    except Obstacle as obstacle:
        raise BuildError(str(obstacle)) from None
    begin(folder, Path(app.outdir), Path(app.doctreedir))
    app.book_lock = lock
    app.connect("env-get-outdated", execute_notebooks)
    app.connect("source-read", use_executed)
    app.connect("html-page-context", say_where_from)
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def execute_notebooks(app, env, added, changed, removed):
    """Execute what changed; return the pages that must be read again because their outputs are new."""
    notebooks = {d: Path(env.doc2path(d)) for d in sorted(env.found_docs) if env.doc2path(d).endswith(".ipynb")}
    log.info("")
    try:
        results = execution.execute(notebooks.values(), Path(app.outdir).parent / ".cache" / "executed", say=log.info)
    except execution.ExecutionError as error:
        raise BuildError(f"a cell failed.\n\n{error}\n") from None
    app.book_executed = dict(zip(notebooks, results, strict=True))
    keys = {docname: result.key for docname, result in app.book_executed.items()}
    before = getattr(env, "book_execution_keys", {})
    env.book_execution_keys = keys
    return [docname for docname, key in keys.items() if before.get(docname) != key]


def use_executed(app, docname, source):
    executed = getattr(app, "book_executed", {}).get(docname)
    if executed:
        notebook = json.loads(executed.text)
        stem = docname.rsplit("/", 1)[-1]
        for number, cell in enumerate(notebook["cells"]):
            if cell["cell_type"] == "code":
                _prepare(cell, f"f{stem[:2]}-{number}", docname)
                _fold_answer(cell)
        source[0] = json.dumps(notebook)


def _prepare(cell, prefix, docname):
    """Make the cell's outputs fit for the page: SVG that follows the theme, no hidden warnings."""
    metadata = cell["metadata"].get("mystnb", {})
    alt = metadata.get("image", {}).get("alt", "")
    wanted_stderr = "show-stderr" in cell["metadata"].get("tags", [])
    for number, output in enumerate(cell["outputs"]):
        if output.get("name") == "stderr" and not wanted_stderr:
            text = "".join(output["text"])
            log.warning("a cell wrote to stderr (tag it show-stderr if the reader should see it): %s", text,
                        location=docname)  # fmt: skip
        data = output.get("data", {})
        if "image/svg+xml" in data:
            svg = "".join(data.pop("image/svg+xml"))
            data.pop("text/plain", None)
            figure = themed(svg, prefix=f"{prefix}-{number}", alt=alt)
            data["text/html"] = f'<div class="book-figure">{figure}</div>'


def _fold_answer(cell):
    """Fold a cell that judges the reader's answer: in a page it can't, and its hints would give too much away."""
    if ASKS.search("".join(cell["source"])):
        metadata = cell["metadata"]
        metadata["tags"] = [*metadata.get("tags", []), "hide-cell"]
        metadata["mystnb"] = {**metadata.get("mystnb", {}), "code_prompt_show": PROMPT, "code_prompt_hide": PROMPT}


def say_where_from(app, pagename, templatename, context, doctree):
    """Say at the foot of a chapter which versions, machine, day and commit its numbers come from."""
    if executed := getattr(app, "book_executed", {}).get(pagename):
        context["theme_extra_footer"] = f"<p>{html.escape(provenance.sentence(executed.run))}</p>"


def finish(app, exception):
    """Print what the chapters took; only a build without error and without warning counts as finished."""
    executed = getattr(app, "book_executed", {})
    if exception is None and executed:
        ran = sum(not r.cached for r in executed.values())
        log.info("notebooks: %d executed now, %d unchanged", ran, len(executed) - ran)
        for docname, result in executed.items():
            log.info("  %6.1f s  %s%s", result.seconds, docname, " (from the cache)" if result.cached else "")
    if exception is None and app._warncount == 0:
        end(Path(app.outdir).parent)
    app.book_lock.release()
