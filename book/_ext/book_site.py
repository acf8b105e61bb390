"""Sphinx extension: what the finished site needs beyond the theme.

* the buttons in the page header: download the notebook, open it in Colab (where a repository is known);
* a site that serves every byte itself and serves few: scripts that no page uses are left out, the icon font is cut down
  to the icons in use, and the theme's style sheet loses the rules of the others;
* pages in which no script stands but one (`book_scripts`);
* each chapter without its solutions, for download;
* drawings and tables made by a Python function, for pages that are not notebooks (the ``{drawing}`` and ``{table-of}``
  directives).
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from fontTools import subset
from pybtex.database import parse_file
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:  # `jupyter-book build .` does not put the book's folder on the path
    sys.path.insert(0, str(ROOT))

from book_scripts import into_files  # noqa: E402

from tools import colab, practice  # noqa: E402
from tools.chapter import read  # noqa: E402
from tools.notebook_mend import write  # noqa: E402

log = logging.getLogger(__name__)
UNUSED = ("thebe", "mathjax", "require.js", "embed-amd", "html-manager")
FONTS = (
    "fonts/WorkedSans-Regular.woff2",
    "fonts/WorkedSans-Semibold.woff2",
    "vendor/fontawesome/webfonts/fa-solid-900.woff2",
)
"""Fonts of every page."""
KATEX_FONTS = {
    'class="katex"': "Main-Regular",
    "mathnormal": "Math-Italic",
    "size1": "Size1-Regular",
    "small-op": "Size1-Regular",
    "size2": "Size2-Regular",
    "large-op": "Size2-Regular",
    "size3": "Size3-Regular",
}
"""What in a formula's markup asks for which font of KaTeX; rarer fonts come when they are met."""
FIRST_THEME = """localStorage.getItem("theme") || \"\";"""
"""How the theme's script in the head chooses colours before the page shows: on a first visit it does not."""
SYSTEM_THEME = (
    """localStorage.getItem("theme") || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");"""
)
_SEARCH_TOOLS = re.compile(r'\s*<script src="[^"]*(?:searchtools|language_data|searchindex)\.js"></script>')
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_ICON_RULE = re.compile(r"(?:\.fa-[\w-]+:before,?)+\{content:\"[^\"]*\"\}")


class DrawingDirective(SphinxDirective):
    """``{drawing} module:function`` puts what the function returns (an object with ``to_html()``) on the page."""

    required_arguments = 1

    def made(self):
        module, _, name = self.arguments[0].partition(":")
        os.environ["BOOK_BUILD"] = "1"
        for path in Path(importlib.import_module("helpers").__file__).parent.glob("*.py"):
            self.env.note_dependency(str(path))
        return getattr(importlib.import_module(module), name)()

    def run(self):
        return [nodes.raw("", self.made().to_html(), format="html")]


class TableDirective(DrawingDirective):
    """``{table-of} module:function`` puts the Markdown table that the function returns on the page."""

    def run(self):
        box = nodes.container(classes=["wide-table", nodes.make_id(self.arguments[0])])
        self.state.nested_parse(StringList(self.made().splitlines(), self.arguments[0]), 0, box)
        return [box]


def header_buttons(app, pagename, templatename, context, doctree):
    """Offer the page's notebook for download and, where a repository is known, in Colab."""
    source = context.get("sourcename") or ""
    if not source.endswith(".ipynb"):
        return
    context["header_buttons"].append(
        {
            "type": "link",
            "url": context["pathto"](f"_sources/{source}", 1),
            "text": "Notebook",
            "tooltip": "Download this page as a notebook",
            "icon": "fas fa-download",
            "label": "download-notebook-button",
        }
    )
    context["header_buttons"].append(
        {
            "type": "link",
            "url": context["pathto"](f"{practice.FOLDER}/{Path(source).name}", 1),
            "text": "Practice",
            "tooltip": "Download this page as a notebook without the solutions",
            "icon": "fas fa-pencil",
            "label": "download-practice-button",
        }
    )
    if app.config.book_repository:
        address = f"https://colab.research.google.com/github/{app.config.book_repository}/blob/colab/{source}"
        context["header_buttons"].append(
            {
                "type": "link",
                "url": address,
                "text": "Colab",
                "tooltip": "Open this page in Google Colab",
                "icon": "fas fa-rocket",
                "label": "colab-button",
            }
        )


def write_practice(app, exception):
    """Put the chapters without their solutions beside the pages, those that are older than what they are made of."""
    if exception is not None or app.builder.format != "html":
        return
    folder = Path(app.outdir) / practice.FOLDER
    folder.mkdir(exist_ok=True)
    bibliography, contents = ROOT / "book" / "references.bib", ROOT / "_toc.yml"
    sources = [source for name in app.env.found_docs if (source := Path(app.env.doc2path(name))).suffix == ".ipynb"]
    stale = [source for source in sources if _older(folder / source.name, source, bibliography, contents)]
    if stale:
        works, pages = parse_file(str(bibliography), bib_format="bibtex"), colab.book_pages("")
    for source in stale:
        write(colab.practice_copy(read(source).nb, pages=pages, works=works), folder / source.name)


def _older(made, *sources):
    return not made.exists() or made.stat().st_mtime <= max(source.stat().st_mtime for source in sources)


