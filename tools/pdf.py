"""Print the built book into one PDF: figures as they first show, solutions open, a bookmark for every page of the site.

The pages are printed by a browser, with the site's own style for paper, in the order of the table of contents. Links
from page to page lead to places in the file; what only a browser can open (downloads, the search) is text there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from html import escape
from io import BytesIO
from pathlib import Path
from urllib.parse import urldefrag

import yaml
from playwright.sync_api import Browser
from pypdf import PdfReader, PdfWriter
from pypdf.generic import ArrayObject, DictionaryObject, NameObject

from tools.chapter import ROOT
from tools.site import opened, served

LEAVES = frozenset({"book/progress"})
"""Pages that are of no use on paper."""
A4_WIDTH = 178 / 25.4 * 96
"""Width of the text on paper, in CSS pixels: 210 mm less two margins of 16 mm."""
MARGINS = {"top": "16mm", "bottom": "18mm", "left": "16mm", "right": "16mm"}
FOOTER = (
    '<div style="width: 100%; margin: 0 16mm; font: 8px sans-serif; color: #59636e; display: flex">'
    '<span>{title}</span><span style="margin-left: auto" class="pageNumber"></span>'
    '<span>&thinsp;/&thinsp;</span><span class="totalPages"></span></div>'
)
OVERFLOWING = """() => ["pre", "div.math", "table", "p"]
    .flatMap(kind => [...document.querySelectorAll(".bd-article " + kind)])
    .filter(box => box.offsetParent && box.getBoundingClientRect().width > 0)
    .filter(box => box.scrollWidth > box.clientWidth + 1
        || box.getBoundingClientRect().right > box.closest(".bd-article").getBoundingClientRect().right + 1)
    .map(box => box.textContent.trim().slice(0, 80))"""


class Overflow(ValueError):
    """Something on a page is wider than the paper."""


def printed_pages() -> list[str]:
    """Names of the pages in the order of the table of contents, without those that are of no use on paper."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    parts = toc.get("parts", [toc])
    names = [toc["root"]] + [entry["file"] for part in parts for entry in part.get("chapters", [])]
    return [name for name in names if name not in LEAVES]


def write_pdf(names: Sequence[str], out: Path, browser: Browser) -> int:
    """Print these pages into one file, in one step, and return its number of pages.

    Parameters
    ----------
    names : sequence of str
        Pages of the built site, without ``.html``.
    out : Path
        The file; it is replaced when all pages are printed.
    browser : playwright.sync_api.Browser

    Raises
    ------
    Overflow
        If a line, a formula or a table is wider than the paper.
    """
    writer, begins, partial = PdfWriter(), {}, out.with_suffix(".partial")
    try:
        with served() as base:
            for name in names:
                title, printed = _print(browser, base, name)
                begins[name] = len(writer.pages)
                writer.append(PdfReader(BytesIO(printed)), outline_item=title, import_outline=False)
        for annotation, address in _links(writer):
            _redirect(writer, annotation, address, base, begins)
        writer.add_metadata({"/Title": "Deep Learning, Worked Out"})
        writer.compress_identical_objects(remove_duplicates=True, remove_unreferenced=True)
        writer.write(partial)
        os.replace(partial, out)
    finally:
        partial.unlink(missing_ok=True)
    return len(writer.pages)


def _print(browser: Browser, base: str, name: str) -> tuple[str, bytes]:
    """Print one page; return its title and the file."""
    with opened(browser, f"{base}{name}.html", width=round(A4_WIDTH)) as (tab, _):
        tab.emulate_media(media="print")
        tab.evaluate("() => document.fonts.ready")
        if wide := tab.evaluate(OVERFLOWING):
            raise Overflow(f"{name}: wider than the paper: {'; '.join(wide[:3])}")
        title = tab.title().split(" — ")[0]
        footer = FOOTER.format(title=escape(title, quote=False))
        printed = tab.pdf(
            format="A4", margin=MARGINS, display_header_footer=True, header_template="<span></span>",
            footer_template=footer, print_background=True,
        )  # fmt: skip
    return title, printed


def _links(writer: PdfWriter) -> Iterator[tuple[DictionaryObject, str]]:
    for page in writer.pages:
        for reference in page.get("/Annots", ()):
            annotation = reference.get_object()
            address = annotation.get("/A", {}).get("/URI")
            if address:
                yield annotation, str(address)


def _redirect(writer: PdfWriter, annotation: DictionaryObject, address: str, base: str, begins: dict[str, int]) -> None:
    """Let a link to a page of the site lead to its first page in the file; take away what leads nowhere on paper."""
    if not address.startswith(base):
        return
    name = urldefrag(address)[0].removeprefix(base).removesuffix(".html")
    if name in begins:
        place = ArrayObject([writer.pages[begins[name]].indirect_reference, NameObject("/Fit")])
        annotation[NameObject("/A")] = DictionaryObject(
            {NameObject("/S"): NameObject("/GoTo"), NameObject("/D"): place}
        )
    else:
        del annotation["/A"]
