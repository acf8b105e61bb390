"""Sphinx extension: the ``{figure-index}`` directive, a list of every numbered figure of the book under its chapter."""

from __future__ import annotations

from docutils import nodes
from page_notes import keep_notes
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

MOVES = 'class="explore'
"""What the markup of a figure contains that the reader can move."""


class figure_index(nodes.General, nodes.Element):
    """The place where the list goes, once the figures have their numbers."""


class FigureIndexDirective(SphinxDirective):
    def run(self):
        return [figure_index()]


def figures_of(docname, doctree):
    """A page's figures: ids, caption, and whether the reader can move something in it."""
    found = []
    for figure in doctree.findall(nodes.figure):
        caption = next(figure.findall(nodes.caption), None)
        if caption is not None and figure["ids"]:
            moves = any(MOVES in raw.astext() for raw in figure.findall(nodes.raw))
            found.append((figure["ids"], caption.deepcopy(), moves))
    return found


def write_again(app, env):
    """The index changes with the figures of any page."""
    listed = {
        name: [(ids, caption.astext(), moves) for ids, caption, moves in figures]
        for name, figures in env.book_figures.items()
    }
    if listed == getattr(env, "book_figures_listed", None):
        return []
    env.book_figures_listed = listed
    return [name for name in env.found_docs if name.endswith("/figures")]


class ListFigures(SphinxPostTransform):
    """Put the list in its place."""

    default_priority = 7  # before references in captions are resolved

    def run(self, **kwargs):
        for place in list(self.document.findall(figure_index)):
            place.replace_self([part for name in sorted(self.env.book_figures) for part in self.chapter(name)])

    def chapter(self, name):
        """The heading and the list of one page's figures, as a section; nothing where the page has none."""
        numbers = self.env.toc_fignumbers.get(name, {}).get("figure", {})
        items = []
        for ids, caption, moves in self.env.book_figures[name]:
            number = next((numbers[i] for i in ids if i in numbers), None)
            if number is None:
                continue
            label = f"Fig. {'.'.join(map(str, number))}"
            link = make_refnode(self.app.builder, self.env.docname, name, ids[0], nodes.inline("", label))
            text = [nodes.Text(" (moves)"), nodes.Text(": ")] if moves else [nodes.Text(": ")]
            words = [child.deepcopy() for child in caption.children]
            for word in words:
                for reference in word.findall(addnodes.pending_xref):
                    reference["refdoc"] = self.env.docname  # it is resolved from here
            items.append(nodes.list_item("", nodes.paragraph("", "", link, *text, *words)))
        if not items:
            return []
        title = make_refnode(
            self.app.builder, self.env.docname, name, "", nodes.inline("", self.env.titles[name].astext())
        )
        return [nodes.paragraph("", "", nodes.strong("", "", title)), nodes.bullet_list("", *items)]


def setup(app):
    """Register the directive, the notes it lives on and the transform that writes the list."""
    app.add_node(figure_index)
    app.add_directive("figure-index", FigureIndexDirective)
    keep_notes(app, "book_figures", figures_of)
    app.connect("env-updated", write_again)
    app.add_post_transform(ListFigures)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "env_version": 1}
