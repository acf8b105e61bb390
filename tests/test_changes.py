"""The changelog becomes a feed that readers of feeds can read."""

import sys
from xml.etree import ElementTree

import pytest

from tools.chapter import ROOT

sys.path.insert(0, str(ROOT / "book" / "_ext"))
import book_changes

TEXT = """# Changes

## 2026-03-02: A second thing

- It *moves*, and 1 < 2.

## 2026-01-31: A first thing

- It stands.
"""
ATOM = {"a": book_changes.ATOM}


def test_every_dated_section_is_an_entry():
    root = ElementTree.fromstring(book_changes.feed(TEXT, "https://example.org/book/"))
    assert root.findtext("a:updated", namespaces=ATOM) == "2026-03-02T00:00:00Z"
    assert [entry.findtext("a:title", namespaces=ATOM) for entry in root.findall("a:entry", ATOM)] == [
        "A second thing",
        "A first thing",
    ]
    ids = [entry.findtext("a:id", namespaces=ATOM) for entry in root.findall("a:entry", ATOM)]
    assert ids == [f"https://example.org/book/changes.xml#{day}" for day in ("2026-03-02", "2026-01-31")]
    content = root.find("a:entry/a:content", ATOM)
    assert content.get("type") == "html"
    assert "<em>moves</em>, and 1 &lt; 2" in content.text


def test_a_section_without_a_date_is_an_error():
    with pytest.raises(ValueError, match="'## Unreleased' should read"):
        book_changes.feed("## Unreleased\n\n- x\n", "")


def test_the_books_own_changes_can_be_read():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    days = [day for day, _, _ in book_changes.sections(text)]
    assert days == sorted(days, reverse=True)
    assert len(days) == len(set(days)) > 0


@pytest.mark.site
def test_every_page_names_the_feed(built_site):
    assert ElementTree.parse(built_site / book_changes.NAME).getroot().tag == f"{{{book_changes.ATOM}}}feed"
    page = (built_site / "notebooks" / "05_backprop_by_hand.html").read_text(encoding="utf-8")
    assert '<link rel="alternate" type="application/atom+xml" title="Changes" href="../changes.xml">' in page
