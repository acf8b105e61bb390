"""Sphinx extension: the changes as an Atom feed (RFC 4287), made from ``CHANGELOG.md``.

One entry for each dated section. Every page names the feed in its head, where browsers and readers look for it.
"""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from markdown_it import MarkdownIt

SOURCE = Path(__file__).resolve().parents[2] / "CHANGELOG.md"
NAME = "changes.xml"
ATOM = "http://www.w3.org/2005/Atom"
_HEADING = re.compile(r"(\d{4}-\d\d-\d\d): (.+)")


def sections(text):
    """The dated sections of a changelog, as (date, title, Markdown).

    Raises
    ------
    ValueError
        If a section's heading does not read ``## 2026-11-21: What is new``.
    """
    found = []
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        heading, _, body = section.partition("\n")
        if not (match := _HEADING.fullmatch(heading.strip())):
            raise ValueError(f"CHANGELOG.md: '## {heading}' should read '## 2026-11-21: What is new'")
        found.append((match[1], match[2], body.strip()))
    return found


def feed(text, base):
    """The feed of a changelog; `base` is the address of the site, or empty where it is not known."""
    ElementTree.register_namespace("", ATOM)
    root = ElementTree.Element(f"{{{ATOM}}}feed", {"xml:base": base} if base else {})

    def add(parent, tag, text="", **attributes):
        ElementTree.SubElement(parent, f"{{{ATOM}}}{tag}", attributes).text = text

    entries = sections(text)
    identity = base or "urn:deep-learning-worked-out:"
    add(root, "title", "Deep Learning, Worked Out: changes")
    add(root, "id", f"{identity}{NAME}")
    add(root, "link", rel="self", href=NAME)
    add(root, "updated", f"{max(date for date, _, _ in entries)}T00:00:00Z")
    author = ElementTree.SubElement(root, f"{{{ATOM}}}author")
    add(author, "name", "the authors of Deep Learning, Worked Out")
    for date, title, body in entries:
        entry = ElementTree.SubElement(root, f"{{{ATOM}}}entry")
        add(entry, "title", title)
        add(entry, "id", f"{identity}{NAME}#{date}")
        add(entry, "updated", f"{date}T00:00:00Z")
        add(entry, "link", href="book/changes.html")
        add(entry, "content", MarkdownIt().render(body), type="html")
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=False)


def write_feed(app, exception):
    if exception is None and app.builder.format == "html":
        text = feed(SOURCE.read_text(encoding="utf-8"), app.config.html_baseurl)
        (Path(app.outdir) / NAME).write_text(f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n', encoding="utf-8")


def name_feed(app, pagename, templatename, context, doctree):
    address = context["pathto"](NAME, 1)
    link = f'<link rel="alternate" type="application/atom+xml" title="Changes" href="{address}">\n'
    context["metatags"] = context.get("metatags", "") + link


def setup(app):
    app.connect("html-page-context", name_feed)
    app.connect("build-finished", write_feed)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