def leave_out_unused(app, pagename, templatename, context, doctree):
    """Drop scripts and styles that serve features this book does not use (live kernels, client-side mathematics)."""
    seen = set()
    for kind in ("script_files", "css_files"):
        kept = []
        for asset in context.get(kind, []):
            text = f"{getattr(asset, 'filename', asset)} {getattr(asset, 'attributes', {}).get('body', '')}"
            if text not in seen and not any(word in text.lower() for word in UNUSED):
                kept.append(asset)
                seen.add(text)
        context[kind] = kept


def mend_roles(app, pagename, templatename, context, doctree):
    """Docutils marks the bibliography with roles that ARIA has since withdrawn, around children they do not allow."""
    if "citation-list" in context.get("body", ""):
        context["body"] = re.sub(r' role="(?:list|doc-biblioentry)"', "", context["body"])


def load_instruments(app, pagename, templatename, context, doctree):
    """Load the script and the style sheet of each instrument (optimizer playground, convolution) that a page has."""
    for name in ("playground", "convolution"):
        if f"data-{name}" in context.get("body", ""):
            app.add_css_file(f"{name}.css")
            app.add_js_file(f"{name}.js", loading_method="defer")


def preload_fonts(app, pagename, templatename, context, doctree):
    """Let the browser fetch the fonts of the page before it lays out the text, which would otherwise jump."""
    body = context.get("body", "")
    wanted = [*FONTS, *["fonts/WorkedSans-It.woff2"] * ("<em>" in body)]
    wanted += [f"vendor/katex/fonts/KaTeX_{name}.woff2" for mark, name in KATEX_FONTS.items() if mark in body]
    links = [
        f'<link rel="preload" href="{context["pathto"](f"_static/{name}", 1)}" as="font" type="font/woff2" crossorigin>'
        for name in dict.fromkeys(wanted)
    ]
    context["metatags"] = context.get("metatags", "") + "\n".join(links) + "\n"


def slim_down(app, exception):
    """Cut the icon font, its style rules, and scripts and files that no page asks for out of the finished site."""
    if exception is not None or app.builder.format != "html":
        return
    static = Path(app.outdir) / "_static"
    pages = ""
    for path in Path(app.outdir).rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        pages += text
        less = text.replace(FIRST_THEME, SYSTEM_THEME)
        if path.name != "search.html":  # the theme loads them for a search while one types, which is off
            less = _SEARCH_TOOLS.sub("", less)
        less = into_files(less, static)
        if less != text:
            path.write_text(less, encoding="utf-8")
    scripts = "".join(p.read_text(encoding="utf-8") for p in static.rglob("scripts/*.js") if p.stem != "fontawesome")
    icons = set(re.findall(r"fa-[a-z][\w-]*", pages + scripts))
    sheet = static / "styles" / "pydata-sphinx-theme.css"
    css = sheet.read_text(encoding="utf-8")
    kept_rules = _ICON_RULE.sub(lambda rule: rule[0] if _names(rule[0]) & icons else "", css)
    sheet.write_text(re.sub(r"/\*# sourceMappingURL=.*?\*/", "", kept_rules), encoding="utf-8")
    used = "".join(sorted(_characters(kept_rules)))
    for font in (static / "vendor" / "fontawesome" / "webfonts").glob("*.woff2"):
        options = subset.Options(flavor="woff2", ignore_missing_unicodes=True, notdef_outline=True)
        loaded = subset.load_font(str(font), options)
        subsetter = subset.Subsetter(options)
        subsetter.populate(text=used)
        subsetter.subset(loaded)
        subset.save_font(loaded, str(font), options)
    for pattern in ("**/*.map", "scripts/fontawesome.js*", "**/fontawesome/webfonts/*.ttf", "sphinx-thebe.*"):
        for path in static.glob(pattern):
            path.unlink()


def _names(rule):
    return set(re.findall(r"\.(fa-[\w-]+):before", rule))


def _characters(css):
    escaped = {chr(int(code, 16)) for code in re.findall(r'"\\([0-9a-f]{4})"', css)}
    return escaped | {c for c in css if 0xE000 <= ord(c) <= 0xF8FF}


def setup(app):
    repository = os.environ.get("BOOK_REPOSITORY", "")
    if repository and not _REPOSITORY.fullmatch(repository):
        raise ValueError(f"BOOK_REPOSITORY must look like owner/name, got {repository!r}")
    app.add_config_value("book_repository", repository, "html")
    if repository:  # a site map and a preview image need the address that the pages will have
        owner, _, name = repository.partition("/")
        app.config.html_baseurl = app.config.ogp_site_url = f"https://{owner.lower()}.github.io/{name}/"
        app.config.sitemap_url_scheme = "{link}"
        app.setup_extension("sphinx_sitemap")
    # the 404 page is shown at any depth, so its links start from the root; a project's Pages live under its name
    app.config.notfound_urls_prefix = f"/{repository.partition('/')[2]}/" if repository else "/"
    app.config.html_search_scorer = str(ROOT / "book" / "_static" / "search_scorer.js")
    app.add_directive("drawing", DrawingDirective)
    app.add_directive("table-of", TableDirective)
    app.connect("html-page-context", header_buttons, priority=600)
    app.connect("html-page-context", leave_out_unused, priority=900)
    app.connect("html-page-context", mend_roles)
    app.connect("html-page-context", preload_fonts)
    app.connect("html-page-context", load_instruments)
    app.connect("build-finished", write_practice)
    app.connect("build-finished", slim_down)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
