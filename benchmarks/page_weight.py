"""Bytes over the wire of every page of the built site, measured in Chromium with an empty and with a warm cache.

Run it with ``python -m benchmarks.page_weight`` after ``make book``; it prints a table and writes
``benchmarks/results/page_weight.md``. Files are counted once, gzipped where a server would compress them.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tools.chromium import launched
from tools.site import SITE, opened, pages, served, weight

RESULT = Path(__file__).parent / "results" / "page_weight.md"
HOME = "book/intro.html"


def measure() -> list[tuple[str, int, int]]:
    """(page, bytes on a first visit, bytes after the landing page), heaviest first."""
    rows = []
    with launched() as browser, served() as base:
        with opened(browser, base + HOME) as (_, record):
            _, cached = weight(record["requests"], base)
        for page in pages():
            with opened(browser, base + page) as (_, record):
                alone, _ = weight(record["requests"], base)
                later, _ = weight(record["requests"], base, cached)
            rows.append((page, alone, later))
    return sorted(rows, key=lambda row: -row[1])


def main() -> int:
    if not (SITE / "index.html").exists():
        print("The site is not built; run make book first.", file=sys.stderr)
        return 1
    lines = ["| page | first visit, kB | after the landing page, kB |", "|---|---:|---:|"]
    lines += [f"| {page} | {alone / 1000:.0f} | {later / 1000:.0f} |" for page, alone, later in measure()]
    table = "\n".join(lines)
    print(table)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(
        f"# Page weights\n\nMeasured with `python -m benchmarks.page_weight`.\n\n{table}\n", encoding="utf-8"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
