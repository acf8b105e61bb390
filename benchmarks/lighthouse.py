"""Lighthouse's four scores for every page of the built site, served as a host would: compressed, with a time to keep.

Run it with ``python -m benchmarks.lighthouse [--quick] [PAGE ...]`` after ``make book``. It needs Node; Lighthouse
itself comes from the npm registry the first time, or is the program that the variable ``LIGHTHOUSE`` names. It prints a
table, writes ``benchmarks/results/lighthouse.md`` when all pages were measured, and fails where a score is below 95.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tools.chromium import find, sandbox
from tools.site import COMPRESSIBLE, SITE, Quiet, pages, served

RESULT = Path(__file__).parent / "results" / "lighthouse.md"
PACKAGE = "lighthouse@12"
CATEGORIES = ("performance", "accessibility", "best-practices", "seo")
LEAST = 95
NOT_FOR_SEARCH = frozenset({"404.html", "search.html", "genindex.html"})
"""Pages that search engines have no business with; of these the last score is not asked for."""
QUICK = ["book/intro.html", "notebooks/05_backprop_by_hand.html"]


class Host(Quiet):
    """Serves files as a host of static pages does."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        path = path / "index.html" if path.is_dir() else path
        if not path.is_file():
            self.send_error(404)
            return
        body = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(str(path)))
        self.send_header("Cache-Control", "max-age=31536000" if path.suffix != ".html" else "max-age=600")
        if path.suffix in COMPRESSIBLE:
            body = gzip.compress(body, 6)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def scores(address: str) -> dict[str, int]:
    """The scores of one page, 0 to 100.

    Raises
    ------
    RuntimeError
        If Lighthouse could not measure the page.
    """
    program = os.environ.get("LIGHTHOUSE")
    command = [program] if program else [shutil.which("npx") or "npx", "--yes", PACKAGE]
    flags = " ".join(["--headless=new", *sandbox()])
    command += [address, "--quiet", "--output=json", "--preset=desktop", f"--chrome-flags={flags}"]
    command += [f"--only-categories={','.join(CATEGORIES)}"]
    done = subprocess.run(
        command, env=os.environ | {"CHROME_PATH": find()}, capture_output=True, text=True, check=False, timeout=300
    )
    if done.returncode != 0:
        raise RuntimeError(f"Lighthouse failed on {address}: {done.stderr.strip()[-500:]}")
    found = json.loads(done.stdout)["categories"]
    return {name: round(100 * found[name]["score"]) for name in CATEGORIES}


def main() -> int:
    if not (SITE / "index.html").exists():
        print("The site is not built; run make book first.", file=sys.stderr)
        return 1
    if not (os.environ.get("LIGHTHOUSE") or shutil.which("npx")):
        print("Lighthouse was not run: it needs Node (npx), or its program in the variable LIGHTHOUSE.")
        return 0
    asked = [word for word in sys.argv[1:] if not word.startswith("-")]
    asked = asked or (QUICK if "--quick" in sys.argv else pages())
    lines = [f"| page | {' | '.join(CATEGORIES)} |", "|---|---:|---:|---:|---:|"]
    low = []
    with served(Host) as base:
        for page in asked:
            try:
                found = scores(base + page)
            except RuntimeError as error:
                print(error, file=sys.stderr)
                return 1
            lines.append(f"| {page} | {' | '.join(str(found[name]) for name in CATEGORIES)} |")
            print(lines[-1], flush=True)
            needed = CATEGORIES[:3] if page in NOT_FOR_SEARCH else CATEGORIES
            low += [f"{page}: {name} {found[name]}" for name in needed if found[name] < LEAST]
    if asked == pages():
        table = "\n".join(lines)
        head = f"# Lighthouse\n\nMeasured with `python -m benchmarks.lighthouse` ({PACKAGE}, desktop)."
        RESULT.write_text(f"{head}\n\n{table}\n", encoding="utf-8")
    print("\n".join(low) or f"Every score is at least {LEAST}.")
    return 1 if low else 0


if __name__ == "__main__":
    sys.exit(main())
