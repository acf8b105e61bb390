"""Sphinx extension: typeset mathematics while the book is built, with KaTeX in an embedded JavaScript engine.

The page receives finished HTML and MathML: nothing to download or run before a formula shows, and a formula that does
not parse is a warning of the build instead of red text on the page. KaTeX itself (JavaScript, style sheet and fonts)
lies in ``book/_static/vendor/katex``.
"""

from __future__ import annotations

import atexit
import json
from functools import cache
from pathlib import Path

from py_mini_racer import JSEvalException, MiniRacer
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

log = logging.getLogger(__name__)
KATEX = Path(__file__).resolve().parents[1] / "_static" / "vendor" / "katex" / "katex.min.js"
MACROS = {r"\R": r"\mathbb{R}", r"\E": r"\mathbb{E}", r"\tr": r"^{\mathsf{T}}", r"\d": r"\mathrm{d}"}


@cache
def _engine() -> MiniRacer:
    engine = MiniRacer()
    atexit.register(engine.close)  # left open, some versions wait for ever when Python 3.13 ends
    engine.eval(KATEX.read_text(encoding="utf-8"))
    return engine


@cache
def typeset(tex: str, *, display: bool) -> str:
    """HTML and MathML of a formula.

    Parameters
    ----------
    tex : str
        LaTeX without delimiters.
    display : bool
        Whether it stands on a line of its own.

    Raises
    ------
    ValueError
        If KaTeX can't parse it.
    """
    options = {
        "displayMode": display,
        "throwOnError": True,
        "strict": "ignore",
        "macros": MACROS,
        "output": "htmlAndMathml",
    }
    try:
        return _engine().eval(f"katex.renderToString({json.dumps(tex)}, {json.dumps(options)})")
    except JSEvalException as error:
        raise ValueError(str(error).splitlines()[0]) from None


def _render(translator, node, *, display):
    tex = node.astext().strip()
    if display and r"\\" in tex and r"\begin" not in tex:
        tex = rf"\begin{{aligned}}{tex}\end{{aligned}}"
    try:
        return typeset(tex, display=display)
    except ValueError as error:
        log.warning("this formula can't be typeset: %s (%s)", tex, error, location=node)
        return translator.encode(tex)


def visit_inline(self, node):
    from docutils import nodes

    self.body.append(f'<span class="math notranslate nohighlight">{_render(self, node, display=False)}</span>')
    raise nodes.SkipNode


def visit_block(self, node):
    from docutils import nodes

    self.body.append(self.starttag(node, "div", CLASS="math notranslate nohighlight"))
    if node["number"]:
        self.body.append(f'<span class="eqno">({get_node_equation_number(self, node)})')
        self.add_permalink_ref(node, "Link to this equation")
        self.body.append("</span>")
    self.body.append(_render(self, node, display=True))
    self.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("katex", inline_renderers=(visit_inline, None), block_renderers=(visit_block, None))
    app.add_css_file("vendor/katex/katex.min.css")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
