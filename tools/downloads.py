"""Make the book to take away, from the built site: one PDF, and the whole site as a zip that opens without a network.

    python -m tools.downloads

Both are put into the site, and its first page links them.
"""

from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path

from tools.build import SITE
from tools.chapter import ROOT
from tools.chromium import NoChromium, launched
from tools.pdf import Overflow, printed_pages, write_pdf

NAME = "deep-learning-worked-out"
FIRST = "book/intro.html"
BEGIN, END = "<!-- downloads -->", "<!-- end of downloads -->"
"""What stands around the links on the first page."""


def write_zip(site: Path, out: Path) -> int:
    """Put the files of `site` into a zip, without other downloads, in one step; return how many there are.

    The same files give the same bytes, whenever they were written.
    """
    partial = out.with_suffix(".partial")
    files = [path for path in sorted(site.rglob("*")) if path.is_file() and path.stem != NAME]
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in files:
                entry = zipfile.ZipInfo(f"{NAME}/{path.relative_to(site).as_posix()}")  # of 1980, so never changing
                entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
                archive.writestr(entry, path.read_bytes())
        os.replace(partial, out)
    finally:
        partial.unlink(missing_ok=True)
    return len(files)


def link(first: Path, lines: list[str]) -> None:
    """Write these lines between the two comments of the first page, in place of what stands there.

    Raises
    ------
    ValueError
        If the page has no place for them.
    """
    before, found, rest = first.read_text(encoding="utf-8").partition(BEGIN)
    _, closed, after = rest.partition(END)
    if not (found and closed):
        raise ValueError(f"{first.name} has no place for links to downloads: {BEGIN} … {END}")
    first.write_text(f"{before}{BEGIN}{''.join(lines)}{END}{after}", encoding="utf-8")


def main() -> int:
    """Write both files into the built site and link them; return the exit status."""
    if not (SITE / FIRST).exists():
        print("There is no built book yet. Run `make book` first.", file=sys.stderr)
        return 2
    pdf, archive = SITE / f"{NAME}.pdf", SITE / f"{NAME}.zip"
    try:
        link(SITE / FIRST, [])
        with launched() as browser:
            pages = write_pdf(printed_pages(), pdf, browser)
        files = write_zip(SITE, archive)
        link(
            SITE / FIRST,
            [
                f'<p><a href="../{pdf.name}">The whole book as one PDF</a>: {pages} pages, {_size(pdf)}.</p>',
                f'<p><a href="../{archive.name}">This site as a zip</a>, to read without a network: unpack it and open '
                f"<code>index.html</code>; {_size(archive)}.</p>",
            ],
        )
    except (NoChromium, Overflow, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{pdf.relative_to(ROOT)}: {pages} pages, {_size(pdf)}")
    print(f"{archive.relative_to(ROOT)}: {files} files, {_size(archive)}")
    return 0


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.0f} MB"


if __name__ == "__main__":
    sys.exit(main())
