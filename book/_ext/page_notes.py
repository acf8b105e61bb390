"""What an extension notes of each page when it is read, kept with the environment from one build to the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx


def keep_notes(app: Sphinx, attribute: str, collect: Callable[[str, nodes.document], Any]) -> None:
    """Keep ``collect(docname, doctree)`` of every page in the dictionary ``env.<attribute>``, by the page's name."""

    def begin(app):
        if not hasattr(app.env, attribute):
            setattr(app.env, attribute, {})

    def note(app, doctree):
        getattr(app.env, attribute)[app.env.docname] = collect(app.env.docname, doctree)

    def forget(app, env, docname):
        getattr(env, attribute).pop(docname, None)

    def merge(app, env, docnames, other):
        theirs = getattr(other, attribute)
        getattr(env, attribute).update({name: theirs[name] for name in docnames if name in theirs})

    app.connect("builder-inited", begin)
    app.connect("doctree-read", note)
    app.connect("env-purge-doc", forget)
    app.connect("env-merge-info", merge)
