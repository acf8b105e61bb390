"""Sphinx extension: words that a chapter introduces in bold lead to the glossary, and the glossary leads back.

The word shows its definition on hover. A term of the glossary that no chapter has in bold, and whose definition links
to no chapter either, is reported: nobody could find out what it is there for.
"""

from __future__ import annotations

from docutils import nodes
from page_notes import keep_notes
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.nodes import make_refnode

log = logging.getLogger(__name__)
GLOSSARY = "book/glossary"
CHAPTERS = "notebooks/"


def words_in_bold(docname, doctree):
    """What a chapter has in bold, in the order in which it comes."""
    return list(dict.fromkeys(map(_key, doctree.findall(nodes.strong)))) if docname.startswith(CHAPTERS) else []


def write_again(app, env):
    """A changed definition shows in every chapter, a word introduced elsewhere shows in the glossary."""
    if GLOSSARY not in env.found_docs:
        return []
    definitions, changed = _definitions(env), []
    introduced = {term: next((name for name in sorted(env.book_bold) if term in env.book_bold[name]), None)
                  for term in definitions}  # fmt: skip
    if definitions != getattr(env, "book_definitions", None):
        changed += [name for name, words in env.book_bold.items() if words]
    if introduced != getattr(env, "book_introduced", None):
        changed.append(GLOSSARY)
    env.book_definitions, env.book_introduced = definitions, introduced
    return changed


class LinkWords(SphinxPostTransform):
    """Link the first bold occurrence of each term in a chapter, and each definition with its chapter."""

    default_priority = 7  # before references are resolved

    def run(self, **kwargs):
        if GLOSSARY not in self.env.found_docs:
            return
        if self.env.docname == GLOSSARY:
            self.lead_back()
        elif self.env.docname.startswith(CHAPTERS):
            self.lead_there()

    def lead_there(self):
        definitions = dict(self.env.book_definitions)
        for strong in list(self.document.findall(nodes.strong)):
            found = definitions.pop(_key(strong), None)
            if found is None or isinstance(strong.parent, nodes.reference):
                continue
            label, text = found
            link = make_refnode(
                self.app.builder, self.env.docname, GLOSSARY, label, strong.deepcopy(), title=text or None
            )
            link["classes"].append("term")
            strong.replace_self(link)

    def lead_back(self):
        for item in self.document.findall(nodes.definition_list_item):
            terms = {_key(term) for term in item.findall(nodes.term)}
            where = min(
                (self.env.book_introduced[term] for term in terms if self.env.book_introduced[term]), default=""
            )
            definition = next(item.findall(nodes.definition))
            if not where:
                if not any(link["reftype"] == "doc" for link in definition.findall(addnodes.pending_xref)):
                    log.warning("glossary: no chapter introduces %s in bold.", " or ".join(sorted(terms)))
                continue
            title = self.env.titles[where].astext()
            link = make_refnode(self.app.builder, GLOSSARY, where, "", nodes.inline("", title))
            definition += nodes.paragraph("", "", nodes.Text("Introduced in "), link, classes=["introduced"])


def _key(node):
    return node.astext().strip().rstrip(".").lower()


def _definitions(env):
    """For each term of the glossary, its label there and its definition as plain text, where it has no formula."""
    found = {}
    for item in env.get_doctree(GLOSSARY).findall(nodes.definition_list_item):
        definition = next(item.findall(nodes.definition))
        text = "" if next(definition.findall(nodes.math), None) else " ".join(definition.astext().split())
        for term in item.findall(nodes.term):
            found[_key(term)] = (term["ids"][0], text)
    return found


def setup(app):
    """Register the transform and the notes it lives on."""
    keep_notes(app, "book_bold", words_in_bold)
    app.connect("env-updated", write_again)
    app.add_post_transform(LinkWords)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "env_version": 1}
