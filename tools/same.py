"""``make same``: from one commit, the same numbers, figures and pages twice.

    python -m tools.same                  build the whole book twice; compare chapters, figures and pages
    python -m tools.same --commit HEAD    the same with a commit in place of the working tree
    python -m tools.same 03 07            run these chapters twice; compare their outputs, figures included
    python -m tools.same --threads 03 07  run these chapters with one and with two threads; compare the numbers

Each of the two starts from a clone of one commit (by default a snapshot of the working tree), in a folder of another
name, without any cache.
Everything is compared byte for byte, but for the dates that a page names and the few figures that measure time (`CLOCK`
below). With ``--threads`` sums are formed in another order, so the last bits differ, and training amplifies that;
numbers may differ by ``--tolerance``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

from tools.chapter import ROOT
from tools.same_outputs import differences, first_difference, numbers
from tools.snapshot import snapshot

FOLDERS = ("first", "another-name")
TEXTS = frozenset({".html", ".js", ".css", ".ipynb", ".md", ".txt", ".json", ".xml", ".svg"})
TOLERANCE = 0.05

CLOCK = {
    "04_batches": {
        "fig-04-budgets": "one of its panels counts milliseconds",
        "fig-04-cost": "it shows the milliseconds that an update takes",
    },
}
"""Figures that measure time, which is not the same twice, by their cells, and why they are in the book."""
ROUNDING = {
    "16_training_in_practice": {
        "terms-torch-randn-100-000-generator-torch-genera": "it counts in how many ways rounding makes a sum differ",
    },
}
"""Cells whose numbers are about rounding itself; one thread and two need not agree in them."""

_DATES = (
    re.compile(r"(?<=Last updated on )[^<\n]+"),
    re.compile(r"(?<=This page was run on )\d{1,2} \w+ \d{4}"),
    re.compile(r"<time\b[^>]*>[^<]*</time>"),
)
_EXECUTE = """\
import sys
from pathlib import Path
from tools import execution
chosen, threads = tuple(sys.argv[2].split(",")), int(sys.argv[3])
paths = [p for p in sorted(Path("notebooks").resolve().glob("[0-9]*.ipynb")) if p.name.startswith(chosen)]
execution.execute(paths, Path(sys.argv[1]), threads=threads or None)
"""


def clones(folder: Path, commit: str | None = None) -> list[Path]:
    """Two clones of a commit, or of a snapshot of the working tree, in folders of different names."""
    source, revision = ROOT, commit
    if commit is None:
        source, revision = folder / "snapshot", snapshot(folder / "snapshot")
    made = [folder / name for name in FOLDERS]
    for clone in made:
        subprocess.run(["git", "clone", "--quiet", "--no-checkout", str(source), str(clone)], check=True)
        subprocess.run(["git", "checkout", "--quiet", "--detach", revision], cwd=clone, check=True)
    return made


def run(clone: Path, *command: str) -> None:
    """Run Python in a clone, with the clone's own code."""
    env = os.environ | {"PYTHONPATH": str(clone), "BOOK_DATA": "embedded"}
    env.pop("PYTHONHASHSEED", None)  # the order of sets is to differ where it can
    subprocess.run([sys.executable, *command], cwd=clone, env=env, check=True)


def executed(folder: Path) -> dict[str, str]:
    """The executed chapters in a cache: JSON by name."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        found[path.stem.rpartition("-")[0]] = json.loads(path.read_text(encoding="utf-8"))["notebook"]
    return found


def undated(text: str, figures: Collection[str] = ()) -> str:
    """A page without the day on which it was built, and without the `figures` of these names.

    Examples
    --------
    >>> undated("<p>Last updated on Nov 21, 2026.</p>")
    '<p>Last updated on </p>'
    """
    for pattern in _DATES:
        text = pattern.sub("", text)
    for name in figures:
        text = re.sub(rf'<figure\b[^>]* id="{re.escape(name)}">.*?</figure>', "", text, flags=re.DOTALL)
    return text


def compare_sites(one: Path, two: Path) -> list[str]:
    """Every file of two built sites that differs, with its first difference.

    Parameters
    ----------
    one, two : Path
        Their folders. Dates of building and the figures in `CLOCK` are left out of pages, and of nothing else.
    """
    names = [{path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()} for site in (one, two)]
    found = [f"{name}: in one of the two only" for name in sorted(names[0] ^ names[1])]
    for name in sorted(names[0] & names[1]):
        a, b = ((site / name).read_bytes() for site in (one, two))
        if a == b:
            continue
        if Path(name).suffix not in TEXTS:
            found.append(f"{name}: {len(a):,} | {len(b):,} bytes, which differ")
            continue
        texts = [x.decode() for x in (a, b)]
        if name.endswith(".html"):
            texts = [undated(text, CLOCK.get(Path(name).stem, ())) for text in texts]
        if difference := first_difference(*texts):
            found.append(f"{name}: {difference}")
    return found


def compare_chapters(one: dict[str, str], two: dict[str, str]) -> list[str]:
    """Every output of executed chapters that differs."""
    found = [f"{name}: in one of the two only" for name in sorted(one.keys() ^ two.keys())]
    for name in sorted(one.keys() & two.keys()):
        found += [f"{name}, {line}" for line in differences(one[name], two[name], CLOCK.get(name, ()))]
    return found


def with_threads(one: dict[str, str], two: dict[str, str], tolerance: float) -> int:
    """Print how the numbers of one and of two threads agree; return the number of places where they do not."""
    apart = 0
    for name in sorted(one.keys() & two.keys()):
        found = numbers(one[name], two[name], tolerance, {*CLOCK.get(name, ()), *ROUNDING.get(name, ())})
        apart += len(found.apart)
        print(
            f"{name}: {found.compared} numbers, {found.differ} differ, by at most {found.worst:.2g}; "
            f"{found.pictures} figures differ"
        )
        for line in found.apart:
            print("   ", line)
    return apart


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, print what differs, and return 1 if anything does."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.same", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("chapters", nargs="*", help="beginnings of file names, such as 07; all by default")
    parser.add_argument("--threads", action="store_true", help="one thread against two")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, help="relative, for --threads")
    parser.add_argument("--commit", metavar="REVISION", help="compare builds of this, not of the working tree")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave both in this new folder")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        pair = clones(folder.absolute(), options.commit)
        if options.chapters or options.threads:
            caches = [clone / "executed" for clone in pair]
            for clone, cache, threads in zip(pair, caches, (1, 2) if options.threads else (0, 0), strict=True):
                run(clone, "-c", _EXECUTE, str(cache), ",".join(options.chapters), str(threads))
            one, two = map(executed, caches)
            if options.threads:
                return 1 if with_threads(one, two, options.tolerance) else 0
            found = compare_chapters(one, two)
        else:
            for clone in pair:
                run(clone, "-m", "tools.build", "--quiet")
            one, two = (executed(clone / "_build" / ".cache" / "executed") for clone in pair)
            found = compare_chapters(one, two) + compare_sites(*(clone / "_build" / "html" for clone in pair))
    print("\n".join(found) or f"{len(one)} chapters: not a byte differs, but for dates and clocks")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
