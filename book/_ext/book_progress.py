"""Sphinx extension: the ``{quiz-progress}`` directive, a table of the chapters and their quiz questions.

The script of the pages, ``book.js``, writes into it what this browser remembers of the reader's answers.
"""

from __future__ import annotations

from html import escape

from book_quiz import quiz
from docutils import nodes
from page_notes import keep_notes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective


class quiz_progress(nodes.General, nodes.Element):
    """The place where the table goes, once all chapters are read."""


class QuizProgressDirective(SphinxDirective):
    def run(self):
        return [quiz_progress()]


def questions_of(docname, doctree):
    """The ids of a page's quiz questions."""
    return [question["ids"][0] for question in doctree.findall(quiz)]


def write_again(app, env):
    """The table changes with the questions of any page."""
    if env.book_questions == getattr(env, "book_questions_listed", None):
        return []
    env.book_questions_listed = dict(env.book_questions)
    return [name for name in env.found_docs if name.endswith("/progress")]


class WriteTable(SphinxPostTransform):
    """Put the table in its place."""

    default_priority = 7

    def run(self, **kwargs):
        for place in list(self.document.findall(quiz_progress)):
            rows = []
            for name, ids in sorted(self.env.book_questions.items()):
                if ids:
                    address = self.app.builder.get_relative_uri(self.env.docname, name)
                    title = escape(self.env.titles[name].astext(), quote=False)
                    rows.append(
                        f'<tr data-quiz="{" ".join(ids)}"><th scope="row"><a href="{address}">{title}</a></th>'
                        f"<td>{len(ids)} questions</td></tr>"
                    )
            table = (
                '<table class="table quiz-progress"><thead><tr><th scope="col">Chapter</th>'
                f'<th scope="col">Answered</th></tr></thead><tbody>{"".join(rows)}</tbody></table>'
                '<button type="button" class="quiz-forget" hidden>Forget my answers</button>'
            )
            place.replace_self(nodes.raw("", table, format="html"))


def setup(app):
    """Register the directive, the notes it lives on and the transform that writes the table."""
    app.add_node(quiz_progress)
    app.add_directive("quiz-progress", QuizProgressDirective)
    keep_notes(app, "book_questions", questions_of)
    app.connect("env-updated", write_again)
    app.add_post_transform(WriteTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "env_version": 1}
